#pragma once
// A compiled filter: the kernel or kernels of one node, and how to encode them.

#include <map>
#include <memory>
#include <set>
#include <span>

#include "cermet/cnn/kernel.h"
#include "cermet/nn/node.h"

namespace cermet::detail {

/// What a node may ask while it is instantiated.
struct GraphBuild {
  Device device;
  const std::set<const NNStateNode*>& consumed_states;
  const std::map<const NNFilterNode*, GraphFilter*>& built;  // what runs earlier
  const std::set<const NNFilterNode*>& result_unused;        // filters whose image nobody needs
};

/// A graph owns its filters, and so does work that outlives the encode: a completed handler keeps
/// its filter, and a gradient filter the forward filter that it updates.
class GraphFilter : public std::enable_shared_from_this<GraphFilter> {
 public:
  struct Run {
    CommandBuffer commands;
    std::span<const ImageBatch> sources;
    std::span<const StateBatch> states;
    bool wants_state = false, state_is_temporary = false;
    ImageFeatureChannelFormat format;
    ImageAllocator* allocator;
    bool result_needed = true;
  };
  struct Result {
    ImageBatch images;
    StateBatch states;
  };
  virtual ~GraphFilter() = default;
  GraphFilter(const GraphFilter&) = delete;
  GraphFilter& operator=(const GraphFilter&) = delete;

  [[nodiscard]] virtual Result encode(const Run& run) = 0;
  [[nodiscard]] virtual Kernel& kernel() = 0;
  /// Encodes that read source image `index`.
  [[nodiscard]] virtual std::size_t reads_of_source(std::size_t) const { return 1; }
  virtual void reload_from_data_source() {}
  /// The update that user code makes right behind `encode`, given the states of that encode.
  [[nodiscard]] virtual bool updates() const { return false; }
  virtual void update(const CommandBuffer&, std::span<const StateBatch>) {}
  /// Whether what an encode records depends on nothing but the sizes and formats of its sources.
  [[nodiscard]] virtual bool can_replay() const { return true; }
  /// Work for the completed handler of the encode just made; empty: none. It runs when the graph
  /// may be gone: it owns what it needs.
  [[nodiscard]] virtual std::function<void()> on_completion() { return {}; }

 protected:
  GraphFilter() = default;
};

/// The kernel of the filter built earlier for a node, which lives as long as the pointer; null
/// where there is none, or one of another class.
template <class K>
std::shared_ptr<K> built_kernel(const GraphBuild& build, const NNFilterNode* node) {
  const auto found = build.built.find(node);
  if (found == build.built.end()) return nullptr;
  auto* kernel = dynamic_cast<K*>(&found->second->kernel());
  return kernel == nullptr ? nullptr
                           : std::shared_ptr<K>(found->second->shared_from_this(), kernel);
}

/// Sizes and makes the result of a kernel in a graph: temporary where only the state is wanted.
template <class K>
ImageBatch make_result(K& kernel, const GraphFilter::Run& run, std::span<const Image> sources,
                       std::span<const StatePtr> states) {
  ImageDescriptor descriptor = kernel.plan(sources, states, run.format);
  const auto unread = run.allocator != nullptr ? nullptr : TemporaryImage::defaultAllocator();
  return (unread ? unread.get() : run.allocator)
      ->imageBatch(run.commands, descriptor, kernel, run.sources[0].size());
}

template <class K>
void set_up(K& kernel, const NNFilterNode& node) {
  if (!node.label().empty()) kernel.setLabel(node.label());
  if (node.paddingPolicy()) kernel.setPadding(node.paddingPolicy());
}

/// Any forward kernel with one source image.
template <class K>
class UnaryFilter : public GraphFilter {
 public:
  UnaryFilter(K kernel, const NNFilterNode& node) : kernel_(std::move(kernel)) {
    set_up(kernel_, node);
  }
  [[nodiscard]] K& kernel() override { return kernel_; }
  [[nodiscard]] Result encode(const Run& run) override {
    const Image first = run.sources[0].front();
    Result result;
    result.images = make_result(kernel_, run, {&first, 1}, {});
    if (run.wants_state) {
      result.states =
          run.state_is_temporary
              ? kernel_.temporaryResultStateBatch(run.commands, run.sources[0], {}, result.images)
              : kernel_.resultStateBatch(run.sources[0], {}, result.images);
    }
    static_cast<CNNKernel&>(kernel_).encodeBatch(run.commands, run.sources[0], result.states,
                                                 result.images);
    return result;
  }

 private:
  K kernel_;
};

/// Any gradient kernel: sources are the gradient and one forward image, the state is the forward's.
template <class K>
class GradientFilter : public GraphFilter {
 public:
  GradientFilter(K kernel, const NNFilterNode& node) : kernel_(std::move(kernel)) {
    set_up(kernel_, node);
  }
  [[nodiscard]] K& kernel() override { return kernel_; }
  [[nodiscard]] Result encode(const Run& run) override {
    const Image sources[] = {run.sources[0].front(), run.sources[1].front()};
    Result result;
    result.images = make_result(kernel_, run, sources, {&run.states[0][0], 1});
    static_cast<CNNGradientKernel&>(kernel_).encodeBatch(
        run.commands, run.sources[0], run.sources[1], run.states[0], result.images);
    return result;
  }

 protected:
  K kernel_;
};

template <class K>
std::unique_ptr<GraphFilter> unary_filter(K kernel, const NNFilterNode& node) {
  return std::make_unique<UnaryFilter<K>>(std::move(kernel), node);
}
template <class K>
std::unique_ptr<GraphFilter> gradient_filter(K kernel, const NNFilterNode& node) {
  return std::make_unique<GradientFilter<K>>(std::move(kernel), node);
}

}  // namespace cermet::detail
