#pragma once
// Graphs as computations whose gradients can be checked: a whole network, as it is compiled.

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cermet/check/gradient_check.h"
#include "cermet/cnn/convolution.h"
#include "cermet/nn/graph.h"

namespace cermet {

/// Stands between a data source of yours and the nodes of a graph, so that a check can change its
/// weights and see their gradients. Values are copied when it is made; the source itself is not
/// changed, and its `update` is not called.
class CheckedWeights final : public CNNConvolutionDataSource {
 public:
  /// Throws InvalidArgument for null, for a source without descriptor or weights or with others
  /// than Float32, and where `load` answers false.
  explicit CheckedWeights(std::shared_ptr<CNNConvolutionDataSource> source);

  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::optional<DataType> kernelWeightsDataType() const override {
    return DataType::Float32;
  }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return source_->descriptor();
  }
  [[nodiscard]] const void* weights() override { return weights_.data(); }
  [[nodiscard]] const float* biasTerms() override {
    return biases_.empty() ? nullptr : biases_.data();
  }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return source_->label(); }
  /// Keep the gradients and leave the parameters as they are.
  std::shared_ptr<CNNConvolutionWeightsAndBiasesState> update(
      const CommandBuffer& commandBuffer,
      const std::shared_ptr<CNNConvolutionGradientState>& gradientState,
      const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& sourceState) override;
  bool update(const std::shared_ptr<CNNConvolutionGradientState>& gradientState,
              const std::shared_ptr<CNNConvolutionWeightsAndBiasesState>& sourceState) override;

  // For checks.
  [[nodiscard]] std::vector<CheckedVariable> variables() const;
  void assign(std::vector<float> weights, std::vector<float> biases);
  /// Of the weights, and of the biases if there are any: sums over all nodes with this source, of
  /// the encodes since `assign`.
  [[nodiscard]] CheckedPoint gradients() const;

 private:
  std::shared_ptr<CNNConvolutionDataSource> source_;
  std::vector<float> weights_, biases_;
  std::shared_ptr<CNNConvolutionWeightsAndBiasesState> gradient_;
  CheckedPoint host_gradient_;  // of nodes that update on the CPU
};

/// A loss and its gradients, by images and by the weights of convolutions. Two graphs are compiled:
/// one ends with the loss, the other with the gradients. Variables are the images that have a
/// gradient, by the labels of their nodes' handles, and the weights and biases of each data source.
/// Both graphs store images in Float32. The check is of the sum of all elements of the loss, whose
/// gradient chain therefore begins with NNInitialGradientNode.
class CheckedGraph final : public Differentiable {
 public:
  /// `gradients`: the last gradient image of an input, by the label of the input's handle; at least
  /// one. `images`: a batch for each input. `weights`: data sources that the nodes were made with.
  /// Throws InvalidArgument where an input has no handle or no images, and where a node is invalid.
  CheckedGraph(const Device& device, const NNImageNodePtr& loss,
               const std::map<std::string, NNImageNodePtr>& gradients,
               std::map<std::string, ImageBatch> images,
               std::vector<std::shared_ptr<CheckedWeights>> weights = {});

  [[nodiscard]] std::vector<CheckedVariable> variables() const override;
  [[nodiscard]] std::vector<float> results(const CheckedPoint& point) override;
  [[nodiscard]] CheckedPoint gradients(const CheckedPoint& point,
                                       const std::vector<float>& incoming) override;
  [[nodiscard]] bool takes_incoming() const override { return false; }

 private:
  /// The inputs of a graph in its order, those that vary with the values of `point`.
  [[nodiscard]] std::vector<ImageBatch> inputs_of(const NNGraph& graph, const CheckedPoint& point);
  void assign_weights(const CheckedPoint& point);

  Device device_;
  CommandQueue queue_;
  NNGraph loss_, gradient_;
  std::vector<std::string> varying_;  // labels, in the order of the variables
  std::map<std::string, ImageBatch> images_;
  std::vector<std::shared_ptr<CheckedWeights>> weights_;
};

}  // namespace cermet
