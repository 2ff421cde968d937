// ScaledSum (formula: matrix/sum.h). The sum of an element is double and in the order of the
// sources.

#include "cermet/matrix/sum.h"
#include "cuda/activation.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

struct Sources {
  Tensor all[ScaledSum::most];
};

__global__ void sum(ScaledSum op, Sources sources, Tensor partial, Tensor scales,
                    const unsigned* offsets, Tensor bias, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    const int i = op.transpose != 0 ? at.c : at.y, j = op.transpose != 0 ? at.y : at.c;
    double total = partial.present() ? static_cast<double>(load(partial, Index{0, i, 0, j})) : 0.0;
    for (int k = 0; k < op.count; ++k) {
      const Tensor& source = sources.all[k];
      const long long y = i + (offsets != nullptr ? static_cast<long long>(offsets[2 * k]) : 0);
      const long long x = j + (offsets != nullptr ? static_cast<long long>(offsets[2 * k + 1]) : 0);
      if (y >= source.desc.h || x >= source.desc.c) continue;
      const double scale = scales.present() ? static_cast<double>(load(scales, k)) : 1.0;
      total += scale * static_cast<double>(
                           load(source, Index{0, static_cast<int>(y), 0, static_cast<int>(x)}));
    }
    if (bias.present()) total += static_cast<double>(load(bias, j));
    store(destination, at, activate(op.activation, static_cast<float>(total), 0.0F));
  }
}

}  // namespace

StepPtr prepare(const ScaledSum& op, Descs slots, Engine&) {
  using Op = ScaledSum;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  return make_step(slots, "cuda sum", [=](const Args& args) {
    Sources sources{};
    for (int k = 0; k < op.count; ++k)
      sources.all[k] = tensor(args, descs, static_cast<std::size_t>(k));
    const Tensor destination = tensor(args, descs, Op::destination);
    const auto* offsets =
        descs[Op::offsets].present() ? args.at<const unsigned>(Op::offsets) : nullptr;
    launch(args, destination.count(), sum, op, sources, tensor(args, descs, Op::partial),
           tensor(args, descs, Op::scales), offsets, tensor(args, descs, Op::bias), destination);
  });
}

}  // namespace cermet::cuda
