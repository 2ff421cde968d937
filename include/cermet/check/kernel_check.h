#pragma once
// Kernels of the library by name, ready to be checked: `cermet check` is a command over this.

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cermet/check/checked_kernel.h"

namespace cermet {

/// A parameter of a named check. Enums and flags are numbers, as in archives.
struct CheckSetting {
  std::string name;
  double value = 0;
  /// Other values that a sweep tries.
  std::vector<double> others;
};
/// Values of parameters by name; those that are not named keep their defaults.
using CheckSettings = std::map<std::string, double>;

/// The kernel classes that can be checked by name, forward classes alone, in alphabetical order.
[[nodiscard]] std::vector<std::string> checked_kernels();
/// The parameters of a named check: those of the kernel, then "offsetX", "edgeMode" and others of
/// where it reads and writes. Throws InvalidArgument for a name that is none of checked_kernels().
[[nodiscard]] std::vector<CheckSetting> check_settings(std::string_view kernel);
/// Whether the kernel has a gradient; others have results alone.
[[nodiscard]] bool has_gradient(std::string_view kernel);
/// The kernel and its gradient, made for a device with these settings. Of kernels of matrices
/// height x width are the rows and `featureChannels` the columns; `count` has no meaning. Of
/// sequences `count` is the number of steps and `height` that of the rows of each; `width` has no
/// meaning. Both are Float32. Throws InvalidArgument for what the kernel refuses, a setting that it
/// does not have, and a name that is none.
[[nodiscard]] std::unique_ptr<Differentiable> make_check(const Device& device,
                                                         std::string_view kernel,
                                                         const CheckSettings& settings = {},
                                                         const CheckedImages& images = {});

}  // namespace cermet
