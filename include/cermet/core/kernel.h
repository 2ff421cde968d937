#pragma once
// Kernel: the base of everything that can be encoded.

#include <memory>
#include <string>
#include <string_view>

#include "cermet/core/device.h"

namespace cermet {

/// Bits; spec: core 1.2. Cermet stores and returns all of them and acts on none yet.
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

 protected:
  Kernel(const Kernel&) = default;
  Kernel(Kernel&&) = default;
  Kernel& operator=(const Kernel&) = default;
  Kernel& operator=(Kernel&&) = default;

  /// Throws InvalidArgument: `CNNConvolution "conv1": argument is got; needed ... . Remedy`.
  [[noreturn]] void complain(std::string_view argument, std::string got, std::string needed,
                             std::string remedy = {}) const;

 private:
  Device device_;
  KernelOptions options_ = KernelOptions::None;
  std::string label_;
};

}  // namespace cermet
