// Dropout: destination = kept ? source / keepProbability : +0 with Philox4x32-10 decisions.
// DropoutGradient: the stored mask applied to the gradient (ops/dropout.h).

#include <cmath>

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

/// The Philox4x32-10 block of a counter.
__device__ uint4 philox(const Dropout::Scalars& scalars, unsigned counter, unsigned image) {
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
  return {c0, c1, c2, c3};
}
__device__ unsigned word(const uint4& block, unsigned k) {
  return k < 2 ? (k == 0 ? block.x : block.y) : (k == 2 ? block.z : block.w);
}

__device__ float4 apply(const uchar4& mask, const float4& source, float keep) {
  const auto one = [&](unsigned char kept, float x) { return kept != 0 ? x / keep : 0.0F; };
  return {one(mask.x, source.x), one(mask.y, source.y), one(mask.z, source.z),
          one(mask.w, source.w)};
}

/// `threshold`: kept when the top 24 bits of a word are below it.
__global__ void drop(Dropout op, unsigned threshold, ScalarsOf<Dropout::Scalars> scalars,
                     Tensor source, Tensor mask, Tensor destination) {
  begin_kernel();
  const Dropout::Scalars encode = scalars.get();
  const long long mask_w = op.maskStrideX != 0 ? source.desc.w : 1;
  const long long mask_c = op.maskStrideC != 0 ? source.desc.c : 1;
  for (const Index at : elements(destination)) {
    const Index decided{at.n, at.y * op.maskStrideY, at.x * op.maskStrideX, at.c * op.maskStrideC};
    const long long e = (decided.y * mask_w + decided.x) * mask_c + decided.c;
    const uint4 block = philox(encode, static_cast<unsigned>(e / 4),
                               encode.first_image + static_cast<unsigned>(at.n));
    const bool kept = (word(block, static_cast<unsigned>(e % 4)) >> 8) < threshold;
    const bool stores = decided.y == at.y && decided.x == at.x && decided.c == at.c;
    if (mask.present() && stores) store(mask, at, kept ? 1.0F : 0.0F);
    store(destination, at, kept ? load(source, at) / op.keepProbability : 0.0F);
  }
}

/// The same for arrays of float4, `fours` of them an image: a Philox block decides four elements.
/// `mask` may be null.
__global__ void drop_flat(float keep, unsigned threshold, ScalarsOf<Dropout::Scalars> scalars,
                          int fours, const float4* source, uchar4* mask, float4* destination,
                          long long count) {
  begin_kernel();
  const Dropout::Scalars encode = scalars.get();
  for (const long long i : grid_stride(count)) {
    const auto image = static_cast<unsigned>(i / fours);
    const uint4 block =
        philox(encode, static_cast<unsigned>(i % fours), encode.first_image + image);
    const auto kept = [&](unsigned bits) { return (bits >> 8) < threshold; };
    const uchar4 decided{kept(block.x), kept(block.y), kept(block.z), kept(block.w)};
    if (mask != nullptr) mask[i] = decided;
    destination[i] = apply(decided, source[i], keep);
  }
}

__global__ void drop_gradient(DropoutGradient op, Tensor gradient, Tensor mask,
                              Tensor destination) {
  begin_kernel();
  const Dropout& forward = op.forward;
  for (const Index at : elements(destination)) {
    const Index decided{at.n, forward.maskStrideY != 0 ? at.y + op.shiftY : 0,
                        forward.maskStrideX != 0 ? at.x + op.shiftX : 0,
                        forward.maskStrideC != 0 ? at.c : 0};
    const bool kept = mask.inside(decided.y, decided.x) && load(mask, decided) != 0.0F;
    store(destination, at, kept ? load(gradient, at) / forward.keepProbability : 0.0F);
  }
}

__global__ void drop_gradient_flat(float keep, const float4* gradient, const uchar4* mask,
                                   float4* destination, long long count) {
  begin_kernel();
  for (const long long i : grid_stride(count)) destination[i] = apply(mask[i], gradient[i], keep);
}

/// Whether each element of `of` has a decision of its own, and four of them lie in one image.
bool has_own_decisions(const Dropout& op, const TensorDesc& of) {
  return (op.maskStrideX == 1 || of.w == 1) && (op.maskStrideY == 1 || of.h == 1) &&
         (op.maskStrideC == 1 || of.c == 1) && std::int64_t{of.h} * of.w * of.c % 4 == 0;
}
/// Whether the mask of `of`, if it is there, is an array of uchar4.
bool is_flat_mask(const Tensor& mask, const TensorDesc& of) {
  const TensorDesc& desc = mask.desc;
  return !mask.present() || (desc.type == ElementType::uint8 && desc.dense() && desc.n == of.n &&
                             desc.h == of.h && desc.w == of.w && desc.c == of.c &&
                             reinterpret_cast<std::uintptr_t>(mask.data) % sizeof(uchar4) == 0);
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
    const Tensor source{from, args.slots[Dropout::source]};
    const auto given = scalars<Dropout::Scalars>(args);
    if (has_own_decisions(op, to) && are_flat({source, destination}) && is_flat_mask(mask, to)) {
      const auto fours = static_cast<int>(destination.count() / to.n / 4);
      launch(args, destination.count() / 4, drop_flat, op.keepProbability, threshold, given, fours,
             args.at<float4>(Dropout::source), static_cast<uchar4*>(mask.data),
             args.at<float4>(Dropout::destination), destination.count() / 4);
      return;
    }
    launch(args, destination.count(), drop, op, threshold, given, source, mask, destination);
  });
}

StepPtr prepare(const DropoutGradient& op, Descs slots, Engine&) {
  using Op = DropoutGradient;
  const TensorDesc g = slots[Op::gradient], decisions = slots[Op::mask];
  const TensorDesc to = slots[Op::destination];
  return make_step(slots, "cuda dropout", [=](const Args& args) {
    const Tensor destination{to, args.slots[Op::destination]};
    const Tensor gradient{g, args.slots[Op::gradient]}, mask{decisions, args.slots[Op::mask]};
    if (op.shiftX == 0 && op.shiftY == 0 && has_own_decisions(op.forward, to) &&
        are_flat({gradient, destination}) && is_flat_mask(mask, to)) {
      launch(args, destination.count() / 4, drop_gradient_flat, op.forward.keepProbability,
             args.at<float4>(Op::gradient), args.at<const uchar4>(Op::mask),
             args.at<float4>(Op::destination), destination.count() / 4);
      return;
    }
    launch(args, destination.count(), drop_gradient, op, gradient, mask, destination);
  });
}

}  // namespace cermet::cuda
