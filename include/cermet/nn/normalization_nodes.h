#pragma once
// Window normalisation nodes (spec: graph 8.4).

#include "cermet/cnn/normalization.h"
#include "cermet/nn/node.h"

namespace cermet {

class CNNNormalizationNode : public NNFilterNode {
 public:
  [[nodiscard]] float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  [[nodiscard]] float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  [[nodiscard]] float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }

 protected:
  explicit CNNNormalizationNode(NNImageNodePtr source);

 private:
  float alpha_ = 1, beta_ = 5, delta_ = 1;
};

/// `kernelSize` sets width and height; 5 when left out.
class CNNSpatialNormalizationNode final : public CNNNormalizationNode {
 public:
  explicit CNNSpatialNormalizationNode(NNImageNodePtr source, std::size_t kernelSize = 5)
      : CNNNormalizationNode(std::move(source)),
        kernel_width_(kernelSize),
        kernel_height_(kernelSize) {}
  [[nodiscard]] static std::shared_ptr<CNNSpatialNormalizationNode> node(
      NNImageNodePtr source, std::size_t kernelSize = 5) {
    return std::make_shared<CNNSpatialNormalizationNode>(std::move(source), kernelSize);
  }
  [[nodiscard]] std::size_t kernelWidth() const { return kernel_width_; }
  void setKernelWidth(std::size_t width) { kernel_width_ = width; }
  [[nodiscard]] std::size_t kernelHeight() const { return kernel_height_; }
  void setKernelHeight(std::size_t height) { kernel_height_ = height; }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNSpatialNormalizationNode";
  }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 protected:
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;

 private:
  std::size_t kernel_width_, kernel_height_;
};

/// alpha, beta, delta and the window must be those of the forward node; made from one they are.
class CNNSpatialNormalizationGradientNode final : public NNGradientFilterNode {
 public:
  CNNSpatialNormalizationGradientNode(NNImageNodePtr sourceGradient, NNImageNodePtr sourceImage,
                                      NNStateNodePtr gradientState, std::size_t kernelSize)
      : NNGradientFilterNode({std::move(sourceGradient), std::move(sourceImage)},
                             {std::move(gradientState)}),
        kernel_width_(kernelSize),
        kernel_height_(kernelSize) {}
  [[nodiscard]] std::size_t kernelWidth() const { return kernel_width_; }
  void setKernelWidth(std::size_t width) { kernel_width_ = width; }
  [[nodiscard]] std::size_t kernelHeight() const { return kernel_height_; }
  void setKernelHeight(std::size_t height) { kernel_height_ = height; }
  [[nodiscard]] float alpha() const { return alpha_; }
  void setAlpha(float alpha) { alpha_ = alpha; }
  [[nodiscard]] float beta() const { return beta_; }
  void setBeta(float beta) { beta_ = beta; }
  [[nodiscard]] float delta() const { return delta_; }
  void setDelta(float delta) { delta_ = delta; }
  [[nodiscard]] std::string_view class_name() const override {
    return "CNNSpatialNormalizationGradientNode";
  }
  [[nodiscard]] std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const override;

 private:
  std::size_t kernel_width_, kernel_height_;
  float alpha_ = 1, beta_ = 5, delta_ = 1;
};

}  // namespace cermet
