#include "cermet/train/file.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>

#include "help.h"

namespace cermet {
namespace {

namespace fs = std::filesystem;
using test::expect_parts;
using test::TemporaryFolder;
using test::text_of;
using test::to_bytes;
using test::to_text;

std::string failed_write(const fs::path& path, std::string_view text = "new") {
  return text_of<FileError>([&] { write_file_atomically(path, to_bytes(text)); });
}

std::string failed_read(const fs::path& path) {
  return text_of<FileError>([&] { (void)read_file(path); });
}

RC_GTEST_PROP(File, WhatIsWrittenIsRead, (const std::vector<std::uint8_t>& values)) {
  const TemporaryFolder folder;
  const auto bytes = std::as_bytes(std::span(values));
  write_file_atomically(folder / "file", bytes);
  const auto found = read_file(folder / "file");
  RC_ASSERT(std::equal(found.begin(), found.end(), bytes.begin(), bytes.end()));
  RC_ASSERT(folder.entry_count() == 1);
}

TEST(File, ReadsAcrossBlockBorders) {
  const TemporaryFolder folder;
  for (const std::size_t size : {0u, 1u, 4095u, 4096u, 4097u, 1u << 20}) {
    std::vector<std::byte> bytes(size, std::byte{7});
    if (size > 0) bytes.back() = std::byte{9};
    write_file_atomically(folder / "file", bytes);
    EXPECT_EQ(read_file(folder / "file"), bytes) << size;
  }
}

TEST(File, ReadsAFileThatStatesNoLength) { EXPECT_FALSE(read_file("/proc/self/status").empty()); }

TEST(File, ReplacesAndKeepsRights) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", to_bytes("a longer old text"));
  ASSERT_EQ(::chmod((folder / "file").c_str(), 0640), 0);
  write_file_atomically(folder / "file", to_bytes("new"));
  EXPECT_EQ(to_text(read_file(folder / "file")), "new");
  EXPECT_EQ(fs::status(folder / "file").permissions(), static_cast<fs::perms>(0640));
}

TEST(File, NewFilesFollowTheUmask) {
  const TemporaryFolder folder;
  const mode_t before = ::umask(027);
  write_file_atomically(folder / "file", to_bytes("new"));
  ::umask(before);
  EXPECT_EQ(fs::status(folder / "file").permissions(), static_cast<fs::perms>(0640));
}

TEST(File, WritesThroughALink) {
  const TemporaryFolder folder;
  fs::create_directory(folder / "elsewhere");
  write_file_atomically(folder / "elsewhere/file", to_bytes("old"));
  fs::create_symlink("elsewhere/file", folder / "link");
  write_file_atomically(folder / "link", to_bytes("new"));
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
  EXPECT_EQ(to_text(read_file(folder / "elsewhere/file")), "new");
}

TEST(File, RefusesALinkToNothing) {
  const TemporaryFolder folder;
  fs::create_symlink("nowhere", folder / "link");
  expect_parts(failed_write(folder / "link"), {"/link\"", "link to nothing", "Remove the link"});
  EXPECT_TRUE(fs::is_symlink(folder / "link"));
}

TEST(File, WritesToABareName) {
  const TemporaryFolder folder;
  const fs::path before = fs::current_path();
  fs::current_path(folder.path());
  write_file_atomically("bare", to_bytes("new"));
  fs::current_path(before);
  EXPECT_EQ(to_text(read_file(folder / "bare")), "new");
}

TEST(File, SaysWhatCannotBeRead) {
  const TemporaryFolder folder;
  expect_parts(failed_read(folder / "absent"), {folder.path().string() + "/absent\"", "cannot open",
                                                "No such file or directory", "Check the spelling"});
  expect_parts(failed_read(folder.path()), {folder.path().string(), "Is a directory"});
  expect_parts(failed_read("/dev/null"), {"/dev/null", "device", "a regular file"});
}

TEST(File, ReadsNoMoreThanTheLimit) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", to_bytes("12345"));
  EXPECT_EQ(read_file(folder / "file", 5).size(), 5u);
  const auto text = text_of<FileError>([&] { (void)read_file(folder / "file", 4); });
  expect_parts(text, {"/file\"", "5 bytes", "at most 4"});
  const auto growing = text_of<FileError>([] { (void)read_file("/proc/self/status", 4); });
  expect_parts(growing, {"/proc/self/status", "at most 4"});
}

TEST(File, SaysWhereItCannotWrite) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", to_bytes("old"));
  expect_parts(failed_write(folder / "absent/file"),
               {"/absent/file\"", "No such file or directory", "the folder must exist"});
  expect_parts(failed_write(folder / "file/below"), {"/file/below\"", "Not a directory"});
  expect_parts(failed_write(folder.path()), {"Is a directory", "Name a file"});
  expect_parts(failed_write("/dev/full"), {"/dev/full", "device", "a regular file"});
  expect_parts(failed_write(folder / std::string(300, 'x')), {"too long", "shorter name"});
  expect_parts(failed_write("/proc/cermet"), {"/proc/cermet\"", "cannot create a file"});
  EXPECT_EQ(folder.entry_count(), 1);
}

/// Runs `check` in a child process, whose limits and mounts are its own. Its failures are printed
/// there and reach this one as the exit status.
int status_of_child(const std::function<int()>& check) {
  const pid_t child = ::fork();
  if (child == 0) {
    const int status = check();
    ::_exit(::testing::Test::HasFailure() ? 1 : status);
  }
  int status = 0;
  EXPECT_EQ(::waitpid(child, &status, 0), child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

void expect_old_file_alone(const TemporaryFolder& folder) {
  EXPECT_EQ(to_text(read_file(folder / "file")), "old");
  EXPECT_EQ(folder.entry_count(), 1);
}

TEST(File, KeepsTheOldFileWhenTheNewOneGrowsTooLarge) {
  const TemporaryFolder folder;
  write_file_atomically(folder / "file", to_bytes("old"));
  const int status = status_of_child([&] {
    ::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limit = {10'000, 10'000};
    if (::setrlimit(RLIMIT_FSIZE, &limit) != 0) return 2;
    expect_parts(failed_write(folder / "file", std::string(10'001, 'x')),
                 {"/file\"", "cannot write", "File too large", "ulimit -f"});
    expect_old_file_alone(folder);
    write_file_atomically(folder / "other", to_bytes(std::string(10'000, 'x')));
    return 0;
  });
  EXPECT_EQ(status, 0);
  EXPECT_EQ(to_text(read_file(folder / "file")), "old");
}

TEST(File, KeepsTheOldFileWhenTheDiskIsFull) {
  constexpr int no_mount_allowed = 77;
  const TemporaryFolder folder;
  const int status = status_of_child([&] {
    if (::unshare(::geteuid() == 0 ? CLONE_NEWNS : CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
        ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
        ::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
      return no_mount_allowed;
    }
    write_file_atomically(folder / "file", to_bytes("old"));
    expect_parts(failed_write(folder / "file", std::string(100'000, 'x')),
                 {"/file\"", "cannot write", "No space left on device", "Free some space"});
    expect_old_file_alone(folder);
    write_file_atomically(folder / "other", to_bytes(std::string(30'000, 'x')));
    return 0;
  });
  if (status == no_mount_allowed) GTEST_SKIP() << "this machine lets no test mount a small disk";
  EXPECT_EQ(status, 0);
}

TEST(File, StepsOverWhatAKilledProcessLeft) {
  const TemporaryFolder folder;
  // The counter is the process's; the names around it are taken.
  for (int index = 0; index < 5000; ++index) {
    fs::create_symlink("x", folder / ("." + std::to_string(::getpid()) + "-" +
                                      std::to_string(index) + ".cermet-tmp"));
  }
  write_file_atomically(folder / "file", to_bytes("new"));
  EXPECT_EQ(to_text(read_file(folder / "file")), "new");
  EXPECT_EQ(folder.entry_count(), 5001);
}

}  // namespace
}  // namespace cermet
