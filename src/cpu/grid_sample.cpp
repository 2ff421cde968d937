// GridSample (formulas: cnn/grid_sample.h).

#include "cermet/cnn/grid_sample.h"

#include <cmath>

#include "cpu/bilinear.h"

namespace cermet::cpu {
namespace {

using Index = std::int64_t;

/// The neighbours of a position. Far outside it makes no difference where.
Between neighbours(double position, Index extent, bool clamps) {
  const auto last = static_cast<double>(extent - 1);
  const double at = clamps ? std::clamp(position, 0.0, last) : std::clamp(position, -1.0, last + 1);
  const auto low = static_cast<Index>(std::floor(at));
  const double t = at - static_cast<double>(low);
  return {low, t > 0 ? low + 1 : low, t};
}

}  // namespace

StepPtr prepare(const GridSample& op, Descs descs, Engine& engine) {
  using Op = GridSample;
  const TensorDesc image = descs[Op::image], grid = descs[Op::grid];
  const TensorDesc destination = descs[Op::destination];
  const int threads = threads_for(destination.count(), engine, 16384);
  const bool moves = op.useGridValueAsInputCoordinate == 0, clamps = op.clampEdges != 0;
  return make_step(descs, "bilinear samples", [=](const Args& args) {
    const auto* from = args.at<const float>(Op::image);
    const auto* positions = args.at<const float>(Op::grid);
    float* to = args.at(Op::destination);
    for_each_pixel(threads, destination, [&](Index n, Index j, Index i) {
      float* out = pixel(to, destination, n, j, i);
      const float* position = pixel(positions, grid, n, j, i);
      const double u = double{position[0]} + (moves ? static_cast<double>(i + op.offsetX) : 0);
      const double v = double{position[1]} + (moves ? static_cast<double>(j + op.offsetY) : 0);
      if (std::isnan(u) || std::isnan(v)) {
        std::fill_n(out, destination.c, std::numeric_limits<float>::quiet_NaN());
        return;
      }
      const Between x = neighbours(u, image.w, clamps), y = neighbours(v, image.h, clamps);
      Blend blend;
      const auto add = [&](Index row, Index column, double weight) {
        if (row >= 0 && row < image.h && column >= 0 && column < image.w)
          blend.add(pixel(from, image, n, row, column), weight);
      };
      add(y.low, x.low, (1 - y.t) * (1 - x.t));
      add(y.low, x.high, (1 - y.t) * x.t);
      add(y.high, x.low, y.t * (1 - x.t));
      add(y.high, x.high, y.t * x.t);
      blend.write(out, image.c);
    });
  });
}

}  // namespace cermet::cpu
