// LocalCorrelation (cnn/local_correlation.h): a thread or a warp for each element of the result.

#include "cermet/cnn/local_correlation.h"

#include "cuda/channel_sums.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

template <int lanes>
__global__ void correlate(LocalCorrelation op, Tensor primary, Tensor secondary,
                          Tensor destination) {
  begin_kernel();
  const TensorDesc &desc = destination.desc, &b = secondary.desc;
  const int channels = primary.desc.c, across = 2 * op.windowInX + 1;
  for (const long long i : grid_stride(destination.count() * lanes)) {
    const int lane = static_cast<int>(i % lanes);
    const Index at = index_of(i / lanes, desc.h, desc.w, desc.c);
    const long long y = at.y + static_cast<long long>(at.c / across - op.windowInY) * op.strideInY;
    const long long x = at.x + static_cast<long long>(at.c % across - op.windowInX) * op.strideInX;
    const int near_y = static_cast<int>(min(max(y, 0LL), static_cast<long long>(b.h - 1)));
    const int near_x = static_cast<int>(min(max(x, 0LL), static_cast<long long>(b.w - 1)));
    const bool inside = op.clampEdges != 0 || (near_y == y && near_x == x);
    const long long own = primary.offset({at.n, at.y, at.x, 0});
    const long long other = secondary.offset({b.n == 1 ? 0 : at.n, near_y, near_x, 0});
    double sum = 0;
    for (int c = lane; c < channels; c += lanes) {
      const float factor = inside ? load(secondary, other + c) : 0.0F;
      sum += static_cast<double>(load(primary, own + c)) * static_cast<double>(factor);
    }
    sum = sum_of<lanes>(sum);
    if (lane == 0) store(destination, at, static_cast<float>(sum));
  }
}

}  // namespace

StepPtr prepare(const LocalCorrelation& op, Descs slots, Engine&) {
  using Op = LocalCorrelation;
  const TensorDesc a = slots[Op::primary], b = slots[Op::secondary], to = slots[Op::destination];
  const int lanes = lanes_for(a.c);
  const auto kernel = lanes == 1 ? correlate<1> : correlate<32>;
  return make_step(slots, "cuda local correlation", [=](const Args& args) {
    launch(args, to.count() * lanes, kernel, op, Tensor{a, args.slots[Op::primary]},
           Tensor{b, args.slots[Op::secondary]}, Tensor{to, args.slots[Op::destination]});
  });
}

}  // namespace cermet::cuda
