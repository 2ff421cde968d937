#pragma once
// Rows of max and average pooling: what they say and how they run.

#include "../oracle/pooling.h"
#include "cermet/cnn/pooling.h"
#include "subject.h"

namespace cermet::test {

struct PoolingRow {
  Row row{};
  std::size_t kernelWidth = 2, kernelHeight = 2, strideInPixelsX = 1, strideInPixelsY = 1;
  std::size_t zeroPadSizeX = 0, zeroPadSizeY = 0;  // average
};

/// Tap 0 of output 0 lies at offset - window/2. spec: pooling 1.1
inline Window pooling_window(const PoolingRow& r, const Geometry& g) {
  Window window;
  window.kernelWidth = static_cast<int>(r.kernelWidth);
  window.kernelHeight = static_cast<int>(r.kernelHeight);
  window.strideX = static_cast<int>(r.strideInPixelsX);
  window.strideY = static_cast<int>(r.strideInPixelsY);
  window.padLeft = g.pad_left(r.kernelWidth);
  window.padTop = g.pad_top(r.kernelHeight);
  window.clampEdges = g.edge == oracle::EdgeRule::Clamp ? 1 : 0;
  return window;
}

template <class Forward, class Gradient>
class PoolingSubject : public SubjectOf<Forward, Gradient> {
 public:
  explicit PoolingSubject(const PoolingRow& r) : SubjectOf<Forward, Gradient>(r.row), r_(r) {}
  [[nodiscard]] WindowSize window() const override {
    return {r_.kernelWidth, r_.kernelHeight, r_.strideInPixelsX, r_.strideInPixelsY};
  }
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return made<Forward>(device);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return made<Gradient>(device);
  }

 protected:
  template <class K>
  [[nodiscard]] std::unique_ptr<K> made(const Device& device) const {
    auto kernel = std::make_unique<K>(device, r_.kernelWidth, r_.kernelHeight, r_.strideInPixelsX,
                                      r_.strideInPixelsY);
    if constexpr (std::is_same_v<K,
                                 CNNPoolingAverage>) {  // its gradient learns them from the state
      kernel->setZeroPadSizeX(r_.zeroPadSizeX);
      kernel->setZeroPadSizeY(r_.zeroPadSizeY);
    }
    return kernel;
  }
  PoolingRow r_;
};

class PoolingMaxSubject final : public PoolingSubject<CNNPoolingMax, CNNPoolingMaxGradient> {
 public:
  using PoolingSubject::PoolingSubject;
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return oracle::pooling_max({pooling_window(r_, g)}, source, g.h, g.w);
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const PoolingMaxGradient op{{pooling_window(r_, g)}};
    return {oracle::pooling_max_gradient(op, incoming, source, source.h, source.w), {}};
  }
};

class PoolingAverageSubject final
    : public PoolingSubject<CNNPoolingAverage, CNNPoolingAverageGradient> {
 public:
  using PoolingSubject::PoolingSubject;
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return oracle::pooling_average(op(g), source, g.h, g.w);
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const PoolingAverageGradient gradient{op(g), 0, 0, source.w, source.h};
    return {oracle::pooling_average_gradient(gradient, incoming, source.h, source.w), {}};
  }

 private:
  [[nodiscard]] PoolingAverage op(const Geometry& g) const {
    return {pooling_window(r_, g), static_cast<int>(r_.zeroPadSizeX),
            static_cast<int>(r_.zeroPadSizeY)};
  }
};

}  // namespace cermet::test
