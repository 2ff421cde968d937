#pragma once
// IDX files, the format of MNIST: two zero bytes, a type byte, the number of dimensions, the sizes
// (32 bits, big-endian), then the values. Plain or gzip-compressed; the contents tell which.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string_view>
#include <vector>

namespace cermet {

/// Values of unsigned bytes (IDX type 0x08, the only one read here), the last dimension fastest.
struct IdxArray {
  std::vector<std::uint32_t> dimensions;
  std::vector<std::uint8_t> values;
};

/// Limits of what is accepted, so that a hostile header cannot exhaust the memory.
inline constexpr std::size_t idx_dimension_limit = 8;
inline constexpr std::uint64_t idx_value_limit = (std::uint64_t{1} << 31) - 1;

/// Throws FileError when the file cannot be read, is of another kind, or is shorter or longer than
/// its header says. Memory grows with the data found, not with the sizes claimed.
[[nodiscard]] IdxArray read_idx(const std::filesystem::path& path);

/// The same on bytes in memory; `name` stands for the file in messages.
[[nodiscard]] IdxArray parse_idx(std::span<const std::uint8_t> bytes, std::string_view name);

/// Compressed, without a time stamp, when `path` ends in ".gz".
void write_idx(const std::filesystem::path& path, const IdxArray& array);

/// Images of one channel, `pixels` in the order image, row, column; one label in 0..9 per image.
struct DigitSet {
  int count = 0;
  int height = 0;
  int width = 0;
  std::vector<std::uint8_t> pixels;
  std::vector<std::uint8_t> labels;
};

/// Reads `train-images-idx3-ubyte` and `train-labels-idx1-ubyte` (`t10k-` for the test set) of
/// `folder`, each plain or with ".gz", and with "-idx" or ".idx" in its name; plain and "-" first.
[[nodiscard]] DigitSet load_digits(const std::filesystem::path& folder, bool train);

/// Whether all four files are there; says nothing of their contents.
[[nodiscard]] bool has_digits(const std::filesystem::path& folder);

}  // namespace cermet
