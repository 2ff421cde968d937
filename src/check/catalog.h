#pragma once
// How a kernel is made for a check from a list of settings; joined in catalog.cpp.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "cermet/check/kernel_check.h"
#include "cermet/core/error.h"

namespace cermet::detail {

/// The settings of one check: every name that is asked for is there. Throws InvalidArgument in the
/// name of the kernel for numbers that are not whole where they must be.
class Settings {
 public:
  Settings(std::string_view kernel, CheckSettings values)
      : kernel_(kernel), values_(std::move(values)) {}
  [[nodiscard]] double operator[](const std::string& name) const { return values_.at(name); }
  [[nodiscard]] float number(const std::string& name) const {
    return static_cast<float>(values_.at(name));
  }
  [[nodiscard]] std::int64_t whole(const std::string& name) const;
  /// From 0 to 2^20.
  [[nodiscard]] std::size_t size(const std::string& name) const;
  [[nodiscard]] bool flag(const std::string& name) const { return whole(name) != 0; }
  template <class E>
  [[nodiscard]] E choice(const std::string& name) const {
    return static_cast<E>(whole(name));
  }
  [[nodiscard]] std::string_view kernel() const { return kernel_; }

 private:
  std::string_view kernel_;
  CheckSettings values_;
};

using CheckMaker = std::function<std::unique_ptr<Differentiable>(
    const Device& device, const Settings& settings, const CheckedImages& images)>;

struct CatalogEntry {
  std::string_view kernel;
  bool has_gradient = false;
  std::vector<CheckSetting> settings;
  CheckMaker make;
};
using Catalog = std::vector<CatalogEntry>;

/// What kernels with one source have besides their own settings, and a maker that applies it.
/// `make` returns the two kernels, the second of which may be null.
struct KernelPair {
  std::shared_ptr<CNNKernel> forward;
  std::shared_ptr<CNNGradientKernel> gradient;
};
using PairMaker = std::function<KernelPair(const Device& device, const Settings& settings,
                                           const CheckedImages& images)>;
[[nodiscard]] CatalogEntry unary_check(std::string_view kernel, std::vector<CheckSetting> settings,
                                       PairMaker make, bool has_gradient = true);

/// All cases of an enum up to the last.
template <class E>
[[nodiscard]] std::vector<double> cases_to(E last) {
  std::vector<double> cases;
  for (double one = 0; one <= static_cast<double>(last); ++one) cases.push_back(one);
  return cases;
}

// The families.
[[nodiscard]] Catalog operator_checks();
[[nodiscard]] Catalog image_checks();
[[nodiscard]] Catalog weighted_checks();
[[nodiscard]] Catalog binary_checks();
[[nodiscard]] Catalog loss_checks();
[[nodiscard]] Catalog matrix_checks();
[[nodiscard]] Catalog recurrent_checks();

}  // namespace cermet::detail
