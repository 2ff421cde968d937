#pragma once
// The parameters of a convolution kernel: a float32 master in the API's order, and packed copies.

#include <atomic>
#include <memory>
#include <vector>

#include "cermet/cnn/convolution.h"
#include "cnn/encoding.h"

namespace cermet::detail {

/// A checked snapshot of a descriptor.
struct ConvolutionShape {
  std::size_t kernelWidth = 0, kernelHeight = 0, inputs = 0, outputs = 0, strideX = 1, strideY = 1,
              groups = 1, dilationX = 1, dilationY = 1, multiplier = 0;
  NNNeuronDescriptor neuron;
  CNNConvolutionDescriptor::Folding folding;
  std::size_t subPixels = 1;
  bool transposed = false;  // weights come with those of the adjoint

  /// Throws InvalidArgument in the name of `kernel`.
  static std::shared_ptr<const ConvolutionShape> of(const CNNConvolutionDescriptor& descriptor,
                                                    std::string_view kernel,
                                                    const std::string& label);
  /// The fields, to write or to read; FileError for what no descriptor may say.
  static std::shared_ptr<const ConvolutionShape> code(Coder& coder,
                                                      std::shared_ptr<const ConvolutionShape> shape,
                                                      std::string_view kernel);
  /// Throws where a kernel has no meaning for sub-pixels.
  void refuse_sub_pixels(std::string_view kernel, const std::string& label) const;
  /// Groups as the operator counts them: one for each input channel when depthwise.
  [[nodiscard]] std::size_t operator_groups() const { return multiplier != 0 ? inputs : groups; }
  [[nodiscard]] std::size_t inputs_of_group() const {
    return multiplier != 0 ? 1 : inputs / groups;
  }
  [[nodiscard]] std::size_t weight_count() const {
    return outputs * kernelHeight * kernelWidth * inputs_of_group();
  }
  [[nodiscard]] TensorDesc weights_desc() const;
  /// The same for a transposed convolution; throws where there is none.
  static std::shared_ptr<const ConvolutionShape> transpose_of(
      const std::shared_ptr<const ConvolutionShape>& shape, std::string_view kernel,
      const std::string& label);
  /// The convolution whose data gradient a transposed one is.
  [[nodiscard]] ConvolutionShape adjoint() const;
  /// Stride, dilation, size and edges; pads are the caller's.
  [[nodiscard]] Window window(ImageEdgeMode edge) const;
  /// The same with the pads of an offset, which is the centre of the first window.
  [[nodiscard]] Window window(ImageEdgeMode edge, Offset offset) const;
};

/// Throws unless the kernel's window, in one group and without strides and dilation, is the whole
/// source and the result one pixel. `other`: the class for smaller windows.
void check_fully_connected(const CNNKernel& kernel, std::size_t groups, const Image& source,
                           const Image& destination, std::string_view other);

/// The master and what is derived from it. Steps in a command buffer use the addresses they were
/// recorded with, so a host reload makes a new object and a device reload writes into this one.
struct ConvolutionWeights {
  Buffer weights, biases;                       // biases nil: none
  Buffer slopes;                                // of a fused PReLU
  bool half = false;                            // values are rounded to half precision
  std::shared_ptr<ConvolutionWeights> adjoint;  // of a transposed convolution, made from `weights`

  /// Loads through the data source (load ... purge), de-quantises, folds, rounds.
  /// `rounds_unspecified`: whether to half precision where the source does not say.
  static std::shared_ptr<ConvolutionWeights> load(
      const Device& device, CNNConvolutionDataSource& source, const ConvolutionShape& shape,
      std::string_view kernel, bool rounds_unspecified = half_weights_when_unspecified());
  static std::shared_ptr<ConvolutionWeights> make(const Device& device, std::vector<float> weights,
                                                  const float* biases,
                                                  const ConvolutionShape& shape, bool half,
                                                  bool fold);

  /// The same values on another device.
  [[nodiscard]] std::shared_ptr<ConvolutionWeights> on(const Device& device) const;

  /// The weights as `step` wants slot `slot`: the master, or a packed copy made on demand.
  [[nodiscard]] TensorView view(Recording& recording, const Step& step, std::size_t slot,
                                const TensorDesc& master);
  [[nodiscard]] TensorView master(Recording& recording, const TensorDesc& desc) const;
  /// Slot `slot` of an encode: the weights that `owner`, a kernel's member, has at that time.
  [[nodiscard]] static LateSlot late(std::size_t slot,
                                     const std::shared_ptr<ConvolutionWeights>& owner);
  [[nodiscard]] static LateSlot late_adjoint(std::size_t slot,
                                             const std::shared_ptr<ConvolutionWeights>& owner);

  /// A float32 copy as a state, permanent unless a temporary is allowed.
  [[nodiscard]] std::shared_ptr<CNNConvolutionWeightsAndBiasesState> exported(
      const CommandBuffer& commandBuffer, const ConvolutionShape& shape,
      bool can_be_temporary) const;
  /// Overwrites the master from a state in command buffer order and refreshes the packed copies.
  void reload(Recording& recording, CNNConvolutionWeightsAndBiasesState& state,
              const ConvolutionShape& shape);
  /// Brings packed copies up to date after the master was changed in command buffer order.
  void refresh(Recording& recording, const ConvolutionShape& shape);

 private:
  struct Packed {
    TensorDesc desc;
    MemoryPtr memory;
    std::uint64_t family = 0;                  // the command buffer chain whose work fills it first
    std::shared_ptr<std::atomic<bool>> ready;  // that work was committed
    StepMemo memo;                             // of the copy
  };
  std::vector<Packed> packed_;
  StepMemo weights_memo_, biases_memo_, adjoint_memo_;  // of a reload
};

void code_gradient_option(Coder& coder, CNNConvolutionGradientOption& option);
/// The data source and the weights of an archive, to write or to read. A source that can be
/// archived is; `values`: the weights themselves as well, unless loading the source gives the same.
void code_parameters(Coder& coder, const Kernel& kernel, const ConvolutionShape& shape,
                     std::shared_ptr<CNNConvolutionDataSource>& source,
                     std::shared_ptr<ConvolutionWeights>& weights, bool values);

/// Reload of one kernel; `for_all` sharers, or else what another kernel shares stays untouched.
void reload_from_state(std::shared_ptr<ConvolutionWeights>& weights, const Kernel& kernel,
                       const CommandBuffer& commandBuffer,
                       const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& state,
                       const ConvolutionShape& shape, bool for_all = false);

}  // namespace cermet::detail
