#pragma once
// Everything that differs between the two generations of oneDNN (2.x and 3.x) is behind this file.
// Primitives take what they are told or nothing: the caller looks at `implementation` and refuses
// what is only a reference.

#include <oneapi/dnnl/dnnl.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "cermet/core/step.h"

namespace cermet::cpu::onednn {

using Desc = dnnl::memory::desc;
using Dims = dnnl::memory::dims;

/// The number of threads for primitives that are made while it lives.
class ThreadScope {
 public:
  explicit ThreadScope(int threads);
  ~ThreadScope();
  ThreadScope(const ThreadScope&) = delete;
  ThreadScope& operator=(const ThreadScope&) = delete;

 private:
  int before_, now_;
};

// ---- layouts
// --------------------------------------------------------------------------------------

/// The name of a layout, the same for the life of the process. Safe from any thread.
[[nodiscard]] Layout intern(const Desc& desc);
[[nodiscard]] Desc interned(Layout layout);

/// Dimensions n, c, h, w in the tensor's layout (`any`: the primitive chooses).
[[nodiscard]] Desc desc_of(const TensorDesc& tensor);
/// OHWI weights as o, i, h, w, or with several groups as g, o, i, h, w.
[[nodiscard]] Desc weights_desc_of(const TensorDesc& weights, int groups);
/// The plain tensor with the dimensions of `like`.
[[nodiscard]] Desc plain_desc_like(const TensorDesc& tensor, const Desc& like);
/// Channels of a block in a tensor laid out by blocks of channels, then height and width; 0 in any
/// other layout.
[[nodiscard]] int channel_block(const TensorDesc& tensor);
/// Two dimensions; the strides may be any.
[[nodiscard]] Desc matrix_desc(const Dims& extents, const Dims& strides);
[[nodiscard]] Desc vector_desc(std::int64_t length);
/// The same dimensions, layout left to the primitive.
[[nodiscard]] Desc any_like(const Desc& desc);

// ---- primitives
// -----------------------------------------------------------------------------------

struct Argument {
  int id = 0;  // 0: absent
  Desc desc;
};
/// `arguments` are in the order of the operator's slots.
struct Primitive {
  dnnl::primitive primitive;
  std::string implementation;
  std::vector<Argument> arguments;
  Desc scratchpad;

  /// "ref", "gemm", "jit"
  [[nodiscard]] bool is(std::string_view kind) const {
    return implementation.find(kind) != std::string::npos;
  }
};

/// Height first. Dilation counts as in `Window`: 1 is dense.
struct ConvolutionShape {
  Dims strides, dilations, pads_before, pads_after;
};
/// A tensor or its gradient. Empty `biases`: none.
struct ConvolutionDescs {
  Desc source, weights, biases, destination;
};
/// Arguments: source, weights, biases, (absent slopes,) destination.
[[nodiscard]] std::optional<Primitive> convolution(const ConvolutionDescs& descs,
                                                   const ConvolutionShape& shape,
                                                   std::optional<float> relu_slope);
/// Arguments: gradient, weights, destination.
[[nodiscard]] std::optional<Primitive> convolution_gradient_data(const ConvolutionDescs& descs,
                                                                 const ConvolutionShape& shape);
/// Arguments: gradient, source, weight gradient, bias gradient.
[[nodiscard]] std::optional<Primitive> convolution_gradient_weights(const ConvolutionDescs& descs,
                                                                    const ConvolutionShape& shape);

struct MatrixProduct {
  Desc left, right, biases, result;  // empty `biases`: none
  std::optional<float> relu_slope = std::nullopt;
  bool accumulate = false;
};
/// result (+)= left * right + biases. Arguments: left, right, biases, result.
[[nodiscard]] std::optional<Primitive> matrix_product(const MatrixProduct& product);
/// Arguments: from, to.
[[nodiscard]] std::optional<Primitive> reorder(const Desc& from, const Desc& to);

/// The step of one primitive, run with the thread count it was made with.
[[nodiscard]] StepPtr make_step(Primitive primitive, std::vector<TensorDesc> slots);

}  // namespace cermet::cpu::onednn
