#include "cermet/core/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "cermet/core/file.h"
#include "cermet/core/text.h"

namespace cermet {
namespace {

using nlohmann::json;
using Bytes = std::span<const std::byte>;

constexpr std::size_t length_bytes = 8;
constexpr std::size_t data_alignment = 8;
constexpr std::uint64_t header_limit = 100'000'000;  // the format's own limit
constexpr std::string_view metadata_key = "__metadata__";
constexpr std::string_view damaged = "Copy or fetch the file again, or write it anew.";

struct ElementType {
  std::string_view dtype;
  std::size_t bytes;
};
constexpr std::array element_types = {
    ElementType{"BOOL", 1}, ElementType{"U8", 1},      ElementType{"I8", 1},
    ElementType{"U16", 2},  ElementType{"F8_E4M3", 1}, ElementType{"F8_E5M2", 1},
    ElementType{"I16", 2},  ElementType{"F16", 2},     ElementType{"BF16", 2},
    ElementType{"U32", 4},  ElementType{"I32", 4},     ElementType{"F32", 4},
    ElementType{"U64", 8},  ElementType{"I64", 8},     ElementType{"F64", 8},
};

/// Empty when the product does not fit 64 bits or a size is negative.
std::optional<std::uint64_t> byte_count(const std::vector<std::int64_t>& shape,
                                        std::size_t element_bytes) {
  std::uint64_t count = element_bytes;
  for (const std::int64_t size : shape) {
    if (size < 0 || __builtin_mul_overflow(count, static_cast<std::uint64_t>(size), &count)) {
      return std::nullopt;
    }
  }
  return count;
}

std::string shape_text(const SafeTensor& tensor) {
  return fmt::format("{} [{}]", tensor.dtype, joined(tensor.shape, ", "));
}

/// At most a line or two of something that a hostile file may have made long.
std::string excerpt(std::string text, std::size_t longest = 80) {
  if (text.size() > longest) text.replace(longest, std::string::npos, "...");
  return text;
}

std::string excerpt(const json& value) {
  return excerpt(value.dump(-1, ' ', true, json::error_handler_t::replace));
}

/// What is being read, for messages.
class Reader {
 public:
  explicit Reader(std::string_view file) : file_(file) {}

  [[nodiscard]] SafeTensors read(Bytes bytes) const;

 private:
  struct Placed {
    SafeTensor tensor;
    std::uint64_t begin;
    std::uint64_t end;
  };

  [[noreturn]] void fail_at(std::string_view argument, std::string got, std::string needed,
                            std::string_view remedy = damaged) const {
    fail_file({"Safetensors file", file_, argument, std::move(got), std::move(needed),
               std::string(remedy)});
  }

  [[nodiscard]] std::size_t header_bytes(Bytes bytes) const;
  [[nodiscard]] json parse_header(Bytes header) const;
  [[nodiscard]] std::map<std::string, std::string> read_metadata(const json& value) const;
  [[nodiscard]] Placed read_entry(const std::string& name, const json& entry) const;
  [[nodiscard]] std::vector<std::uint64_t> read_sizes(const std::string& name, const json& entry,
                                                      std::string_view key) const;
  void check_cover(const std::vector<Placed>& places, std::uint64_t data_bytes) const;

  std::string_view file_;
};

std::size_t Reader::header_bytes(Bytes bytes) const {
  if (bytes.size() < length_bytes) {
    fail_at("length", fmt::format("{} bytes", bytes.size()), "8 or more");
  }
  std::uint64_t length = 0;
  for (std::size_t index = 0; index < length_bytes; ++index) {
    length |= std::to_integer<std::uint64_t>(bytes[index]) << (8 * index);
  }
  const std::size_t present = bytes.size() - length_bytes;
  if (length > header_limit || length > present) {
    fail_at("header length", fmt::format("{} bytes", length),
            fmt::format("at most {}, and {} follow", header_limit, present),
            "Check that this is a safetensors file and complete.");
  }
  return static_cast<std::size_t>(length);
}

/// The parser alone would keep the last of two equal keys, and nest as deep as the file asks.
json Reader::parse_header(Bytes header) const {
  if (header.empty() || header.front() != std::byte{'{'}) {
    fail_at("start of the header",
            header.empty() ? "missing" : fmt::format("0x{:02x}", header.front()), "'{'",
            "Check that this is a safetensors file.");
  }
  constexpr int deepest = 3;  // header, entry, list; the callback sees values one level further in
  std::vector<std::set<std::string>> keys;
  const auto check = [&](int depth, json::parse_event_t event, const json& parsed) {
    if (depth > deepest) fail_at("header", "nested too deep", "at most 3 levels");
    if (event == json::parse_event_t::object_start) {
      keys.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      keys.pop_back();
    } else if (event == json::parse_event_t::key &&
               !keys.back().insert(parsed.get<std::string>()).second) {
      fail_at(fmt::format("key {}", excerpt(parsed)), "there twice", "each key once");
    }
    return true;
  };
  const auto* text = reinterpret_cast<const char*>(header.data());
  try {
    return json::parse(text, text + header.size(), check);
  } catch (const json::exception& error) {
    fail_at("header", fmt::format("not JSON ({})", excerpt(error.what(), 200)), "a JSON object");
  }
}

std::map<std::string, std::string> Reader::read_metadata(const json& value) const {
  if (!value.is_object()) fail_at("__metadata__", excerpt(value), "an object of strings");
  std::map<std::string, std::string> metadata;
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      fail_at(fmt::format("__metadata__ \"{}\"", excerpt(key)), excerpt(text), "a string");
    }
    metadata.emplace(key, text.get<std::string>());
  }
  return metadata;
}

std::vector<std::uint64_t> Reader::read_sizes(const std::string& name, const json& entry,
                                              std::string_view key) const {
  const auto found = entry.find(key);
  const std::string argument = fmt::format("{} of tensor \"{}\"", key, excerpt(name));
  if (found == entry.end()) fail_at(argument, "missing", "a list of whole numbers");
  if (!found->is_array()) fail_at(argument, excerpt(*found), "a list of whole numbers");
  std::vector<std::uint64_t> sizes;
  sizes.reserve(found->size());
  for (const json& size : *found) {
    constexpr auto largest = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
    if (!size.is_number_unsigned() || size.get<std::uint64_t>() > largest) {
      fail_at(argument, excerpt(*found), "a list of whole numbers from 0 to 2^63 - 1");
    }
    sizes.push_back(size.get<std::uint64_t>());
  }
  return sizes;
}

Reader::Placed Reader::read_entry(const std::string& name, const json& entry) const {
  const std::string subject = fmt::format("tensor \"{}\"", excerpt(name));
  if (!entry.is_object()) {
    fail_at(subject, excerpt(entry), "an object with dtype, shape and data_offsets");
  }
  Placed placed = {};
  placed.tensor.name = name;

  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) {
    fail_at("dtype of " + subject, dtype == entry.end() ? "missing" : excerpt(*dtype), "a string");
  }
  placed.tensor.dtype = dtype->get<std::string>();
  const std::size_t element_bytes = safetensor_element_bytes(placed.tensor.dtype);
  if (element_bytes == 0) {
    fail_at("dtype of " + subject, excerpt(*dtype),
            "BOOL, U8, I8, F8_E4M3, F8_E5M2, U16, I16, F16, BF16, U32, I32, F32, U64, I64 or F64",
            "Convert the tensor to one of these.");
  }

  for (const std::uint64_t size : read_sizes(name, entry, "shape")) {
    placed.tensor.shape.push_back(static_cast<std::int64_t>(size));
  }
  const auto offsets = read_sizes(name, entry, "data_offsets");
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    fail_at("data_offsets of " + subject, excerpt(entry["data_offsets"]),
            "[begin, end] with begin <= end");
  }
  placed.begin = offsets[0];
  placed.end = offsets[1];

  const auto wanted = byte_count(placed.tensor.shape, element_bytes);
  const std::uint64_t held = placed.end - placed.begin;
  if (wanted != held) {
    fail_at("data of " + subject, fmt::format("{} bytes", held),
            fmt::format("{} for {}", wanted ? fmt::format("{}", *wanted) : "more than 2^64",
                        excerpt(shape_text(placed.tensor))));
  }
  return placed;
}

/// `places` are sorted; together they must be [0, data_bytes).
void Reader::check_cover(const std::vector<Placed>& places, std::uint64_t data_bytes) const {
  std::uint64_t covered = 0;
  for (const Placed& placed : places) {
    if (placed.begin != covered) {
      fail_at(fmt::format("begin of tensor \"{}\"", excerpt(placed.tensor.name)),
              fmt::format("{}", placed.begin),
              fmt::format("{}, where the data before it ends ({})", covered,
                          placed.begin < covered ? "they overlap" : "there is a hole"));
    }
    covered = placed.end;
  }
  if (covered != data_bytes) {
    fail_at("data", fmt::format("{} bytes", data_bytes),
            fmt::format("{}, where the last tensor ends", covered),
            data_bytes < covered ? "The file is cut short: copy or fetch it again." : damaged);
  }
}

SafeTensors Reader::read(Bytes bytes) const {
  const std::size_t header_length = header_bytes(bytes);
  const json header = parse_header(bytes.subspan(length_bytes, header_length));
  const Bytes data = bytes.subspan(length_bytes + header_length);

  SafeTensors contents;
  contents.file = file_;
  std::vector<Placed> places;
  for (const auto& [name, entry] : header.items()) {
    if (name == metadata_key) {
      contents.metadata = read_metadata(entry);
    } else {
      places.push_back(read_entry(name, entry));
    }
  }
  // Empty tensors share their begin with the next one, hence the end. Stable: then by name.
  std::ranges::stable_sort(places, {}, [](const Placed& p) { return std::pair(p.begin, p.end); });
  check_cover(places, data.size());

  for (Placed& placed : places) {
    const Bytes part = data.subspan(placed.begin, placed.end - placed.begin);
    placed.tensor.data.assign(part.begin(), part.end());
    contents.tensors.push_back(std::move(placed.tensor));
  }
  return contents;
}

[[noreturn]] void fail_tensor(const SafeTensor& tensor, std::string_view argument, std::string got,
                              std::string needed, std::string remedy) {
  fail({"SafeTensor", tensor.name, argument, std::move(got), std::move(needed), std::move(remedy)});
}

void check_tensor(const SafeTensor& tensor) {
  if (tensor.name == metadata_key) {
    fail_tensor(tensor, "name", "reserved", "another name", "Put strings into metadata.");
  }
  const std::size_t element_bytes = safetensor_element_bytes(tensor.dtype);
  if (element_bytes == 0) {
    fail_tensor(tensor, "dtype", fmt::format("\"{}\"", tensor.dtype), "a type of the format",
                "For example F32.");
  }
  const auto wanted = byte_count(tensor.shape, element_bytes);
  if (!wanted || *wanted != tensor.data.size()) {
    fail_tensor(
        tensor, "data", fmt::format("{} bytes", tensor.data.size()),
        fmt::format("{} for {}", wanted ? fmt::format("{}", *wanted) : "an impossible number",
                    shape_text(tensor)),
        "Make data and shape agree.");
  }
}

std::string header_text(const SafeTensors& contents, std::span<const SafeTensor* const> order) {
  json header = json::object();
  if (!contents.metadata.empty()) header[std::string(metadata_key)] = contents.metadata;
  std::uint64_t offset = 0;
  for (const SafeTensor* tensor : order) {
    const std::uint64_t end = offset + tensor->data.size();
    json entry = {{"dtype", tensor->dtype}, {"shape", tensor->shape}};
    entry["data_offsets"] = {offset, end};
    if (!header.emplace(tensor->name, std::move(entry)).second) {
      fail_tensor(*tensor, "name", "there twice", "each name once", "Rename one of them.");
    }
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const json::exception& error) {
    fail({"format_safetensors", contents.file, "a name or metadata string",
          fmt::format("not UTF-8 ({})", error.what()), "UTF-8 text", "Encode it first."});
  }
  const std::size_t beyond = (length_bytes + text.size()) % data_alignment;
  if (beyond != 0) text.append(data_alignment - beyond, ' ');
  if (text.size() > header_limit) {
    fail({"format_safetensors", contents.file, "header", fmt::format("{} bytes", text.size()),
          fmt::format("at most {}", header_limit), "Write fewer tensors into one file."});
  }
  return text;
}

}  // namespace

const std::string& metadata_entry(const SafeTensors& file, const std::string& name,
                                  std::string needed, std::string remedy) {
  const auto found = file.metadata.find(name);
  if (found != file.metadata.end()) return found->second;
  fail_file({file.file, "", "metadata \"" + name + "\"", "missing", std::move(needed),
             std::move(remedy)});
}

std::uint64_t metadata_count(const SafeTensors& file, const std::string& name, std::uint64_t most,
                             std::string remedy) {
  const std::string needed = fmt::format("a whole number from 0 to {}", most);
  const std::string& text = metadata_entry(file, name, needed, remedy);
  const char* end = text.data() + text.size();
  std::uint64_t value = 0;
  const auto result = std::from_chars(text.data(), end, value);
  if (result.ec == std::errc{} && result.ptr == end && value <= most) return value;
  fail_file({file.file, "", "metadata \"" + name + "\"", "\"" + excerpt(text) + "\"", needed,
             std::move(remedy)});
}

double metadata_number(const SafeTensors& file, const std::string& name, std::string remedy) {
  const std::string needed = "a finite number";
  const std::string& text = metadata_entry(file, name, needed, remedy);
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);  // hexadecimal too
  if (!text.empty() && end == text.c_str() + text.size() && std::isfinite(value)) return value;
  fail_file({file.file, "", "metadata \"" + name + "\"", "\"" + excerpt(text) + "\"", needed,
             std::move(remedy)});
}

std::size_t safetensor_element_bytes(std::string_view dtype) {
  const auto found = std::ranges::find(element_types, dtype, &ElementType::dtype);
  return found == element_types.end() ? 0 : found->bytes;
}

const SafeTensor& SafeTensors::at(std::string_view name) const {
  const auto found = std::ranges::find(tensors, name, &SafeTensor::name);
  if (found != tensors.end()) return *found;
  std::vector<std::string_view> names;
  for (const SafeTensor& tensor : tensors) names.push_back(tensor.name);
  fail_file(
      {"Safetensors file", file, fmt::format("tensor \"{}\"", name), "missing",
       fmt::format("one of its {} tensors ({})", tensors.size(), excerpt(joined(names, ", "))),
       "Check that the file belongs to this model."});
}

SafeTensors parse_safetensors(std::span<const std::byte> bytes, std::string_view name) {
  return Reader(name).read(bytes);
}

SafeTensors read_safetensors(const std::filesystem::path& path) {
  return parse_safetensors(read_file(path), path.string());
}

std::vector<std::byte> format_safetensors(const SafeTensors& contents) {
  std::vector<const SafeTensor*> order;
  std::size_t data_bytes = 0;
  for (const SafeTensor& tensor : contents.tensors) {
    check_tensor(tensor);
    order.push_back(&tensor);
    data_bytes += tensor.data.size();
  }
  std::ranges::stable_sort(order, std::greater{}, [](const SafeTensor* tensor) {
    return safetensor_element_bytes(tensor->dtype);
  });

  const std::string header = header_text(contents, order);
  std::vector<std::byte> bytes;
  bytes.reserve(length_bytes + header.size() + data_bytes);
  for (std::size_t index = 0; index < length_bytes; ++index) {
    bytes.push_back(static_cast<std::byte>(header.size() >> (8 * index)));
  }
  const auto text = std::as_bytes(std::span(header));
  bytes.insert(bytes.end(), text.begin(), text.end());
  for (const SafeTensor* tensor : order) {
    bytes.insert(bytes.end(), tensor->data.begin(), tensor->data.end());
  }
  return bytes;
}

void write_safetensors(const std::filesystem::path& path, const SafeTensors& contents) {
  write_file_atomically(path, format_safetensors(contents));
}

}  // namespace cermet
