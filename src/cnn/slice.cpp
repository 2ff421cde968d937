#include "cermet/cnn/slice.h"

#include "cermet/ops/copy.h"
#include "cnn/encoding.h"

namespace cermet {

void NNSlice::record(detail::UnaryEncoding& e) const {
  const auto [x, y, z] = offset();
  const TensorDesc &from = e.source.desc, &to = e.destination.desc;
  if (x >= 0 && y >= 0 && x + to.w <= from.w && y + to.h <= from.h) {
    const TensorView part = detail::window(e.source, x, y, to.w, to.h);
    detail::encode(e.recording, memo_, Copy{}, {part, e.destination});
    return;
  }
  const Shift shift{static_cast<std::int32_t>(x), static_cast<std::int32_t>(y),
                    edgeMode() == ImageEdgeMode::Clamp ? 1 : 0};
  detail::encode(e.recording, memo_, shift, {e.source, e.destination});
}

}  // namespace cermet
