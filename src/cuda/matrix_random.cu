// RandomFill (formula: matrix/random.h): a thread for each block of four words.

#include "cermet/matrix/random.h"

#include "backend/inverse_normal.h"
#include "cuda/philox.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

using Fit = backend::InverseNormal;

template <int count>
__device__ float horner(const float (&coefficients)[count], float x) {
  float value = coefficients[count - 1];
#pragma unroll
  for (int k = count - 2; k >= 0; --k) value = fmaf(value, x, coefficients[k]);
  return value;
}

/// What has the share p of a standard normal distribution below it, and q = 1 - p above it: the
/// operations of the CPU, one by one.
__device__ float inverse_normal(const Fit& fit, float p, float q) {
  const float t = 4.0F * p * q;
  const int bits = __float_as_int(t);
  const int exponent = (bits - Fit::least_m) >> 23;
  const float f = __int_as_float(bits - exponent * (1 << 23)) - 1.0F;
  const float logarithm = fmaf(f * f, horner(fit.logarithm, f), f);
  const float sum = fmaf(static_cast<float>(exponent), -Fit::log_2, -logarithm);
  const float w = sum > 0.0F ? sum : 0.0F;
  if (w < Fit::border) return (p - q) * horner(fit.central, w - Fit::centre);
  const float root = __fsqrt_rn(w);
  return (p - q) * fmaf(root, Fit::root_2, horner(fit.tail, __fdiv_rn(1.0F, root) - Fit::place));
}

/// The value of an element, as the bits of a float.
__device__ float value(const RandomFill& op, const Fit& fit, unsigned word) {
  if (op.variate == RandomVariate::word) return __uint_as_float(word);
  float variate = static_cast<float>(word >> 9) * 0x1p-23F;
  if (op.variate == RandomVariate::normal) {
    const float u = variate == 0.0F ? 0x1p-24F : variate;
    variate =
        inverse_normal(fit, fmaf(op.between, u, op.below), fmaf(op.between, 1.0F - u, op.above));
  }
  const float placed = fmaf(op.scale, variate, op.offset);
  const float above = placed < op.least ? op.least : placed;
  return above > op.most ? op.most : above;
}

__device__ uint4 words(const RandomFill::Scalars& scalars, long long block) {
  const unsigned long long counter = scalars.block + static_cast<unsigned long long>(block);
  return philox({0, 0, static_cast<unsigned>(counter >> 32), static_cast<unsigned>(counter)},
                scalars.seed, scalars.generator);
}

__global__ void fill_random(RandomFill op, Fit fit, ScalarsOf<RandomFill::Scalars> scalars,
                            Tensor destination, long long blocks) {
  begin_kernel();
  const RandomFill::Scalars stream = scalars.get();
  const TensorDesc& desc = destination.desc;
  const long long count = destination.count();
  for (const long long block : grid_stride(blocks)) {
    const uint4 four = words(stream, block);
    const unsigned each[4] = {four.x, four.y, four.z, four.w};
#pragma unroll
    for (int k = 0; k < 4; ++k) {
      const long long e = 4 * block + k;
      if (e < count)
        store(destination, index_of(e, desc.h, desc.w, desc.c), value(op, fit, each[k]));
    }
  }
}

/// The same for an array of float4.
__global__ void fill_random_flat(RandomFill op, Fit fit, ScalarsOf<RandomFill::Scalars> scalars,
                                 float4* destination, long long blocks) {
  begin_kernel();
  const RandomFill::Scalars stream = scalars.get();
  for (const long long block : grid_stride(blocks)) {
    const uint4 four = words(stream, block);
    destination[block] = {value(op, fit, four.x), value(op, fit, four.y), value(op, fit, four.z),
                          value(op, fit, four.w)};
  }
}

}  // namespace

StepPtr prepare(const RandomFill& op, Descs slots, Engine&) {
  using Op = RandomFill;
  return make_step(slots, "cuda random numbers",
                   [=, to = slots[Op::destination]](const Args& args) {
                     const Tensor destination{to, args.slots[Op::destination]};
                     const long long blocks = (destination.count() + 3) / 4;
                     const auto given = scalars<Op::Scalars>(args);
                     if (are_flat({destination})) {
                       launch(args, blocks, fill_random_flat, op, Fit{}, given,
                              args.at<float4>(Op::destination), blocks);
                       return;
                     }
                     launch(args, blocks, fill_random, op, Fit{}, given, destination, blocks);
                   });
}

}  // namespace cermet::cuda
