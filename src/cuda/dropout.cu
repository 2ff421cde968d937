// Dropout: destination = kept ? source / keepProbability : +0 with Philox4x32-10 decisions.
// DropoutGradient: the stored mask applied to the gradient (ops/dropout.h).

#include <cmath>

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// Word `k` of the Philox4x32-10 block of a counter.
__device__ unsigned philox_word(const Dropout::Scalars& scalars, unsigned counter, unsigned image,
                                unsigned k) {
  unsigned c0 = counter, c1 = image;
  auto c2 = static_cast<unsigned>(scalars.encode);
  auto c3 = static_cast<unsigned>(scalars.encode >> 32);
  auto key0 = static_cast<unsigned>(scalars.seed);
  auto key1 = static_cast<unsigned>(scalars.seed >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    constexpr unsigned factor0 = 0xD2511F53U, factor2 = 0xCD9E8D57U;
    const unsigned high0 = __umulhi(c0, factor0), low0 = c0 * factor0;
    const unsigned high2 = __umulhi(c2, factor2), low2 = c2 * factor2;
    c0 = high2 ^ c1 ^ key0;
    c1 = low2;
    c2 = high0 ^ c3 ^ key1;
    c3 = low0;
    key0 += 0x9E3779B9U;
    key1 += 0xBB67AE85U;
  }
  return k < 2 ? (k == 0 ? c0 : c1) : (k == 2 ? c2 : c3);
}

/// `threshold`: kept when the top 24 bits of a word are below it.
__global__ void drop(Dropout op, unsigned threshold, ScalarsOf<Dropout::Scalars> scalars,
                     Tensor source, Tensor mask, Tensor destination) {
  const Dropout::Scalars encode = scalars.get();
  const long long mask_w = op.maskStrideX != 0 ? source.desc.w : 1;
  const long long mask_c = op.maskStrideC != 0 ? source.desc.c : 1;
  for (const Index at : elements(destination)) {
    const Index decided{at.n, at.y * op.maskStrideY, at.x * op.maskStrideX, at.c * op.maskStrideC};
    const long long e = (decided.y * mask_w + decided.x) * mask_c + decided.c;
    const unsigned word =
        philox_word(encode, static_cast<unsigned>(e / 4),
                    encode.first_image + static_cast<unsigned>(at.n), static_cast<unsigned>(e % 4));
    const bool kept = (word >> 8) < threshold;
    const bool stores = decided.y == at.y && decided.x == at.x && decided.c == at.c;
    if (mask.present() && stores) store(mask, at, kept ? 1.0F : 0.0F);
    store(destination, at, kept ? load(source, at) / op.keepProbability : 0.0F);
  }
}

__global__ void drop_gradient(DropoutGradient op, Tensor gradient, Tensor mask,
                              Tensor destination) {
  const Dropout& forward = op.forward;
  for (const Index at : elements(destination)) {
    const Index decided{at.n, forward.maskStrideY != 0 ? at.y + op.shiftY : 0,
                        forward.maskStrideX != 0 ? at.x + op.shiftX : 0,
                        forward.maskStrideC != 0 ? at.c : 0};
    const bool kept = mask.inside(decided.y, decided.x) && load(mask, decided) != 0.0F;
    store(destination, at, kept ? load(gradient, at) / forward.keepProbability : 0.0F);
  }
}

}  // namespace

StepPtr prepare(const Dropout& op, Descs slots, Engine&) {
  const TensorDesc from = slots[Dropout::source], to = slots[Dropout::destination];
  const TensorDesc decisions = slots[Dropout::mask];
  const auto threshold =
      static_cast<unsigned>(std::ceil(static_cast<double>(op.keepProbability) * 0x1p24));
  return make_step(slots, "cuda dropout", [=](const Args& args) {
    const Tensor destination{to, args.slots[Dropout::destination]};
    const Tensor mask{decisions, decisions.present() ? args.slots[Dropout::mask] : nullptr};
    launch(args, destination.count(), drop, op, threshold, scalars<Dropout::Scalars>(args),
           Tensor{from, args.slots[Dropout::source]}, mask, destination);
  });
}

StepPtr prepare(const DropoutGradient& op, Descs slots, Engine&) {
  using Op = DropoutGradient;
  const TensorDesc g = slots[Op::gradient], decisions = slots[Op::mask];
  const TensorDesc to = slots[Op::destination];
  return make_step(slots, "cuda dropout", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    launch(args, destination.count(), drop_gradient, op, Tensor{g, args.slots[Op::gradient]},
           Tensor{decisions, args.slots[Op::mask]}, destination);
  });
}

}  // namespace cermet::cuda
