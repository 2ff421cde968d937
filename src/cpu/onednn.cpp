#include "cpu/onednn.h"

#include <omp.h>

#include <array>
#include <deque>
#include <exception>
#include <mutex>
#include <utility>

namespace cermet::cpu::onednn {
namespace {

const dnnl::engine& engine() {
  static const dnnl::engine cpu(dnnl::engine::kind::cpu, 0);
  return cpu;
}

/// Each thread that drives a stream of ours has its own.
dnnl_stream_t stream() {
  thread_local dnnl::stream own(engine());
  return own.get();
}

// ---- the two generations
// --------------------------------------------------------------------------
#if DNNL_VERSION_MAJOR < 3

Dims dims_of(const Desc& desc) { return desc.dims(); }

template <class P, class... Args>
typename P::primitive_desc describe(const dnnl::primitive_attr& attr, const Args&... args) {
  return {typename P::desc(args...), attr, engine()};
}

template <class P, class Hint, class... Args>
typename P::primitive_desc describe_gradient(const Hint& hint, const dnnl::primitive_attr& attr,
                                             const Args&... args) {
  return {typename P::desc(args...), attr, engine(), hint};
}

void append_relu(dnnl::post_ops& ops, float slope) {
  ops.append_eltwise(1.0f, dnnl::algorithm::eltwise_relu, slope, 0.0f);
}

#else

Dims dims_of(const Desc& desc) { return desc.get_dims(); }

template <class P, class... Args>
typename P::primitive_desc describe(const dnnl::primitive_attr& attr, const Args&... args) {
  return {engine(), args..., attr};
}

template <class P, class Hint, class... Args>
typename P::primitive_desc describe_gradient(const Hint& hint, const dnnl::primitive_attr& attr,
                                             const Args&... args) {
  return {engine(), args..., hint, attr};
}

void append_relu(dnnl::post_ops& ops, float slope) {
  ops.append_eltwise(dnnl::algorithm::eltwise_relu, slope, 0.0f);
}

#endif

dnnl::primitive_attr user_scratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

struct Layouts {
  std::mutex mutex;
  std::deque<Desc> known;
};
Layouts& layouts() {
  static Layouts table;
  return table;
}
constexpr Layout first_interned = 2;

}  // namespace

ThreadScope::ThreadScope(int threads) : before_(omp_get_max_threads()), now_(threads) {
  if (now_ != before_) omp_set_num_threads(now_);
}
ThreadScope::~ThreadScope() {
  if (now_ != before_) omp_set_num_threads(before_);
}

Layout intern(const Desc& desc) {
  Layouts& table = layouts();
  const std::scoped_lock lock(table.mutex);
  for (std::size_t i = 0; i < table.known.size(); ++i) {
    if (table.known[i] == desc) return first_interned + static_cast<Layout>(i);
  }
  table.known.push_back(desc);
  return first_interned + static_cast<Layout>(table.known.size() - 1);
}

Desc interned(Layout layout) {
  Layouts& table = layouts();
  const std::scoped_lock lock(table.mutex);
  return table.known.at(layout - first_interned);
}

Desc desc_of(const TensorDesc& t) { return weights_desc_of(t, 1); }

Desc weights_desc_of(const TensorDesc& t, int groups) {
  if (t.layout >= first_interned) return interned(t.layout);
  Dims extents{t.n, t.c, t.h, t.w};
  Dims strides{t.stride_n, 1, t.stride_h, t.stride_w};
  if (groups > 1) {
    extents[0] /= groups;
    extents.insert(extents.begin(), groups);
    strides.insert(strides.begin(), t.stride_n * extents[1]);
  }
  if (t.layout == any) {
    return {extents, dnnl::memory::data_type::f32, dnnl::memory::format_tag::any};
  }
  return {extents, dnnl::memory::data_type::f32, strides};
}

Desc plain_desc_like(const TensorDesc& tensor, const Desc& like) {
  const Dims extents = dims_of(like);
  return weights_desc_of(tensor, extents.size() == 5 ? static_cast<int>(extents[0]) : 1);
}

int channel_block(const TensorDesc& t) {
  if (t.layout < first_interned) return 0;
  using Tag = dnnl::memory::format_tag;
  const Desc desc = interned(t.layout);
  for (const auto& [width, tag] : {std::pair(8, Tag::nChw8c), std::pair(16, Tag::nChw16c)}) {
    if (desc == Desc({t.n, t.c, t.h, t.w}, dnnl::memory::data_type::f32, tag)) return width;
  }
  return 0;
}

Desc matrix_desc(const Dims& extents, const Dims& strides) {
  return {extents, dnnl::memory::data_type::f32, strides};
}

Desc vector_desc(std::int64_t length) {
  return {{length}, dnnl::memory::data_type::f32, dnnl::memory::format_tag::x};
}

Desc any_like(const Desc& desc) {
  return {dims_of(desc), dnnl::memory::data_type::f32, dnnl::memory::format_tag::any};
}

namespace {

/// Library versions refuse what they cannot do in different places, always with this exception.
template <class Make>
std::optional<Primitive> unless_refused(Make&& make) {
  try {
    return make();
  } catch (const dnnl::error&) {
    return std::nullopt;
  }
}

template <class P, class Pd>
Primitive finish(const Pd& pd, std::vector<Argument> arguments) {
  return {P(pd), pd.impl_info_str(), std::move(arguments), pd.scratchpad_desc()};
}

/// oneDNN counts the pixels that a dilated kernel skips.
Dims skipped(const Dims& dilations) { return {dilations[0] - 1, dilations[1] - 1}; }

constexpr auto direct = dnnl::algorithm::convolution_direct;

dnnl::convolution_forward::primitive_desc forward_of(const ConvolutionDescs& descs,
                                                     const ConvolutionShape& shape,
                                                     const dnnl::primitive_attr& attr) {
  return describe<dnnl::convolution_forward>(
      attr, dnnl::prop_kind::forward_training, direct, descs.source, descs.weights, descs.biases,
      descs.destination, shape.strides, skipped(shape.dilations), shape.pads_before,
      shape.pads_after);
}

/// Gradients ask for the description of their forward; its layouts do not matter.
dnnl::convolution_forward::primitive_desc hint_of(const ConvolutionDescs& descs,
                                                  const ConvolutionShape& shape) {
  const ConvolutionDescs open{any_like(descs.source), any_like(descs.weights), descs.biases,
                              any_like(descs.destination)};
  return forward_of(open, shape, user_scratchpad());
}

}  // namespace

std::optional<Primitive> convolution(const ConvolutionDescs& descs, const ConvolutionShape& shape,
                                     std::optional<float> relu_slope) {
  return unless_refused([&] {
    dnnl::primitive_attr attr = user_scratchpad();
    if (relu_slope) {
      dnnl::post_ops ops;
      append_relu(ops, *relu_slope);
      attr.set_post_ops(ops);
    }
    const auto pd = forward_of(descs, shape, attr);
    const int bias = descs.biases == Desc() ? 0 : DNNL_ARG_BIAS;
    return finish<dnnl::convolution_forward>(pd, {{DNNL_ARG_SRC, pd.src_desc()},
                                                  {DNNL_ARG_WEIGHTS, pd.weights_desc()},
                                                  {bias, pd.bias_desc()},
                                                  {0, Desc()},
                                                  {DNNL_ARG_DST, pd.dst_desc()}});
  });
}

std::optional<Primitive> convolution_gradient_data(const ConvolutionDescs& descs,
                                                   const ConvolutionShape& shape) {
  return unless_refused([&] {
    const auto pd = describe_gradient<dnnl::convolution_backward_data>(
        hint_of(descs, shape), user_scratchpad(), direct, descs.source, descs.weights,
        descs.destination, shape.strides, skipped(shape.dilations), shape.pads_before,
        shape.pads_after);
    return finish<dnnl::convolution_backward_data>(pd, {{DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
                                                        {DNNL_ARG_WEIGHTS, pd.weights_desc()},
                                                        {DNNL_ARG_DIFF_SRC, pd.diff_src_desc()}});
  });
}

std::optional<Primitive> convolution_gradient_weights(const ConvolutionDescs& descs,
                                                      const ConvolutionShape& shape) {
  return unless_refused([&] {
    const auto pd = describe_gradient<dnnl::convolution_backward_weights>(
        hint_of(descs, shape), user_scratchpad(), direct, descs.source, descs.weights, descs.biases,
        descs.destination, shape.strides, skipped(shape.dilations), shape.pads_before,
        shape.pads_after);
    const int bias = descs.biases == Desc() ? 0 : DNNL_ARG_DIFF_BIAS;
    return finish<dnnl::convolution_backward_weights>(
        pd, {{DNNL_ARG_DIFF_DST, pd.diff_dst_desc()},
             {DNNL_ARG_SRC, pd.src_desc()},
             {DNNL_ARG_DIFF_WEIGHTS, pd.diff_weights_desc()},
             {bias, pd.diff_bias_desc()}});
  });
}

std::optional<Primitive> matrix_product(const MatrixProduct& product) {
  return unless_refused([&] {
    dnnl::post_ops ops;
    if (product.accumulate) ops.append_sum(1.0f);
    if (product.relu_slope) append_relu(ops, *product.relu_slope);
    dnnl::primitive_attr attr = user_scratchpad();
    attr.set_post_ops(ops);
    const bool biased = !(product.biases == Desc());
    const auto pd = biased
                        ? describe<dnnl::matmul>(attr, product.left, product.right, product.biases,
                                                 product.result)
                        : describe<dnnl::matmul>(attr, product.left, product.right, product.result);
    return finish<dnnl::matmul>(pd, {{DNNL_ARG_SRC, pd.src_desc()},
                                     {DNNL_ARG_WEIGHTS, pd.weights_desc()},
                                     {biased ? DNNL_ARG_BIAS : 0, product.biases},
                                     {DNNL_ARG_DST, pd.dst_desc()}});
  });
}

std::optional<Primitive> reorder(const Desc& from, const Desc& to) {
  return unless_refused([&] {
    const dnnl::reorder::primitive_desc pd(engine(), from, engine(), to, user_scratchpad());
    Primitive made =
        finish<dnnl::reorder>(pd, {{DNNL_ARG_FROM, pd.src_desc()}, {DNNL_ARG_TO, pd.dst_desc()}});
    made.implementation = "reorder " + made.implementation;
    return made;
  });
}

namespace {

class PrimitiveStep final : public Step {
 public:
  PrimitiveStep(Primitive made, std::vector<TensorDesc> of_slots)
      : made_(std::move(made)), threads_(omp_get_max_threads()) {
    slots = std::move(of_slots);
    for (const Argument& argument : made_.arguments) bytes.push_back(argument.desc.get_size());
    scratch_bytes = made_.scratchpad.get_size();
    implementation = "onednn " + made_.implementation;
  }
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
    return std::make_unique<Bound>(this);
  }

 private:
  struct Bound final : BoundStep {
    explicit Bound(const PrimitiveStep* what) : step(what) {
      const auto& wanted = step->made_.arguments;
      for (std::size_t slot = 0; slot < wanted.size(); ++slot) {
        if (wanted[slot].id != 0) add(wanted[slot], slot);
      }
      if (step->scratch_bytes != 0) add({DNNL_ARG_SCRATCHPAD, step->made_.scratchpad}, max_slots);
    }
    void add(const Argument& argument, std::size_t source) {
      memories.emplace_back(argument.desc, engine(), nullptr);
      arguments.push_back({argument.id, memories.back().get()});
      sources.push_back(source);
    }
    void rebind(const Slots& slots, void* scratch, const void*) override {
      for (std::size_t i = 0; i < max_slots; ++i) addresses[i] = slots[i];
      addresses[max_slots] = scratch;
      moved = true;
    }
    /// Re-pointing waits for the run, when the memory is this step's: oneDNN 2.x writes the zeros
    /// of padded channels as soon as it gets an address.
    // NOLINTNEXTLINE(bugprone-exception-escape): oneDNN refuses no address of ours
    void run(Stream&) noexcept override {
      const ThreadScope scope(step->threads_);
      if (moved) {
        for (std::size_t i = 0; i < memories.size(); ++i) {
          memories[i].set_data_handle(addresses[sources[i]]);
        }
        moved = false;
      }
      const dnnl_status_t status =
          dnnl_primitive_execute(step->made_.primitive.get(), stream(),
                                 static_cast<int>(arguments.size()), arguments.data());
      if (status != dnnl_success) std::terminate();  // no arguments of ours make it fail
    }
    const PrimitiveStep* step;
    std::vector<dnnl::memory> memories;
    std::vector<dnnl_exec_arg_t> arguments;
    std::vector<std::size_t> sources;  // of each memory, in `addresses`
    std::array<void*, max_slots + 1> addresses{};
    bool moved = true;
  };

  Primitive made_;
  int threads_;
};

}  // namespace

StepPtr make_step(Primitive primitive, std::vector<TensorDesc> slots) {
  return std::make_shared<PrimitiveStep>(std::move(primitive), std::move(slots));
}

}  // namespace cermet::cpu::onednn
