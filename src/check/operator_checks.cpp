// Kernels that are their operator: their fields are the settings, and the gradient kernel is the
// one whose operator holds the forward operator.

#include <algorithm>

#include "catalog/kernels.h"
#include "cermet/core/fields.h"
#include "check/catalog.h"

namespace cermet::detail {
namespace {

template <class K>
concept OperatorForward = std::is_base_of_v<CNNKernel, K> && requires(const K& kernel) {
  kernel.operation();
  requires !requires { kernel.operation().forward; };
};
template <class K>
using OperationOf = std::remove_cvref_t<decltype(std::declval<const K&>().operation())>;

/// Whether G is the gradient kernel of the operator.
template <class G, class Op>
constexpr bool is_gradient_of() {
  if constexpr (requires(const G& kernel) { kernel.operation().forward; }) {
    return std::is_same_v<
        std::remove_cvref_t<decltype(std::declval<const G&>().operation().forward)>, Op>;
  } else {
    return false;
  }
}
template <class Op, class... K>
constexpr bool has_gradient_kernel(TypeList<K...>) {
  return (is_gradient_of<K, Op>() || ...);
}
template <class Op, class... K>
std::shared_ptr<CNNGradientKernel> gradient_for(const Device& device, const Op& op,
                                                TypeList<K...>) {
  std::shared_ptr<CNNGradientKernel> found;
  const auto try_one = [&]<class G>(std::type_identity<G>) {
    if constexpr (is_gradient_of<G, Op>()) {
      OperationOf<G> gradient;
      gradient.forward = op;
      found = std::make_shared<G>(device, gradient);
    }
  };
  (try_one(std::type_identity<K>{}), ...);
  return found;
}

/// The default, and what a sweep tries: small sizes, all cases of an enum, smaller and larger
/// numbers.
template <class T>
CheckSetting setting_of(std::string_view name, const T& value, FieldRange range) {
  CheckSetting setting{std::string(name), static_cast<double>(value), {}};
  if constexpr (std::is_floating_point_v<T>) {
    setting.others = {setting.value / 2 + 0.25, setting.value * 1.5 + 0.125};
  } else {
    constexpr std::int64_t tried = 3;
    for (std::int64_t other = range.least; other <= std::min(range.most, range.least + tried);
         ++other)
      if (other != static_cast<std::int64_t>(value))
        setting.others.push_back(static_cast<double>(other));
  }
  return setting;
}

/// A number that a field holds, as it is or as one that its range refuses.
std::int32_t field_value(const Settings& s, const std::string& name) {
  constexpr std::int64_t least = std::numeric_limits<std::int32_t>::min(),
                         most = std::numeric_limits<std::int32_t>::max();
  return static_cast<std::int32_t>(std::clamp(s.whole(name), least, most));
}

template <class K>
void add(Catalog& catalog) {
  if constexpr (OperatorForward<K>) {
    using Op = OperationOf<K>;
    std::vector<CheckSetting> settings;
    Op defaults;
    for_each_field(defaults, [&](std::string_view name, const auto& value, FieldRange range) {
      settings.push_back(setting_of(name, value, range));
    });
    catalog.push_back(unary_check(
        type_name<K>(), std::move(settings),
        [](const Device& device, const Settings& s, const CheckedImages&) {
          Op op;
          for_each_field(op, [&](std::string_view name, auto& value, FieldRange) {
            using T = std::remove_cvref_t<decltype(value)>;
            if constexpr (std::is_floating_point_v<T>) {
              value = s.number(std::string(name));
            } else {
              value = static_cast<T>(field_value(s, std::string(name)));
            }
          });
          return KernelPair{std::make_shared<K>(device, op), gradient_for(device, op, Kernels{})};
        },
        has_gradient_kernel<Op>(Kernels{})));
  }
}

template <class... K>
Catalog checks_of(TypeList<K...>) {
  Catalog catalog;
  (add<K>(catalog), ...);
  return catalog;
}

}  // namespace

Catalog operator_checks() { return checks_of(Kernels{}); }

}  // namespace cermet::detail
