#include "cnn/sampling.h"

#include <numeric>

namespace cermet::detail {

SamplingAxis sampling_axis(std::int32_t source, std::int32_t result, bool align_corners,
                           std::ptrdiff_t offset) {
  const std::int32_t step = align_corners ? source - 1 : source;
  const std::int32_t divisor = align_corners ? result - 1 : result;
  const std::int32_t common = divisor > 0 ? std::gcd(step, divisor) : 1;
  const auto from = static_cast<std::int32_t>(offset);
  return divisor > 0 ? SamplingAxis{step / common, divisor / common, from}
                     : SamplingAxis{0, 1, from};
}

}  // namespace cermet::detail
