// SubPixel: channels of a convolution become pixels (cnn/convolution.h).

#include <cstring>

#include "cpu/engine.h"

namespace cermet::cpu {

StepPtr prepare(const SubPixel& op, Descs descs, Engine& engine) {
  const TensorDesc source = descs[SubPixel::source], destination = descs[SubPixel::destination];
  const std::int64_t r = op.scaleFactor;
  const std::size_t bytes = static_cast<std::size_t>(destination.c) * sizeof(float);
  const int threads = threads_for(destination.count(), engine);
  const auto body = [=](const Args& args) {
    const auto* from = args.at<const float>(SubPixel::source);
    float* to = args.at(SubPixel::destination);
    for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
      const std::int64_t first = (y % r * r + x % r) * destination.c;
      std::memcpy(pixel(to, destination, n, y, x), pixel(from, source, n, y / r, x / r) + first,
                  bytes);
    });
  };
  return make_step(descs, "pixels", body);
}

}  // namespace cermet::cpu
