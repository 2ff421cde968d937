#include "cermet/cnn/compare.h"

#include "cermet/core/fields.h"
#include "cnn/encoding.h"

namespace cermet {

void NNCompare::setComparisonType(NNComparisonType comparisonType) {
  if (comparisonType < NNComparisonType::Equal ||
      comparisonType > NNComparisonType::GreaterOrEqual) {
    complain("comparisonType", std::to_string(static_cast<std::int32_t>(comparisonType)), "0 to 5");
  }
  compare_.comparisonType = comparisonType;
}

void NNCompare::code(Coder& coder) {
  CNNArithmetic::code(coder);
  detail::code_fields(coder, compare_);
}

void NNCompare::record_values(detail::Recording& recording, const TensorView& primary,
                              const TensorView& secondary, const TensorView& destination,
                              const TensorView&) const {
  detail::encode(recording, memo_, compare_, {primary, secondary, destination});
}

}  // namespace cermet
