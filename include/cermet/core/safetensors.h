#pragma once
// The safetensors format: 8 bytes with the length of the header (little-endian), a JSON header
// {"name": {"dtype", "shape", "data_offsets": [begin, end]}, "__metadata__": {string: string}},
// then the data, which the tensors cover without holes or overlaps.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace cermet {

struct SafeTensor {
  std::string name;
  /// BOOL U8 I8 F8_E4M3 F8_E5M2 U16 I16 F16 BF16 U32 I32 F32 U64 I64 F64
  std::string dtype;
  std::vector<std::int64_t> shape;  ///< Empty for a scalar.
  std::vector<std::byte> data;      ///< Little-endian, the last dimension fastest.

  [[nodiscard]] bool operator==(const SafeTensor&) const = default;
};

struct SafeTensors {
  std::map<std::string, std::string> metadata;
  std::vector<SafeTensor> tensors;
  std::string file;  ///< Where they came from, for messages; never written.

  /// FileError when there is none of this name: the file is not the one the caller needs.
  [[nodiscard]] const SafeTensor& at(std::string_view name) const;
};

/// An entry of the metadata. FileError where there is none; `needed` and `remedy` end its message.
[[nodiscard]] const std::string& metadata_entry(const SafeTensors& file, const std::string& name,
                                                std::string needed, std::string remedy);
/// An entry that is a whole number from 0 to `most`, in decimal digits. FileError otherwise.
[[nodiscard]] std::uint64_t metadata_count(const SafeTensors& file, const std::string& name,
                                           std::uint64_t most, std::string remedy);
/// An entry that is a finite number. FileError otherwise.
[[nodiscard]] double metadata_number(const SafeTensors& file, const std::string& name,
                                     std::string remedy);

/// Bytes of one element; 0 for an unknown type.
[[nodiscard]] std::size_t safetensor_element_bytes(std::string_view dtype);

/// Tensors in the order of their data. FileError for whatever the format does not allow.
[[nodiscard]] SafeTensors read_safetensors(const std::filesystem::path& path);

/// The same on bytes in memory; `name` stands for the file in messages.
[[nodiscard]] SafeTensors parse_safetensors(std::span<const std::byte> bytes,
                                            std::string_view name);

/// The file's bytes. Data starts at a multiple of 8, larger element types first (otherwise in the
/// given order), so that each tensor is aligned for its type. Same tensors, same bytes.
/// InvalidArgument for a repeated or reserved name, an unknown type, or data that does not fit its
/// shape.
[[nodiscard]] std::vector<std::byte> format_safetensors(const SafeTensors& contents);

/// format_safetensors through write_file_atomically.
void write_safetensors(const std::filesystem::path& path, const SafeTensors& contents);

}  // namespace cermet
