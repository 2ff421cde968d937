#include "cermet/check/checked_kernel.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>

#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/convolution_transpose.h"
#include "cermet/cnn/dropout.h"
#include "cermet/cnn/group_normalization.h"
#include "cermet/cnn/softmax.h"
#include "cermet/core/error.h"
#include "check/checked_images.h"

namespace cermet {

using detail::buffer_of;
using detail::finish;
using detail::first_of;
using detail::upload;

namespace {

CheckedVariable vector_variable(std::string name, std::vector<float> values) {
  const std::size_t count = values.size();
  return {std::move(name), {count}, std::move(values)};
}

template <class Convolution>
bool has_neuron(const Convolution& convolution) {
  if constexpr (requires { convolution.neuronType(); }) {
    return convolution.neuronType() != CNNNeuronType::None;
  } else {
    return false;
  }
}

/// Of both kernels of a convolution or of a transposed one.
template <class Forward, class Gradient>
auto reload(Forward& forward, Gradient* gradient, bool has_biases) {
  return [&forward, gradient, has_biases](const CommandBuffer& commands,
                                          const CheckedPoint& values) {
    const Device device = forward.device();
    const auto state = std::make_shared<CNNConvolutionWeightsAndBiasesState>(
        buffer_of(device, values.at(0)), has_biases ? buffer_of(device, values.at(1)) : Buffer());
    forward.reloadWeightsAndBiases(commands, state);
    if (gradient != nullptr) gradient->reloadWeightsAndBiases(commands, state);
  };
}

}  // namespace

CheckedEncode::CheckedEncode(const Device& device)
    : device_(device), queue_(device.makeCommandQueue()) {}

std::vector<float> CheckedEncode::results(const CheckedPoint& point) {
  CommandBuffer buffer = commands();
  const ImageBatch results = encode(buffer, point, ImageFeatureChannelFormat::Float32);
  finish(buffer);
  return results.read_floats();
}

/// The parameters of a convolution or of a transposed one; none for other kernels.
template <class Forward, class Gradient>
std::optional<CheckedKernel::Parameters> CheckedKernel::convolution_parameters() const {
  auto* forward = dynamic_cast<Forward*>(forward_.get());
  if (forward == nullptr) return std::nullopt;
  if (has_neuron(*forward)) {
    detail::complain_about(
        *forward, "the descriptor", "with a fused neuron", "no neuron",
        "The gradient kernel begins before the neuron: check the convolution without "
        "it, and CNNNeuron by itself.");
  }
  CommandBuffer buffer = commands();
  const auto exported = forward->exportWeightsAndBiases(buffer, false);
  finish(buffer);
  const bool has_biases = static_cast<bool>(exported->biases());
  const std::size_t outputs = forward->outputFeatureChannels(), weights = exported->weight_count(),
                    height = forward->kernelHeight(), width = forward->kernelWidth();
  Parameters parameters;
  parameters.variables.push_back({"weights",
                                  {outputs, height, width, weights / (outputs * height * width)},
                                  first_of(exported->weights(), weights)});
  if (has_biases)
    parameters.variables.push_back(
        vector_variable("biases", first_of(exported->biases(), outputs)));
  parameters.assign = reload(*forward, dynamic_cast<Gradient*>(gradient_.get()), has_biases);
  parameters.gradients = [has_biases, weights, outputs](const StateBatch& states) {
    const auto state = states.at<CNNConvolutionGradientState>(0);
    CheckedPoint gradients{first_of(state->gradientForWeights(), weights)};
    if (has_biases) gradients.push_back(first_of(state->gradientForBiases(), outputs));
    return gradients;
  };
  return parameters;
}

/// The same of instance and group normalisation, whose gradients are spread over the states.
template <class Forward>
std::optional<CheckedKernel::Parameters> CheckedKernel::scale_parameters() const {
  auto* forward = dynamic_cast<Forward*>(forward_.get());
  if (forward == nullptr) return std::nullopt;
  const std::size_t channels = forward->channel_count();
  Parameters parameters;
  parameters.variables = {vector_variable("gamma", first_of(forward->scale()[0], channels)),
                          vector_variable("beta", first_of(forward->scale()[1], channels))};
  parameters.assign = [forward](const CommandBuffer& commands, const CheckedPoint& values) {
    const Device device = forward->device();
    forward->reloadGammaAndBeta(
        commands, std::make_shared<CNNNormalizationGammaAndBetaState>(
                      buffer_of(device, values.at(0)), buffer_of(device, values.at(1))));
  };
  parameters.gradients = [channels](const StateBatch& states) {
    CheckedPoint sums(2, std::vector<float>(channels));
    for (std::size_t i = 0; i < states.size(); ++i) {
      const auto state = states.at<CNNScaleGradientState>(i);
      const std::array parts{first_of(state->gradientForGamma(), channels),
                             first_of(state->gradientForBeta(), channels)};
      for (std::size_t k = 0; k < 2; ++k)
        std::ranges::transform(sums[k], parts.at(k), sums[k].begin(), std::plus<>());
    }
    return sums;
  };
  return parameters;
}

CheckedKernel::CheckedKernel(std::shared_ptr<CNNKernel> forward,
                             std::shared_ptr<CNNGradientKernel> gradient,
                             const CheckedImages& source)
    : CheckedEncode(detail::common_device("CheckedKernel", forward.get(), {gradient.get()})),
      forward_(std::move(forward)),
      gradient_(std::move(gradient)),
      source_(source) {
  detail::check_images("CheckedKernel", source_);
  if (dynamic_cast<CNNBatchNormalization*>(forward_.get()) != nullptr) {
    detail::complain_about(*forward_, "forward", "a CNNBatchNormalization",
                           "a kernel with one gradient kernel", "Use CheckedBatchNormalization.");
  }
  forward_->setDestinationImageAllocator(Image::defaultAllocator());
  if (gradient_) gradient_->setDestinationImageAllocator(Image::defaultAllocator());
  values_ = detail::values_of(source_);
  for (auto found :
       {convolution_parameters<CNNConvolution, CNNConvolutionGradient>(),
        convolution_parameters<CNNConvolutionTranspose, CNNConvolutionTransposeGradient>(),
        scale_parameters<CNNInstanceNormalization>(), scale_parameters<CNNGroupNormalization>()})
    if (found) parameters_ = std::move(*found);
}

void CheckedKernel::setDestination(std::size_t height, std::size_t width,
                                   std::size_t featureChannels) {
  CheckedImages destination = source_;
  destination.height = height;
  destination.width = width;
  destination.featureChannels = featureChannels;
  detail::check_images("CheckedKernel", destination);
  destination_ = destination;
}

std::vector<CheckedVariable> CheckedKernel::variables() const {
  std::vector<CheckedVariable> all{{"source", detail::shape_of(source_), values_}};
  all.insert(all.end(), parameters_.variables.begin(), parameters_.variables.end());
  return all;
}

CheckedKernel::Run CheckedKernel::forward(const CommandBuffer& buffer, const CheckedPoint& point,
                                          ImageFeatureChannelFormat format) {
  Run run;
  run.source = upload(device(), source_, format, point.at(0));
  if (parameters_.assign) parameters_.assign(buffer, {point.begin() + 1, point.end()});
  // Each encode of a dropout draws another mask; results must be a function of the point.
  if (auto* dropout = dynamic_cast<CNNDropout*>(forward_.get())) dropout->set_encode_number(0);
  if (destination_) {
    run.result = upload(device(), *destination_, format,
                        std::vector<float>(detail::count_of(*destination_)));
    run.states = forward_->resultStateBatch(run.source, {}, run.result);
    if (run.states.empty()) {
      forward_->encodeBatch(buffer, run.source, run.result);
    } else {
      forward_->encodeBatch(buffer, run.source, run.states, run.result);
    }
  } else {
    run.result = forward_->encodeBatch(buffer, run.source, &run.states, false);
  }
  return run;
}

ImageBatch CheckedKernel::encode(const CommandBuffer& buffer, const CheckedPoint& point,
                                 ImageFeatureChannelFormat format) {
  return forward(buffer, point, format).result;
}

CheckedPoint CheckedKernel::gradients(const CheckedPoint& point,
                                      const std::vector<float>& incoming) {
  if (!gradient_) {
    detail::complain_about(*forward_, "gradient", "missing", "a gradient kernel",
                           "Give CheckedKernel one, or ask for results alone.");
  }
  CommandBuffer buffer = commands();
  const Run run = forward(buffer, point, source_.format);
  const CheckedImages extents = detail::extents_of(run.result);
  const ImageBatch given = upload(device(), extents, source_.format, incoming);
  // The gradient kernels of soft-max take the result where others take the source.
  const bool by_result = dynamic_cast<CNNSoftMaxGradient*>(gradient_.get()) != nullptr ||
                         dynamic_cast<CNNLogSoftMaxGradient*>(gradient_.get()) != nullptr;
  const ImageBatch gradient =
      gradient_->encodeBatch(buffer, given, by_result ? run.result : run.source, run.states);
  finish(buffer);
  CheckedPoint all{gradient.read_floats()};
  if (parameters_.gradients) {
    for (auto& one_gradient : parameters_.gradients(run.states))
      all.push_back(std::move(one_gradient));
  }
  return all;
}

// ---- Batch normalisation ------------------------------------------------------------------------

CheckedBatchNormalization::CheckedBatchNormalization(
    const Device& device, std::shared_ptr<CNNBatchNormalizationDataSource> dataSource,
    const NNNeuronDescriptor& fusedNeuronDescriptor, const CheckedImages& source)
    : CheckedEncode(device),
      forward_(device, std::move(dataSource), fusedNeuronDescriptor),
      statistics_(device),
      sums_(device, fusedNeuronDescriptor),
      gradient_(device, fusedNeuronDescriptor),
      source_(source) {
  detail::check_images("CheckedBatchNormalization", source_);
  values_ = detail::values_of(source_);
  if (source_.featureChannels != forward_.numberOfFeatureChannels()) {
    detail::complain_about(forward_, "featureChannels", fmt::format("{}", source_.featureChannels),
                           fmt::format("{}", forward_.numberOfFeatureChannels()),
                           "Give the images as many feature channels as the data source has.");
  }
}

std::vector<CheckedVariable> CheckedBatchNormalization::variables() const {
  const std::size_t channels = forward_.numberOfFeatureChannels();
  return {{"source", detail::shape_of(source_), values_},
          vector_variable("gamma", first_of(forward_.values()[0], channels)),
          vector_variable("beta", first_of(forward_.values()[1], channels))};
}

CheckedBatchNormalization::Run CheckedBatchNormalization::forward(
    const CommandBuffer& buffer, const CheckedPoint& point, ImageFeatureChannelFormat format) {
  forward_.reloadGammaAndBeta(
      buffer, std::make_shared<CNNNormalizationGammaAndBetaState>(
                  buffer_of(device(), point.at(1)), buffer_of(device(), point.at(2))));
  Run run;
  run.source = upload(device(), source_, format, point.at(0));
  run.result = upload(device(), source_, format, std::vector<float>(detail::count_of(source_)));
  run.state = std::dynamic_pointer_cast<CNNBatchNormalizationState>(
      forward_.resultState(run.source.front(), {}, run.result.front()));
  statistics_.encodeBatch(buffer, run.source, run.state);
  forward_.encodeBatch(buffer, run.source, run.state, run.result);
  return run;
}

ImageBatch CheckedBatchNormalization::encode(const CommandBuffer& buffer, const CheckedPoint& point,
                                             ImageFeatureChannelFormat format) {
  return forward(buffer, point, format).result;
}

CheckedPoint CheckedBatchNormalization::gradients(const CheckedPoint& point,
                                                  const std::vector<float>& incoming) {
  CommandBuffer buffer = commands();
  const Run run = forward(buffer, point, source_.format);
  const ImageBatch given = upload(device(), source_, source_.format, incoming),
                   result = upload(device(), source_, source_.format, incoming);
  sums_.encodeBatch(buffer, given, run.source, run.state);
  gradient_.encodeBatch(buffer, given, run.source, run.state, result);
  finish(buffer);
  const std::size_t channels = forward_.numberOfFeatureChannels();
  return {result.read_floats(), first_of(run.state->gradientForGamma(), channels),
          first_of(run.state->gradientForBeta(), channels)};
}

// ---- Two sources --------------------------------------------------------------------------------

CheckedBinaryKernel::CheckedBinaryKernel(std::shared_ptr<CNNBinaryKernel> forward,
                                         std::shared_ptr<CNNGradientKernel> primaryGradient,
                                         std::shared_ptr<CNNGradientKernel> secondaryGradient,
                                         const CheckedImages& primary,
                                         const CheckedImages& secondary)
    : CheckedEncode(detail::common_device("CheckedBinaryKernel", forward.get(),
                                          {primaryGradient.get(), secondaryGradient.get()})),
      forward_(std::move(forward)),
      gradients_{std::move(primaryGradient), std::move(secondaryGradient)},
      sources_{primary, secondary} {
  for (const CheckedImages& images : sources_) detail::check_images("CheckedBinaryKernel", images);
  if (primary.format != secondary.format) {
    fail({"CheckedBinaryKernel", "", "format", "of two kinds", "one format for both sources", ""});
  }
  forward_->setDestinationImageAllocator(Image::defaultAllocator());
  for (const auto& gradient : gradients_)
    if (gradient) gradient->setDestinationImageAllocator(Image::defaultAllocator());
  for (const CheckedImages& images : sources_) values_.push_back(detail::values_of(images));
}

std::vector<CheckedVariable> CheckedBinaryKernel::variables() const {
  return {{"primary", detail::shape_of(sources_[0]), values_[0]},
          {"secondary", detail::shape_of(sources_[1]), values_[1]}};
}

CheckedBinaryKernel::Run CheckedBinaryKernel::forward(const CommandBuffer& buffer,
                                                      const CheckedPoint& point,
                                                      ImageFeatureChannelFormat format) {
  Run run;
  run.primary = upload(device(), sources_[0], format, point.at(0));
  run.secondary = upload(device(), sources_[1], format, point.at(1));
  run.result = forward_->encodeBatch(buffer, run.primary, run.secondary, &run.states, false);
  return run;
}

ImageBatch CheckedBinaryKernel::encode(const CommandBuffer& buffer, const CheckedPoint& point,
                                       ImageFeatureChannelFormat format) {
  return forward(buffer, point, format).result;
}

CheckedPoint CheckedBinaryKernel::gradients(const CheckedPoint& point,
                                            const std::vector<float>& incoming) {
  for (const auto& gradient : gradients_) {
    if (gradient) continue;
    detail::complain_about(*forward_, "gradient", "missing", "a gradient kernel for each source",
                           "Give CheckedBinaryKernel both, or ask for results alone.");
  }
  CommandBuffer buffer = commands();
  const Run run = forward(buffer, point, sources_[0].format);
  const CheckedImages extents = detail::extents_of(run.result);
  const ImageBatch given = upload(device(), extents, sources_[0].format, incoming);
  std::array<ImageBatch, 2> found;
  for (std::size_t k = 0; k < 2; ++k) {
    const bool multiplies = dynamic_cast<CNNMultiplyGradient*>(gradients_.at(k).get()) != nullptr;
    const bool reads_secondary = multiplies == (k == 0);
    found.at(k) = gradients_.at(k)->encodeBatch(
        buffer, given, reads_secondary ? run.secondary : run.primary, run.states);
  }
  finish(buffer);
  return {found[0].read_floats(), found[1].read_floats()};
}

}  // namespace cermet
