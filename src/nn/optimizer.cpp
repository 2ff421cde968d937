#include "cermet/nn/optimizer.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/convolution.h"
#include "cermet/ops/copy.h"
#include "nn/parameter_update.h"

namespace cermet {

using detail::Recording;

namespace {

/// Gradient, values, result, and up to three moments.
constexpr std::size_t max_arguments = 6;

/// A buffer's float32 elements from `offset` bytes on.
TensorView floats(Recording& recording, const Buffer& buffer, std::size_t offset,
                  std::size_t count) {
  return detail::view_of(recording, buffer, flat_desc(static_cast<std::int64_t>(count)), offset);
}

/// Takes one read from each temporary, once even if it was passed twice.
class Reads {
 public:
  void add(const StridedArray& array) {
    const auto end = arrays_.begin() + static_cast<std::ptrdiff_t>(count_);
    const bool known = std::any_of(arrays_.begin(), end,
                                   [&](const StridedArray* other) { return *other == array; });
    if (!known) arrays_.at(count_++) = &array;
  }
  void consume(Recording& recording) const {
    for (std::size_t i = 0; i < count_; ++i) arrays_[i]->consume(recording);
  }

 private:
  std::array<const StridedArray*, 2 * max_arguments> arrays_{};
  std::size_t count_ = 0;
};

/// Padded rows as a dense float32 tensor; `bring_home` writes what was changed back.
class DenseCopy {
 public:
  DenseCopy(Recording& recording, const TensorView& padded, Access access)
      : recording_(recording),
        padded_(padded),
        access_(access),
        dense_(recording, wide(padded.desc)) {
    if (access != Access::write) copy(padded_, dense_.view);
  }
  [[nodiscard]] const TensorView& view() const { return dense_.view; }
  void bring_home() const {
    if (access_ != Access::read) copy(dense_.view, padded_);
  }

 private:
  static TensorDesc wide(TensorDesc desc) {
    desc.type = ElementType::float32;
    return desc;
  }
  void copy(const TensorView& from, const TensorView& to) const {
    detail::StepMemo memo;
    detail::encode(recording_, memo, Copy{}, {from, to});
  }
  Recording& recording_;
  TensorView padded_;
  Access access_;
  detail::ScratchTensor dense_;
};

}  // namespace

// ---- what all optimizers share -----------------------------------------------------------------

NNOptimizerDescriptor::NNOptimizerDescriptor(float learningRate, float gradientRescale,
                                             NNRegularizationType regularizationType,
                                             float regularizationScale)
    : learning_rate_(learningRate),
      rescale_(gradientRescale),
      regularization_(regularizationType),
      regularization_scale_(regularizationScale) {}
NNOptimizerDescriptor::NNOptimizerDescriptor(float learningRate, float gradientRescale,
                                             bool applyGradientClipping, float gradientClipMax,
                                             float gradientClipMin,
                                             NNRegularizationType regularizationType,
                                             float regularizationScale)
    : learning_rate_(learningRate),
      rescale_(gradientRescale),
      clip_(applyGradientClipping),
      clip_max_(gradientClipMax),
      clip_min_(gradientClipMin),
      regularization_(regularizationType),
      regularization_scale_(regularizationScale) {}

NNOptimizer::NNOptimizer(const Device& device, const NNOptimizerDescriptor& optimizerDescriptor)
    : Kernel(device), parameters_(optimizerDescriptor) {}

void NNOptimizerDescriptor::code(Coder& coder) {
  coder("learningRate", learning_rate_);
  coder("gradientRescale", rescale_);
  coder("applyGradientClipping", clip_);
  coder("gradientClipMax", clip_max_);
  coder("gradientClipMin", clip_min_);
  coder("regularizationScale", regularization_scale_);
  coder("regularizationType", regularization_, NNRegularizationType::L2);
}
void NNOptimizer::code(Coder& coder) {
  Kernel::code(coder);
  coder("optimizerDescriptor", parameters_);
}

GradientPreparation NNOptimizer::preparation() const {
  return {applyGradientClipping() ? 1 : 0, static_cast<std::int32_t>(regularizationType())};
}
GradientScalars NNOptimizer::gradient_scalars() const {
  return {gradientRescale(), gradientClipMin(), gradientClipMax(), regularizationScale()};
}

void NNOptimizer::check_hyper_parameters() const {
  if (!std::isfinite(learningRate())) {
    complain("learningRate", std::to_string(learningRate()), "a finite number",
             "Look for a division by zero in its schedule.");
  }
  if (applyGradientClipping() && gradientClipMin() > gradientClipMax()) {
    complain("gradientClipMin", std::to_string(gradientClipMin()),
             std::to_string(gradientClipMax()) + ", the maximum, or less",
             "The descriptor takes the maximum before the minimum.");
  }
  if (regularizationType() > NNRegularizationType::L2) {
    complain("regularizationType", std::to_string(static_cast<std::uint64_t>(regularizationType())),
             "None, L1 or L2");
  }
}

// ---- vectors and matrices ----------------------------------------------------------------------

struct NNOptimizer::Argument {
  std::string_view name;
  const StridedArray* array = nullptr;
  Access access = Access::read;
  bool required = true;
};

void NNOptimizer::update(const CommandBuffer& commandBuffer, const Vector& gradient,
                         const Vector& values, Moments given, const Vector& result) const {
  update_arrays(commandBuffer, {"inputGradientVector", &gradient}, {"inputValuesVector", &values},
                given, &Moment::vector, {"resultValuesVector", &result, Access::write});
}
void NNOptimizer::update(const CommandBuffer& commandBuffer, const Matrix& gradient,
                         const Matrix& values, Moments given, const Matrix& result) const {
  update_arrays(commandBuffer, {"inputGradientMatrix", &gradient}, {"inputValuesMatrix", &values},
                given, &Moment::matrix, {"resultValuesMatrix", &result, Access::write});
}

void NNOptimizer::update_arrays(const CommandBuffer& commandBuffer, const Argument& gradient,
                                const Argument& values, Moments given,
                                std::string_view Moment::*name, const Argument& result) const {
  const detail::Encode encode(*this, commandBuffer);
  Recording& recording = encode.recording();
  check_hyper_parameters();
  std::array<Argument, max_arguments> all{gradient, values};
  std::size_t count = 2;
  for (const StridedArray* moment : given) {
    const Moment& kind = moments()[count - 2];
    all[count++] = {kind.*name, moment, Access::update, kind.required};
  }
  const std::size_t last = count++;
  all[last] = result;
  const std::span arguments = std::span(all).first(count);

  const auto absent = [](const Argument& argument) {
    return !argument.required && !*argument.array;
  };
  for (const Argument& argument : arguments) {
    if (absent(argument)) continue;
    argument.array->check_usable(recording, *this, argument.name);
    const DataType type = argument.array->dataType();
    if (type == DataType::Float32 || type == DataType::Float16) continue;
    complain(argument.name, argument.array->describe(), "elements of type Float32 or Float16");
  }

  const TensorDesc shape = values.array->view(recording).desc;
  std::array<TensorView, max_arguments> views;
  Reads reads;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const Argument& argument = arguments[i];
    if (absent(argument)) continue;
    views[i] = argument.array->view(recording);
    const TensorDesc& desc = views[i].desc;
    if (desc.n != shape.n || desc.h != shape.h || desc.c != shape.c) {
      complain(argument.name, argument.array->describe(),
               "as many elements as " + std::string(values.name) + ", " + values.array->describe());
    }
    if (argument.access != Access::write) reads.add(*argument.array);
  }

  std::vector<std::unique_ptr<DenseCopy>> copies;
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    if (!views[i].desc.present() || views[i].desc.dense()) continue;
    copies.push_back(std::make_unique<DenseCopy>(recording, views[i], arguments[i].access));
    views[i] = copies.back()->view();
  }
  detail::ParameterUpdate step{recording, memos_[0], views[0], views[1], {}, views[last]};
  std::copy(views.begin() + 2, views.begin() + static_cast<std::ptrdiff_t>(last),
            step.moments.begin());
  record(step);
  for (const auto& copy : copies) copy->bring_home();
  reads.consume(recording);
}

// ---- states ------------------------------------------------------------------------------------

/// Weights or biases, gamma or beta.
struct NNOptimizer::Parameter {
  TensorView gradient, values, result;
};

std::size_t NNOptimizer::parameters_to_update(Arrays given, std::size_t available,
                                              std::string_view first) const {
  const std::span<const Moment> all = moments();
  std::size_t updated = available;
  std::string_view decided_by;
  for (std::size_t i = 0; i < given.size(); ++i) {
    const std::size_t size = std::min(given.begin()[i].size(), available);
    if (size == 0) {
      if (!all[i].required) continue;
      complain(all[i].vectors, "empty",
               "a vector for the " + std::string(first) +
                   ", and a second one for what else is to be updated",
               "Keep them from step to step.");
    }
    if (!decided_by.empty() && size != updated) {
      complain(all[i].vectors, "of length " + std::to_string(size),
               std::to_string(updated) + ", as many vectors as " + std::string(decided_by));
    }
    if (decided_by.empty()) decided_by = all[i].vectors;
    updated = size;
  }
  return updated;
}

void NNOptimizer::check_moments(const Recording& recording, Arrays given,
                                std::array<std::string_view, 2> names,
                                std::array<std::size_t, 2> counts, std::size_t updated) const {
  const std::span<const Moment> all = moments();
  for (std::size_t i = 0; i < given.size(); ++i) {
    if (given.begin()[i].empty()) continue;
    for (std::size_t p = 0; p < updated; ++p) {
      const Vector& vector = given.begin()[i][p];
      vector.check_usable(recording, *this, all[i].elements[p]);
      if (vector.length() == counts[p] && vector.vectors() == 1 &&
          vector.dataType() == DataType::Float32) {
        continue;
      }
      complain(all[i].elements[p], vector.describe(),
               "a vector of " + std::to_string(counts[p]) + " Float32, as many as there are " +
                   std::string(names[p]));
    }
  }
}

void NNOptimizer::update_parameters(Recording& recording, std::span<const Parameter> parameters,
                                    Arrays given, std::initializer_list<State*> sources) const {
  Reads reads;
  for (std::size_t p = 0; p < parameters.size(); ++p) {
    const Parameter& own = parameters[p];
    detail::ParameterUpdate step{recording, memos_[p], own.gradient, own.values, {}, own.result};
    for (std::size_t i = 0; i < given.size(); ++i) {
      if (given.begin()[i].empty()) continue;
      const Vector& vector = given.begin()[i][p];
      step.moments[i] = vector.view(recording);
      reads.add(vector);
    }
    record(step);
  }
  reads.consume(recording);
  const State* before = nullptr;
  for (State* source : sources) {
    if (source != before) source->consume(recording);
    before = source;
  }
}

void NNOptimizer::update(const CommandBuffer& commandBuffer,
                         const std::shared_ptr<CNNConvolutionGradientState>& gradient,
                         const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& source,
                         Arrays given,
                         const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& result) const {
  const detail::Encode encode(*this, commandBuffer);
  Recording& recording = encode.recording();
  check_hyper_parameters();
  if (!gradient) complain("convolutionGradientState", "nil", "the state of a forward encode");
  if (!source) complain("convolutionSourceState", "nil", "weights and biases");
  if (!result) complain("resultState", "nil", "weights and biases");
  gradient->check_usable(recording);
  source->check_usable(recording);
  result->check_usable(recording);

  const std::size_t updated =
      parameters_to_update(given, source->bias_count() != 0 ? 2 : 1, "weights");
  const auto counts = [&](std::size_t weights, std::size_t biases) {
    return std::to_string(weights) + " weights" +
           (updated == 2 ? " and " + std::to_string(biases) + " biases" : "");
  };
  const std::size_t weights = gradient->weight_count(), biases = gradient->bias_count();
  const auto check = [&](std::string_view argument, const auto& state) {
    const bool fits = state.weight_count() == weights && state.bias_count() == biases;
    if (fits || (updated == 1 && state.weight_count() == weights)) return;
    complain(argument, "of " + counts(state.weight_count(), state.bias_count()),
             counts(weights, biases) + ", as in convolutionGradientState",
             "Make both states from one convolution descriptor.");
  };
  check("convolutionSourceState", *source);
  check("resultState", *result);

  check_moments(recording, given, {"weights", "biases"}, {weights, biases}, updated);

  std::array<Parameter, 2> parameters;
  parameters[0] = {floats(recording, gradient->gradientForWeights(), 0, weights),
                   floats(recording, source->weights(), source->weightsOffset(), weights),
                   floats(recording, result->weights(), result->weightsOffset(), weights)};
  if (updated == 2) {
    parameters[1] = {floats(recording, gradient->gradientForBiases(), 0, biases),
                     floats(recording, source->biases(), source->biasesOffset(), biases),
                     floats(recording, result->biases(), result->biasesOffset(), biases)};
  }
  update_parameters(recording, std::span(parameters).first(updated), given,
                    {gradient.get(), source.get()});
}

void NNOptimizer::update(const CommandBuffer& commandBuffer,
                         const std::shared_ptr<CNNBatchNormalizationState>& gradient,
                         const std::shared_ptr<CNNBatchNormalizationState>& source, Arrays given,
                         const std::shared_ptr<CNNNormalizationGammaAndBetaState>& result) const {
  const detail::Encode encode(*this, commandBuffer);
  Recording& recording = encode.recording();
  check_hyper_parameters();
  const bool one = gradient == source;
  const char* const gradient_name =
      one ? "batchNormalizationState" : "batchNormalizationGradientState";
  const char* const source_name = one ? gradient_name : "batchNormalizationSourceState";
  if (!gradient) complain(gradient_name, "nil", "the state of a forward encode");
  if (!source) complain(source_name, "nil", "the state of a forward encode");
  if (!result) complain("resultState", "nil", "gamma and beta");
  gradient->check_usable(recording);
  source->check_usable(recording);
  result->check_usable(recording);
  if (!gradient->has_gradient()) {
    complain(gradient_name, "without gradients", "those of gamma and beta",
             "Encode CNNBatchNormalizationStatisticsGradient before.");
  }

  const std::size_t updated = parameters_to_update(given, 2, "gamma");
  const std::size_t channels = gradient->channel_count();
  if (source->channel_count() != channels) {
    complain(source_name, "of " + std::to_string(source->channel_count()) + " feature channels",
             std::to_string(channels) + ", as in " + gradient_name);
  }
  for (std::size_t p = 0; p < updated; ++p) {
    const std::size_t bytes = result->bufferSize(p);
    if (bytes >= channels * sizeof(float)) continue;
    complain("resultState", "of " + std::to_string(bytes / sizeof(float)) + " feature channels",
             std::to_string(channels) + ", as in " + gradient_name);
  }
  check_moments(recording, given, {"gamma", "beta"}, {channels, channels}, updated);

  std::array<Parameter, 2> parameters;
  parameters[0] = {floats(recording, gradient->gradientForGamma(), 0, channels),
                   floats(recording, source->gamma(), 0, channels),
                   floats(recording, result->gamma(), 0, channels)};
  if (updated == 2) {
    parameters[1] = {floats(recording, gradient->gradientForBeta(), 0, channels),
                     floats(recording, source->beta(), 0, channels),
                     floats(recording, result->beta(), 0, channels)};
  }
  update_parameters(recording, std::span(parameters).first(updated), given,
                    {gradient.get(), source.get()});
}

}  // namespace cermet
