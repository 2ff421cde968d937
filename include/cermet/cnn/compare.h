#pragma once
// Element-wise comparison of two images (spec: pointwise 9).

#include <array>
#include <cstdint>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

/// When a comparison of x with y gives 1. Codes, not bits, though declared as options.
enum class NNComparisonType : std::int32_t {
  Equal = 0,           // their distance is at most the threshold
  NotEqual = 1,        // not Equal
  Less = 2,            // x < y
  LessOrEqual = 3,     // x < y, or Equal
  Greater = 4,         // x > y
  GreaterOrEqual = 5,  // x > y, or Equal
};

/// destination = 1 where primary and secondary compare as `comparisonType` says, else 0. Operands
/// are broadcast as those of Arithmetic. The distance of equal numbers, infinities among them, is
/// 0, and that of others |primary - secondary| in float32; NaN has none, so that it is NotEqual to
/// everything and in no order.
struct Compare {
  static constexpr std::string_view name = "NNCompare";
  enum Slot { primary, secondary, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  NNComparisonType comparisonType = NNComparisonType::Equal;
  float threshold = 0;
  static void fields(auto& op, auto&& field) {
    field("comparisonType", op.comparisonType, up_to(NNComparisonType::GreaterOrEqual));
    field("threshold", op.threshold);
  }
};

using CompareOperators = TypeList<Compare>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/arithmetic.h"

namespace cermet {

/// z = 1 where x and y compare as `comparisonType` says, else 0: x of the primary image, y of the
/// secondary, with the strides, offsets, edge modes and result size of CNNArithmetic. Scales and
/// bias take no part, and results are not clamped: those properties are kept and change nothing.
/// There is no gradient.
class NNCompare final : public Concrete<NNCompare, CNNArithmetic> {
 public:
  explicit NNCompare(const Device& device) : Concrete(device, ArithmeticKind::subtract) {}
  NNCompare(Coder& coder, const Device& device) : NNCompare(device) { read(coder); }

  /// Default Equal.
  [[nodiscard]] NNComparisonType comparisonType() const { return compare_.comparisonType; }
  /// Throws InvalidArgument for what is none of the six.
  void setComparisonType(NNComparisonType comparisonType);
  /// Numbers count as equal when their distance is at most this. It takes part in what is Equal
  /// alone: numbers within it are both Less (or Greater) and Equal. Nothing is Equal for a negative
  /// one or NaN. Default 0.
  [[nodiscard]] float threshold() const { return compare_.threshold; }
  void setThreshold(float threshold) { compare_.threshold = threshold; }

  [[nodiscard]] bool has_limits() const override { return false; }

 protected:
  void code(Coder& coder) override;
  void record_values(detail::Recording& recording, const TensorView& primary,
                     const TensorView& secondary, const TensorView& destination,
                     const TensorView& mask) const override;

 private:
  Compare compare_;
};

using CompareKernels = TypeList<NNCompare>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
