#pragma once
// Whole files in one call. A write either replaces the file completely or leaves the old one.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <span>
#include <string>
#include <vector>

#include "cermet/core/error.h"

namespace cermet {

/// The contents of a regular file of at most `byte_limit` bytes; FileError otherwise.
[[nodiscard]] std::vector<std::byte> read_file(
    const std::filesystem::path& path,
    std::uintmax_t byte_limit = std::numeric_limits<std::uintmax_t>::max());

/// Writes a temporary file beside `path`, syncs it, renames it to `path` and syncs the folder.
/// An existing file keeps its access rights; a symbolic link stays, and the file it names is
/// replaced. On failure the temporary is removed, the old file is untouched and FileError says why.
/// A process killed half-way leaves the old file, and a temporary named `.<pid>-<n>.cermet-tmp`.
void write_file_atomically(const std::filesystem::path& path, std::span<const std::byte> contents);

/// Throws FileError with the text of describe(complaint).
[[noreturn]] void fail_file(const Complaint& complaint);

}  // namespace cermet
