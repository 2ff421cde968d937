// Convolution and its gradients: oneDNN where it can do the geometry with a real implementation,
// our own loops (convolution_general.h) elsewhere. Stages are put together as data flows: inputs
// are framed and reordered first, outputs are reordered, folded and activated last.

#include <algorithm>
#include <stdexcept>
#include <utility>
#include <vector>

#include "cpu/activation.h"
#include "cpu/convolution_general.h"
#include "cpu/engine.h"
#include "cpu/onednn.h"
#include "cpu/sequence.h"
#include "cpu/shift.h"

namespace cermet::cpu {
namespace {

using Index = std::int64_t;
using onednn::Desc;

constexpr Index products_per_thread = 1 << 19;  // about twenty microseconds

std::size_t float_bytes(Index count) { return static_cast<std::size_t>(count) * sizeof(float); }

TensorDesc dense_like(const TensorDesc& desc) { return dense_desc(desc.n, desc.h, desc.w, desc.c); }

/// A tensor on its way through the stages; `groups` says how oneDNN sees weights.
struct Tensor {
  TensorDesc desc;
  Place place;
  int groups = 1;

  [[nodiscard]] Desc onednn() const { return onednn::weights_desc_of(desc, groups); }
};

/// Collects the stages of a step and resolves its slots.
class Plan {
 public:
  Plan(Descs descs, Engine& engine) : engine_(engine), slots_(descs.begin(), descs.end()) {
    for (const TensorDesc& desc : slots_) bytes_.push_back(float_bytes(desc.count()));
    for (std::size_t i = 0; i < slots_.size(); ++i) {
      if (slots_[i].layout > any) bytes_[i] = onednn::interned(slots_[i].layout).get_size();
    }
  }

  [[nodiscard]] Tensor tensor(std::size_t slot, int groups = 1) const {
    const Place place = slots_[slot].present() ? Place::slot(slot) : Place{};
    return {slots_[slot], place, groups};
  }
  [[nodiscard]] Tensor scratch(const TensorDesc& like, int groups = 1) {
    return {dense_like(like), sequence_.reserve(float_bytes(like.count())), groups};
  }

  void add(StepPtr step, std::vector<Place> places) {
    sequence_.add(std::move(step), std::move(places));
  }
  /// Runs after everything added or asked to run after before.
  void add_last(StepPtr step, std::vector<Place> places) {
    last_.emplace_back(std::move(step), std::move(places));
  }

  /// Where the step finds the tensor in the layout that it wants.
  [[nodiscard]] Place input(const Tensor& tensor, const Desc& wanted) {
    if (tensor.desc.layout == any) return resolve(tensor, wanted);
    if (tensor.onednn() == wanted) return tensor.place;
    const Place place = sequence_.reserve(wanted.get_size());
    sequence_.add(reorder(tensor.onednn(), wanted, tensor.desc), {tensor.place, place});
    return place;
  }
  [[nodiscard]] Place output(const Tensor& tensor, const Desc& wanted) {
    if (tensor.desc.layout == any) return resolve(tensor, wanted);
    if (tensor.onednn() == wanted) return tensor.place;
    const Place place = sequence_.reserve(wanted.get_size());
    add_last(reorder(wanted, tensor.onednn(), tensor.desc), {place, tensor.place});
    return place;
  }
  [[nodiscard]] Tensor plain_input(Tensor tensor) {
    if (tensor.desc.layout == plain) return tensor;
    const Tensor wanted{dense_like(tensor.desc), {}, tensor.groups};
    return {wanted.desc, input(tensor, wanted.onednn()), tensor.groups};
  }
  [[nodiscard]] Tensor plain_output(Tensor tensor) {
    if (tensor.desc.layout == plain) return tensor;
    const Tensor wanted{dense_like(tensor.desc), {}, tensor.groups};
    return {wanted.desc, output(tensor, wanted.onednn()), tensor.groups};
  }

  [[nodiscard]] StepPtr finish() {
    for (auto stage = last_.rbegin(); stage != last_.rend(); ++stage) {
      sequence_.add(std::move(stage->first), std::move(stage->second));
    }
    return std::move(sequence_).finish(std::move(slots_), std::move(bytes_));
  }
  [[nodiscard]] Engine& engine() const { return engine_; }

 private:
  Place resolve(const Tensor& tensor, const Desc& wanted) {
    Tensor resolved{dense_like(tensor.desc), tensor.place, tensor.groups};
    if (!(resolved.onednn() == wanted)) resolved.desc.layout = onednn::intern(wanted);
    slots_[tensor.place.at] = resolved.desc;
    bytes_[tensor.place.at] = wanted.get_size();
    return tensor.place;
  }
  [[nodiscard]] StepPtr reorder(const Desc& from, const Desc& to, const TensorDesc& desc) const {
    const onednn::ThreadScope threads(threads_for(desc.count(), engine_));
    auto made = onednn::reorder(from, to);
    if (!made) throw std::logic_error("oneDNN has no reorder for " + describe(desc));
    return onednn::make_step(std::move(*made), {desc, desc});
  }

  Engine& engine_;
  Sequence sequence_;
  std::vector<std::pair<StepPtr, std::vector<Place>>> last_;
  std::vector<TensorDesc> slots_;
  std::vector<std::size_t> bytes_;
};

// ---- geometry
// -------------------------------------------------------------------------------------

/// One axis of a convolution.
struct Axis {
  Index source, destination, kernel, stride, pad, dilation;

  [[nodiscard]] Index reach() const { return (kernel - 1) * dilation + 1; }
  /// Pixels from the first to the last that some window reads.
  [[nodiscard]] Index read() const { return stride * (destination - 1) + reach(); }
  /// Pixels read beyond the source; negative: source pixels after the last window.
  [[nodiscard]] Index after() const { return read() - pad - source; }
  [[nodiscard]] bool reads_outside() const { return pad > 0 || after() > 0; }
  /// What every oneDNN implementation can do.
  [[nodiscard]] bool is_usual() const {
    return pad >= 0 && pad < reach() && after() < reach() && after() > -stride;
  }
};

struct Geometry {
  Axis y, x;

  Geometry(const Window& w, const TensorDesc& source, const TensorDesc& destination)
      : y{source.h, destination.h, w.kernelHeight, w.strideY, w.padTop, w.dilationY},
        x{source.w, destination.w, w.kernelWidth, w.strideX, w.padLeft, w.dilationX} {}

  /// oneDNN reads zeros outside and knows no clamping.
  [[nodiscard]] bool suits_onednn(const Window& window) const {
    const bool clamps = window.clampEdges != 0 && (y.reads_outside() || x.reads_outside());
    return y.is_usual() && x.is_usual() && !clamps;
  }
  /// What our own loops need: all windows inside.
  [[nodiscard]] bool is_inside() const {
    return y.pad == 0 && x.pad == 0 && y.after() <= 0 && x.after() <= 0;
  }
  [[nodiscard]] bool is_exact() const { return is_inside() && y.after() == 0 && x.after() == 0; }

  [[nodiscard]] onednn::ConvolutionShape shape() const {
    return {.strides = {y.stride, x.stride},
            .dilations = {y.dilation, x.dilation},
            .pads_before = {y.pad, x.pad},
            .pads_after = {std::max<Index>(0, y.after()), std::max<Index>(0, x.after())}};
  }
};

/// The source cut or extended to exactly what the windows read.
TensorDesc frame_of(const Geometry& geometry, const TensorDesc& source) {
  return dense_desc(source.n, static_cast<std::int32_t>(geometry.y.read()),
                    static_cast<std::int32_t>(geometry.x.read()), source.c);
}
/// From the source to the frame.
Shift into_frame(const Window& window) {
  return {-window.padLeft, -window.padTop, window.clampEdges};
}
Window inside_frame(Window window) {
  window.padTop = window.padLeft = window.clampEdges = 0;
  return window;
}

Tensor framed_input(Plan& plan, const Window& window, const TensorDesc& frame, Tensor source) {
  source = plan.plain_input(source);
  const Tensor result = plan.scratch(frame);
  const TensorDesc slots[] = {source.desc, frame};
  plan.add(prepare(into_frame(window), slots, plan.engine()), {source.place, result.place});
  return result;
}
Tensor framed_output(Plan& plan, const Window& window, const TensorDesc& frame, Tensor result) {
  result = plan.plain_output(result);
  const Tensor framed = plan.scratch(frame);
  plan.add_last(fold_window(into_frame(window), frame, result.desc, plan.engine()),
                {framed.place, result.place});
  return framed;
}

/// Fully connected: one window that is the whole source, so that weights and sources are matrices.
bool is_product(const Convolution& op, const TensorDesc& source, const TensorDesc& destination) {
  const Geometry at(op.window, source, destination);
  return op.groups == 1 && destination.h == 1 && destination.w == 1 && at.is_exact() &&
         (op.window.dilationX == 1 || op.window.kernelWidth == 1) &&
         (op.window.dilationY == 1 || op.window.kernelHeight == 1) &&
         (source.layout != plain || source.dense() || (source.h == 1 && source.w == 1) ||
          (source.stride_w == source.c && source.stride_h == Index{source.w} * source.c));
}

/// Sources of few channels: our loops use whole registers of output channels, while oneDNN has only
/// reference code for some of these (2.3 s where ours takes 1.5 ms).
bool prefers_own(const Convolution& op, const TensorDesc& source) {
  const Index channels = source.c / op.groups;
  return op.groups == 1 && channels < 8 &&
         channels * op.window.kernelHeight * op.window.kernelWidth <= 64;
}

// ---- small steps
// ----------------------------------------------------------------------------------

/// In place. Slots: destination, slopes or null.
StepPtr activate(const Activation& activation, const TensorDesc& desc, const Engine& engine) {
  const TensorDesc slots[] = {desc, flat_desc(desc.c)};
  const int threads = threads_for(desc.count(), engine);
  const EvaluateRow evaluate = evaluate_row(activation.type);
  return make_step(slots, "own activation", [=](const Args& args) {
    for_each_pixel(threads, desc, [&](Index n, Index y, Index x) {
      float* values = pixel(args.at(0), desc, n, y, x);
      evaluate(activation, values, args.at<const float>(1), values, desc.c);
    });
  });
}

/// Dense tensors. Slots: from, to.
StepPtr add_to(Index count, const Engine& engine) {
  const TensorDesc slots[] = {flat_desc(count), flat_desc(count)};
  const int threads = threads_for(count, engine);
  return make_step(slots, "own sum", [count, threads](const Args& args) {
    parallel(threads, count, [&](Index begin, Index end) {
      const float* from = args.at(0);
      float* to = args.at(1);
      for (Index i = begin; i < end; ++i) to[i] += from[i];
    });
  });
}

/// biases[k] (+)= sum of row[k]. Slots: rows, biases.
StepPtr sum_rows(const TensorDesc& rows, bool accumulate) {
  const TensorDesc slots[] = {rows, flat_desc(rows.c)};
  return make_step(slots, "own row sum", [rows, accumulate](const Args& args) {
    float* sums = args.at(1);
    if (!accumulate) std::fill_n(sums, rows.c, 0.0f);
    for (Index n = 0; n < rows.n; ++n) {
      const float* row = args.at(0) + n * rows.stride_n;
      for (Index k = 0; k < rows.c; ++k) sums[k] += row[k];
    }
  });
}

// ---- oneDNN
// ---------------------------------------------------------------------------------------

/// ReLU ends a primitive; other neurons take a pass of their own.
bool is_fused(const Activation& activation) {
  return activation.type == CNNNeuronType::None || activation.type == CNNNeuronType::ReLU;
}
std::optional<float> relu_slope(const Activation& activation) {
  if (activation.type != CNNNeuronType::ReLU) return std::nullopt;
  return activation.a;
}

int threads_of(const Convolution& op, const TensorDesc& source, const TensorDesc& destination,
               const Engine& engine) {
  const Index terms = Index{op.window.kernelHeight} * op.window.kernelWidth * source.c / op.groups;
  return threads_for(destination.count() * terms, engine, products_per_thread);
}

/// Pixels of many channels lie so far apart that blocked tensors pay for two reorders: 15.4 against
/// 12.2 ms for 4x56x56x64 with 3x3. Measured for the forward pass and the weights, not for the
/// data.
bool prefers_blocked(const Convolution& op, const TensorDesc& source,
                     const TensorDesc& destination) {
  const Index taps = Index{op.window.kernelHeight} * op.window.kernelWidth;
  return op.groups == 1 && source.c >= 64 && taps > 1 && taps * destination.c >= 256;
}

/// Reference code is refused, and so are matrix products of one channel a group: our loop for
/// dilated depthwise convolution takes a quarter of the time going back, a twentieth for the
/// weights.
std::optional<onednn::Primitive> welcome(std::optional<onednn::Primitive> made,
                                         const Convolution& op, const TensorDesc& source) {
  if (!made || made->is("ref")) return std::nullopt;
  if (op.groups > 1 && op.groups == source.c && made->is("gemm")) return std::nullopt;
  return made;
}

/// The first primitive that `make` yields: for the tensors as they come or layouts of its own
/// choice, those first when `blocked`.
template <class Make>
std::optional<onednn::Primitive> choose(const onednn::ConvolutionDescs& given, bool blocked,
                                        Make&& make) {
  const onednn::ConvolutionDescs open{onednn::any_like(given.source), given.weights, given.biases,
                                      onednn::any_like(given.destination)};
  auto made = make(blocked ? open : given);
  return made ? made : make(blocked ? given : open);
}

/// What a primitive is asked to take. Never a window of a larger tensor: oneDNN 3.7 accepts a batch
/// stride that is not dense and then ignores it.
Desc asked(const TensorDesc& tensor) {
  return onednn::desc_of(tensor.layout == plain ? dense_like(tensor) : tensor);
}
Desc biases_desc(const TensorDesc& biases) {
  return biases.present() ? onednn::vector_desc(biases.count()) : Desc();
}

Desc any_weights(const Tensor& weights) {
  Tensor open = weights;
  open.desc.layout = any;
  return open.onednn();
}

/// The source as a matrix of one row for each image, and the weights as one row for each result.
struct Matrices {
  Desc source, source_columns, weights, weights_columns, result, result_columns;

  Matrices(const TensorDesc& from, const TensorDesc& to) {
    const Index n = from.n, width = Index{from.h} * from.w * from.c, k = to.c;
    source = onednn::matrix_desc({n, width}, {from.stride_n, 1});
    weights = onednn::matrix_desc({k, width}, {width, 1});
    weights_columns = onednn::matrix_desc({width, k}, {1, width});
    result = onednn::matrix_desc({n, k}, {to.stride_n, 1});
    result_columns = onednn::matrix_desc({k, n}, {1, to.stride_n});
  }
};

void add_product(Plan& plan, const onednn::MatrixProduct& product, std::vector<Place> places) {
  auto made = onednn::matrix_product(product);
  if (!made) throw std::logic_error("oneDNN has no product of these matrices");
  plan.add(onednn::make_step(std::move(*made), {}), std::move(places));
}

}  // namespace

StepPtr prepare(const Convolution& op, Descs descs, Engine& engine) {
  Plan plan(descs, engine);
  Convolution core = op;
  Tensor source = plan.tensor(Convolution::source);
  const Tensor weights = plan.tensor(Convolution::weights, op.groups);
  const Tensor biases = plan.tensor(Convolution::biases);
  Tensor result = plan.tensor(Convolution::destination);
  if (!is_fused(op.activation)) {
    result = plan.plain_output(result);
    plan.add_last(activate(op.activation, result.desc, engine),
                  {result.place, plan.tensor(Convolution::slopes).place});
    core.activation = {};
  }
  const onednn::ThreadScope threads(threads_of(op, source.desc, result.desc, engine));

  if (is_product(op, source.desc, result.desc)) {
    source = plan.plain_input(source);
    const Place rows = plan.plain_input(weights).place;
    result = plan.plain_output(result);
    const Matrices m(source.desc, result.desc);
    const Desc bias = biases.desc.present()
                          ? onednn::matrix_desc({1, result.desc.c}, {result.desc.c, 1})
                          : Desc();
    add_product(plan, {m.source, m.weights_columns, bias, m.result, relu_slope(core.activation)},
                {source.place, rows, biases.place, result.place});
    return plan.finish();
  }

  const Geometry geometry(op.window, source.desc, result.desc);
  const TensorDesc frame = frame_of(geometry, source.desc);
  const bool framed = !geometry.suits_onednn(op.window);
  Convolution inside = core;
  inside.window = inside_frame(op.window);
  if (!prefers_own(op, source.desc)) {
    const TensorDesc& read = framed ? frame : source.desc;
    const Geometry at(framed ? inside.window : op.window, read, result.desc);
    const auto made = choose(
        {asked(read), any_weights(weights), biases_desc(biases.desc), asked(result.desc)},
        prefers_blocked(op, read, result.desc), [&](const onednn::ConvolutionDescs& wanted) {
          return welcome(onednn::convolution(wanted, at.shape(), relu_slope(core.activation)), op,
                         read);
        });
    if (made) {
      if (framed) source = framed_input(plan, op.window, frame, source);
      const auto& wanted = made->arguments;
      const Place from = plan.input(source, wanted[Convolution::source].desc);
      const Place packed = plan.input(weights, wanted[Convolution::weights].desc);
      const Place to = plan.output(result, wanted[Convolution::destination].desc);
      plan.add(onednn::make_step(*made, {}), {from, packed, biases.place, Place{}, to});
      return plan.finish();
    }
  }
  source = geometry.is_inside() ? plan.plain_input(source)
                                : framed_input(plan, op.window, frame, source);
  const Place master = plan.plain_input(weights).place;
  result = plan.plain_output(result);
  plan.add(general::forward(inside, source.desc, result.desc, engine),
           {source.place, master, biases.place, Place{}, result.place});
  return plan.finish();
}

StepPtr prepare(const ConvolutionGradientData& op, Descs descs, Engine& engine) {
  using Slot = ConvolutionGradientData::Slot;
  Plan plan(descs, engine);
  const Convolution& forward = op.forward;
  Tensor gradient = plan.tensor(Slot::gradient);
  const Tensor weights = plan.tensor(Slot::weights, forward.groups);
  Tensor result = plan.tensor(Slot::destination);
  const onednn::ThreadScope threads(threads_of(forward, result.desc, gradient.desc, engine));

  if (is_product(forward, result.desc, gradient.desc)) {
    gradient = plan.plain_input(gradient);
    const Place rows = plan.plain_input(weights).place;
    result = plan.plain_output(result);
    const Matrices m(result.desc, gradient.desc);
    add_product(plan, {m.result, m.weights, Desc(), m.source},
                {gradient.place, rows, Place{}, result.place});
    return plan.finish();
  }

  const Geometry geometry(forward.window, result.desc, gradient.desc);
  const TensorDesc frame = frame_of(geometry, result.desc);
  const bool framed = !geometry.suits_onednn(forward.window);
  Convolution inside = forward;
  inside.window = inside_frame(forward.window);
  const TensorDesc& written = framed ? frame : result.desc;
  const Geometry at(framed ? inside.window : forward.window, written, gradient.desc);
  const auto made = choose({asked(written), any_weights(weights), Desc(), asked(gradient.desc)},
                           false, [&](const onednn::ConvolutionDescs& wanted) {
                             return welcome(onednn::convolution_gradient_data(wanted, at.shape()),
                                            forward, written);
                           });
  if (made) {
    if (framed) result = framed_output(plan, forward.window, frame, result);
    const auto& wanted = made->arguments;
    const Place from = plan.input(gradient, wanted[Slot::gradient].desc);
    const Place packed = plan.input(weights, wanted[Slot::weights].desc);
    const Place to = plan.output(result, wanted[Slot::destination].desc);
    plan.add(onednn::make_step(*made, {}), {from, packed, to});
    return plan.finish();
  }
  gradient = plan.plain_input(gradient);
  const Place master = plan.plain_input(weights).place;
  result = geometry.is_exact() ? plan.plain_output(result)
                               : framed_output(plan, forward.window, frame, result);
  plan.add(general::gradient_data(inside, gradient.desc, result.desc, engine),
           {gradient.place, master, result.place});
  return plan.finish();
}

StepPtr prepare(const ConvolutionGradientWeights& op, Descs descs, Engine& engine) {
  using Slot = ConvolutionGradientWeights::Slot;
  Plan plan(descs, engine);
  const Convolution& forward = op.forward;
  Tensor gradient = plan.tensor(Slot::gradient);
  Tensor source = plan.tensor(Slot::source);
  Tensor weights = plan.plain_output(plan.tensor(Slot::weightGradient, forward.groups));
  Tensor biases = plan.tensor(Slot::biasGradient);
  const bool accumulate = op.accumulate != 0, biased = biases.desc.present();
  const onednn::ThreadScope threads(threads_of(forward, source.desc, gradient.desc, engine));

  if (is_product(forward, source.desc, gradient.desc)) {
    gradient = plan.plain_input(gradient);
    source = plan.plain_input(source);
    const Matrices m(source.desc, gradient.desc);
    add_product(plan, {m.result_columns, m.source, Desc(), m.weights, std::nullopt, accumulate},
                {gradient.place, source.place, Place{}, weights.place});
    if (biased) plan.add(sum_rows(gradient.desc, accumulate), {gradient.place, biases.place});
    return plan.finish();
  }

  const Geometry geometry(forward.window, source.desc, gradient.desc);
  const TensorDesc frame = frame_of(geometry, source.desc);
  const bool framed = !geometry.suits_onednn(forward.window);
  ConvolutionGradientWeights inside = op;
  inside.forward.window = inside_frame(forward.window);
  if (!prefers_own(forward, source.desc)) {
    const TensorDesc& read = framed ? frame : source.desc;
    const Geometry at(framed ? inside.forward.window : forward.window, read, gradient.desc);
    const auto made = choose(
        {asked(read), any_weights(weights), biases_desc(biases.desc), asked(gradient.desc)},
        prefers_blocked(forward, read, gradient.desc), [&](const onednn::ConvolutionDescs& wanted) {
          return welcome(onednn::convolution_gradient_weights(wanted, at.shape()), forward, read);
        });
    if (made) {
      if (framed) source = framed_input(plan, forward.window, frame, source);
      for (Tensor* sum : {&weights, &biases}) {
        if (!accumulate || !sum->desc.present()) continue;
        const Tensor term = plan.scratch(sum->desc, sum->groups);
        plan.add_last(add_to(sum->desc.count(), engine), {term.place, sum->place});
        *sum = term;
      }
      const auto& wanted = made->arguments;
      const Place from = plan.input(gradient, wanted[Slot::gradient].desc);
      const Place read_from = plan.input(source, wanted[Slot::source].desc);
      const Place to = plan.output(weights, wanted[Slot::weightGradient].desc);
      plan.add(onednn::make_step(*made, {}), {from, read_from, to, biases.place});
      return plan.finish();
    }
  }
  gradient = plan.plain_input(gradient);
  source = geometry.is_inside() ? plan.plain_input(source)
                                : framed_input(plan, forward.window, frame, source);
  plan.add(general::gradient_weights(inside, gradient.desc, source.desc, engine),
           {gradient.place, source.place, weights.place, biases.place});
  return plan.finish();
}

}  // namespace cermet::cpu
