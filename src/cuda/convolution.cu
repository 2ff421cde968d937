// Convolution and its gradients (formulas: cnn/convolution.h). Where each window is a row of memory
// (fully connected layers, 1x1 windows) they are matrix products; else cuDNN serves where it has a
// deterministic float32 plan, and own kernels (convolution_general.cu) every other geometry and
// element type. Few source channels have kernels of their own (convolution_few_channels.cu), and so
// have products with few outputs (matrix_product_thin.cu) and reduced precision
// (convolution_tensor.cu).
// Gradients behind pooling are expanded to what pooling and neuron would pass on.

#include <algorithm>

#include "cuda/activation.cuh"
#include "cuda/convolution_few_channels.h"
#include "cuda/convolution_general.h"
#include "cuda/convolution_tensor.h"
#include "cuda/cudnn.h"
#include "cuda/matrix_product.h"
#include "cuda/matrix_product_thin.h"
#include "cuda/pooled.cuh"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__global__ void finish(Activation activation, Tensor biases, Tensor slopes, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) {
    float value = load(destination, at);
    if (biases.present()) value += load(biases, at.c);
    const float slope = slopes.present() ? load(slopes, at.c) : 0.0F;
    store(destination, at, activate(activation, value, slope));
  }
}

/// The same for destinations that are arrays of float4, `channels` / 4 of them a pixel, and no
/// slopes. `biases` may be null.
__global__ void finish_flat(Activation activation, const float4* biases, int channels,
                            float4* destination, long long count) {
  begin_kernel();
  for (const long long i : grid_stride(count)) {
    float4 value = destination[i];
    if (biases != nullptr) {
      value = each([](float a, float b) { return a + b; }, value,
                   biases[static_cast<int>(i % (channels / 4))]);
    }
    destination[i] = each([&](float x) { return activate(activation, x, 0.0F); }, value);
  }
}

__global__ void add(Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination))
    store(destination, at, load(destination, at) + load(source, at));
}

/// The rows of memory that a convolution multiplies with its weights, or none.
struct Rows {
  std::int64_t count = 0, length = 0;  // of the source
  explicit operator bool() const { return count != 0; }
};
Rows rows_of(const Convolution& op, const TensorDesc& source, const TensorDesc& weights,
             const TensorDesc& destination) {
  const Window& w = op.window;
  for (const TensorDesc* one : {&source, &weights, &destination}) {
    if (one->type != ElementType::float32 || !one->dense()) return {};
  }
  if (op.groups != 1 || w.padLeft != 0 || w.padTop != 0) return {};
  const bool whole = w.kernelWidth == source.w && w.kernelHeight == source.h &&
                     destination.w == 1 && destination.h == 1 && w.dilationX == 1 &&
                     w.dilationY == 1;
  if (whole) return {source.n, std::int64_t{source.h} * source.w * source.c};
  const bool pixels = w.kernelWidth == 1 && w.kernelHeight == 1 && w.strideX == 1 &&
                      w.strideY == 1 && destination.w == source.w && destination.h == source.h;
  if (pixels) return {source.pixels(), source.c};
  return {};
}

/// A block for 32 channels of `count` pixels.
__global__ void sum_pixels(const float* gradient, int count, int channels, bool accumulate,
                           float* sums) {
  begin_kernel();
  constexpr int lanes = 32;
  const int k = static_cast<int>(blockIdx.x) * lanes + static_cast<int>(threadIdx.x) % lanes;
  const bool active = k < channels;
  const auto sum =
      static_cast<float>(sum_over_warps(gradient + (active ? k : 0), count, channels, active));
  if (active && threadIdx.x < lanes) sums[k] = accumulate ? sums[k] + sum : sum;
}

/// Sums of the gradient's pixels: at once where there are few, else by general_gradient_weights.
/// Null: not wanted.
StepPtr bias_gradient(const ConvolutionGradientWeights& op, Descs slots) {
  using Op = ConvolutionGradientWeights;
  const TensorDesc gradient = slots[Op::gradient], biases = slots[Op::biasGradient];
  if (!biases.present()) return nullptr;
  constexpr std::int64_t few_pixels = 8192;
  if (is_plain(gradient) && biases.type == ElementType::float32 &&
      gradient.pixels() <= few_pixels) {
    const auto body = [gradient, accumulate = op.accumulate != 0](const Args& args) {
      constexpr int lanes = 32;
      launch_blocks(args, (gradient.c + lanes - 1) / lanes, sum_pixels, args.at(Op::gradient),
                    static_cast<int>(gradient.pixels()), gradient.c, accumulate,
                    args.at(Op::biasGradient));
    };
    return make_step(slots, "cuda sum of pixels", body);
  }
  std::vector<TensorDesc> without(slots.begin(), slots.end());
  without[Op::weightGradient] = {};
  return general_gradient_weights(op, without);
}

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// A plan with what binds it on each stream.
struct Pass {
  using Bindings = std::array<CudnnBinding, max_streams>;
  std::shared_ptr<const CudnnPlan> plan;
  std::shared_ptr<Bindings> bindings = std::make_shared<Bindings>();

  explicit operator bool() const { return plan != nullptr; }
  void run(const Args& args, void* source, void* weights, void* destination) const {
    args.stream->run(*plan, (*bindings)[args.stream->index], {source, weights, destination},
                     args.scratch);
  }
};

}  // namespace

StepPtr prepare(const Convolution& op, Descs slots, Engine& engine) {
  using Op = Convolution;
  const std::vector<TensorDesc> descs(slots.begin(), slots.end());
  const TensorDesc source = slots[Op::source], to = slots[Op::destination];
  const auto epilogue = [op, descs](const Args& args) {
    const Tensor biases = tensor(args, descs, Op::biases);
    if (!biases.present() && op.activation.type == CNNNeuronType::None) return;
    const Tensor destination = tensor(args, descs, Op::destination);
    Tensor slopes = tensor(args, descs, Op::slopes);
    if (op.activation.type != CNNNeuronType::PReLU) slopes.data = nullptr;
    if (!slopes.present() && destination.desc.c % 4 == 0 && are_flat({destination}) &&
        (!biases.present() || are_flat({biases}))) {
      launch(args, destination.count() / 4, finish_flat, op.activation,
             static_cast<const float4*>(biases.data), destination.desc.c,
             args.at<float4>(Op::destination), destination.count() / 4);
      return;
    }
    launch(args, destination.count(), finish, op.activation, biases, slopes, destination);
  };
  if (const Rows rows = rows_of(op, source, slots[Op::weights], to)) {
    if (const auto product = ThinProduct::of(rows.count, rows.length, to.c)) {
      const bool biased = slots[Op::biases].present();
      const bool whole = op.activation.type == CNNNeuronType::None && is_plain(slots[Op::biases]);
      const auto body = [product, epilogue, biased, whole](const Args& args) {
        product->run(args, args.at(Op::source), args.at(Op::weights),
                     biased && whole ? args.at(Op::biases) : nullptr, args.at(Op::destination));
        if (!whole) epilogue(args);
      };
      return make_step(slots, "cuda thin product", body);
    }
    MatrixProduct::Shape shape{rows.count, to.c, rows.length, false, true};
    shape.reduced = op.reducedPrecision != 0;
    // No ReLU of cuBLASLt: its maximum with 0 may swallow NaN.
    if (slots[Op::biases].present() && slots[Op::biases].type == ElementType::float32 &&
        op.activation.type == CNNNeuronType::None)
      shape.epilogue = MatrixProduct::Epilogue::bias;
    if (const auto product = MatrixProduct::make(engine, shape)) {
      const auto body = [product, epilogue](const Args& args) {
        const bool finished =
            product->run(args, args.at<void>(Op::source), args.at<void>(Op::weights),
                         args.at<void>(Op::destination), args.at<void>(Op::biases));
        if (!finished) epilogue(args);
      };
      return make_step(slots, "cublas product", body, product->workspace_bytes());
    }
  }
  if (StepPtr step = few_channels_convolution(op, slots)) return step;
  if (StepPtr step = tensor_convolution(op, slots, engine)) return step;
  const Pass pass{
      CudnnPlan::make(engine, CudnnPlan::Pass::forward, op, {source, slots[Op::weights], to})};
  if (!pass) return general_convolution(op, slots);
  const auto body = [pass, epilogue](const Args& args) {
    pass.run(args, args.at<void>(Op::source), args.at<void>(Op::weights),
             args.at<void>(Op::destination));
    epilogue(args);
  };
  return make_step(slots, "cudnn convolution", body, pass.plan->workspace_bytes());
}

StepPtr prepare(const ConvolutionGradientData& op, Descs slots, Engine& engine) {
  using Op = ConvolutionGradientData;
  const TensorDesc gradient = slots[Op::gradient], weights = slots[Op::weights],
                   to = slots[Op::destination];
  if (const Rows rows = rows_of(op.forward, to, weights, gradient)) {
    if (const auto product = ThinProduct::of(rows.count, rows.length, gradient.c)) {
      return make_step(slots, "cuda thin product", [product](const Args& args) {
        product->gradient_data(args, args.at(Op::gradient), args.at(Op::weights),
                               args.at(Op::destination));
      });
    }
    MatrixProduct::Shape shape{rows.count, rows.length, gradient.c};
    shape.reduced = op.forward.reducedPrecision != 0;
    if (const auto product = MatrixProduct::make(engine, shape)) {
      const auto body = [product](const Args& args) {
        product->run(args, args.at<void>(Op::gradient), args.at<void>(Op::weights),
                     args.at<void>(Op::destination));
      };
      return make_step(slots, "cublas product", body, product->workspace_bytes());
    }
  }
  if (StepPtr step = tensor_gradient_data(op, slots, engine)) return step;
  const Pass pass{
      CudnnPlan::make(engine, CudnnPlan::Pass::data, op.forward, {to, weights, gradient})};
  if (!pass) return general_gradient_data(op, slots);
  const auto body = [pass](const Args& args) {
    pass.run(args, args.at<void>(Op::destination), args.at<void>(Op::weights),
             args.at<void>(Op::gradient));
  };
  return make_step(slots, "cudnn data gradient", body, pass.plan->workspace_bytes());
}

StepPtr prepare(const ConvolutionGradientWeights& op, Descs slots, Engine& engine) {
  using Op = ConvolutionGradientWeights;
  const TensorDesc weights = slots[Op::weightGradient], source = slots[Op::source],
                   gradient = slots[Op::gradient];
  if (!weights.present()) return general_gradient_weights(op, slots);
  const bool accumulate = op.accumulate != 0;
  const StepPtr of_biases = bias_gradient(op, slots);
  const auto run_biases = [of_biases](const Args& args, std::size_t after) {
    if (!of_biases) return;
    of_biases->run(args.slots, static_cast<std::byte*>(args.scratch) + after, nullptr,
                   *args.stream);
  };
  const std::size_t bias_bytes = of_biases ? of_biases->scratch_bytes : 0;
  if (const Rows rows = rows_of(op.forward, source, weights, gradient)) {
    const auto thin = ThinProduct::of(rows.count, rows.length, gradient.c);
    if (thin && is_plain(slots[Op::biasGradient])) {
      const bool biased = slots[Op::biasGradient].present();
      return make_step(slots, "cuda thin product", [thin, accumulate, biased](const Args& args) {
        thin->gradient_weights(args, args.at(Op::gradient), args.at(Op::source), accumulate,
                               args.at(Op::weightGradient),
                               biased ? args.at(Op::biasGradient) : nullptr);
      });
    }
    MatrixProduct::Shape shape{gradient.c, rows.length, rows.count, true, false, accumulate};
    shape.reduced = op.forward.reducedPrecision != 0;
    // Where TF32 is allowed nothing says that what is summed is not rounded. And sums over many
    // rows are split, which the epilogue excludes.
    constexpr std::int64_t few_rows = 512;
    if (of_biases && !accumulate && !shape.reduced && rows.count <= few_rows &&
        slots[Op::biasGradient].type == ElementType::float32)
      shape.epilogue = MatrixProduct::Epilogue::left_sums;
    if (const auto product = MatrixProduct::make(engine, shape)) {
      const std::size_t workspace = aligned(product->workspace_bytes());
      const auto body = [product, run_biases, workspace](const Args& args) {
        const bool summed =
            product->run(args, args.at<void>(Op::gradient), args.at<void>(Op::source),
                         args.at<void>(Op::weightGradient), args.at<void>(Op::biasGradient));
        if (!summed) run_biases(args, workspace);
      };
      return make_step(slots, "cublas product", body, workspace + bias_bytes);
    }
  }
  if (StepPtr step = tensor_gradient_weights(op, slots, engine)) return step;
  constexpr int few = 4;  // channels of the source, for which cuDNN's plans take longer
  if (op.forward.groups == 1 && source.c <= few) return tap_gradient_weights(op, slots);
  const Pass pass{
      CudnnPlan::make(engine, CudnnPlan::Pass::weights, op.forward, {source, weights, gradient})};
  if (!pass) {
    return op.forward.groups == 1 ? tap_gradient_weights(op, slots)
                                  : general_gradient_weights(op, slots);
  }
  const std::size_t workspace = aligned(pass.plan->workspace_bytes());
  // Not by cuDNN's beta: there are plans that ignore it.
  const std::size_t sums =
      accumulate ? aligned(static_cast<std::size_t>(weights.count()) * sizeof(float)) : 0;
  const auto body = [pass, run_biases, workspace, sums, accumulate, weights](const Args& args) {
    void* const own = args.at<void>(Op::weightGradient);
    void* const result = accumulate ? static_cast<std::byte*>(args.scratch) + workspace : own;
    pass.run(args, args.at<void>(Op::source), result, args.at<void>(Op::gradient));
    if (accumulate)
      launch(args, weights.count(), add, Tensor{weights, result}, Tensor{weights, own});
    run_biases(args, workspace + sums);
  };
  return make_step(slots, "cudnn weight gradient", body, workspace + sums + bias_bytes);
}

// ---- with ReLU and 2x2 pooling

StepPtr prepare(const PooledConvolution& op, Descs slots, Engine& engine) {
  if (StepPtr step = few_channels_pooled(op, slots)) return step;
  return tensor_convolution(op, slots, engine);
}

namespace {

__device__ float of_tap(float value, unsigned char winner, int tap) {
  return winner == tap ? value : 0.0F;
}
__device__ float4 of_tap(const float4& value, const uchar4& winner, int tap) {
  return {of_tap(value.x, winner.x, tap), of_tap(value.y, winner.y, tap),
          of_tap(value.z, winner.z, tap), of_tap(value.w, winner.w, tap)};
}

/// A thread for the four taps of a window, and a channel or four of them; windows without a
/// pooled gradient get 0.
template <class Value, class Winner>
__global__ void expand(TensorDesc pooled, const Value* gradient, const Winner* winners,
                       TensorDesc dense, Value* expanded) {
  begin_kernel();
  constexpr int together = sizeof(Value) / sizeof(float);
  const int h = (dense.h + 1) / 2, w = (dense.w + 1) / 2, channels = dense.c / together;
  for (const Index at :
       Elements(static_cast<long long>(dense.n) * h * w * channels, h, w, channels)) {
    const bool given = at.y < pooled.h && at.x < pooled.w;
    const long long from =
        ((static_cast<long long>(at.n) * pooled.h + at.y) * pooled.w + at.x) * channels + at.c;
    Value value{};
    Winner winner{};
    if (given) {
      value = gradient[from];
      winner = winners[from];
    }
    for (int tap = 0; tap < 4; ++tap) {
      const int y = 2 * at.y + tap / 2, x = 2 * at.x + tap % 2;
      if (y >= dense.h || x >= dense.w) continue;
      expanded[((static_cast<long long>(at.n) * dense.h + y) * dense.w + x) * channels + at.c] =
          of_tap(value, winner, tap);
    }
  }
}

/// Outputs along an axis that a pooled gradient is expanded to. More than the forward convolution
/// had change nothing, for they get 0; as many as equal pads make suit cuDNN.
int expanded(int pooled, int extent, int kernel, int stride, int pad, int dilation) {
  const int span = extent + 2 * pad - (dilation * (kernel - 1) + 1);
  return span < 0 ? 2 * pooled : std::max(2 * pooled, span / stride + 1);
}

/// Pooled gradients at the taps of their winners, 0 elsewhere.
struct Expansion {
  TensorDesc pooled, dense;

  Expansion(const Window& w, const TensorDesc& gradient, const TensorDesc& source)
      : pooled(gradient),
        dense(dense_desc(
            gradient.n,
            expanded(gradient.h, source.h, w.kernelHeight, w.strideY, w.padTop, w.dilationY),
            expanded(gradient.w, source.w, w.kernelWidth, w.strideX, w.padLeft, w.dilationX),
            gradient.c)) {}
  [[nodiscard]] std::size_t bytes() const {
    return aligned(static_cast<std::size_t>(dense.count()) * sizeof(float));
  }
  /// Into the begin of scratch, which it returns; gradient and winners are the first two slots.
  float* run(const Args& args) const {
    auto* const to = static_cast<float*>(args.scratch);
    const auto* winners = args.at<const unsigned char>(1);
    const bool fours = pooled.c % 4 == 0 && are_flat({Tensor{pooled, args.slots[0]}}) &&
                       reinterpret_cast<std::uintptr_t>(winners) % sizeof(uchar4) == 0;
    const long long squares =
        static_cast<long long>(dense.n) * ((dense.h + 1) / 2) * ((dense.w + 1) / 2);
    if (fours) {
      launch(args, squares * (dense.c / 4), expand<float4, uchar4>, pooled, args.at<float4>(0),
             reinterpret_cast<const uchar4*>(winners), dense, reinterpret_cast<float4*>(to));
    } else {
      launch(args, squares * dense.c, expand<float, unsigned char>, pooled, args.at(0), winners,
             dense, to);
    }
    return to;
  }
};

/// `ordinary` on the expanded gradient in the place of the first two slots.
StepPtr expand_first(Descs slots, const Expansion& expansion, const StepPtr& ordinary) {
  const auto body = [=](const Args& args) {
    Slots own{};
    std::copy(args.slots.begin() + 2, args.slots.end(), own.begin() + 1);
    own[0] = expansion.run(args);
    ordinary->run(own, static_cast<std::byte*>(args.scratch) + expansion.bytes(), nullptr,
                  *args.stream);
  };
  return make_step(slots, "expanded, " + ordinary->implementation, body,
                   expansion.bytes() + ordinary->scratch_bytes);
}

/// The slots of the ordinary gradient.
std::vector<TensorDesc> with_first(const TensorDesc& gradient, Descs slots) {
  std::vector<TensorDesc> own(slots.begin() + 1, slots.end());
  own[0] = gradient;
  return own;
}

bool can_expand(Descs slots) { return is_plain(slots[0]) && are_winners(slots[1]); }

}  // namespace

StepPtr prepare(const PooledConvolutionGradientData& op, Descs slots, Engine& engine) {
  using Op = PooledConvolutionGradientData;
  if (StepPtr step = tensor_gradient_data(op, slots, engine)) return step;
  if (!can_expand(slots)) return nullptr;
  const Expansion expansion(op.forward.window, slots[Op::gradient], slots[Op::destination]);
  return expand_first(
      slots, expansion,
      prepare(ConvolutionGradientData{op.forward}, with_first(expansion.dense, slots), engine));
}

StepPtr prepare(const PooledConvolutionGradientWeights& op, Descs slots, Engine& engine) {
  using Op = PooledConvolutionGradientWeights;
  if (StepPtr step = few_channels_gradient_weights(op, slots)) return step;
  if (StepPtr step = tensor_gradient_weights(op, slots, engine)) return step;
  if (!can_expand(slots)) return nullptr;
  const Expansion expansion(op.forward.window, slots[Op::gradient], slots[Op::source]);
  return expand_first(slots, expansion,
                      prepare(ConvolutionGradientWeights{op.forward, op.accumulate},
                              with_first(expansion.dense, slots), engine));
}

}  // namespace cermet::cuda
