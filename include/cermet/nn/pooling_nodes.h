#pragma once
// Pooling nodes (spec: graph 8.3). Their edge mode is Clamp, unlike the kernels' Zero.

#include "cermet/cnn/pooling.h"
#include "cermet/nn/node.h"

namespace cermet {

class CNNPoolingNode : public NNFilterNode {
 public:
  [[nodiscard]] std::size_t kernelWidth() const { return kernel_width_; }
  [[nodiscard]] std::size_t kernelHeight() const { return kernel_height_; }
  [[nodiscard]] std::size_t strideInPixelsX() const { return stride_x_; }
  [[nodiscard]] std::size_t strideInPixelsY() const { return stride_y_; }

 protected:
  CNNPoolingNode(NNImageNodePtr source, std::size_t kernelWidth, std::size_t kernelHeight,
                 std::size_t strideInPixelsX, std::size_t strideInPixelsY);

 private:
  std::size_t kernel_width_, kernel_height_, stride_x_, stride_y_;
};

class CNNPoolingGradientNode : public NNGradientFilterNode {
 public:
  [[nodiscard]] std::size_t kernelWidth() const { return kernel_width_; }
  [[nodiscard]] std::size_t kernelHeight() const { return kernel_height_; }
  [[nodiscard]] std::size_t strideInPixelsX() const { return stride_x_; }
  [[nodiscard]] std::size_t strideInPixelsY() const { return stride_y_; }

 protected:
  CNNPoolingGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                         NNStateNodePtr gradientState, std::size_t kernelWidth,
                         std::size_t kernelHeight, std::size_t strideInPixelsX,
                         std::size_t strideInPixelsY, std::shared_ptr<NNPadding> paddingPolicy);

 private:
  std::size_t kernel_width_, kernel_height_, stride_x_, stride_y_;
};

class CNNPoolingMaxGradientNode final : public CNNPoolingGradientNode {
 public:
  CNNPoolingMaxGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                            NNStateNodePtr gradientState, std::size_t kernelWidth,
                            std::size_t kernelHeight, std::size_t strideInPixelsX,
                            std::size_t strideInPixelsY,
                            std::shared_ptr<NNPadding> paddingPolicy = nullptr)
      : CNNPoolingGradientNode(std::move(sourceGradient), std::move(sourceImage),
                               std::move(gradientState), kernelWidth, kernelHeight, strideInPixelsX,
                               strideInPixelsY, std::move(paddingPolicy)) {}
  [[nodiscard]] std::string_view class_name() const override { return "CNNPoolingMaxGradientNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

class CNNPoolingAverageGradientNode final : public CNNPoolingGradientNode {
 public:
  CNNPoolingAverageGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                                NNStateNodePtr gradientState, std::size_t kernelWidth,
                                std::size_t kernelHeight, std::size_t strideInPixelsX,
                                std::size_t strideInPixelsY,
                                std::shared_ptr<NNPadding> paddingPolicy = nullptr)
      : CNNPoolingGradientNode(std::move(sourceGradient), std::move(sourceImage),
                               std::move(gradientState), kernelWidth, kernelHeight, strideInPixelsX,
                               strideInPixelsY, std::move(paddingPolicy)) {}
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNPoolingAverageGradientNode";
  }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;
};

class CNNPoolingMaxNode final : public CNNPoolingNode {
 public:
  /// Window and stride are both `filterSize` on both axes.
  CNNPoolingMaxNode(NNImageNodePtr source, std::size_t filterSize)
      : CNNPoolingMaxNode(std::move(source), filterSize, filterSize) {}
  CNNPoolingMaxNode(NNImageNodePtr source, std::size_t filterSize, std::size_t stride)
      : CNNPoolingMaxNode(std::move(source), filterSize, filterSize, stride, stride) {}
  CNNPoolingMaxNode(NNImageNodePtr source, std::size_t kernelWidth, std::size_t kernelHeight,
                    std::size_t strideInPixelsX, std::size_t strideInPixelsY)
      : CNNPoolingNode(std::move(source), kernelWidth, kernelHeight, strideInPixelsX,
                       strideInPixelsY) {}
  template <class... Sizes>
  [[nodiscard]] static std::shared_ptr<CNNPoolingMaxNode> node(NNImageNodePtr source,
                                                               Sizes... windowSizes) {
    return std::make_shared<CNNPoolingMaxNode>(std::move(source), windowSizes...);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNPoolingMaxNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

class CNNPoolingAverageNode final : public CNNPoolingNode {
 public:
  CNNPoolingAverageNode(NNImageNodePtr source, std::size_t filterSize)
      : CNNPoolingAverageNode(std::move(source), filterSize, filterSize) {}
  CNNPoolingAverageNode(NNImageNodePtr source, std::size_t filterSize, std::size_t stride)
      : CNNPoolingAverageNode(std::move(source), filterSize, filterSize, stride, stride) {}
  CNNPoolingAverageNode(NNImageNodePtr source, std::size_t kernelWidth, std::size_t kernelHeight,
                        std::size_t strideInPixelsX, std::size_t strideInPixelsY)
      : CNNPoolingNode(std::move(source), kernelWidth, kernelHeight, strideInPixelsX,
                       strideInPixelsY) {}
  template <class... Sizes>
  [[nodiscard]] static std::shared_ptr<CNNPoolingAverageNode> node(NNImageNodePtr source,
                                                                   Sizes... windowSizes) {
    return std::make_shared<CNNPoolingAverageNode>(std::move(source), windowSizes...);
  }
  [[nodiscard]] std::string_view class_name() const override { return "CNNPoolingAverageNode"; }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

}  // namespace cermet
