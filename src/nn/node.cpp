#include "cermet/nn/node.h"

#include <algorithm>
#include <map>
#include <set>

#include "cermet/core/error.h"
#include "cermet/nn/arithmetic_nodes.h"

namespace cermet {
namespace {

class NamedHandle final : public Handle {
 public:
  explicit NamedHandle(std::string label) : label_(std::move(label)) {}
  [[nodiscard]] std::string label() const override { return label_; }

 private:
  std::string label_;
};

}  // namespace

HandlePtr named_handle(std::string label) {
  return std::make_shared<NamedHandle>(std::move(label));
}

NNImageNodePtr NNImageNode::node(HandlePtr handle) {
  return std::make_shared<NNImageNode>(std::move(handle));
}
NNImageNodePtr NNImageNode::exportedNode(HandlePtr handle) {
  auto made = node(std::move(handle));
  made->setExportFromGraph(true);
  return made;
}

NNFilterNode::NNFilterNode(std::vector<NNImageNodePtr> sources,
                           std::vector<NNStateNodePtr> source_states,
                           std::shared_ptr<NNStateNode> result_state)
    : sources_(std::move(sources)), source_states_(std::move(source_states)) {
  for (const auto& source : sources_) {
    if (!source) fail({"NNFilterNode", "", "a source image node", "null", "an image node", ""});
  }
  for (const auto& state : source_states_) {
    if (!state) fail({"NNFilterNode", "", "a source state node", "null", "a state node", ""});
  }
  result_.producer_ = this;
  if (!sources_.empty()) result_.format_ = sources_[0]->format_;
  if (result_state) {
    result_state->producer_ = this;
    result_states_.push_back(std::move(result_state));
  }
}

NNImageNodePtr NNFilterNode::resultImage() { return {shared_from_this(), &result_}; }
NNStateNodePtr NNFilterNode::resultState() {
  return result_states_.empty() ? nullptr
                                : NNStateNodePtr(shared_from_this(), result_states_[0].get());
}
std::vector<NNStateNodePtr> NNFilterNode::resultStates() {
  std::vector<NNStateNodePtr> states;
  for (const auto& state : result_states_) states.emplace_back(shared_from_this(), state.get());
  return states;
}

void NNFilterNode::complain(std::string_view argument, std::string got, std::string needed,
                            std::string remedy) const {
  fail({class_name(), label_, argument, std::move(got), std::move(needed), std::move(remedy)});
}

NNFilterNode::Gradients NNFilterNode::make_gradients(const NNImageNodePtr&) {
  complain("a gradient filter", "asked for", "a filter that has a gradient",
           "Set stopGradient on the node's result, or leave the node out of the training graph.");
}
NNFilterNode::Gradients NNGradientFilterNode::make_gradients(const NNImageNodePtr&) {
  complain("a gradient filter", "asked for", "a forward filter",
           "Gradients of gradients do not exist.");
}

std::shared_ptr<NNGradientFilterNode> NNFilterNode::gradientFilter(
    const NNImageNodePtr& gradientImage) {
  auto gradients = make_gradients(gradientImage);
  if (gradients.nodes.size() != 1) {
    complain("gradientFilter",
             "asked of a filter with " + std::to_string(gradients.nodes.size()) +
                 " differentiable sources",
             "one differentiable source",
             "Use gradientFilters, which returns one node for each source.");
  }
  return gradients.nodes[0];
}
std::shared_ptr<NNGradientFilterNode> NNGradientFilterNode::gradientFilter(
    const NNImageNodePtr& gradientImage) {
  static_cast<void>(make_gradients(gradientImage));
  return nullptr;
}
std::shared_ptr<NNGradientFilterNode> NNFilterNode::gradientFilter(
    std::span<const NNImageNodePtr> gradientImages) {
  if (gradientImages.size() != 1) {
    complain("gradientImages", std::to_string(gradientImages.size()) + " images",
             "one, for the one result image");
  }
  return gradientFilter(gradientImages[0]);
}
std::vector<std::shared_ptr<NNGradientFilterNode>> NNFilterNode::gradientFilters(
    const NNImageNodePtr& gradientImage) {
  return make_gradients(gradientImage).nodes;
}
std::vector<std::shared_ptr<NNGradientFilterNode>> NNFilterNode::gradientFilters(
    std::span<const NNImageNodePtr> gradientImages) {
  if (gradientImages.size() != 1) {
    complain("gradientImages", std::to_string(gradientImages.size()) + " images",
             "one, for the one result image");
  }
  return gradientFilters(gradientImages[0]);
}

/// The walk of spec: graph 4.3: reverse depth-first post-order, contributions summed at fan-in.
struct TrainingGraphBuilder {
  struct Made {
    std::shared_ptr<NNFilterNode> producer;
    NNImageNodePtr image;
  };
  NNFilterNode& self;
  const NNGradientNodeHandler& handler;
  std::vector<NNFilterNode*> order;    // post-order
  std::vector<NNImageNodePtr> leaves;  // forward inputs and stopped images, as first met
  std::set<const NNFilterNode*> visited;
  std::map<const NNImageNode*, std::vector<Made>> pending;

  void visit(NNFilterNode& filter) {
    if (!visited.insert(&filter).second) return;
    for (const NNImageNodePtr& source : filter.sources_) {
      const bool leaf = source->producer() == nullptr || source->stopGradient();
      if (leaf && std::find(leaves.begin(), leaves.end(), source) == leaves.end())
        leaves.push_back(source);
      if (source->producer() != nullptr) visit(*source->producer());
    }
    order.push_back(&filter);
  }

  void announce(NNFilterNode& made, NNFilterNode* inference, const NNImageNodePtr& source,
                const NNImageNodePtr& gradient) {
    if (handler) {
      handler(&made, inference, source, gradient);
    } else {
      made.resultImage()->setHandle(source->handle());
    }
  }

  /// The sum of what arrived for one forward image.
  Made fold(const NNImageNodePtr& image) {
    std::vector<Made>& parts = pending[image.get()];
    Made sum = parts.front();
    for (std::size_t i = 1; i < parts.size(); ++i) {
      const auto addition = std::make_shared<NNAdditionNode>(sum.image, parts[i].image);
      announce(*addition, nullptr, image, parts[i].image);
      sum = {addition, addition->resultImage()};
    }
    parts.assign(1, sum);
    return sum;
  }

  std::vector<std::shared_ptr<NNFilterNode>> build(const NNImageNodePtr& source_gradient) {
    visit(self);
    const NNImageNodePtr seed = source_gradient ? source_gradient : self.resultImage();
    const NNImageNodePtr root = self.is_loss() ? self.sources_.at(0) : self.resultImage();
    pending[root.get()].push_back({nullptr, seed});
    std::set<const NNImageNode*> cut;  // branches that a handler ended
    std::vector<std::shared_ptr<NNFilterNode>> ended;
    for (auto it = order.rbegin(); it != order.rend(); ++it) {
      NNFilterNode& filter = **it;
      if (&filter == &self && self.is_loss()) continue;
      const NNImageNodePtr result = filter.resultImage();
      const auto arrived = pending.find(result.get());
      if (arrived == pending.end() || arrived->second.empty() || result->stopGradient()) continue;
      const NNImageNodePtr gradient = fold(result).image;
      const auto gradients = filter.make_gradients(gradient);
      for (std::size_t i = 0; i < gradients.nodes.size(); ++i) {
        const auto& node = gradients.nodes[i];
        const NNImageNodePtr& source = filter.sources_.at(gradients.sources[i]);
        announce(*node, &filter, source, gradient);
        const bool leaf = source->producer() == nullptr;
        if (node->resultImage()->stopGradient() && !leaf) {
          ended.push_back(node);
        } else {
          pending[source.get()].push_back({node, node->resultImage()});
        }
        // A handler may have stopped the forward image: it becomes a leaf like any other.
        if (source->stopGradient() &&
            std::find(leaves.begin(), leaves.end(), source) == leaves.end())
          leaves.push_back(source);
      }
    }
    std::vector<std::shared_ptr<NNFilterNode>> termini;
    for (const NNImageNodePtr& leaf : leaves) {
      const auto arrived = pending.find(leaf.get());
      if (arrived == pending.end() || arrived->second.empty()) continue;
      if (auto producer = fold(leaf).producer) termini.push_back(std::move(producer));
    }
    termini.insert(termini.end(), ended.begin(), ended.end());
    return termini;
  }
};

std::vector<std::shared_ptr<NNFilterNode>> NNFilterNode::trainingGraph(
    const NNImageNodePtr& sourceGradient, const NNGradientNodeHandler& nodeHandler) {
  TrainingGraphBuilder builder{*this, nodeHandler, {}, {}, {}, {}};
  return builder.build(sourceGradient);
}

}  // namespace cermet
