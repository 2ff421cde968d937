#pragma once
// Image kernels as computations whose gradients can be checked, on any device: kernels of the
// library with properties, weights and data sources of yours.

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cermet/check/gradient_check.h"
#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/kernel.h"

namespace cermet {

/// The images that a check makes.
struct CheckedImages {
  std::size_t count = 2, height = 7, width = 5, featureChannels = 3;
  /// Float32 or Float16. Differences are always taken of results in float32; the gradient that is
  /// compared with them is computed on images of this format.
  ImageFeatureChannelFormat format = ImageFeatureChannelFormat::Float32;
  /// Values are low plus odd multiples of (high - low)/512.
  double low = -1, high = 1;
  std::uint64_t seed = 1;
};

/// What checks of image kernels have in common: differences are taken of results in float32.
class CheckedEncode : public Differentiable {
 public:
  [[nodiscard]] std::vector<float> results(const CheckedPoint& point) override;

 protected:
  explicit CheckedEncode(const Device& device);
  /// Encodes the forward pass on images of this format and returns its results.
  [[nodiscard]] virtual ImageBatch encode(const CommandBuffer& commandBuffer,
                                          const CheckedPoint& point,
                                          ImageFeatureChannelFormat format) = 0;
  [[nodiscard]] const Device& device() const { return device_; }
  [[nodiscard]] CommandBuffer commands() const { return queue_.makeCommandBuffer(); }

 private:
  Device device_;
  CommandQueue queue_;
};

/// A kernel with one source image and its gradient kernel, on a batch of images. Variables are the
/// source and, of convolutions, transposed convolutions and normalisations, the parameters that
/// train: "weights" and "biases", "gamma" and "beta", which are changed in the two kernels through
/// reloads from states; the data source is not asked and keeps its values.
///
/// The result is sized by the padding policy, which sets `offset`, or by `setDestination`, where
/// the properties stand as they are. Result pixels that are not written take no part.
class CheckedKernel final : public CheckedEncode {
 public:
  /// Both kernels are used and changed by the check. `gradient` null: results alone can be asked.
  /// Throws InvalidArgument for no kernel, kernels of two devices, a format that is not one of the
  /// two, and a convolution with a fused neuron, whose gradient kernel begins before the neuron:
  /// check it without, and the neuron by itself.
  CheckedKernel(std::shared_ptr<CNNKernel> forward, std::shared_ptr<CNNGradientKernel> gradient,
                const CheckedImages& source = {});

  /// Encodes into destinations of this size instead, with offset and clip rectangle as they are.
  void setDestination(std::size_t height, std::size_t width, std::size_t featureChannels);

  [[nodiscard]] std::vector<CheckedVariable> variables() const override;
  [[nodiscard]] CheckedPoint gradients(const CheckedPoint& point,
                                       const std::vector<float>& incoming) override;

 protected:
  [[nodiscard]] ImageBatch encode(const CommandBuffer& commandBuffer, const CheckedPoint& point,
                                  ImageFeatureChannelFormat format) override;

 private:
  struct Run {
    ImageBatch source, result;
    StateBatch states;
  };
  /// Parameters that train: how they get into the kernels, and where their gradients are.
  struct Parameters {
    std::vector<CheckedVariable> variables;
    std::function<void(const CommandBuffer&, const CheckedPoint&)> assign;
    std::function<CheckedPoint(const StateBatch&)> gradients;
  };
  template <class Forward, class Gradient>
  [[nodiscard]] std::optional<Parameters> convolution_parameters() const;
  template <class Forward>
  [[nodiscard]] std::optional<Parameters> scale_parameters() const;
  [[nodiscard]] Run forward(const CommandBuffer& commandBuffer, const CheckedPoint& point,
                            ImageFeatureChannelFormat format);

  std::shared_ptr<CNNKernel> forward_;
  std::shared_ptr<CNNGradientKernel> gradient_;
  CheckedImages source_;
  std::optional<CheckedImages> destination_;
  std::vector<float> values_;
  Parameters parameters_;
};

/// Batch normalisation with the statistics of the batch: its four kernels, as a training step runs
/// them. Variables are "source", "gamma" and "beta".
class CheckedBatchNormalization final : public CheckedEncode {
 public:
  /// Throws InvalidArgument for what CNNBatchNormalization cannot be made of, images that have
  /// other feature channels than the data source, and formats as CheckedKernel.
  CheckedBatchNormalization(const Device& device,
                            std::shared_ptr<CNNBatchNormalizationDataSource> dataSource,
                            const NNNeuronDescriptor& fusedNeuronDescriptor = {},
                            const CheckedImages& source = {});

  [[nodiscard]] std::vector<CheckedVariable> variables() const override;
  [[nodiscard]] CheckedPoint gradients(const CheckedPoint& point,
                                       const std::vector<float>& incoming) override;

 protected:
  [[nodiscard]] ImageBatch encode(const CommandBuffer& commandBuffer, const CheckedPoint& point,
                                  ImageFeatureChannelFormat format) override;

 private:
  struct Run {
    ImageBatch source, result;
    CNNBatchNormalizationStatePtr state;
  };
  [[nodiscard]] Run forward(const CommandBuffer& commandBuffer, const CheckedPoint& point,
                            ImageFeatureChannelFormat format);

  CNNBatchNormalization forward_;
  CNNBatchNormalizationStatistics statistics_;
  CNNBatchNormalizationStatisticsGradient sums_;
  CNNBatchNormalizationGradient gradient_;
  CheckedImages source_;
  std::vector<float> values_;
};

/// A kernel with two source images and, as arithmetic has it, a gradient kernel for each: it is
/// given the incoming gradient, the state of the forward encode and, for a product, the OTHER
/// operand, else its own. Variables are "primary" and "secondary".
class CheckedBinaryKernel final : public CheckedEncode {
 public:
  /// Null gradient kernels: results alone can be asked. Throws InvalidArgument as CheckedKernel,
  /// and for images of two formats.
  CheckedBinaryKernel(std::shared_ptr<CNNBinaryKernel> forward,
                      std::shared_ptr<CNNGradientKernel> primaryGradient,
                      std::shared_ptr<CNNGradientKernel> secondaryGradient,
                      const CheckedImages& primary, const CheckedImages& secondary);

  [[nodiscard]] std::vector<CheckedVariable> variables() const override;
  [[nodiscard]] CheckedPoint gradients(const CheckedPoint& point,
                                       const std::vector<float>& incoming) override;

 protected:
  [[nodiscard]] ImageBatch encode(const CommandBuffer& commandBuffer, const CheckedPoint& point,
                                  ImageFeatureChannelFormat format) override;

 private:
  struct Run {
    ImageBatch primary, secondary, result;
    StateBatch states;
  };
  [[nodiscard]] Run forward(const CommandBuffer& commandBuffer, const CheckedPoint& point,
                            ImageFeatureChannelFormat format);

  std::shared_ptr<CNNBinaryKernel> forward_;
  std::array<std::shared_ptr<CNNGradientKernel>, 2> gradients_;
  std::array<CheckedImages, 2> sources_;
  CheckedPoint values_;
};

}  // namespace cermet
