#include "cermet/train/idx.h"

#define ZLIB_CONST  // zlib then takes its input as const
#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <limits>
#include <new>
#include <optional>
#include <string>

#include "cermet/train/file.h"
#include "cermet/train/text.h"

namespace cermet {
namespace {

namespace fs = std::filesystem;
using Bytes = std::span<const std::uint8_t>;

constexpr std::uint8_t unsigned_byte_type = 0x08;
constexpr std::size_t magic_bytes = 4;

[[noreturn]] void fail_idx(std::string_view name, std::string_view argument, std::string got,
                           std::string needed, std::string remedy) {
  fail_file({"IDX file", name, argument, std::move(got), std::move(needed), std::move(remedy)});
}

bool is_gzip(Bytes bytes) { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

class PlainSource {
 public:
  explicit PlainSource(Bytes bytes) : rest_(bytes) {}

  /// Fills as much of `out` as there is; fewer bytes mean the end.
  std::size_t read(std::span<std::uint8_t> out) {
    const std::size_t taken = std::min(out.size(), rest_.size());
    std::copy_n(rest_.begin(), taken, out.begin());
    rest_ = rest_.subspan(taken);
    return taken;
  }

 private:
  Bytes rest_;
};

/// Inflates one gzip member or several in a row, and checks the checksum of each.
class GzipSource {
 public:
  GzipSource(Bytes bytes, std::string_view name) : rest_(bytes), name_(name) {
    constexpr int gzip_window = 15 + 16;  // the largest window, gzip wrapping
    if (inflateInit2(&stream_, gzip_window) != Z_OK) throw Error("zlib cannot be started");
  }
  GzipSource(const GzipSource&) = delete;
  GzipSource& operator=(const GzipSource&) = delete;
  ~GzipSource() { inflateEnd(&stream_); }

  std::size_t read(std::span<std::uint8_t> out) {
    std::size_t filled = 0;
    while (filled < out.size() && !at_end_) filled += inflate_some(out.subspan(filled));
    return filled;
  }

 private:
  std::size_t inflate_some(std::span<std::uint8_t> out) {
    constexpr std::size_t largest_call = std::size_t{1} << 30;  // zlib counts in unsigned int
    const auto given = static_cast<uInt>(std::min(rest_.size(), largest_call));
    const auto wanted = static_cast<uInt>(std::min(out.size(), largest_call));
    stream_.next_in = rest_.data();
    stream_.avail_in = given;
    stream_.next_out = out.data();
    stream_.avail_out = wanted;
    const int status = inflate(&stream_, Z_NO_FLUSH);
    rest_ = rest_.subspan(given - stream_.avail_in);
    if (status == Z_STREAM_END) {
      finish_member();
    } else if (status == Z_BUF_ERROR ||
               (status == Z_OK && rest_.empty() && stream_.avail_out > 0)) {
      fail_idx(name_, "compressed data", "cut off before its end", "a complete gzip stream",
               "Copy or fetch the file again.");
    } else if (status == Z_MEM_ERROR) {
      throw std::bad_alloc();
    } else if (status != Z_OK) {
      fail_idx(name_, "compressed data",
               fmt::format("damaged ({})", stream_.msg != nullptr ? stream_.msg : "zlib error"),
               "a valid gzip stream", "Copy or fetch the file again.");
    }
    return wanted - stream_.avail_out;
  }

  void finish_member() {
    if (rest_.empty()) {
      at_end_ = true;
    } else if (is_gzip(rest_)) {
      inflateReset(&stream_);
    } else {
      fail_idx(name_, "compressed data", fmt::format("followed by {} other bytes", rest_.size()),
               "nothing after the gzip stream", "Copy or fetch the file again.");
    }
  }

  z_stream stream_ = {};
  Bytes rest_;
  std::string_view name_;
  bool at_end_ = false;
};

std::uint32_t big_endian(Bytes bytes) {
  return std::uint32_t{bytes[0]} << 24 | std::uint32_t{bytes[1]} << 16 |
         std::uint32_t{bytes[2]} << 8 | std::uint32_t{bytes[3]};
}

/// The number of dimensions.
std::size_t check_magic(std::span<const std::uint8_t, magic_bytes> magic, std::string_view name) {
  if (magic[0] != 0 || magic[1] != 0) {
    fail_idx(name, "start",
             fmt::format("{:02x} {:02x} {:02x} {:02x}", magic[0], magic[1], magic[2], magic[3]),
             "00 00 08 and the number of dimensions", "Check that this is an IDX file.");
  }
  if (magic[2] != unsigned_byte_type) {
    fail_idx(name, "type", fmt::format("0x{:02x}", magic[2]), "0x08 (unsigned bytes)",
             "Convert the values to unsigned bytes.");
  }
  if (magic[3] == 0 || magic[3] > idx_dimension_limit) {
    fail_idx(name, "number of dimensions", fmt::format("{}", magic[3]),
             fmt::format("1 to {}", idx_dimension_limit), "Check that this is an IDX file.");
  }
  return magic[3];
}

std::size_t count_values(const std::vector<std::uint32_t>& dimensions, std::string_view name) {
  // A zero makes the product zero whatever the others are; otherwise it stops at the limit, and
  // limit * 2^32 fits 64 bits.
  std::uint64_t count = std::ranges::count(dimensions, 0u) > 0 ? 0 : 1;
  for (const std::uint32_t size : dimensions) {
    count *= size;
    if (count > idx_value_limit) {
      fail_idx(name, "size in the header", joined(dimensions, "x"),
               fmt::format("at most {} values", idx_value_limit),
               "Check that the file is not damaged, or split it.");
    }
  }
  return static_cast<std::size_t>(count);
}

[[noreturn]] void fail_short(std::string_view name, std::size_t found, std::string needed) {
  fail_idx(name, "length", fmt::format("{} bytes", found), std::move(needed),
           "It is cut short: copy or fetch it again.");
}

/// Exactly `count` values. The vector doubles as data arrives, so that a small file with a large
/// claim costs little.
template <class Source>
std::vector<std::uint8_t> read_values(Source& source, std::size_t count) {
  constexpr std::size_t first_block = std::size_t{1} << 20;
  std::vector<std::uint8_t> values;
  std::size_t filled = 0;
  while (filled < count) {
    values.resize(std::min(count, std::max(first_block, 2 * filled)));
    filled += source.read(std::span(values).subspan(filled));
    if (filled < values.size()) break;
  }
  values.resize(filled);
  return values;
}

template <class Source>
IdxArray parse(Source& source, std::string_view name, std::optional<std::size_t> length) {
  std::array<std::uint8_t, magic_bytes> magic = {};
  std::size_t found = source.read(magic);
  if (found < magic.size()) fail_short(name, found, "4 bytes or more");
  const std::size_t rank = check_magic(magic, name);

  std::array<std::uint8_t, 4 * idx_dimension_limit> sizes = {};
  found += source.read(std::span(sizes).first(4 * rank));
  const std::size_t header_bytes = magic_bytes + 4 * rank;
  if (found < header_bytes) {
    fail_short(name, found, fmt::format("{} or more, for {} dimensions", header_bytes, rank));
  }
  IdxArray array;
  const Bytes all_sizes(sizes);
  for (std::size_t axis = 0; axis < rank; ++axis) {
    array.dimensions.push_back(big_endian(all_sizes.subspan(4 * axis, 4)));
  }

  const std::size_t count = count_values(array.dimensions, name);
  const std::size_t needed_bytes = header_bytes + count;
  const std::string needed = fmt::format("{} ({} of header and {} of values)", needed_bytes,
                                         header_bytes, joined(array.dimensions, "x"));
  if (length && *length < needed_bytes) fail_short(name, *length, needed);
  if (!length || *length == needed_bytes) {
    array.values = read_values(source, count);
    if (array.values.size() < count) fail_short(name, header_bytes + array.values.size(), needed);
    // Also drives a gzip stream to its checksum.
    std::array<std::uint8_t, 1> more = {};
    if (source.read(more) == 0) return array;
  }
  fail_idx(name, "length",
           length ? fmt::format("{} bytes", *length) : fmt::format("over {} bytes", needed_bytes),
           needed, "Something follows the values: copy or fetch it again.");
}

std::vector<std::byte> deflate_gzip(std::span<const std::byte> contents) {
  struct Deflater {
    z_stream stream = {};
    Deflater() = default;
    Deflater(const Deflater&) = delete;
    Deflater& operator=(const Deflater&) = delete;
    ~Deflater() { deflateEnd(&stream); }
  } deflater;
  z_stream& stream = deflater.stream;
  if (deflateInit2(&stream, Z_BEST_COMPRESSION, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY) !=
      Z_OK) {
    throw Error("zlib cannot be started");
  }
  std::vector<std::byte> packed(deflateBound(&stream, static_cast<uLong>(contents.size())));
  // write_idx holds both sizes below 2^32.
  stream.next_in = reinterpret_cast<const Bytef*>(contents.data());
  stream.avail_in = static_cast<uInt>(contents.size());
  stream.next_out = reinterpret_cast<Bytef*>(packed.data());
  stream.avail_out = static_cast<uInt>(packed.size());
  if (deflate(&stream, Z_FINISH) != Z_STREAM_END) throw Error("zlib cannot compress");
  packed.erase(packed.end() - static_cast<std::ptrdiff_t>(stream.avail_out), packed.end());
  return packed;
}

std::array<std::string, 4> spellings(std::string_view set, std::string_view kind, int rank) {
  const auto dash = fmt::format("{}-{}-idx{}-ubyte", set, kind, rank);
  const auto dot = fmt::format("{}-{}.idx{}-ubyte", set, kind, rank);
  return {dash, dash + ".gz", dot, dot + ".gz"};
}

std::array<std::string, 4> image_files(bool train) {
  return spellings(train ? "train" : "t10k", "images", 3);
}

std::array<std::string, 4> label_files(bool train) {
  return spellings(train ? "train" : "t10k", "labels", 1);
}

std::optional<fs::path> find_file(const fs::path& folder, const std::array<std::string, 4>& names) {
  std::error_code ignored;  // what cannot be looked at counts as absent
  for (const std::string& name : names) {
    if (fs::is_regular_file(folder / name, ignored)) return folder / name;
  }
  return std::nullopt;
}

fs::path require_file(const fs::path& folder, const std::array<std::string, 4>& names) {
  std::error_code ignored;
  if (!fs::is_directory(folder, ignored)) {
    fail_file({"Digit set", folder.string(), "folder", "missing",
               "a folder with the four IDX files", "Check its name."});
  }
  if (const auto path = find_file(folder, names)) return *path;
  fail_file({"Digit set", folder.string(), names.front(), "missing",
             "one of " + joined(names, ", "), "Name the folder that holds the four IDX files."});
}

IdxArray read_idx_of_rank(const fs::path& path, std::size_t rank, std::string_view meaning) {
  IdxArray array = read_idx(path);
  if (array.dimensions.size() != rank) {
    fail_idx(path.string(), "number of dimensions", fmt::format("{}", array.dimensions.size()),
             fmt::format("{} ({})", rank, meaning), "Check that the files are not swapped.");
  }
  return array;
}

}  // namespace

IdxArray parse_idx(std::span<const std::uint8_t> bytes, std::string_view name) {
  if (is_gzip(bytes)) {
    GzipSource source(bytes, name);
    return parse(source, name, std::nullopt);
  }
  PlainSource source(bytes);
  return parse(source, name, bytes.size());
}

IdxArray read_idx(const fs::path& path) {
  const auto contents = read_file(path, idx_value_limit + magic_bytes + 4 * idx_dimension_limit);
  const Bytes bytes(reinterpret_cast<const std::uint8_t*>(contents.data()), contents.size());
  return parse_idx(bytes, path.string());
}

void write_idx(const fs::path& path, const IdxArray& array) {
  const std::string name = path.string();
  const std::string sizes = joined(array.dimensions, "x");
  if (array.dimensions.empty() || array.dimensions.size() > idx_dimension_limit) {
    fail({"write_idx", name, "dimensions", fmt::format("{} of them", array.dimensions.size()),
          fmt::format("1 to {}", idx_dimension_limit), "Merge some of them."});
  }
  const std::size_t count = count_values(array.dimensions, name);
  if (count != array.values.size()) {
    fail({"write_idx", name, "values", fmt::format("{} long", array.values.size()),
          fmt::format("{} for {}", count, sizes), "Make sizes and values agree."});
  }
  std::vector<std::byte> contents = {std::byte{0}, std::byte{0}, std::byte{unsigned_byte_type},
                                     static_cast<std::byte>(array.dimensions.size())};
  for (const std::uint32_t size : array.dimensions) {
    for (const int shift : {24, 16, 8, 0})
      contents.push_back(static_cast<std::byte>(size >> shift));
  }
  const auto values = std::as_bytes(std::span(array.values));
  contents.insert(contents.end(), values.begin(), values.end());
  write_file_atomically(path, path.extension() == ".gz" ? deflate_gzip(contents) : contents);
}

DigitSet load_digits(const fs::path& folder, bool train) {
  const fs::path image_path = require_file(folder, image_files(train));
  const fs::path label_path = require_file(folder, label_files(train));
  IdxArray images = read_idx_of_rank(image_path, 3, "count, height, width");
  IdxArray labels = read_idx_of_rank(label_path, 1, "one label per image");

  const auto& sizes = images.dimensions;
  if (images.values.empty()) {
    fail_idx(image_path.string(), "size", joined(sizes, "x"), "one image of one pixel or more",
             "Check that this is the right file.");
  }
  // No size is zero here, so none exceeds the limit on their product.
  static_assert(idx_value_limit <= std::numeric_limits<int>::max());
  if (labels.dimensions[0] != sizes[0]) {
    fail_idx(label_path.string(), "number of labels", fmt::format("{}", labels.dimensions[0]),
             fmt::format("{}, one per image of {}", sizes[0], image_path.filename().string()),
             "Use the images and labels of one set.");
  }
  const auto wrong = std::ranges::find_if(labels.values, [](auto label) { return label > 9; });
  if (wrong != labels.values.end()) {
    fail_idx(label_path.string(), fmt::format("label {}", wrong - labels.values.begin()),
             fmt::format("{}", *wrong), "0 to 9", "Check that this is a set of digits.");
  }
  return {.count = static_cast<int>(sizes[0]),
          .height = static_cast<int>(sizes[1]),
          .width = static_cast<int>(sizes[2]),
          .pixels = std::move(images.values),
          .labels = std::move(labels.values)};
}

bool has_digits(const fs::path& folder) {
  for (const bool train : {true, false}) {
    if (!find_file(folder, image_files(train)) || !find_file(folder, label_files(train))) {
      return false;
    }
  }
  return true;
}

}  // namespace cermet
