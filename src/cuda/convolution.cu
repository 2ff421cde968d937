// Convolution and its gradients (formulas: ops/convolution.h). Where each window is a row of memory
// (fully connected layers, 1x1 windows) they are matrix products; else cuDNN serves where it has a
// deterministic float32 plan, and own kernels (convolution_general.cu) every other geometry and
// element type.

#include "cuda/activation.cuh"
#include "cuda/convolution_general.h"
#include "cuda/convolution_tensor.h"
#include "cuda/cudnn.h"
#include "cuda/matrix_product.h"
#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__global__ void finish(Activation activation, Tensor biases, Tensor slopes, Tensor destination) {
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

/// Sums of the gradient's rows, as a step of general_gradient_weights; null: not wanted.
StepPtr bias_gradient(const ConvolutionGradientWeights& op, Descs slots) {
  using Op = ConvolutionGradientWeights;
  if (!slots[Op::biasGradient].present()) return nullptr;
  std::vector<TensorDesc> without(slots.begin(), slots.end());
  without[Op::weightGradient] = {};
  return general_gradient_weights(op, without);
}

std::size_t aligned(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

/// A plan with what binds it; the thread that drives the engine's stream is its only user.
struct Pass {
  std::shared_ptr<const CudnnPlan> plan;
  std::shared_ptr<CudnnBinding> binding = std::make_shared<CudnnBinding>();

  explicit operator bool() const { return plan != nullptr; }
  void run(const Args& args, void* source, void* weights, void* destination) const {
    args.stream->run(*plan, *binding, {source, weights, destination}, args.scratch);
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
  if (StepPtr step = tensor_convolution(op, slots)) return step;
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
  if (StepPtr step = tensor_gradient_data(op, slots)) return step;
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
  if (StepPtr step = tensor_gradient_weights(op, slots)) return step;
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

StepPtr prepare(const PooledConvolution& op, Descs slots, Engine&) {
  return tensor_convolution(op, slots);
}
StepPtr prepare(const PooledConvolutionGradientData& op, Descs slots, Engine&) {
  return tensor_gradient_data(op, slots);
}
StepPtr prepare(const PooledConvolutionGradientWeights& op, Descs slots, Engine&) {
  return tensor_gradient_weights(op, slots);
}

}  // namespace cermet::cuda
