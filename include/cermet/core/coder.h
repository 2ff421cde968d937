#pragma once
// Archives: what is needed to make a kernel again, in one file or byte string. The same list of
// fields writes and reads a class (docs/guide/archives.md; spec: core 4.4).

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "cermet/core/device.h"
#include "cermet/core/geometry.h"

namespace cermet {

class Coder;
namespace detail {
struct Archive;
}

/// Padding policies, allocators, data sources and callbacks are code of yours: an archive can hold
/// one if its class says how. Override all three, give the class a constructor that takes a Coder,
/// and call `register_codable` before reading.
class Codable {
 public:
  virtual ~Codable() = default;
  /// Default false: archiving what uses the object throws InvalidArgument, and nothing else does.
  [[nodiscard]] virtual bool supportsSecureCoding() const { return false; }
  /// The name that the class is registered under.
  [[nodiscard]] virtual std::string_view archive_name() const { return {}; }
  /// Throws InvalidArgument unless supportsSecureCoding().
  void encodeWithCoder(Coder& coder) const;

 protected:
  Codable() = default;
  Codable(const Codable&) = default;
  Codable(Codable&&) = default;
  Codable& operator=(const Codable&) = default;
  Codable& operator=(Codable&&) = default;

  /// Lists the fields: `coder("alpha", alpha_);` each. The constructor that takes a Coder calls it.
  virtual void code(Coder& /*coder*/) {}
  friend class Coder;
};

/// Makes an object from its fields, as `initWithCoder:` does.
using CodableFactory = std::function<std::shared_ptr<Codable>(Coder&)>;
/// Objects archived as `name` are read with `factory` from now on; names of the library's own
/// objects keep their meaning. Throws InvalidArgument for an empty name or factory.
void register_codable(const std::string& name, CodableFactory factory);
/// The same with `T(Coder&)`.
template <std::derived_from<Codable> T>
void register_codable(const std::string& name) {
  register_codable(name, [](Coder& coder) { return std::make_shared<T>(coder); });
}

/// A place in an archive that is written or read; copies are the same place. Reading throws
/// FileError for whatever is missing, of another type or out of range; writing throws
/// InvalidArgument.
class Coder {
 public:
  /// The version that is written, and the newest that can be read.
  static constexpr int newest_version = 1;

  /// The top of a new archive, to write into.
  Coder();
  /// The top of an archive to read. `name` stands for the file in messages. FileError for what is
  /// no archive, damaged, or of a newer version.
  explicit Coder(std::span<const std::byte> bytes, const std::string& name = "bytes");
  /// The same from a file.
  [[nodiscard]] static Coder open(const std::filesystem::path& file);

  /// What was written, as bytes, or to a file by write_file_atomically. The same fields, the same
  /// bytes. InvalidArgument for an archive that is read.
  [[nodiscard]] std::vector<std::byte> bytes() const;
  void save(const std::filesystem::path& file) const;

  [[nodiscard]] bool is_reading() const;
  /// Of the archive that is read, or `newest_version`: a class that changes its fields asks.
  [[nodiscard]] int version() const;
  /// Where kernels are being made; nil before the first, and while writing.
  [[nodiscard]] const Device& device() const;

  /// The part of that name, for another object: new when writing, FileError if absent when reading.
  [[nodiscard]] Coder at(std::string_view key) const;
  [[nodiscard]] bool contains(std::string_view key) const;
  /// The class of the object at this place; empty: there is none.
  [[nodiscard]] std::string archived_class() const;

  // Fields: written when writing, which assigns nothing, and assigned when reading.
  void operator()(std::string_view key, bool& value) const;
  void operator()(std::string_view key, float& value) const;
  void operator()(std::string_view key, double& value) const;
  void operator()(std::string_view key, std::string& value) const;
  void operator()(std::string_view key, Offset& value) const;
  void operator()(std::string_view key, Size& value) const;
  void operator()(std::string_view key, Region& value) const;
  void operator()(std::string_view key, std::optional<float>& value) const;
  template <std::integral T>
  void operator()(std::string_view key, T& value) const {
    T coded{};
    if constexpr (std::is_signed_v<T>) {
      coded = static_cast<T>(
          code_signed(key, value, std::numeric_limits<T>::min(), std::numeric_limits<T>::max()));
    } else {
      coded = static_cast<T>(code_unsigned(key, value, std::numeric_limits<T>::max()));
    }
    if (is_reading()) value = coded;
  }
  /// One of the cases from 0 to `last`.
  template <class E>
  requires std::is_enum_v<E>
  void operator()(std::string_view key, E& value, E last) const {
    value = static_cast<E>(
        code_unsigned(key, static_cast<std::uint64_t>(value), static_cast<std::uint64_t>(last)));
  }
  /// Any combination of bits.
  template <class E>
  requires std::is_enum_v<E>
  void flags(std::string_view key, E& value) const {
    auto bits = static_cast<std::underlying_type_t<E>>(value);
    (*this)(key, bits);
    if (is_reading()) value = static_cast<E>(bits);
  }
  /// A value with fields of its own, which its `code(Coder&)` lists.
  template <class T>
  requires requires(T& value, Coder& coder) { value.code(coder); }
  void operator()(std::string_view key, T& value) const {
    Coder part = at(key);
    value.code(part);
  }
  /// Any number of floats, as a tensor; and as many as the shape has, else FileError.
  void operator()(std::string_view key, std::vector<float>& values) const;
  void tensor(std::string_view key, std::vector<float>& values,
              std::span<const std::size_t> shape) const;
  /// A policy, allocator, data source or callback; one object stays one object in an archive.
  /// `stock`: classes of the library that need no registration.
  struct Stock {
    std::string_view name;
    std::shared_ptr<Codable> (*make)(Coder&);
  };
  template <std::derived_from<Codable> T>
  void operator()(std::string_view key, std::shared_ptr<T>& object,
                  std::span<const Stock> stock = {}) const {
    const std::shared_ptr<Codable> read = code_object(key, object, stock);
    if (!is_reading()) return;
    object = std::dynamic_pointer_cast<T>(read);
    if (read && !object) refuse(key, "an object of another kind", "one that fits this property");
  }

  /// Throws FileError about the field `key` of this place.
  [[noreturn]] void refuse(std::string_view key, std::string got, std::string needed,
                           std::string remedy = {}) const;

  // For kernels: begins the object at this place, of this class, or checks that it is there.
  void begin(std::string_view class_name, std::string_view label, const Device& device);

 private:
  struct Place;
  Coder(std::shared_ptr<detail::Archive> archive, std::shared_ptr<const Place> place);
  [[nodiscard]] std::int64_t code_signed(std::string_view key, std::int64_t value,
                                         std::int64_t least, std::int64_t most) const;
  [[nodiscard]] std::uint64_t code_unsigned(std::string_view key, std::uint64_t value,
                                            std::uint64_t most) const;
  [[nodiscard]] double code_number(std::string_view key, double value, double most) const;
  [[nodiscard]] std::shared_ptr<Codable> code_object(std::string_view key,
                                                     const std::shared_ptr<Codable>& object,
                                                     std::span<const Stock> stock) const;
  template <std::size_t N>
  void code_integers(std::string_view key, const std::array<std::size_t*, N>& values) const;

  std::shared_ptr<detail::Archive> archive_;
  std::shared_ptr<const Place> place_;
};

}  // namespace cermet
