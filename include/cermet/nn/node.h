#pragma once
// Nodes: descriptions of images, states and filters from which graphs are compiled. They hold no
// device, no memory and no weights (spec: graph 1-4).

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cermet/cnn/padding.h"
#include "cermet/core/image.h"

namespace cermet {

class NNFilterNode;
class NNGradientFilterNode;
namespace detail {
class GraphFilter;
struct GraphBuild;
}  // namespace detail

/// An opaque identity chosen by the application; graphs store it and hand it back (spec:
/// graph 2.1).
class Handle {
 public:
  virtual ~Handle() = default;
  [[nodiscard]] virtual std::string label() const = 0;
};
using HandlePtr = std::shared_ptr<Handle>;
/// A handle that is just a name.
[[nodiscard]] HandlePtr named_handle(std::string label);

/// An image of a graph: an input, or the result of one filter.
class NNImageNode {
 public:
  explicit NNImageNode(HandlePtr handle = nullptr) : handle_(std::move(handle)) {}
  [[nodiscard]] static std::shared_ptr<NNImageNode> node(HandlePtr handle = nullptr);
  /// The same, kept and returned by encodes.
  [[nodiscard]] static std::shared_ptr<NNImageNode> exportedNode(HandlePtr handle);
  NNImageNode(const NNImageNode&) = delete;
  NNImageNode& operator=(const NNImageNode&) = delete;
  ~NNImageNode() = default;

  [[nodiscard]] const HandlePtr& handle() const { return handle_; }
  void setHandle(HandlePtr handle) { handle_ = std::move(handle); }
  /// Storage of the image; None (default): the graph's format.
  [[nodiscard]] ImageFeatureChannelFormat format() const { return format_; }
  void setFormat(ImageFeatureChannelFormat format) { format_ = format; }
  /// Makes the image. Default: temporary images. Ignored for a graph's first result.
  [[nodiscard]] const std::shared_ptr<ImageAllocator>& imageAllocator() const { return allocator_; }
  void setImageAllocator(std::shared_ptr<ImageAllocator> allocator) {
    allocator_ = std::move(allocator);
  }
  /// Whether encodes return the image among `intermediateImages`. Default false.
  [[nodiscard]] bool exportFromGraph() const { return exported_; }
  void setExportFromGraph(bool exported) { exported_ = exported; }
  [[nodiscard]] bool synchronizeResource() const { return synchronized_; }
  void setSynchronizeResource(bool synchronize) { synchronized_ = synchronize; }
  /// Whether an automatic training graph ends here: consumers still learn, the producer and what
  /// lies before it get no gradients. Default false.
  [[nodiscard]] bool stopGradient() const { return stop_gradient_; }
  void setStopGradient(bool stop) { stop_gradient_ = stop; }

  /// The filter whose result this is; null for an input of the graph.
  [[nodiscard]] NNFilterNode* producer() const { return producer_; }

 private:
  friend class NNFilterNode;
  HandlePtr handle_;
  ImageFeatureChannelFormat format_ = ImageFeatureChannelFormat::None;
  std::shared_ptr<ImageAllocator> allocator_ = TemporaryImage::defaultAllocator();
  bool exported_ = false, synchronized_ = false, stop_gradient_ = false;
  NNFilterNode* producer_ = nullptr;  // holding a result image holds its filter
};
using NNImageNodePtr = std::shared_ptr<NNImageNode>;

/// A state of a graph: an input, or what one filter leaves for another.
class NNStateNode {
 public:
  virtual ~NNStateNode() = default;
  NNStateNode(const NNStateNode&) = delete;
  NNStateNode& operator=(const NNStateNode&) = delete;
  [[nodiscard]] const HandlePtr& handle() const { return handle_; }
  void setHandle(HandlePtr handle) { handle_ = std::move(handle); }
  [[nodiscard]] bool exportFromGraph() const { return exported_; }
  void setExportFromGraph(bool exported) { exported_ = exported; }
  [[nodiscard]] bool synchronizeResource() const { return synchronized_; }
  void setSynchronizeResource(bool synchronize) { synchronized_ = synchronize; }
  [[nodiscard]] NNFilterNode* producer() const { return producer_; }

 protected:
  NNStateNode() = default;

 private:
  friend class NNFilterNode;
  HandlePtr handle_;
  bool exported_ = false, synchronized_ = false;
  NNFilterNode* producer_ = nullptr;
};
using NNStateNodePtr = std::shared_ptr<NNStateNode>;

class NNGradientStateNode : public NNStateNode {};
class CNNConvolutionGradientStateNode final : public NNGradientStateNode {};
class NNBinaryGradientStateNode : public NNStateNode {};
class NNArithmeticGradientStateNode final : public NNBinaryGradientStateNode {};
/// The labels of a loss node: an input of the graph, bound to one CNNLossLabels for each image.
class NNLabelsNode final : public NNStateNode {};

/// When the parameters of a layer are updated (spec: graph 3.3). Bits; default GPU.
enum class NNTrainingStyle : unsigned {
  UpdateDeviceNone = 0,
  UpdateDeviceCPU = 1,
  UpdateDeviceGPU = 2
};

/// Called for every node that `trainingGraph` makes; `inferenceNode` is null for inserted
/// additions.
using NNGradientNodeHandler = std::function<void(
    NNFilterNode* gradientNode, NNFilterNode* inferenceNode, const NNImageNodePtr& inferenceSource,
    const NNImageNodePtr& gradientSource)>;

/// A filter: sources, parameters, one result image and the states it can leave. Made with
/// `std::make_shared` or the class's `node`.
class NNFilterNode : public std::enable_shared_from_this<NNFilterNode> {
 public:
  virtual ~NNFilterNode() = default;
  NNFilterNode(const NNFilterNode&) = delete;
  NNFilterNode& operator=(const NNFilterNode&) = delete;

  [[nodiscard]] NNImageNodePtr resultImage();
  /// The first result state; null where there is none.
  [[nodiscard]] NNStateNodePtr resultState();
  [[nodiscard]] std::vector<NNStateNodePtr> resultStates();
  /// Null: the kernel's default.
  [[nodiscard]] const std::shared_ptr<NNPadding>& paddingPolicy() const { return padding_; }
  void setPaddingPolicy(std::shared_ptr<NNPadding> policy) { padding_ = std::move(policy); }
  [[nodiscard]] const std::string& label() const { return label_; }
  void setLabel(std::string label) { label_ = std::move(label); }

  /// The filter that takes the gradient of the result to the gradient of the (one) source.
  [[nodiscard]] virtual std::shared_ptr<NNGradientFilterNode> gradientFilter(
      const NNImageNodePtr& gradientImage);
  [[nodiscard]] std::shared_ptr<NNGradientFilterNode> gradientFilter(
      std::span<const NNImageNodePtr> gradientImages);
  /// One gradient filter for each differentiable source, in source order.
  [[nodiscard]] std::vector<std::shared_ptr<NNGradientFilterNode>> gradientFilters(
      const NNImageNodePtr& gradientImage);
  [[nodiscard]] std::vector<std::shared_ptr<NNGradientFilterNode>> gradientFilters(
      std::span<const NNImageNodePtr> gradientImages);

  /// Builds the backward half for everything before this node and returns the filters whose results
  /// propagate no further; empty where nothing was made (spec: graph 4). `sourceGradient` null:
  /// this node's result. Without a handler gradient images get the handles of their forward
  /// sources.
  [[nodiscard]] std::vector<std::shared_ptr<NNFilterNode>> trainingGraph(
      const NNImageNodePtr& sourceGradient, const NNGradientNodeHandler& nodeHandler = {});

  // For graphs.
  [[nodiscard]] virtual std::string_view class_name() const = 0;
  [[nodiscard]] const std::vector<NNImageNodePtr>& sources() const { return sources_; }
  [[nodiscard]] const std::vector<NNStateNodePtr>& source_states() const { return source_states_; }
  [[nodiscard]] const NNImageNode& result_image() const { return result_; }
  [[nodiscard]] const std::vector<std::shared_ptr<NNStateNode>>& result_state_nodes() const {
    return result_states_;
  }
  /// Whether back-propagation starts at this node's source: losses and initial gradients.
  [[nodiscard]] virtual bool is_loss() const { return false; }
  [[nodiscard]] virtual std::unique_ptr<detail::GraphFilter> instantiate(
      const detail::GraphBuild& build) const = 0;

 protected:
  /// `result_state`: the state that the filter leaves, or null.
  explicit NNFilterNode(std::vector<NNImageNodePtr> sources,
                        std::vector<NNStateNodePtr> source_states = {},
                        std::shared_ptr<NNStateNode> result_state = nullptr);
  /// The gradient nodes for an incoming gradient, one for each differentiable source, and the
  /// indices of those sources. The default has none.
  struct Gradients {
    std::vector<std::shared_ptr<NNGradientFilterNode>> nodes;
    std::vector<std::size_t> sources;
  };
  [[nodiscard]] virtual Gradients make_gradients(const NNImageNodePtr& gradient);
  [[noreturn]] void complain(std::string_view argument, std::string got, std::string needed,
                             std::string remedy = {}) const;

 private:
  friend struct TrainingGraphBuilder;
  std::vector<NNImageNodePtr> sources_;
  std::vector<NNStateNodePtr> source_states_;
  NNImageNode result_;
  std::vector<std::shared_ptr<NNStateNode>> result_states_;
  std::shared_ptr<NNPadding> padding_;
  std::string label_;
};

/// A filter of the backward half: gradient of the forward result, forward source, forward state in;
/// the gradient of one forward source out. It has no gradient of its own.
class NNGradientFilterNode : public NNFilterNode {
 public:
  [[nodiscard]] std::shared_ptr<NNGradientFilterNode> gradientFilter(
      const NNImageNodePtr& gradientImage) override;

 protected:
  using NNFilterNode::NNFilterNode;
  [[nodiscard]] Gradients make_gradients(const NNImageNodePtr& gradient) override;
};

/// What trainable nodes have in common.
class NNTrainableNode {
 public:
  [[nodiscard]] NNTrainingStyle trainingStyle() const { return style_; }
  void setTrainingStyle(NNTrainingStyle style) { style_ = style; }

 protected:
  ~NNTrainableNode() = default;

 private:
  NNTrainingStyle style_ = NNTrainingStyle::UpdateDeviceGPU;
};

}  // namespace cermet
