#pragma once
// Kernel: the base of everything that can be encoded.

#include <memory>
#include <string>
#include <string_view>

#include "cermet/core/device.h"

namespace cermet {

class Coder;

/// Bits; spec: core 1.2. AllowReducedPrecision lets convolutions and fully connected layers round
/// their factors to TF32 on a GPU, which multiplies those several times as fast; sums stay float32.
/// The other bits are stored and change nothing yet.
enum class KernelOptions : unsigned {
  None = 0,
  SkipAPIValidation = 1,
  AllowReducedPrecision = 2,
  DisableInternalTiling = 4,
  InsertDebugGroups = 8,
  Verbose = 16,
};
[[nodiscard]] constexpr KernelOptions operator|(KernelOptions a, KernelOptions b) {
  return static_cast<KernelOptions>(static_cast<unsigned>(a) | static_cast<unsigned>(b));
}
[[nodiscard]] constexpr bool has(KernelOptions set, KernelOptions bit) {
  return (static_cast<unsigned>(set) & static_cast<unsigned>(bit)) != 0;
}

/// Kernels are values: copies have the same properties and share padding policies, allocators and
/// data sources. Encoding copies the properties; one kernel may be encoded many times, but not by
/// two threads at once (spec: core 4).
class Kernel {
 public:
  explicit Kernel(const Device& device);
  virtual ~Kernel() = default;

  [[nodiscard]] const Device& device() const { return device_; }
  [[nodiscard]] KernelOptions options() const { return options_; }
  void setOptions(KernelOptions options) { options_ = options; }
  [[nodiscard]] const std::string& label() const { return label_; }
  void setLabel(std::string label) { label_ = std::move(label); }

  /// The name of the class, as messages, logs and archives spell it.
  [[nodiscard]] virtual std::string_view class_name() const = 0;

  /// Writes all that makes this kernel: its class, what it was made with, every property. Each
  /// concrete class has a constructor from a coder and a device, which makes an equal kernel.
  /// Throws InvalidArgument where a policy, allocator or data source cannot be archived (spec:
  /// core 4.4; docs/guide/archives.md).
  void encodeWithCoder(Coder& coder) const;
  /// The same kernel for another device; nil: for this one. Padding policy and allocator are
  /// shared, data sources copied if they can be, weights made again as they are in memory now: let
  /// work that changes them complete first. Concrete classes return their own type by value. Throws
  /// InvalidArgument for a class that is not the library's.
  [[nodiscard]] std::unique_ptr<Kernel> copy(const Device& device = {}) const;

 protected:
  /// For subclasses: a kernel that `read` then fills.
  Kernel(Coder& coder, const Device& device);
  Kernel(const Kernel&) = default;
  Kernel(Kernel&&) = default;
  Kernel& operator=(const Kernel&) = default;
  Kernel& operator=(Kernel&&) = default;

  /// The fields of this class after those of its base, for the coder to write or read; where it
  /// reads, also checks them and makes what derives from them.
  virtual void code(Coder& coder);
  /// Assigns all fields. Called by the constructor of each concrete class that takes a coder.
  void read(Coder& coder);
  /// Makes what this kernel keeps on its device again on `device`, which may be the same.
  virtual void move_to(const Device& device);
  /// `copy` of a concrete class.
  template <class K>
  [[nodiscard]] static K copy_of(const K& kernel, const Device& device) {
    K result(kernel);
    static_cast<Kernel&>(result).finish_copy(kernel, device);
    return result;
  }

  /// Throws InvalidArgument: `CNNConvolution "conv1": argument is got; needed ... . Remedy`.
  [[noreturn]] void complain(std::string_view argument, std::string got, std::string needed,
                             std::string remedy = {}) const;

 private:
  void finish_copy(const Kernel& original, const Device& device);

  Device device_;
  KernelOptions options_ = KernelOptions::None;
  std::string label_;
};

}  // namespace cermet
