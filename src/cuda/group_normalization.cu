// Instance and group normalisation and their gradient (formulas: cnn/group_normalization.h).
// Statistics and sums are double, over the chunks of each image.

#include "cuda/chunk_sums.cuh"

namespace cermet::cuda {
namespace {

/// What the pixels of a channel of an image need.
struct Factors {
  float mean, rest;   // in two floats, so that it is subtracted as if it were exact
  float unit, scale;  // 1/s, gamma/s
  float gamma, beta;
  float level, level_rest, tilt;  // of the gradient: A/m in two floats, B/m

  __device__ float deviation(float x) const { return (x - mean) - rest; }
};

__device__ void split(double value, float& high, float& low) {
  high = static_cast<float>(value);
  low = static_cast<float>(value - static_cast<double>(high));
}

/// The groups of one image.
struct Groups {
  int channels, width;  // of the image, of a group
  double epsilon;
  const float *gamma, *beta;  // beta: forward alone
};

/// Of one group of an image: merges the chunks. A block for each group of each image.
__global__ void merge_statistics(Chunks chunks, Parts parts, Groups of, Factors* factors) {
  begin_kernel();
  const int groups = of.channels / of.width;
  const int image = static_cast<int>(blockIdx.x) / groups;
  const int first = static_cast<int>(blockIdx.x) % groups * of.width;
  const long long begin = static_cast<long long>(image) * chunks.count;
  const long long terms = static_cast<long long>(chunks.count) * of.width;
  const auto place = [&](long long i) {
    return (begin + i / of.width) * of.channels + first + i % of.width;
  };
  const auto pixels = [&](long long i) {
    return static_cast<double>(chunks.pixels(static_cast<int>(i / of.width)));
  };
  const double samples = static_cast<double>(chunks.set) * of.width;
  double sum = 0, squares = 0;
  for (long long i = threadIdx.x; i < terms; i += block_threads)
    sum += parts.first[place(i)] * pixels(i);
  const double mean = block_sum(sum) / samples;
  for (long long i = threadIdx.x; i < terms; i += block_threads) {
    const double step = parts.first[place(i)] - mean;
    squares += parts.second[place(i)] + step * step * pixels(i);
  }
  const double unit = 1.0 / sqrt(block_sum(squares) / samples + of.epsilon);
  for (int c = first + static_cast<int>(threadIdx.x); c < first + of.width; c += block_threads) {
    Factors own{};
    split(mean, own.mean, own.rest);
    own.unit = static_cast<float>(unit);
    own.scale = static_cast<float>(static_cast<double>(of.gamma[c]) * unit);
    own.gamma = of.gamma[c];
    own.beta = of.beta != nullptr ? of.beta[c] : 0.0F;
    factors[static_cast<long long>(image) * of.channels + c] = own;
  }
}

__global__ void normalize(const Factors* factors, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(source)) {
    const Factors& own = factors[static_cast<long long>(at.n) * source.desc.c + at.c];
    store(destination, at, fmaf(own.deviation(load(source, at)), own.scale, own.beta));
  }
}

__global__ void chunk_gradients(Chunks chunks, const Factors* factors, Tensor gradient,
                                Tensor source, Parts parts) {
  begin_kernel();
  const int c = chunks.channel(), image = chunks.chunk() / chunks.count;
  double level = 0, tilt = 0;
  if (c < source.desc.c) {
    const Factors own = factors[static_cast<long long>(image) * source.desc.c + c];
    chunks.for_each([&](const Index& at) {
      const double g = load(gradient, at);
      level += g;
      tilt += g * static_cast<double>(own.deviation(load(source, at)) * own.unit);
    });
  }
  level = channel_sum(level);
  tilt = channel_sum(tilt);
  parts.put(chunks, level, tilt);
}

/// Adds the chunks of each channel of each image; the first chunk's place holds the sum.
__global__ void merge_chunks(Chunks chunks, Parts parts) {
  begin_kernel();
  const int channels = chunks.of.desc.c;
  for (const long long i : grid_stride(static_cast<long long>(chunks.sets) * channels)) {
    const long long first = i / channels * chunks.count * channels + i % channels;
    double level = 0, tilt = 0;
    for (int chunk = 0; chunk < chunks.count; ++chunk) {
      level += parts.first[first + static_cast<long long>(chunk) * channels];
      tilt += parts.second[first + static_cast<long long>(chunk) * channels];
    }
    parts.first[first] = level;
    parts.second[first] = tilt;
  }
}

/// Sums over the channels of a group, for the gradient of its pixels. A block for each group.
__global__ void merge_groups(Chunks chunks, Parts parts, Groups of, Factors* factors) {
  begin_kernel();
  const int groups = of.channels / of.width;
  const int image = static_cast<int>(blockIdx.x) / groups;
  const int first = static_cast<int>(blockIdx.x) % groups * of.width;
  const long long begin = static_cast<long long>(image) * chunks.count * of.channels;
  double level = 0, tilt = 0;
  for (int c = first + static_cast<int>(threadIdx.x); c < first + of.width; c += block_threads) {
    level += static_cast<double>(of.gamma[c]) * parts.first[begin + c];
    tilt += static_cast<double>(of.gamma[c]) * parts.second[begin + c];
  }
  level = block_sum(level);
  tilt = block_sum(tilt);
  const double samples = static_cast<double>(chunks.set) * of.width;
  for (int c = first + static_cast<int>(threadIdx.x); c < first + of.width; c += block_threads) {
    Factors& own = factors[static_cast<long long>(image) * of.channels + c];
    split(level / samples, own.level, own.level_rest);
    own.tilt = static_cast<float>(tilt / samples);
  }
}

/// Gradients for gamma and beta, summed over as many images as share an entry.
__global__ void store_sums(Chunks chunks, Parts parts, Tensor for_gamma, Tensor for_beta) {
  begin_kernel();
  const int images = chunks.sets / for_gamma.desc.n, channels = chunks.of.desc.c;
  for (const Index at : elements(for_gamma)) {
    double level = 0, tilt = 0;
    for (int image = at.n * images; image < (at.n + 1) * images; ++image) {
      const long long place = static_cast<long long>(image) * chunks.count * channels + at.c;
      level += parts.first[place];
      tilt += parts.second[place];
    }
    store(for_beta, at, static_cast<float>(level));
    store(for_gamma, at, static_cast<float>(tilt));
  }
}

__global__ void normalize_gradient(const Factors* factors, Tensor gradient, Tensor source,
                                   Tensor destination) {
  begin_kernel();
  for (const Index at : elements(source)) {
    const Factors& own = factors[static_cast<long long>(at.n) * source.desc.c + at.c];
    const float normalized = own.deviation(load(source, at)) * own.unit;
    const float above = fmaf(own.gamma, load(gradient, at), -own.level) - own.level_rest;
    store(destination, at, own.unit * fmaf(-normalized, own.tilt, above));
  }
}

std::size_t factor_bytes(const TensorDesc& source) {
  return static_cast<std::size_t>(source.n) * static_cast<std::size_t>(source.c) * sizeof(Factors);
}

/// Statistics of each image and their factors, at the end of the scratch memory.
Factors* statistics(const Args& args, const Chunks& chunks, const Tensor& source,
                    const Groups& groups) {
  const Parts parts(chunks, args.scratch);
  auto* factors =
      reinterpret_cast<Factors*>(static_cast<std::byte*>(args.scratch) + Parts::bytes(chunks));
  launch_blocks(args, chunks.blocks(), chunk_statistics, chunks, source, parts);
  launch_blocks(args, static_cast<long long>(chunks.sets) * (groups.channels / groups.width),
                merge_statistics, chunks, parts, groups, factors);
  return factors;
}

Groups groups_of(const GroupNormalization& op, const TensorDesc& source) {
  return {source.c, source.c / op.groups, static_cast<double>(op.epsilon), nullptr, nullptr};
}

}  // namespace

StepPtr prepare(const GroupNormalization& op, Descs slots, Engine&) {
  using Op = GroupNormalization;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const Chunks chunks(descs[Op::source], descs[Op::source].n);
  Groups groups = groups_of(op, descs[Op::source]);
  const auto body = [=](const Args& args) {
    Groups own = groups;
    own.gamma = args.at<const float>(Op::gamma);
    own.beta = args.at<const float>(Op::beta);
    const Tensor source = tensor(args, descs, Op::source);
    const Factors* factors = statistics(args, chunks, source, own);
    launch(args, source.count(), normalize, factors, source, tensor(args, descs, Op::destination));
  };
  return make_step(slots, "cuda group normalization", body,
                   Parts::bytes(chunks) + factor_bytes(descs[Op::source]));
}

StepPtr prepare(const GroupNormalizationGradient& op, Descs slots, Engine&) {
  using Op = GroupNormalizationGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const Chunks chunks(descs[Op::source], descs[Op::source].n);
  const Groups groups = groups_of(op.forward, descs[Op::source]);
  const auto body = [=](const Args& args) {
    Groups own = groups;
    own.gamma = args.at<const float>(Op::gamma);
    const Tensor source = tensor(args, descs, Op::source);
    const Tensor gradient = tensor(args, descs, Op::gradient);
    const Tensor for_gamma = tensor(args, descs, Op::gradientForGamma);
    Factors* factors = statistics(args, chunks, source, own);
    const Parts parts(chunks, args.scratch);
    launch_blocks(args, chunks.blocks(), chunk_gradients, chunks, factors, gradient, source, parts);
    launch(args, static_cast<long long>(chunks.sets) * source.desc.c, merge_chunks, chunks, parts);
    launch_blocks(args, static_cast<long long>(chunks.sets) * (own.channels / own.width),
                  merge_groups, chunks, parts, own, factors);
    launch(args, for_gamma.count(), store_sums, chunks, parts, for_gamma,
           tensor(args, descs, Op::gradientForBeta));
    launch(args, source.count(), normalize_gradient, factors, gradient, source,
           tensor(args, descs, Op::destination));
  };
  return make_step(slots, "cuda group normalization gradient", body,
                   Parts::bytes(chunks) + factor_bytes(descs[Op::source]));
}

}  // namespace cermet::cuda
