#include "cermet/cnn/local_correlation.h"

#include <algorithm>
#include <limits>

#include "cnn/encoding.h"

namespace cermet {
namespace {

std::int32_t saturated(std::size_t value) {
  constexpr auto most = static_cast<std::size_t>(std::numeric_limits<std::int32_t>::max());
  return static_cast<std::int32_t>(std::min(value, most));
}

}  // namespace

NNLocalCorrelation::NNLocalCorrelation(const Device& device, std::size_t windowInX,
                                       std::size_t windowInY, std::size_t strideInX,
                                       std::size_t strideInY)
    : OperatorKernel(device, LocalCorrelation{saturated(windowInX), saturated(windowInY),
                                              saturated(strideInX), saturated(strideInY)}) {}

void NNLocalCorrelation::set(std::int32_t LocalCorrelation::*field, std::size_t value) {
  LocalCorrelation op = op_;
  op.*field = saturated(value);
  detail::check_fields(op, class_name());
  op_ = op;
}

CNNBinaryKernel::Channels NNLocalCorrelation::channels(std::size_t primary, std::size_t) const {
  return {primary, primary, (2 * windowInX() + 1) * (2 * windowInY() + 1)};
}

void NNLocalCorrelation::record_results(detail::BinaryEncoding& e) const {
  LocalCorrelation op = op_;
  op.clampEdges = secondaryEdgeMode() == ImageEdgeMode::Clamp ? 1 : 0;
  detail::encode(e.recording, memo_, op, {e.primary, e.secondary, e.destination});
}

}  // namespace cermet
