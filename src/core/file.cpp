#include "cermet/core/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

namespace cermet {
namespace {

namespace fs = std::filesystem;

constexpr mode_t default_mode = 0666;  // the process's umask narrows it
constexpr mode_t permission_bits = 07777;

/// errno text with what the user can do about the common causes.
std::string remedy_for(int error) {
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      return "Free some space, or choose a folder on another disk.";
    case EFBIG:
      return "Raise the file size limit (ulimit -f), or choose another file system.";
    case EACCES:
    case EPERM:
      return "Check the access rights of the file and its folder.";
    case EROFS:
      return "Choose a folder on a file system that is not mounted read-only.";
    case ENOENT:
      return "Check the spelling; the folder must exist.";
    case ENOTDIR:
      return "Check the spelling; every part before the last must be a folder.";
    case EISDIR:
      return "Name a file, not a folder.";
    case ENAMETOOLONG:
      return "Choose a shorter name.";
    case EMFILE:
    case ENFILE:
      return "Close some files, or raise the limit of open files (ulimit -n).";
    default:
      return "Check the disk and its file system.";
  }
}

[[noreturn]] void fail_system(const fs::path& path, std::string_view action, int error) {
  throw FileError(fmt::format("File \"{}\": cannot {}: {}. {}", path.string(), action,
                              std::generic_category().message(error), remedy_for(error)));
}

class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  [[nodiscard]] int get() const noexcept { return number_; }

  /// Some file systems report a failed write only here. EINTR: Linux has closed it all the same.
  [[nodiscard]] bool close() noexcept {
    return ::close(std::exchange(number_, -1)) == 0 || errno == EINTR;
  }

 private:
  int number_;
};

/// A file that disappears unless keep() is called.
class TemporaryFile {
 public:
  explicit TemporaryFile(fs::path path) : path_(std::move(path)) {}
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  ~TemporaryFile() {
    if (!kept_) ::unlink(path_.c_str());
  }

  [[nodiscard]] const fs::path& path() const noexcept { return path_; }
  void keep() noexcept { kept_ = true; }

 private:
  fs::path path_;
  bool kept_ = false;
};

std::pair<fs::path, Descriptor> create_temporary(const fs::path& folder, const fs::path& target) {
  static std::atomic<unsigned> counter{0};
  for (;;) {
    fs::path path = folder / fmt::format(".{}-{}.cermet-tmp", ::getpid(), counter++);
    const int number = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, default_mode);
    if (number >= 0) return {std::move(path), Descriptor(number)};
    // EEXIST: left by a killed process that had the same id.
    if (errno != EEXIST && errno != EINTR)
      fail_system(target, "create a file in its folder", errno);
  }
}

void write_all(int number, std::span<const std::byte> contents, const fs::path& target) {
  while (!contents.empty()) {
    const ssize_t written = ::write(number, contents.data(), contents.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      fail_system(target, "write", errno);
    }
    contents = contents.subspan(static_cast<std::size_t>(written));
  }
}

/// The access rights of the file to be replaced, if there is one. Anything but a file is refused:
/// the rename would put a file in the place of, say, a device.
std::optional<mode_t> mode_to_keep(const fs::path& target) {
  struct stat status = {};
  if (::stat(target.c_str(), &status) != 0) {
    if (errno == ENOENT) return std::nullopt;
    fail_system(target, "look at it", errno);
  }
  if (S_ISDIR(status.st_mode)) fail_system(target, "replace it", EISDIR);
  if (!S_ISREG(status.st_mode)) {
    fail_file({"File", target.string(), "kind", "a device, pipe or socket", "a regular file",
               "Choose another name."});
  }
  return status.st_mode & permission_bits;
}

/// The file that `path` means: what a symbolic link points to, there or not.
fs::path resolve_link(const fs::path& path) {
  std::error_code error;
  if (!fs::is_symlink(fs::symlink_status(path, error))) return path;
  fs::path target = fs::weakly_canonical(path, error);
  if (error) fail_system(path, "follow the link", error.value());
  // A link to nothing stays as it is in weakly_canonical; replacing the link would be a surprise.
  if (fs::is_symlink(fs::symlink_status(target, error))) {
    fail_file({"File", path.string(), "link", "a link to nothing", "a link to a file, or no link",
               "Remove the link, or create the file that it names."});
  }
  return target;
}

}  // namespace

void fail_file(const Complaint& complaint) { throw FileError(describe(complaint)); }

std::vector<std::byte> read_file(const fs::path& path, std::uintmax_t byte_limit) {
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (file.get() < 0) fail_system(path, "open", errno);
  struct stat status = {};
  if (::fstat(file.get(), &status) != 0) fail_system(path, "look at it", errno);
  if (S_ISDIR(status.st_mode)) fail_system(path, "read", EISDIR);
  if (!S_ISREG(status.st_mode)) {
    fail_file({"File", path.string(), "kind", "a device, pipe or socket", "a regular file",
               "Copy the contents into a file first."});
  }
  const auto refuse_if_above_limit = [&](std::uintmax_t bytes) {
    if (bytes <= byte_limit) return;
    fail_file({"File", path.string(), "length", fmt::format("{} bytes or more", bytes),
               fmt::format("at most {}", byte_limit), "Check that this is the right file."});
  };
  refuse_if_above_limit(static_cast<std::uintmax_t>(status.st_size));

  // One byte more than the stated length, so that a file that has not changed ends in one turn;
  // files under /proc state 0 and are read until they end.
  constexpr std::size_t smallest_read = 4096;
  std::vector<std::byte> contents(
      std::max(static_cast<std::size_t>(status.st_size) + 1, smallest_read));
  std::size_t filled = 0;
  for (;;) {
    if (filled == contents.size()) contents.resize(contents.size() * 2);
    const ssize_t got = ::read(file.get(), contents.data() + filled, contents.size() - filled);
    if (got < 0) {
      if (errno == EINTR) continue;
      fail_system(path, "read", errno);
    }
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
    refuse_if_above_limit(filled);
  }
  contents.resize(filled);
  return contents;
}

void write_file_atomically(const fs::path& path, std::span<const std::byte> contents) {
  const fs::path target = resolve_link(path);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  const std::optional<mode_t> mode = mode_to_keep(target);

  // Opened first: whatever can fail should fail before the rename.
  const Descriptor directory(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (directory.get() < 0) fail_system(target, "open its folder", errno);

  auto [temporary_path, file] = create_temporary(folder, target);
  TemporaryFile temporary(std::move(temporary_path));
  if (mode && ::fchmod(file.get(), *mode) != 0) fail_system(target, "keep its rights", errno);
  write_all(file.get(), contents, target);
  if (::fsync(file.get()) != 0) fail_system(target, "sync", errno);
  if (!file.close()) fail_system(target, "close", errno);
  if (::rename(temporary.path().c_str(), target.c_str()) != 0) {
    fail_system(target, "put the new file in place", errno);
  }
  temporary.keep();
  // EINVAL: a file system that cannot sync folders.
  if (::fsync(directory.get()) != 0 && errno != EINVAL) {
    fail_system(target, "sync its folder (the new contents are in place)", errno);
  }
}

}  // namespace cermet
