#pragma once
// Pooling and its gradients (spec: pooling-shape 1, 2).

#include <array>
#include <string_view>

#include "cermet/core/operator.h"
#include "cermet/ops/window.h"

namespace cermet {

/// Largest tap, of windows of any dilation. Zero edges: outside zeros take part. A NaN tap makes
/// the result NaN.
struct PoolingMax {
  static constexpr std::string_view name = "CNNPoolingMax";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
};

/// destination[d] = sum of the gradients of the windows whose first largest tap, in row-major scan
/// order, is source pixel (originX, originY) + d; other pixels get 0.
struct PoolingMaxGradient {
  static constexpr std::string_view name = "CNNPoolingMaxGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  PoolingMax forward{};
  std::int32_t originX = 0, originY = 0;
};

/// Mean of the window: divided by kernelWidth*kernelHeight with Zero edges; with Clamp by the part
/// of the window inside the source extended by zeroPadSize on every side. No tap inside gives 0.
struct PoolingAverage {
  static constexpr std::string_view name = "CNNPoolingAverage";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
  std::int32_t zeroPadSizeX = 0, zeroPadSizeY = 0;
};

/// destination[d] = sum over windows that contain (originX, originY) + d of gradient / divisor.
struct PoolingAverageGradient {
  static constexpr std::string_view name = "CNNPoolingAverageGradient";
  enum Slot { gradient, destination };
  static constexpr std::array access{Access::read, Access::write};
  PoolingAverage forward{};
  std::int32_t originX = 0, originY = 0;
  std::int32_t sourceWidth = 0, sourceHeight = 0;  // of the forward source
};

/// Square root of the sum of the squares of all taps, not divided by their number. With Clamp edges
/// a tap outside is its edge pixel, counted again.
struct PoolingL2Norm {
  static constexpr std::string_view name = "CNNPoolingL2Norm";
  enum Slot { source, destination };
  static constexpr std::array access{Access::read, Access::write};
  Window window{};
};

/// destination[d] = sum over windows of gradient * m * x / norm, x the source pixel (originX,
/// originY) + d and m the number of taps that read it. A norm of 0 gives nothing.
struct PoolingL2NormGradient {
  static constexpr std::string_view name = "CNNPoolingL2NormGradient";
  enum Slot { gradient, source, destination };
  static constexpr std::array access{Access::read, Access::read, Access::write};
  PoolingL2Norm forward{};
  std::int32_t originX = 0, originY = 0;
};

using PoolingOperators = TypeList<PoolingMax, PoolingMaxGradient, PoolingAverage,
                                  PoolingAverageGradient, PoolingL2Norm, PoolingL2NormGradient>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel.h"

namespace cermet {

/// Base of the pooling kernels: output i has its window's centre at `offset + stride*i` and its
/// first tap extent/2 before it, extent = (kernelWidth-1)*dilationRateX + 1: even extents lean to
/// the left and top. Channels are independent. Default edge mode Zero (spec: pooling-shape 1.1).
class CNNPooling : public CNNKernel {
 public:
  [[nodiscard]] std::size_t kernelWidth() const override { return kernel_width_; }
  [[nodiscard]] std::size_t kernelHeight() const override { return kernel_height_; }
  [[nodiscard]] std::size_t strideInPixelsX() const override { return stride_x_; }
  [[nodiscard]] std::size_t strideInPixelsY() const override { return stride_y_; }

 protected:
  CNNPooling(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
             std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPooling(Coder& coder, const Device& device) : CNNKernel(coder, device) {}
  void code(Coder& coder) override;
  /// Throws InvalidArgument for a size, stride or dilation rate of 0, or an extent that no int
  /// holds, in the name of the concrete class.
  void check_window() const;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;
  [[nodiscard]] Window window() const;
  mutable detail::StepMemo memo_;

 private:
  std::size_t kernel_width_ = 1, kernel_height_ = 1, stride_x_ = 1, stride_y_ = 1;
};

/// The largest tap. With Zero edges the zeros outside take part; with Clamp they do not.
class CNNPoolingMax final : public CNNPooling {
 public:
  /// Strides default to 1. Throws InvalidArgument for a window or stride of 0.
  CNNPoolingMax(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPoolingMax(Coder& coder, const Device& device) : CNNPooling(coder, device) { read(coder); }
  [[nodiscard]] CNNPoolingMax copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return PoolingMax::name; }

 protected:
  void record(detail::UnaryEncoding& encoding) const override;
};

/// The largest tap of a window whose taps lie dilationRateX, dilationRateY pixels apart: tap j of
/// output i reads offset + stride*i - extent/2 + dilationRate*j. Two taps at rate 3 read pixels -2
/// and +1. With Zero edges the zeros outside take part; with Clamp a tap outside reads the edge
/// pixel, even one that is no tap of the lattice (spec: pooling-shape 1.5).
class CNNDilatedPoolingMax final : public Concrete<CNNDilatedPoolingMax, CNNPooling> {
 public:
  /// Throws InvalidArgument for a size, rate or stride of 0.
  CNNDilatedPoolingMax(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                       std::size_t dilationRateX, std::size_t dilationRateY,
                       std::size_t strideInPixelsX, std::size_t strideInPixelsY);
  CNNDilatedPoolingMax(Coder& coder, const Device& device) : Concrete(coder, device) {
    read(coder);
  }
  [[nodiscard]] std::size_t dilationRateX() const override { return dilation_x_; }
  [[nodiscard]] std::size_t dilationRateY() const override { return dilation_y_; }

 protected:
  void code(Coder& coder) override;
  void record(detail::UnaryEncoding& encoding) const override;

 private:
  std::size_t dilation_x_ = 1, dilation_y_ = 1;
};

/// sqrt(sum of x^2 over the window), without a division by its size. Squares are summed in double:
/// they neither overflow nor vanish. With Zero edges taps outside add nothing; with Clamp each adds
/// its edge pixel again (spec: pooling-shape 1.4).
class CNNPoolingL2Norm final : public Concrete<CNNPoolingL2Norm, CNNPooling> {
 public:
  /// Strides default to 1. Throws InvalidArgument for a window or stride of 0.
  CNNPoolingL2Norm(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                   std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPoolingL2Norm(Coder& coder, const Device& device) : Concrete(coder, device) { read(coder); }

 protected:
  void record(detail::UnaryEncoding& encoding) const override;
};

/// The mean of the window; the divisor is kernelWidth*kernelHeight with Zero edges, and with Clamp
/// the part of the window inside the source extended by zeroPadSize on every side.
class CNNPoolingAverage final : public CNNPooling {
 public:
  CNNPoolingAverage(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                    std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPoolingAverage(Coder& coder, const Device& device) : CNNPooling(coder, device) { read(coder); }
  [[nodiscard]] CNNPoolingAverage copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return PoolingAverage::name; }
  [[nodiscard]] std::size_t zeroPadSizeX() const { return zero_pad_x_; }
  void setZeroPadSizeX(std::size_t size) { zero_pad_x_ = size; }
  [[nodiscard]] std::size_t zeroPadSizeY() const { return zero_pad_y_; }
  void setZeroPadSizeY(std::size_t size) { zero_pad_y_ = size; }

 protected:
  void code(Coder& coder) override;
  void record(detail::UnaryEncoding& encoding) const override;
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image& source,
                                    const Image& destination) const override;
  void adjust(ImageDescriptor& descriptor, std::span<const Image> sourceImages) override;

 private:
  std::size_t zero_pad_x_ = 0, zero_pad_y_ = 0;
};

/// Base of the pooling gradients, the exact adjoints. Gradient pixel p is forward output p -
/// primaryOffset, whose window has its centre at secondaryOffset + stride*i. Destination pixel
/// clipRect.origin + d receives the gradient of source pixel y0 + d, y0 = max(0, secondaryOffset -
/// extent/2): the first source pixel that a window reads. Encodes that return their result take
/// window, dilation and edges from the state, and destination coordinates are source coordinates
/// (spec: pooling-shape 2.1).
class CNNPoolingGradient : public CNNGradientKernel {
 public:
  /// The part of the incoming gradient to use, from primaryOffset. Default: all of it.
  [[nodiscard]] const Size& sourceSize() const { return source_size_; }
  void setSourceSize(const Size& size) { source_size_ = size; }
  void apply(const ForwardRecord& forward) override;

 protected:
  CNNPoolingGradient(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                     std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPoolingGradient(Coder& coder, const Device& device) : CNNGradientKernel(coder, device) {}
  void code(Coder& coder) override;
  /// As CNNPooling's.
  void check_window() const;
  [[nodiscard]] Window window() const;
  /// Records `Op` with gradient, source and destination; zeros where no gradient is used.
  template <class Op>
  void record_with_source(detail::BinaryEncoding& encoding) const;
  /// The used part of the gradient; absent where it is empty.
  [[nodiscard]] TensorView used_gradient(const detail::BinaryEncoding& encoding) const;
  struct Origin2D {
    std::int32_t x, y;
  };
  /// Source pixel that destination pixel (0, 0) of the clip rectangle stands for.
  [[nodiscard]] Origin2D destination_origin() const;
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override;
  mutable detail::StepMemo memo_;

 private:
  Size source_size_{all_channels, all_channels, all_channels};
  bool whole_image_ = false;  // the geometry came from a state: destination = source coordinates
};

/// The gradient of each window goes to its first largest tap in row-major order.
class CNNPoolingMaxGradient final : public CNNPoolingGradient {
 public:
  CNNPoolingMaxGradient(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                        std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPoolingMaxGradient(Coder& coder, const Device& device) : CNNPoolingGradient(coder, device) {
    read(coder);
  }
  [[nodiscard]] CNNPoolingMaxGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override { return PoolingMaxGradient::name; }

 protected:
  void record(detail::BinaryEncoding& encoding) const override;
};

/// The gradient of each window, divided as in the forward pass, goes to every tap inside.
class CNNPoolingAverageGradient final : public CNNPoolingGradient {
 public:
  CNNPoolingAverageGradient(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                            std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPoolingAverageGradient(Coder& coder, const Device& device)
      : CNNPoolingGradient(coder, device) {
    read(coder);
  }
  [[nodiscard]] CNNPoolingAverageGradient copy(const Device& device = {}) const {
    return copy_of(*this, device);
  }
  [[nodiscard]] std::string_view class_name() const override {
    return PoolingAverageGradient::name;
  }
  [[nodiscard]] std::size_t zeroPadSizeX() const { return zero_pad_x_; }
  void setZeroPadSizeX(std::size_t size) { zero_pad_x_ = size; }
  [[nodiscard]] std::size_t zeroPadSizeY() const { return zero_pad_y_; }
  void setZeroPadSizeY(std::size_t size) { zero_pad_y_ = size; }

 protected:
  void code(Coder& coder) override;
  void record(detail::BinaryEncoding& encoding) const override;

 private:
  std::size_t zero_pad_x_ = 0, zero_pad_y_ = 0;
};

/// As CNNPoolingMaxGradient, for windows with dilation rates: d(u) = sum of g(i) over the outputs i
/// whose first largest tap reads source pixel u.
class CNNDilatedPoolingMaxGradient final
    : public Concrete<CNNDilatedPoolingMaxGradient, CNNPoolingGradient> {
 public:
  /// Throws InvalidArgument for a size, rate or stride of 0.
  CNNDilatedPoolingMaxGradient(const Device& device, std::size_t kernelWidth,
                               std::size_t kernelHeight, std::size_t dilationRateX,
                               std::size_t dilationRateY, std::size_t strideInPixelsX,
                               std::size_t strideInPixelsY);
  CNNDilatedPoolingMaxGradient(Coder& coder, const Device& device) : Concrete(coder, device) {
    read(coder);
  }

 protected:
  void record(detail::BinaryEncoding& encoding) const override;
};

/// g * m * x / norm for each window, m the number of its taps that read pixel x: more than 1 at
/// clamped edges. A window whose norm is 0 gives 0 (spec: pooling-shape 2.4).
class CNNPoolingL2NormGradient final
    : public Concrete<CNNPoolingL2NormGradient, CNNPoolingGradient> {
 public:
  /// Throws InvalidArgument for a window or stride of 0.
  CNNPoolingL2NormGradient(const Device& device, std::size_t kernelWidth, std::size_t kernelHeight,
                           std::size_t strideInPixelsX = 1, std::size_t strideInPixelsY = 1);
  CNNPoolingL2NormGradient(Coder& coder, const Device& device) : Concrete(coder, device) {
    read(coder);
  }

 protected:
  void record(detail::BinaryEncoding& encoding) const override;
};

using PoolingKernels =
    TypeList<CNNPoolingMax, CNNPoolingMaxGradient, CNNPoolingAverage, CNNPoolingAverageGradient,
             CNNDilatedPoolingMax, CNNDilatedPoolingMaxGradient, CNNPoolingL2Norm,
             CNNPoolingL2NormGradient>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
