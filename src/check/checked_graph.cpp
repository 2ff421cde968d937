#include "cermet/check/checked_graph.h"

#include <algorithm>
#include <functional>

#include "cermet/core/error.h"
#include "cermet/nn/optimizer.h"
#include "check/checked_images.h"
#include "cnn/loaded.h"

namespace cermet {
namespace {

constexpr std::string_view weights_class = "CheckedWeights", graph_class = "CheckedGraph";

std::size_t weight_count(const CNNConvolutionDescriptor& d) {
  const std::size_t inputs = d.channelMultiplier() > 0
                                 ? 1
                                 : d.inputFeatureChannels() / std::max<std::size_t>(1, d.groups());
  return d.outputFeatureChannels() * d.kernelHeight() * d.kernelWidth() * inputs;
}

std::vector<NNImageNodePtr> nodes_of(const std::map<std::string, NNImageNodePtr>& gradients) {
  if (gradients.empty()) {
    fail({graph_class, "", "gradients", "empty", "the gradient image of at least one input",
          "trainingGraph returns the ends of the gradient chain."});
  }
  std::vector<NNImageNodePtr> nodes;
  nodes.reserve(gradients.size());
  for (const auto& [label, node] : gradients) nodes.push_back(node);
  return nodes;
}

std::shared_ptr<CNNConvolutionDataSource> checked_source(
    std::shared_ptr<CNNConvolutionDataSource> source) {
  if (!source) fail({weights_class, "", "source", "null", "a data source", ""});
  if (!source->descriptor())
    fail({weights_class, source->label(), "descriptor", "null", "a descriptor", ""});
  if (source->dataType() != DataType::Float32) {
    fail({weights_class, source->label(), "dataType", "another type", "Float32",
          "Differences of rounded weights say nothing: check in float32."});
  }
  return source;
}

}  // namespace

// ---- CheckedWeights -----------------------------------------------------------------------------

CheckedWeights::CheckedWeights(std::shared_ptr<CNNConvolutionDataSource> source)
    : source_(checked_source(std::move(source))) {
  const detail::Loaded loaded(*source_, weights_class, source_->label(), "source", "weights");
  const auto* weights = static_cast<const float*>(source_->weights());
  if (weights == nullptr)
    fail({weights_class, source_->label(), "weights", "null", "the weights", ""});
  weights_.assign(weights, weights + weight_count(*descriptor()));
  if (const float* biases = source_->biasTerms())
    biases_.assign(biases, biases + descriptor()->outputFeatureChannels());
}

/// What was there - (-1) * gradient, by the optimiser that takes a plain step.
std::shared_ptr<CNNConvolutionWeightsAndBiasesState> CheckedWeights::update(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionGradientState>& gradientState,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& /*sourceState*/) {
  const Device device = commandBuffer.device();
  const auto zeros = [&](std::size_t count) {
    return detail::buffer_of(device, std::vector<float>(count));
  };
  const auto state = [&] {
    return std::make_shared<CNNConvolutionWeightsAndBiasesState>(
        zeros(weights_.size()), zeros(descriptor()->outputFeatureChannels()));
  };
  const auto before = gradient_ ? gradient_ : state();
  gradient_ = state();
  NNOptimizerStochasticGradientDescent(device, -1.0F)
      .encode(commandBuffer, gradientState, before, {}, gradient_);
  return nullptr;
}

bool CheckedWeights::update(
    const std::shared_ptr<CNNConvolutionGradientState>& gradientState,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& /*sourceState*/) {
  CheckedPoint found{detail::first_of(gradientState->gradientForWeights(), weights_.size())};
  if (!biases_.empty())
    found.push_back(detail::first_of(gradientState->gradientForBiases(), biases_.size()));
  if (host_gradient_.empty()) {
    host_gradient_ = std::move(found);
    return false;
  }
  for (std::size_t i = 0; i < found.size(); ++i)
    std::ranges::transform(host_gradient_[i], found[i], host_gradient_[i].begin(), std::plus<>());
  return false;
}

std::vector<CheckedVariable> CheckedWeights::variables() const {
  const auto d = descriptor();
  const std::size_t rows = d->outputFeatureChannels() * d->kernelHeight() * d->kernelWidth();
  std::vector<CheckedVariable> all{
      {label() + " weights",
       {d->outputFeatureChannels(), d->kernelHeight(), d->kernelWidth(), weights_.size() / rows},
       weights_}};
  if (!biases_.empty()) all.push_back({label() + " biases", {biases_.size()}, biases_});
  return all;
}

void CheckedWeights::assign(std::vector<float> weights, std::vector<float> biases) {
  weights_ = std::move(weights);
  biases_ = std::move(biases);
  gradient_.reset();
  host_gradient_.clear();
}

CheckedPoint CheckedWeights::gradients() const {
  if (!host_gradient_.empty()) return host_gradient_;
  if (!gradient_) {
    fail({weights_class, label(), "update", "not called", "called by the gradient graph",
          "Make the nodes with this data source, and let their training style not be None."});
  }
  CheckedPoint all{detail::first_of(gradient_->weights(), weights_.size())};
  if (!biases_.empty()) all.push_back(detail::first_of(gradient_->biases(), biases_.size()));
  return all;
}

// ---- CheckedGraph -------------------------------------------------------------------------------

CheckedGraph::CheckedGraph(const Device& device, const NNImageNodePtr& loss,
                           const std::map<std::string, NNImageNodePtr>& gradients,
                           std::map<std::string, ImageBatch> images,
                           std::vector<std::shared_ptr<CheckedWeights>> weights)
    : device_(device),
      queue_(device.makeCommandQueue()),
      loss_(device, loss),
      gradient_(device, nodes_of(gradients), std::vector<bool>(gradients.size(), true)),
      images_(std::move(images)),
      weights_(std::move(weights)) {
  for (const auto& [label, node] : gradients) varying_.push_back(label);
  for (NNGraph* graph : {&loss_, &gradient_}) {
    graph->setFormat(ImageFeatureChannelFormat::Float32);
    graph->setDestinationImageAllocator(Image::defaultAllocator());
    for (const HandlePtr& handle : graph->sourceImageHandles()) {
      if (!handle || !images_.contains(handle->label())) {
        fail({graph_class, "", "images",
              handle ? "none for \"" + handle->label() + "\"" : "an input without a handle",
              "images for each input, by the label of its handle",
              "Give the input's node a handle, and its images under that label."});
      }
    }
  }
  for (const std::string& label : varying_) {
    if (images_.contains(label)) continue;
    fail({graph_class, "", "gradients", "\"" + label + "\"", "the label of an input", ""});
  }
}

std::vector<CheckedVariable> CheckedGraph::variables() const {
  std::vector<CheckedVariable> all;
  for (const std::string& label : varying_) {
    const ImageBatch& batch = images_.at(label);
    all.push_back({label, detail::shape_of(detail::extents_of(batch)), batch.read_floats()});
  }
  for (const auto& source : weights_) {
    for (auto& variable : source->variables()) all.push_back(std::move(variable));
  }
  return all;
}

std::vector<ImageBatch> CheckedGraph::inputs_of(const NNGraph& graph, const CheckedPoint& point) {
  std::vector<ImageBatch> inputs;
  for (const HandlePtr& handle : graph.sourceImageHandles()) {
    const ImageBatch& given = images_.at(handle->label());
    const auto place = std::ranges::find(varying_, handle->label());
    if (place == varying_.end()) {
      inputs.push_back(given);
      continue;
    }
    const CheckedImages extents = detail::extents_of(given);
    inputs.push_back(detail::upload(device_, extents, ImageFeatureChannelFormat::Float32,
                                    point.at(static_cast<std::size_t>(place - varying_.begin()))));
  }
  return inputs;
}

void CheckedGraph::assign_weights(const CheckedPoint& point) {
  std::size_t next = varying_.size();
  for (const auto& source : weights_) {
    const bool has_biases = source->biasTerms() != nullptr;
    source->assign(point.at(next), has_biases ? point.at(next + 1) : std::vector<float>());
    next += has_biases ? 2 : 1;
  }
}

std::vector<float> CheckedGraph::results(const CheckedPoint& point) {
  assign_weights(point);
  if (!weights_.empty()) loss_.reloadFromDataSources();
  CommandBuffer commands = queue_.makeCommandBuffer();
  const ImageBatch loss = loss_.encodeBatch(commands, inputs_of(loss_, point));
  detail::finish(commands);
  return loss.read_floats();
}

CheckedPoint CheckedGraph::gradients(const CheckedPoint& point, const std::vector<float>&) {
  assign_weights(point);
  if (!weights_.empty()) gradient_.reloadFromDataSources();
  CommandBuffer commands = queue_.makeCommandBuffer();
  std::vector<ImageBatch> others;
  const ImageBatch first =
      gradient_.encodeBatch(commands, inputs_of(gradient_, point), {}, &others, nullptr);
  detail::finish(commands);
  CheckedPoint all{first.read_floats()};
  for (std::size_t i = 0; i + 1 < varying_.size(); ++i) all.push_back(others.at(i).read_floats());
  for (const auto& source : weights_) {
    for (auto& gradient : source->gradients()) all.push_back(std::move(gradient));
  }
  return all;
}

}  // namespace cermet
