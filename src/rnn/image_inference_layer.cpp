#include "cermet/rnn/image_inference_layer.h"

#include <algorithm>

#include "cermet/cnn/arithmetic.h"
#include "cermet/matrix/neuron.h"
#include "cnn/convolution_weights.h"
#include "core/state_impl.h"
#include "rnn/inference.h"

namespace cermet {

using detail::Cell;
using detail::CellPart;
using detail::ConvolutionShape;
using detail::ConvolutionWeights;

namespace detail {

/// A convolution of one gate; null where the gate has none.
struct GateConvolution {
  std::shared_ptr<const ConvolutionShape> shape;
  std::shared_ptr<ConvolutionWeights> weights;
};

struct ImageLayer {
  Cell cell;
  std::array<std::array<GateConvolution, 3>, most_gates> of_gate;  // by part
  std::vector<float> diagonal;  // peepholes of all gates, or empty
  Buffer slopes, peepholes;

  void move_to(const Device& device) {
    const auto buffer_of = [&](const std::vector<float>& values) {
      return values.empty() ? Buffer()
                            : device.makeBuffer(values.data(), values.size() * sizeof(float));
    };
    slopes = buffer_of(cell.slopes);
    peepholes = buffer_of(diagonal);
    for (auto& parts : of_gate)
      for (GateConvolution& part : parts)
        if (part.weights) part.weights = part.weights->on(device);
  }
};

struct ImageStack {
  std::vector<ImageLayer> layers;
};

}  // namespace detail

namespace {

using detail::GateConvolution;
using detail::ImageLayer;
using detail::ImageStack;
using Extents = RNNRecurrentImageState::Extents;

std::int32_t i32(std::size_t value) { return static_cast<std::int32_t>(value); }

/// Rows of pixels as images of this size.
TensorView as_images(TensorView rows, const Extents& extents) {
  TensorDesc& desc = rows.desc;
  const std::int64_t pixel = desc.stride_h;
  desc.n = i32(static_cast<std::size_t>(desc.h) / (extents.width * extents.height));
  desc.h = i32(extents.height);
  desc.w = i32(extents.width);
  desc.stride_w = pixel;
  desc.stride_h = pixel * desc.w;
  desc.stride_n = desc.stride_h * desc.h;
  return rows;
}

/// The products of a cell whose rows are the pixels of images.
class ImageProducts final : public detail::CellProducts {
 public:
  ImageProducts(detail::Scratch& scratch, const ImageLayer& layer, const Extents& extents)
      : recording_(scratch.recording()),
        layer_(layer),
        extents_(extents),
        made_(scratch.make(1, i32(extents.width * extents.height * extents.images),
                           layer.cell.outputs)) {}

  void add(CellPart part, std::size_t first, std::size_t count, const TensorView& source,
           const TensorView& gates, bool accumulate) const override {
    const std::size_t outputs = layer_.cell.outputs;
    for (std::size_t gate = first; gate < first + count; ++gate) {
      const TensorView to = detail::channels_of(gates, gate * outputs, outputs);
      const GateConvolution& convolution = layer_.of_gate[gate][static_cast<std::size_t>(part)];
      const Buffer biases =
          part == CellPart::input && convolution.weights ? convolution.weights->biases : Buffer();
      if (part == CellPart::input && layer_.cell.unit_inputs) {
        detail::encode(recording_, unit_memo_, BiasedNeuron{},
                       {source, detail::view_of(recording_, biases, flat_desc(i32(outputs))),
                        TensorView{}, to});
      } else if (!convolution.shape) {
        if (!accumulate) detail::fill_zero(recording_, fill_memo_, to);
      } else if (accumulate) {
        convolve(convolution, biases, source, made_);
        detail::encode(recording_, sum_memo_, Arithmetic{}, {made_, to, to, TensorView{}});
      } else {
        convolve(convolution, biases, source, to);
      }
    }
  }

 private:
  void convolve(const GateConvolution& convolution, const Buffer& biases, const TensorView& source,
                const TensorView& to) const {
    const ConvolutionShape& shape = *convolution.shape;
    Convolution op;
    op.window = shape.window(ImageEdgeMode::Zero, Offset{});
    op.groups = i32(shape.operator_groups());
    const TensorDesc weights = shape.weights_desc();
    detail::encode(recording_, memo_, op,
                   {as_images(source, extents_), convolution.weights->master(recording_, weights),
                    detail::view_of(recording_, biases, flat_desc(i32(shape.outputs))),
                    TensorView{}, as_images(to, extents_)});
  }

  detail::Recording& recording_;
  const ImageLayer& layer_;
  Extents extents_;
  TensorView made_;
  mutable detail::StepMemo memo_, sum_memo_, fill_memo_, unit_memo_;
};

/// Images as steps: all have one size, so that all rows take part in all steps.
class ImageSequence final : public detail::Sequence {
 public:
  ImageSequence(std::vector<TensorView> images, std::size_t channels)
      : images_(std::move(images)), channels_(channels) {}

  [[nodiscard]] std::size_t size() const override { return images_.size(); }
  [[nodiscard]] detail::Steps steps() const override {
    const auto rows = static_cast<std::int32_t>(images_.front().desc.pixels());
    return {std::vector(size(), rows), rows};
  }
  [[nodiscard]] Extents extents() const {
    const TensorDesc& one = images_.front().desc;
    return {static_cast<std::size_t>(one.w), static_cast<std::size_t>(one.h),
            static_cast<std::size_t>(one.n)};
  }
  [[nodiscard]] TensorView gather(detail::Scratch& scratch, detail::RecurrenceMemos& memos,
                                  const detail::Steps& steps, bool reversed) const override {
    const TensorView made = scratch.make(steps.count(), steps.most, channels_);
    for (std::int32_t t = 0; t < steps.count(); ++t) {
      detail::copy(scratch.recording(), memos.copy,
                   detail::channels_of(at(t, reversed), 0, channels_),
                   as_images(detail::step_of(made, t, steps.most), extents()));
    }
    return made;
  }
  void scatter(detail::Recording& recording, detail::StepMemo& memo, const TensorView& from,
               const detail::Steps& steps, bool reversed, std::size_t first) const override {
    for (std::int32_t t = 0; t < steps.count(); ++t) {
      detail::copy(
          recording, memo, as_images(detail::step_of(from, t, steps.most), extents()),
          detail::channels_of(at(t, reversed), first, static_cast<std::size_t>(from.desc.c)));
    }
  }

 private:
  [[nodiscard]] const TensorView& at(std::int32_t step, bool reversed) const {
    const auto index = static_cast<std::size_t>(step);
    return images_[reversed ? size() - 1 - index : index];
  }
  std::vector<TensorView> images_;
  std::size_t channels_;
};

/// Loads the convolutions of a layer; completes the cell's neurons.
ImageLayer load_layer(const RNNDescriptor& descriptor, const Kernel& kernel) {
  detail::DescribedCell described(descriptor, kernel);
  ImageLayer layer;
  layer.cell = std::move(described.cell);
  Cell& cell = layer.cell;
  for (std::size_t gate = 0; gate < cell.gates(); ++gate) {
    for (std::size_t part = 0; part < 3; ++part) {
      const RNNWeights& source = described.sources.of_gate[gate][part];
      if (!source) continue;
      const auto shape = detail::shape_of_source(*source, kernel);
      const bool is_input = part == 0, is_vector = part == 2 && cell.diagonal;
      const std::size_t inputs = is_input ? cell.inputs : cell.outputs;
      const bool is_plain = shape->strideX == 1 && shape->strideY == 1 && shape->subPixels == 1;
      if (is_vector ? shape->weight_count() != cell.outputs
                    : !is_plain || shape->inputs != inputs || shape->outputs != cell.outputs) {
        detail::refuse_source(kernel, *source, *shape,
                              is_vector
                                  ? std::to_string(cell.outputs) + " weights, for a diagonal"
                                  : std::to_string(inputs) + " to " + std::to_string(cell.outputs) +
                                        " channels, of stride 1 and without sub-pixels");
      }
      auto weights =
          ConvolutionWeights::load(kernel.device(), *source, *shape, kernel.class_name());
      if (is_input) detail::take_neuron(cell, gate, shape->neuron);
      if (is_vector) {
        layer.diagonal.resize(cell.gate_channels());
        const auto values = weights->weights.values<float>();
        std::copy(values.begin(), values.end(),
                  layer.diagonal.begin() + static_cast<std::ptrdiff_t>(gate * cell.outputs));
      } else {
        layer.of_gate[gate][part] = {shape, std::move(weights)};
      }
    }
  }
  layer.move_to(kernel.device());
  return layer;
}

void prepare(detail::InferenceStack& inference, const ImageStack& stack, const Extents& extents) {
  for (const ImageLayer& layer : stack.layers) {
    const TensorDesc numbers = flat_desc(i32(layer.cell.gate_channels()));
    inference.layers.push_back(
        {&layer.cell,
         {detail::view_of(inference.recording, layer.slopes, numbers),
          detail::view_of(inference.recording, layer.peepholes, numbers)},
         std::make_unique<ImageProducts>(inference.scratch, layer, extents)});
  }
}

/// Checks a list of images and makes a sequence of them.
ImageSequence sequence_of(const Kernel& kernel, detail::Encode& call, std::string_view argument,
                          std::span<const Image> images, std::size_t channels, const Image* like,
                          std::size_t count) {
  const auto refuse = [&](const std::string& what, std::string got, std::string needed) {
    fail({kernel.class_name(), kernel.label(), what, std::move(got), std::move(needed), ""});
  };
  if (images.empty() && count == 0)
    refuse(std::string(argument), "empty", "an image for each step");
  if (count != 0 && images.size() != count) {
    refuse(std::string(argument), std::to_string(images.size()) + " images",
           std::to_string(count) + ", as many as sources");
  }
  std::vector<TensorView> views;
  for (std::size_t t = 0; t < images.size(); ++t) {
    const std::string name = std::string(argument) + "[" + std::to_string(t) + "]";
    call.check_operand(name, detail::Operand(images[t]));
    const Image& first = like != nullptr ? *like : images.front();
    const bool fits = images[t].width() == first.width() && images[t].height() == first.height() &&
                      images[t].numberOfImages() == first.numberOfImages() &&
                      images[t].featureChannels() >= channels;
    if (!fits) {
      refuse(name, detail::describe(images[t]),
             std::to_string(channels) +
                 " feature channels or more, and the size of the first source, " +
                 detail::describe(first));
    }
    views.push_back(call.source(detail::Operand(images[t])));
  }
  return {std::move(views), channels};
}

/// Takes one read from each.
void consume(detail::Encode& call, std::span<const Image> images) {
  for (auto one = images.begin(); one != images.end(); ++one)
    if (std::find(images.begin(), one, *one) == one) call.consume(detail::Operand(*one));
}

}  // namespace

RNNImageInferenceLayer::RNNImageInferenceLayer(const Device& device,
                                               const std::shared_ptr<RNNDescriptor>& rnnDescriptor)
    : RNNImageInferenceLayer(device, std::span(&rnnDescriptor, 1)) {}

RNNImageInferenceLayer::RNNImageInferenceLayer(
    const Device& device, std::span<const std::shared_ptr<RNNDescriptor>> rnnDescriptors)
    : Concrete(device) {
  if (rnnDescriptors.empty()) complain("rnnDescriptors", "empty", "a descriptor for each layer");
  auto stack = std::make_shared<ImageStack>();
  for (const auto& descriptor : rnnDescriptors) {
    if (!descriptor) complain("rnnDescriptor", "null", "a descriptor");
    stack->layers.push_back(load_layer(*descriptor, *this));
  }
  stack_ = std::move(stack);
  detail::check_chain(*this, detail::cells_of(*stack_), true);
}

std::size_t RNNImageInferenceLayer::inputFeatureChannels() const {
  return stack_->layers.front().cell.inputs;
}
std::size_t RNNImageInferenceLayer::outputFeatureChannels() const {
  return stack_->layers.back().cell.outputs;
}
std::size_t RNNImageInferenceLayer::numberOfLayers() const { return stack_->layers.size(); }
CNNKernel::Channels RNNImageInferenceLayer::channels(std::size_t /*available*/) const {
  return {inputFeatureChannels(), outputFeatureChannels()};
}

void RNNImageInferenceLayer::code(Coder& coder) {
  CNNKernel::code(coder);
  const std::size_t count = detail::code_layer_count(coder, stack_ ? stack_->layers.size() : 0);
  auto read = std::make_shared<ImageStack>();
  for (std::size_t k = 0; k < count; ++k) {
    Coder place = coder.at("layer" + std::to_string(k));
    ImageLayer layer = stack_ ? stack_->layers[k] : ImageLayer();
    Cell& cell = layer.cell;
    cell.code(place);
    place("diagonal", layer.diagonal);
    if (layer.diagonal.size() !=
        (cell.diagonal && cell.has_any_memory() ? cell.gate_channels() : 0))
      place.refuse("diagonal", std::to_string(layer.diagonal.size()), "one for each channel");
    for (std::size_t gate = 0; gate < cell.gates(); ++gate) {
      for (std::size_t part = 0; part < 3; ++part) {
        auto& [shape, weights] = layer.of_gate[gate][part];
        const std::string key = std::to_string(gate) + "." + std::to_string(part);
        bool is_there = shape != nullptr;
        place("has" + key, is_there);
        if (part == 2 && is_there != (cell.has_memory[gate] && !cell.diagonal))
          place.refuse("has" + key, is_there ? "true" : "false", "what has_memory says");
        if (!is_there) continue;
        Coder of_part = place.at("convolution" + key);
        shape = ConvolutionShape::code(of_part, shape, class_name());
        const std::size_t inputs = part == 0 ? cell.inputs : cell.outputs;
        if (shape->inputs != inputs || shape->outputs != cell.outputs || shape->strideX != 1 ||
            shape->strideY != 1 || shape->subPixels != 1) {
          of_part.refuse("descriptor", "of another size", "the layer's channels and stride 1");
        }
        std::shared_ptr<CNNConvolutionDataSource> source;
        detail::code_parameters(of_part, *this, *shape, source, weights, true);
        if (!weights->weights) of_part.refuse("values", "false", "true");
      }
    }
    read->layers.push_back(std::move(layer));
  }
  coder("recurrentOutputIsTemporary", temporary_);
  coder("storeAllIntermediateStates", all_states_);
  coder("bidirectionalCombineMode", combine_, RNNBidirectionalCombineMode::Concatenate);
  if (!coder.is_reading()) return;
  stack_ = std::move(read);
  move_to(device());
}

void RNNImageInferenceLayer::move_to(const Device& device) {
  CNNKernel::move_to(device);
  auto stack = std::make_shared<ImageStack>(*stack_);
  for (ImageLayer& layer : stack->layers) layer.move_to(device);
  stack_ = std::move(stack);
}

void RNNImageInferenceLayer::record(detail::UnaryEncoding& encoding) const {
  const detail::AlignedSource source = encoding.aligned(*this);
  detail::check_chain(*this, detail::cells_of(*stack_), false);
  const ImageSequence from({source.view()}, inputFeatureChannels());
  const ImageSequence to({encoding.destination}, outputFeatureChannels());
  detail::InferenceStack inference(encoding.recording);
  prepare(inference, *stack_, from.extents());
  inference.walk(from, to, from.steps(), nullptr, false, {});
}

void RNNImageInferenceLayer::encodeSequence(
    const CommandBuffer& commandBuffer, std::span<const Image> sourceImages,
    std::span<const Image> destinationImages, const RNNRecurrentImageStatePtr& recurrentInputState,
    std::vector<RNNRecurrentImageStatePtr>* recurrentOutputStates) const {
  // It may be in the list that grows. NOLINTNEXTLINE(performance-unnecessary-copy-initialization)
  const auto begin = recurrentInputState;
  detail::Encode call(*this, commandBuffer);
  const ImageSequence sources =
      sequence_of(*this, call, "sourceImages", sourceImages, inputFeatureChannels(), nullptr, 0);
  const ImageSequence destinations =
      sequence_of(*this, call, "destinationImages", destinationImages, outputFeatureChannels(),
                  sourceImages.data(), sourceImages.size());
  detail::check_chain(*this, detail::cells_of(*stack_), false);
  const auto states = detail::states_of(*stack_);
  const Extents extents = sources.extents();
  if (begin) {
    if (begin->extents() != extents) {
      const Extents& have = begin->extents();
      complain("recurrentInputState",
               std::to_string(have.images) + " images of " + std::to_string(have.width) + "x" +
                   std::to_string(have.height),
               "the size of the sources, " + detail::describe(sourceImages.front()));
    }
    detail::check_state(*this, call.recording(), "recurrentInputState", *begin, states,
                        sources.steps().most);
  }
  detail::InferenceStack inference(call.recording());
  prepare(inference, *stack_, extents);
  std::function<void(std::span<const detail::StateStep>)> keep;
  if (recurrentOutputStates != nullptr) {
    keep = [&](std::span<const detail::StateStep> step) {
      recurrentOutputStates->push_back(std::make_shared<RNNRecurrentImageState>(
          detail::StateOrigin::of(commandBuffer, temporary_), extents, states));
      detail::fill_state(call.recording(), inference.memos, *recurrentOutputStates->back(), step);
    };
  }
  inference.walk(sources, destinations, sources.steps(), begin.get(), all_states_, keep);
  consume(call, sourceImages);
  if (begin) begin->consume(call.recording());
}

void RNNImageInferenceLayer::encodeBidirectionalSequence(
    const CommandBuffer& commandBuffer, std::span<const Image> sourceSequence,
    std::span<const Image> destinationForwardImages,
    std::span<const Image> destinationBackwardImages) const {
  detail::Encode call(*this, commandBuffer);
  const detail::Directions channels(*this, detail::cells_of(*stack_), combine_);
  const bool side_by_side = combine_ == RNNBidirectionalCombineMode::Concatenate;
  const ImageSequence sources =
      sequence_of(*this, call, "sourceSequence", sourceSequence, channels.inputs, nullptr, 0);
  const ImageSequence forward =
      sequence_of(*this, call, "destinationForwardImages", destinationForwardImages,
                  channels.ahead + (side_by_side ? channels.back : 0), sourceSequence.data(),
                  sourceSequence.size());
  std::unique_ptr<ImageSequence> backward;
  if (combine_ == RNNBidirectionalCombineMode::None) {
    backward = std::make_unique<ImageSequence>(
        sequence_of(*this, call, "destinationBackwardImages", destinationBackwardImages,
                    channels.back, sourceSequence.data(), sourceSequence.size()));
  }
  detail::InferenceStack inference(call.recording());
  prepare(inference, *stack_, sources.extents());
  inference.walk_both_ways(sources, forward, backward.get(), combine_);
  consume(call, sourceSequence);
}

}  // namespace cermet
