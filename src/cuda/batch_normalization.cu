// Batch normalisation: statistics, normalisation and both gradients (formulas:
// cnn/batch_normalization.h). Sums are double, per channel, over chunks of pixels whose size
// depends on the shape alone; a second kernel adds the chunks in order.

#include "cuda/activation.cuh"
#include "cuda/chunk_sums.cuh"

namespace cermet::cuda {
namespace {

// ---- statistics

/// Merges the chunks with each other and with the running sums. A block for each tile.
__global__ void merge_statistics(Chunks chunks, Parts parts, bool restart, double* running,
                                 float* mean, float* variance) {
  begin_kernel();
  const int channels = chunks.of.desc.c, c = Chunks::tile(static_cast<int>(blockIdx.x));
  const int row = static_cast<int>(threadIdx.x) / lanes;
  const auto samples = static_cast<double>(chunks.set);
  const auto samples_of = [&](int chunk) { return static_cast<double>(chunks.pixels(chunk)); };
  double sum = 0, squares = 0;
  if (c < channels) {
    for (int chunk = row; chunk < chunks.count; chunk += rows) {
      sum += parts.first[static_cast<long long>(chunk) * channels + c] * samples_of(chunk);
    }
  }
  const double centre = channel_sum(sum) / samples;
  if (c < channels) {
    for (int chunk = row; chunk < chunks.count; chunk += rows) {
      const long long at = static_cast<long long>(chunk) * channels + c;
      const double step = parts.first[at] - centre;
      squares += parts.second[at] + step * step * samples_of(chunk);
    }
  }
  squares = channel_sum(squares);
  if (row != 0 || c >= channels) return;

  const double before = restart ? 0.0 : running[0], total = before + samples;
  double *means = running + 1, *deviations = means + channels;
  const double old_mean = restart ? 0.0 : means[c], old_squares = restart ? 0.0 : deviations[c];
  const double step = centre - old_mean;
  const double new_mean = old_mean + step * samples / total;
  const double new_squares = old_squares + (squares + step * step * before * samples / total);
  means[c] = new_mean;
  deviations[c] = new_squares;
  mean[c] = static_cast<float>(new_mean);
  variance[c] = static_cast<float>(new_squares / total);
}

/// After merge_statistics, whose blocks all read the count.
__global__ void count_samples(bool restart, double samples, double* running) {
  begin_kernel();
  if (blockIdx.x != 0 || threadIdx.x != 0) return;
  running[0] = (restart ? 0.0 : running[0]) + samples;
}

// ---- normalisation

/// The arrays of a normalisation: slots from `mean` on are mean, variance, gamma, beta, slopes.
struct Normalization {
  BatchNormalization op;
  int channels;
  const float *mean, *variance, *gamma, *beta, *slopes;  // gamma, beta and slopes may be null

  Normalization(const BatchNormalization& forward, const Args& args, Descs descs,
                std::size_t source)
      : op(forward), channels(descs[source].c) {
    const auto array = [&](std::size_t slot) -> const float* {
      return descs[slot].present() ? args.at<const float>(slot) : nullptr;
    };
    mean = array(source + 1);
    variance = array(source + 2);
    gamma = array(source + 3);
    beta = array(source + 4);
    slopes = op.activation.type == CNNNeuronType::PReLU ? array(source + 5) : nullptr;
  }
};

/// The factors of a channel: inverse = 1/s, scale = gamma/s, shift = beta.
struct Factors {
  float mean, inverse, scale, shift, slope;
  float level, tilt;  // of the gradient: the means of g' and g' * xh

  Factors() = default;
  __device__ Factors(const Normalization& of, int c)
      : mean(of.mean[c]),
        shift(of.beta != nullptr ? of.beta[c] : 0.0F),
        slope(of.slopes != nullptr ? of.slopes[c] : 0.0F),
        level(0),
        tilt(0) {
    const double one =
        1.0 / sqrt(static_cast<double>(of.variance[c]) + static_cast<double>(of.op.epsilon));
    inverse = static_cast<float>(one);
    scale = static_cast<float>(of.gamma != nullptr ? static_cast<double>(of.gamma[c]) * one : one);
  }
  /// gamma*xh + beta, the same bits in forward and gradient: a kink is on the same side in both.
  __device__ float normalize(float x) const { return fmaf(x - mean, scale, shift); }
  __device__ float normalized(float x) const { return (x - mean) * inverse; }
  /// g' = g * f'(z)
  __device__ float through(const Activation& f, float g, float x) const {
    return f.type == CNNNeuronType::None ? g : g * derivative(f, normalize(x), slope);
  }
};

/// Means over the samples of the sums that the gradient of the statistics made; null: all zero. The
/// samples are counted on the device, or given.
struct GradientSums {
  const float *for_gamma = nullptr, *for_beta = nullptr;
  const double* samples = nullptr;
  double given = 0;
};

__global__ void channel_factors(Normalization of, GradientSums sums, Factors* factors) {
  begin_kernel();
  for (const long long i : grid_stride(of.channels)) {
    const int c = static_cast<int>(i);
    Factors own(of, c);
    if (sums.for_gamma != nullptr) {
      const double samples = sums.samples != nullptr ? *sums.samples : sums.given;
      own.level = static_cast<float>(static_cast<double>(sums.for_beta[c]) / samples);
      own.tilt = static_cast<float>(static_cast<double>(sums.for_gamma[c]) / samples);
    }
    factors[c] = own;
  }
}

__global__ void normalize(Activation f, const Factors* factors, Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(source)) {
    const Factors own = factors[at.c];
    const float z = own.normalize(load(source, at));
    store(destination, at, f.type == CNNNeuronType::None ? z : activate(f, z, own.slope));
  }
}

__global__ void normalize_gradient(Activation f, const Factors* factors, Tensor gradient,
                                   Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(source)) {
    const Factors own = factors[at.c];
    const float x = load(source, at), through = own.through(f, load(gradient, at), x);
    store(destination, at, own.scale * (through - fmaf(own.normalized(x), own.tilt, own.level)));
  }
}

// ---- gradient of the statistics

__global__ void chunk_gradients(Chunks chunks, Normalization of, Tensor gradient, Tensor source,
                                Parts parts) {
  begin_kernel();
  const int c = chunks.channel();
  double level = 0, tilt = 0;
  if (c < of.channels) {
    const Factors own(of, c);
    chunks.for_each([&](const Index& at) {
      const float x = load(source, at);
      const double through = own.through(of.op.activation, load(gradient, at), x);
      level += through;
      tilt += through * static_cast<double>(own.normalized(x));
    });
  }
  level = channel_sum(level);
  tilt = channel_sum(tilt);
  parts.put(chunks, level, tilt);
}

/// A block for each tile.
__global__ void merge_gradients(Chunks chunks, Parts parts, bool accumulate, float* for_gamma,
                                float* for_beta) {
  begin_kernel();
  const int channels = chunks.of.desc.c, c = Chunks::tile(static_cast<int>(blockIdx.x));
  const int row = static_cast<int>(threadIdx.x) / lanes;
  double level = 0, tilt = 0;
  if (c < channels) {
    for (int chunk = row; chunk < chunks.count; chunk += rows) {
      const long long at = static_cast<long long>(chunk) * channels + c;
      level += parts.first[at];
      tilt += parts.second[at];
    }
  }
  level = channel_sum(level);
  tilt = channel_sum(tilt);
  if (row != 0 || c >= channels) return;
  const auto put = [&](float& to, double sum) {
    to = static_cast<float>((accumulate ? static_cast<double>(to) : 0.0) + sum);
  };
  put(for_beta[c], level);
  put(for_gamma[c], tilt);
}

std::size_t factor_bytes(const TensorDesc& source) {
  return static_cast<std::size_t>(source.c) * sizeof(Factors);
}

}  // namespace

StepPtr prepare(const BatchNormalizationStatistics& op, Descs slots, Engine&) {
  using Op = BatchNormalizationStatistics;
  const TensorDesc from = slots[Op::source];
  const Chunks chunks(from);
  const bool restart = op.restart != 0;
  const auto body = [from, chunks, restart](const Args& args) {
    const Parts parts(chunks, args.scratch);
    auto* sums = args.at<double>(Op::sums);
    launch_blocks(args, chunks.blocks(), chunk_statistics, chunks,
                  Tensor{from, args.slots[Op::source]}, parts);
    launch_blocks(args, chunks.tiles, merge_statistics, chunks, parts, restart, sums,
                  args.at(Op::mean), args.at(Op::variance));
    launch_blocks(args, 1, count_samples, restart, static_cast<double>(from.pixels()), sums);
  };
  return make_step(slots, "cuda statistics", body, Parts::bytes(chunks));
}

StepPtr prepare(const BatchNormalization& op, Descs slots, Engine&) {
  using Op = BatchNormalization;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const auto body = [op, descs](const Args& args) {
    const Tensor source = tensor(args, descs, Op::source);
    auto* factors = static_cast<Factors*>(args.scratch);
    launch(args, source.desc.c, channel_factors, Normalization(op, args, descs, Op::source),
           GradientSums{}, factors);
    launch(args, source.count(), normalize, op.activation, factors, source,
           tensor(args, descs, Op::destination));
  };
  return make_step(slots, "cuda normalization", body, factor_bytes(descs[Op::source]));
}

StepPtr prepare(const BatchNormalizationStatisticsGradient& op, Descs slots, Engine&) {
  using Op = BatchNormalizationStatisticsGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const Chunks chunks(descs[Op::source]);
  const auto body = [op, descs, chunks](const Args& args) {
    const Parts parts(chunks, args.scratch);
    launch_blocks(args, chunks.blocks(), chunk_gradients, chunks,
                  Normalization(op.forward, args, descs, Op::source),
                  tensor(args, descs, Op::gradient), tensor(args, descs, Op::source), parts);
    launch_blocks(args, chunks.tiles, merge_gradients, chunks, parts, op.accumulate != 0,
                  args.at(Op::gradientForGamma), args.at(Op::gradientForBeta));
  };
  return make_step(slots, "cuda statistics gradient", body, Parts::bytes(chunks));
}

StepPtr prepare(const BatchNormalizationGradient& op, Descs slots, Engine&) {
  using Op = BatchNormalizationGradient;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const auto body = [op, descs](const Args& args) {
    const Tensor source = tensor(args, descs, Op::source);
    auto* factors = static_cast<Factors*>(args.scratch);
    const GradientSums sums{args.at<const float>(Op::gradientForGamma),
                            args.at<const float>(Op::gradientForBeta),
                            descs[Op::sums].present() ? args.at<const double>(Op::sums) : nullptr,
                            static_cast<double>(source.pixels())};
    launch(args, source.desc.c, channel_factors, Normalization(op.forward, args, descs, Op::source),
           op.fixedStatistics != 0 ? GradientSums{} : sums, factors);
    launch(args, source.count(), normalize_gradient, op.forward.activation, factors,
           tensor(args, descs, Op::gradient), source, tensor(args, descs, Op::destination));
  };
  return make_step(slots, "cuda normalization gradient", body, factor_bytes(descs[Op::source]));
}

}  // namespace cermet::cuda
