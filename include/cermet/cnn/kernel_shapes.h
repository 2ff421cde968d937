#pragma once
// Kernels that are their operator: the fields of the operator are all that they keep, and the shape
// says how images become its slots. A class over one of these adds its constructor and properties;
// encodes, checks, states, archives and copies are here.
//
//   shape                     an output pixel depends on           slots of the operator
//   PixelKernel               the pixel at its place               source, destination
//   PixelGradientKernel       gradient and source at its place     gradient, source, destination
//   WindowKernel              a window, stride 1, around it        source, destination
//   WindowGradientKernel      the windows that read it             gradient, source, destination

#include "cermet/cnn/kernel.h"
#include "cermet/core/fields.h"
#include "cermet/ops/window.h"

namespace cermet {
namespace detail {

void record_pixels(const CNNKernel& kernel, UnaryEncoding& encoding, StepMemo& memo,
                   const OpView& op);
void record_pixel_gradient(const CNNGradientKernel& kernel, BinaryEncoding& encoding,
                           StepMemo& memo, const OpView& op);
void record_windows(const CNNKernel& kernel, UnaryEncoding& encoding, StepMemo& memo,
                    Window& window, const OpView& op);
/// Two memos: one for the operator, one for the copy that an encode with another frame needs.
void record_window_gradient(const CNNGradientKernel& kernel, BinaryEncoding& encoding,
                            StepMemo& memo, StepMemo& copy_memo, Window& window, const OpView& op);
/// As a field of an operator; a size that no int holds is 0, which the check of fields refuses.
[[nodiscard]] std::int32_t field_of(std::size_t size);
/// The size alone.
[[nodiscard]] Window window_of(std::size_t kernelWidth, std::size_t kernelHeight);
[[nodiscard]] StatePtr geometry_state(const StateOrigin& origin);
/// Empty, or the window of the forward kernel where it is not this one.
[[nodiscard]] std::string other_window(const State* state, const Window& window);
[[nodiscard]] std::string window_size(const Window& window);

}  // namespace detail

/// A kernel `Self` over `Base` of the original's hierarchy that keeps the fields of `Op`.
template <class Self, class Base, class Op>
class OperatorKernel : public Concrete<Self, Base> {
 public:
  /// Ours: all parameters at once. Throws InvalidArgument for one out of its range.
  OperatorKernel(const Device& device, const Op& op) : Concrete<Self, Base>(device), op_(op) {
    detail::check_fields(op_, detail::type_name<Self>());
  }
  /// Reads what encodeWithCoder wrote; FileError otherwise.
  OperatorKernel(Coder& coder, const Device& device) : Concrete<Self, Base>(coder, device) {
    this->read(coder);
  }
  [[nodiscard]] const Op& operation() const { return op_; }

 protected:
  void code(Coder& coder) override {
    Base::code(coder);
    detail::code_fields(coder, op_);
  }
  Op op_;
  mutable detail::StepMemo memo_;
};

template <class Self, class Op>
class PixelKernel : public OperatorKernel<Self, CNNKernel, Op> {
 public:
  using OperatorKernel<Self, CNNKernel, Op>::OperatorKernel;

 protected:
  void record(detail::UnaryEncoding& encoding) const override {
    detail::record_pixels(*this, encoding, this->memo_, view_of(this->op_));
  }
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image&,
                                    const Image&) const override {
    return detail::geometry_state(origin);
  }
};

/// Where things lie: spec core 14.3, stride-1 kernels without a window.
template <class Self, class Op>
class PixelGradientKernel : public OperatorKernel<Self, CNNGradientKernel, Op> {
 public:
  using OperatorKernel<Self, CNNGradientKernel, Op>::OperatorKernel;

 protected:
  void record(detail::BinaryEncoding& encoding) const override {
    detail::record_pixel_gradient(*this, encoding, this->memo_, view_of(this->op_));
  }
};

/// `Op::window` holds the size; encodes place it.
template <class Self, class Op>
class WindowKernel : public OperatorKernel<Self, CNNKernel, Op> {
 public:
  using OperatorKernel<Self, CNNKernel, Op>::OperatorKernel;
  [[nodiscard]] std::size_t kernelWidth() const override {
    return static_cast<std::size_t>(this->op_.window.kernelWidth);
  }
  [[nodiscard]] std::size_t kernelHeight() const override {
    return static_cast<std::size_t>(this->op_.window.kernelHeight);
  }

 protected:
  void record(detail::UnaryEncoding& encoding) const override {
    Op op = this->op_;
    detail::record_windows(*this, encoding, this->memo_, op.window, view_of(op));
  }
  [[nodiscard]] StatePtr make_state(const detail::StateOrigin& origin, const Image&,
                                    const Image&) const override {
    return detail::geometry_state(origin);
  }
};

/// Where things lie: destination pixel d, counted from `clipRect.origin`, is the gradient of source
/// pixel d + secondaryOffset, and the window centred on that pixel produced gradient pixel d +
/// primaryOffset. Both hold for the whole forward destination; with a gradient state only the
/// region that the forward encode wrote counts, and the incoming gradient may be just that region
/// instead of the whole image. Without a state the whole gradient image counts. After a forward
/// encode with offset o and clip origin c: primaryOffset = c - o, secondaryOffset = 0,
/// secondaryEdgeMode = edgeMode; encodes that return their result set these. Beyond the gradient
/// image there is none, whatever primaryEdgeMode says. Overwrites the destination; pixels that no
/// window read get 0.
///
/// Parameters and window are not taken from the state: they must be those of the forward kernel. An
/// encode with the state of another window throws.
template <class Self, class Op>
class WindowGradientKernel : public OperatorKernel<Self, CNNGradientKernel, Op> {
  using Base = OperatorKernel<Self, CNNGradientKernel, Op>;

 public:
  WindowGradientKernel(const Device& device, const Op& op) : Base(device, op) {
    this->primary_.kernelWidth = this->secondary_.kernelWidth = kernelWidth();
    this->primary_.kernelHeight = this->secondary_.kernelHeight = kernelHeight();
  }
  using Base::Base;
  [[nodiscard]] std::size_t kernelWidth() const {
    return static_cast<std::size_t>(this->op_.forward.window.kernelWidth);
  }
  [[nodiscard]] std::size_t kernelHeight() const {
    return static_cast<std::size_t>(this->op_.forward.window.kernelHeight);
  }
  void apply(const ForwardRecord& forward) override {
    CNNGradientKernel::apply(forward);
    this->secondary_.kernelWidth = kernelWidth();
    this->secondary_.kernelHeight = kernelHeight();
  }

 protected:
  void record(detail::BinaryEncoding& encoding) const override {
    Op op = this->op_;
    detail::record_window_gradient(*this, encoding, this->memo_, copy_memo_, op.forward.window,
                                   view_of(op));
  }
  void check(const Image& gradient, const Image& source, const Image& destination,
             const State* state, std::size_t count) const override {
    CNNGradientKernel::check(gradient, source, destination, state, count);
    const Window& window = this->op_.forward.window;
    if (std::string other = detail::other_window(state, window); !other.empty()) {
      this->complain("gradientState", "for a window of " + other,
                     detail::window_size(window) + ", the window of this kernel",
                     "Make the gradient kernel with the window of the forward kernel.");
    }
  }

 private:
  mutable detail::StepMemo copy_memo_;
};

}  // namespace cermet
