#include "cermet/train/parameters.h"

#include <cmath>
#include <cstring>
#include <limits>

namespace cermet {

std::uint64_t RandomNumbers::next() {
  std::uint64_t z = (state_ += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}
float RandomNumbers::uniform() { return static_cast<float>(next() >> 40) * 0x1p-24F; }
std::uint64_t RandomNumbers::below(std::uint64_t bound) {
  const std::uint64_t limit = ~std::uint64_t{0} - ~std::uint64_t{0} % bound;
  std::uint64_t value = next();
  while (value >= limit) value = next();
  return value % bound;
}

namespace {
constexpr std::pair<const char*, OptimizerKind> kinds[] = {{"sgd", OptimizerKind::sgd},
                                                           {"momentum", OptimizerKind::momentum},
                                                           {"rmsprop", OptimizerKind::rmsprop},
                                                           {"adam", OptimizerKind::adam}};
}

OptimizerKind optimizer_kind(const std::string& name) {
  for (const auto& [known, kind] : kinds) {
    if (name == known) return kind;
  }
  fail({"train", "", "optimizer", "\"" + name + "\"", "sgd, momentum, rmsprop or adam", ""});
}
std::string name_of(OptimizerKind kind) {
  for (const auto& [name, known] : kinds) {
    if (kind == known) return name;
  }
  return {};
}

ConvolutionParameters::ConvolutionParameters(
    const Device& device, std::string label,
    std::shared_ptr<const CNNConvolutionDescriptor> descriptor, const OptimizerSettings& optimizer)
    : label_(std::move(label)), descriptor_(std::move(descriptor)), kind_(optimizer.kind) {
  const auto& d = *descriptor_;
  const std::size_t inputs = d.channelMultiplier() != 0 ? 1 : d.inputFeatureChannels() / d.groups();
  for (const std::size_t extent :
       {d.outputFeatureChannels(), d.kernelHeight(), d.kernelWidth(), inputs}) {
    weight_shape_.push_back(static_cast<std::int64_t>(extent));
  }
  const std::size_t weights =
      d.outputFeatureChannels() * d.kernelHeight() * d.kernelWidth() * inputs;
  own_ = std::make_shared<CNNConvolutionWeightsAndBiasesState>(
      device.makeBuffer(weights * sizeof(float)),
      device.makeBuffer(d.outputFeatureChannels() * sizeof(float)));
  live_in(own_);
  host_weights_.resize(weights);
  host_biases_.resize(d.outputFeatureChannels());

  NNOptimizerDescriptor settings;
  settings.setLearningRate(optimizer.learning_rate);
  if (optimizer.weight_decay != 0) {
    settings.setRegularizationType(NNRegularizationType::L2);
    settings.setRegularizationScale(optimizer.weight_decay);
  }
  const auto slot = [&](const char* name) {
    Slot made{name, device.makeBuffer(weights_.length()), device.makeBuffer(biases_.length()), {}};
    for (const Buffer& buffer : {made.weights, made.biases}) {
      made.vectors.emplace_back(buffer, VectorDescriptor::vectorDescriptor(
                                            buffer.length() / sizeof(float), DataType::Float32));
    }
    slots_.push_back(std::move(made));
  };
  switch (kind_) {
    case OptimizerKind::sgd:
    case OptimizerKind::momentum:
      optimizer_ = std::make_shared<NNOptimizerStochasticGradientDescent>(
          device, kind_ == OptimizerKind::momentum ? optimizer.momentum : 0.0F, false, settings);
      if (kind_ == OptimizerKind::momentum) slot("momentum");
      break;
    case OptimizerKind::rmsprop:
      optimizer_ = std::make_shared<NNOptimizerRMSProp>(device, 0.9, 1e-8F, settings);
      slot("sum_of_squares");
      break;
    case OptimizerKind::adam:
      optimizer_ = std::make_shared<NNOptimizerAdam>(device, 0.9, 0.999, 1e-8F, 0, settings);
      slot("momentum");
      slot("velocity");
      break;
  }
}

void ConvolutionParameters::live_in(StatePointer state) {
  state_ = std::move(state);
  weights_ = state_->weights();
  biases_ = state_->biases();
}

/// The host is about to write: not into what a kernel computes with.
void ConvolutionParameters::leave_kernel() {
  if (home_ != Home::of_a_kernel) return;
  const Buffer weights = weights_, biases = biases_;
  live_in(own_);
  weights_.copy_in(weights.values<float>().data(), weights.length());
  biases_.copy_in(biases.values<float>().data(), biases.length());
  home_ = Home::own;
}

/// Where the next step leaves the parameters.
ConvolutionParameters::StatePointer ConvolutionParameters::next_home(const StatePointer& shown) {
  const bool fits = shown && !shown->isTemporary() && shown->weights() && shown->biases() &&
                    shown->weightsOffset() == 0 && shown->biasesOffset() == 0 &&
                    shown->weights().length() == weights_.length() &&
                    shown->biases().length() == biases_.length();
  const bool same = fits && shown->weights() == weights_ && shown->biases() == biases_;
  if (same || home_ == Home::own_for_good) return state_;
  if (home_ == Home::of_a_kernel) {  // and now another one
    home_ = Home::own_for_good;
    return own_;
  }
  if (!fits) return state_;
  home_ = Home::of_a_kernel;
  return shown;
}

void ConvolutionParameters::initialise(RandomNumbers& random) {
  leave_kernel();
  const auto inputs = static_cast<float>(weight_shape_[1] * weight_shape_[2] * weight_shape_[3]);
  const float bound = std::sqrt(6.0F / inputs);
  std::vector<float> values(weights_.length() / sizeof(float));
  for (float& weight : values) weight = (2 * random.uniform() - 1) * bound;
  weights_.copy_in(values.data(), weights_.length());
  std::fill(values.begin(), values.end(), 0.0F);
  values.resize(std::max(values.size(), biases_.length() / sizeof(float)));
  biases_.copy_in(values.data(), biases_.length());
  for (const Slot& slot : slots_) {
    slot.weights.copy_in(values.data(), slot.weights.length());
    slot.biases.copy_in(values.data(), slot.biases.length());
  }
}

const void* ConvolutionParameters::weights() {
  weights_.copy_out(host_weights_.data(), weights_.length());
  return host_weights_.data();
}
const float* ConvolutionParameters::biasTerms() {
  biases_.copy_out(host_biases_.data(), biases_.length());
  return host_biases_.data();
}

void ConvolutionParameters::set_learning_rate(float rate) { optimizer_->setLearningRate(rate); }

std::shared_ptr<CNNConvolutionWeightsAndBiasesState> ConvolutionParameters::update(
    const CommandBuffer& commandBuffer,
    const std::shared_ptr<CNNConvolutionGradientState>& gradientState,
    const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& sourceState) {
  const StatePointer next = next_home(sourceState);
  switch (kind_) {
    case OptimizerKind::sgd:
    case OptimizerKind::momentum:
      static_cast<NNOptimizerStochasticGradientDescent&>(*optimizer_)
          .encode(commandBuffer, gradientState, state_,
                  slots_.empty() ? std::span<const Vector>() : slots_[0].vectors, next);
      break;
    case OptimizerKind::rmsprop:
      static_cast<NNOptimizerRMSProp&>(*optimizer_)
          .encode(commandBuffer, gradientState, state_, slots_[0].vectors, next);
      break;
    case OptimizerKind::adam:
      static_cast<NNOptimizerAdam&>(*optimizer_)
          .encode(commandBuffer, gradientState, state_, slots_[0].vectors, slots_[1].vectors, next);
      break;
  }
  if (next != state_) live_in(next);
  if (sourceState && sourceState->isTemporary() && sourceState->readCount() != 0) {
    sourceState->setReadCount(sourceState->readCount() - 1);
  }
  return state_;
}

std::vector<ConvolutionParameters::Named> ConvolutionParameters::tensors(
    bool with_optimizer) const {
  const std::vector<std::int64_t> bias_shape{weight_shape_[0]};
  std::vector<Named> all{{label_ + ".weight", weights_, weight_shape_},
                         {label_ + ".bias", biases_, bias_shape}};
  if (!with_optimizer) return all;
  for (const Slot& slot : slots_) {
    all.push_back({label_ + ".weight." + slot.name, slot.weights, weight_shape_});
    all.push_back({label_ + ".bias." + slot.name, slot.biases, bias_shape});
  }
  return all;
}

void ConvolutionParameters::save(SafeTensors& file, bool with_optimizer) const {
  for (const auto& [name, buffer, shape] : tensors(with_optimizer)) {
    file.tensors.push_back({name, "F32", shape, buffer.values<std::byte>()});
  }
  if (with_optimizer && kind_ == OptimizerKind::adam) {
    file.metadata[label_ + ".time_step"] =
        std::to_string(static_cast<const NNOptimizerAdam&>(*optimizer_).timeStep());
  }
}

void ConvolutionParameters::load_from(const SafeTensors& file, bool with_optimizer) {
  leave_kernel();
  const auto wanted = tensors(with_optimizer);
  std::vector<const SafeTensor*> found;
  for (const auto& [name, buffer, shape] : wanted) {  // all are checked before one is taken
    const SafeTensor& tensor = file.at(name);
    if (tensor.dtype != "F32" || tensor.shape != shape) {
      const auto text = [](const std::vector<std::int64_t>& extents) {
        std::string list;
        for (const std::int64_t extent : extents) {
          if (!list.empty()) list += 'x';
          list += std::to_string(extent);
        }
        return list;
      };
      throw FileError(describe({file.file, "", "tensor \"" + name + "\"",
                                text(tensor.shape) + " " + tensor.dtype, text(shape) + " F32",
                                "Use a file saved by a network of the same shape."}));
    }
    found.push_back(&tensor);
  }
  std::size_t step = 0;
  if (with_optimizer && kind_ == OptimizerKind::adam) {
    step = metadata_count(file, label_ + ".time_step", std::numeric_limits<std::size_t>::max(),
                          "Resume from a checkpoint of the same optimiser.");
  }
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    wanted[i].buffer.copy_in(found[i]->data.data(), found[i]->data.size());
  }
  if (with_optimizer && kind_ == OptimizerKind::adam)
    static_cast<NNOptimizerAdam&>(*optimizer_).setTimeStep(step);
}

}  // namespace cermet
