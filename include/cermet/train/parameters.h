#pragma once
// Ready-made data sources: parameters that initialise themselves, keep their optimiser state and
// can be saved and resumed.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cermet/cnn/convolution.h"
#include "cermet/core/matrix.h"
#include "cermet/nn/optimizer.h"
#include "cermet/train/safetensors.h"

namespace cermet {

/// A counter-based generator (splitmix64): the same numbers on every machine.
class RandomNumbers {
 public:
  explicit RandomNumbers(std::uint64_t seed) : state_(seed) {}
  [[nodiscard]] std::uint64_t next();
  /// Uniform in [0, 1), 24 bits.
  [[nodiscard]] float uniform();
  /// Uniform in [0, bound).
  [[nodiscard]] std::uint64_t below(std::uint64_t bound);

 private:
  std::uint64_t state_;
};

enum class OptimizerKind { sgd, momentum, rmsprop, adam };
/// "sgd", "momentum", "rmsprop" or "adam"; throws InvalidArgument.
[[nodiscard]] OptimizerKind optimizer_kind(const std::string& name);
[[nodiscard]] std::string name_of(OptimizerKind kind);

struct OptimizerSettings {
  OptimizerKind kind = OptimizerKind::adam;
  float learning_rate = 1e-3F;
  float momentum = 0.9F;  // of `momentum`
  float weight_decay = 0;
};

/// Weights and biases of one convolution or fully connected layer, with the optimiser that updates
/// them. `update` encodes one optimiser step in place and returns the parameters. When it is shown
/// the parameters of a kernel, it works in those from then on, so that nothing is copied; a source
/// that several kernels show their own to keeps its own.
class ConvolutionParameters final : public CNNConvolutionDataSource {
 public:
  ConvolutionParameters(const Device& device, std::string label,
                        std::shared_ptr<const CNNConvolutionDescriptor> descriptor,
                        const OptimizerSettings& optimizer);

  /// Weights uniform in +-sqrt(6 / inputs of an output) (He), biases 0, optimiser state 0.
  void initialise(RandomNumbers& random);
  void set_learning_rate(float rate);

  /// Adds "label.weight", "label.bias" and, when asked, the optimiser's arrays and step count.
  void save(SafeTensors& file, bool with_optimizer) const;
  /// Takes them back. Throws FileError where a tensor is missing or has another shape or type.
  void load_from(const SafeTensors& file, bool with_optimizer);

  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  /// Copies of the present values; each call writes the same memory anew.
  [[nodiscard]] const void* weights() override;
  [[nodiscard]] const float* biasTerms() override;
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return label_; }
  std::shared_ptr<CNNConvolutionWeightsAndBiasesState> update(
      const CommandBuffer& commandBuffer,
      const std::shared_ptr<CNNConvolutionGradientState>& gradientState,
      const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& sourceState) override;
  using CNNConvolutionDataSource::update;

 private:
  struct Slot {  // one optimiser array for the weights and one for the biases
    std::string name;
    Buffer weights, biases;
    std::vector<Vector> vectors;
  };
  struct Named {
    std::string name;
    Buffer buffer;
    std::vector<std::int64_t> shape;
  };
  [[nodiscard]] std::vector<Named> tensors(bool with_optimizer) const;

  std::string label_;
  std::shared_ptr<const CNNConvolutionDescriptor> descriptor_;
  std::vector<std::int64_t> weight_shape_;
  Buffer weights_, biases_;
  std::vector<float> host_weights_, host_biases_;  // what weights() and biasTerms() gave last
  using StatePointer = std::shared_ptr<CNNConvolutionWeightsAndBiasesState>;
  [[nodiscard]] StatePointer next_home(const StatePointer& shown);
  void live_in(StatePointer state);
  void leave_kernel();

  StatePointer own_, state_;  // state_ holds the parameters: own_, or what a kernel shows
  enum class Home { own, of_a_kernel, own_for_good } home_ = Home::own;
  OptimizerKind kind_;
  std::shared_ptr<NNOptimizer> optimizer_;
  std::vector<Slot> slots_;
};

}  // namespace cermet
