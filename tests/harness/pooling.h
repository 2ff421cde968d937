#pragma once
// Rows of max, dilated max, average and L2 pooling: what they say and how they run.

#include "../oracle/pooling.h"
#include "cermet/cnn/pooling.h"
#include "subject.h"

namespace cermet::test {

struct PoolingRow {
  Row row{};
  std::size_t kernelWidth = 2, kernelHeight = 2, strideInPixelsX = 1, strideInPixelsY = 1;
  std::size_t zeroPadSizeX = 0, zeroPadSizeY = 0;    // average
  std::size_t dilationRateX = 1, dilationRateY = 1;  // dilated max

  [[nodiscard]] WindowSize extents() const {
    return {(kernelWidth - 1) * dilationRateX + 1, (kernelHeight - 1) * dilationRateY + 1,
            strideInPixelsX, strideInPixelsY};
  }
};

/// Tap 0 of output 0 lies at offset - extent/2. spec: pooling 1.1, 1.5
inline Window pooling_window(const PoolingRow& r, const Geometry& g) {
  Window window;
  window.kernelWidth = static_cast<int>(r.kernelWidth);
  window.kernelHeight = static_cast<int>(r.kernelHeight);
  window.strideX = static_cast<int>(r.strideInPixelsX);
  window.strideY = static_cast<int>(r.strideInPixelsY);
  window.dilationX = static_cast<int>(r.dilationRateX);
  window.dilationY = static_cast<int>(r.dilationRateY);
  window.padLeft = g.pad_left(r.extents().w);
  window.padTop = g.pad_top(r.extents().h);
  window.clampEdges = g.edge == oracle::EdgeRule::Clamp ? 1 : 0;
  return window;
}

template <class Forward, class Gradient>
class PoolingSubject : public SubjectOf<Forward, Gradient> {
 public:
  explicit PoolingSubject(const PoolingRow& r) : SubjectOf<Forward, Gradient>(r.row), r_(r) {}
  [[nodiscard]] WindowSize window() const override { return r_.extents(); }
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return made<Forward>(device);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return made<Gradient>(device);
  }

 protected:
  template <class K>
  [[nodiscard]] std::unique_ptr<K> made(const Device& device) const {
    if constexpr (std::is_same_v<K, CNNDilatedPoolingMax>) {
      return std::make_unique<K>(device, r_.kernelWidth, r_.kernelHeight, r_.dilationRateX,
                                 r_.dilationRateY, r_.strideInPixelsX, r_.strideInPixelsY);
    } else if constexpr (std::is_same_v<K, CNNDilatedPoolingMaxGradient>) {  // asks the state
      return std::make_unique<K>(device, r_.kernelWidth, r_.kernelHeight, 1, 1, r_.strideInPixelsX,
                                 r_.strideInPixelsY);
    } else {
      auto kernel = std::make_unique<K>(device, r_.kernelWidth, r_.kernelHeight, r_.strideInPixelsX,
                                        r_.strideInPixelsY);
      if constexpr (std::is_same_v<K, CNNPoolingAverage>) {  // its gradient asks the state
        kernel->setZeroPadSizeX(r_.zeroPadSizeX);
        kernel->setZeroPadSizeY(r_.zeroPadSizeY);
      }
      return kernel;
    }
  }
  PoolingRow r_;
};

template <class Forward, class Gradient>
class LargestTapSubject final : public PoolingSubject<Forward, Gradient> {
 public:
  using PoolingSubject<Forward, Gradient>::PoolingSubject;
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return oracle::pooling_max({pooling_window(this->r_, g)}, source, g.h, g.w);
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const PoolingMaxGradient op{{pooling_window(this->r_, g)}};
    return {oracle::pooling_max_gradient(op, incoming, source, source.h, source.w), {}};
  }
};
using PoolingMaxSubject = LargestTapSubject<CNNPoolingMax, CNNPoolingMaxGradient>;
using DilatedPoolingMaxSubject =
    LargestTapSubject<CNNDilatedPoolingMax, CNNDilatedPoolingMaxGradient>;

class PoolingL2NormSubject final
    : public PoolingSubject<CNNPoolingL2Norm, CNNPoolingL2NormGradient> {
 public:
  using PoolingSubject::PoolingSubject;
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return oracle::pooling_l2_norm({pooling_window(r_, g)}, source, g.h, g.w);
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const PoolingL2NormGradient op{{pooling_window(r_, g)}};
    return {oracle::pooling_l2_norm_gradient(op, incoming, source, source.h, source.w), {}};
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
