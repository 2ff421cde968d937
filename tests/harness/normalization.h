#pragma once
// Rows of the spatial normalisation: what they say and how they run.

#include "../oracle/normalization.h"
#include "cermet/cnn/normalization.h"
#include "subject.h"

namespace cermet::test {

struct NormalizationRow {
  Row row{};
  std::size_t kernelWidth = 3, kernelHeight = 3;
  float alpha = 1, beta = 0.75F, delta = 1;
};

class NormalizationSubject final
    : public SubjectOf<CNNSpatialNormalization, CNNSpatialNormalizationGradient> {
 public:
  explicit NormalizationSubject(const NormalizationRow& r) : SubjectOf(r.row), r_(r) {}
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return made<CNNSpatialNormalization>(device);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return made<CNNSpatialNormalizationGradient>(device);
  }
  [[nodiscard]] WindowSize window() const override { return {r_.kernelWidth, r_.kernelHeight}; }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return oracle::spatial_normalization(operation(g), source, g.h, g.w);
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    return {oracle::spatial_normalization_gradient({operation(g)}, incoming, source), {}};
  }

 private:
  template <class K>
  [[nodiscard]] std::unique_ptr<K> made(const Device& device) const {
    auto kernel = std::make_unique<K>(device, r_.kernelWidth, r_.kernelHeight);
    kernel->setAlpha(r_.alpha);
    kernel->setBeta(r_.beta);
    kernel->setDelta(r_.delta);
    return kernel;
  }
  [[nodiscard]] SpatialNormalization operation(const Geometry& g) const {
    SpatialNormalization op;
    op.window.kernelWidth = static_cast<int>(r_.kernelWidth);
    op.window.kernelHeight = static_cast<int>(r_.kernelHeight);
    op.window.padLeft = g.pad_left(r_.kernelWidth);
    op.window.padTop = g.pad_top(r_.kernelHeight);
    op.window.clampEdges = g.edge == oracle::EdgeRule::Clamp ? 1 : 0;
    op.alpha = r_.alpha;
    op.beta = r_.beta;
    op.delta = r_.delta;
    return op;
  }
  NormalizationRow r_;
};

}  // namespace cermet::test
