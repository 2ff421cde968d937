#pragma once
// What stands behind NNGraph: tensors and filters in order, and the programs made of them.

#include <limits>
#include <map>
#include <set>

#include "cermet/nn/graph.h"
#include "nn/graph_filter.h"
#include "nn/program.h"

namespace cermet {
namespace detail {

/// Index of a tensor in the graph: image or state.
using Index = std::size_t;
constexpr Index none = std::numeric_limits<Index>::max();

struct ImageEntry {
  const NNImageNode* node = nullptr;
  HandlePtr handle;
  ImageFeatureChannelFormat format = ImageFeatureChannelFormat::None;
  std::shared_ptr<ImageAllocator> allocator;
  bool exported = false, synchronized = false, input = false;
  std::size_t reads = 0;  // by the filters of the graph
};
struct StateEntry {
  const NNStateNode* node = nullptr;
  HandlePtr handle;
  bool exported = false, synchronized = false, input = false;
  std::size_t consumers = 0;
};
struct FilterEntry {
  const NNFilterNode* node = nullptr;
  std::string name;
  std::shared_ptr<GraphFilter> filter;
  std::vector<Index> sources, states;
  Index result = none, result_state = none;
};

/// What the steps of a program depend on.
struct ProgramKey {
  std::vector<std::pair<TensorDesc, ImageFeatureChannelFormat>> inputs;  // one batch each
  ImageFeatureChannelFormat format = ImageFeatureChannelFormat::None;
  KernelOptions options = KernelOptions::None;
  const ImageAllocator* allocator = nullptr;
  const QueueImpl* queue = nullptr;  // its steps share memory from encode to encode
  bool operator==(const ProgramKey&) const = default;
};

/// A program and what it takes to run it.
struct CompiledGraph {
  ProgramKey key;
  std::shared_ptr<Program> program;
  struct Result {
    Index image = none;
    const Kernel* kernel = nullptr;  // that writes it
    ImageDescriptor descriptor;
    std::size_t count = 0;
    std::vector<ImageBatch> made;  // permanent ones, used again once nobody holds them
  };
  std::vector<Result> results;
  struct Cut {
    GraphFilter* filter = nullptr;
    std::vector<StateBatch> states;
  };
  std::vector<Cut> cuts;
  /// The states of the cuts, each once, and how many pointers of the cuts hold it.
  std::vector<std::pair<StatePtr, long>> states;
  // Of the present encode.
  std::vector<std::byte*> addresses;
  std::vector<ImageBatch> current;
};

}  // namespace detail

struct NNGraph::Impl {
  using Index = detail::Index;

  std::vector<detail::ImageEntry> images;
  std::vector<detail::StateEntry> states;
  std::vector<detail::FilterEntry> filters;
  std::vector<Index> image_inputs, state_inputs, exported_images, exported_states, results;
  std::vector<bool> needed;
  std::vector<std::shared_ptr<const void>> nodes;  // keeps the node objects' identities valid

  bool states_are_temporary = false;
  ImageFeatureChannelFormat format = ImageFeatureChannelFormat::Float16;
  std::shared_ptr<ImageAllocator> allocator = Image::defaultAllocator();

  bool rewrites = true;
  std::optional<bool> replays;  // once known
  detail::ProgramKey wanted_key;
  std::vector<std::shared_ptr<detail::CompiledGraph>> compiled;  // the last used comes first

  std::map<const NNImageNode*, Index> image_index;
  std::map<const NNStateNode*, Index> state_index;
  std::map<const NNFilterNode*, Index> filter_index;
  std::vector<const NNFilterNode*> schedule;  // every filter reachable, in order

  // graph.cpp
  Index image_of(const NNImageNode& node);
  Index state_of(const NNStateNode& node);
  void visit_image(const NNImageNode& node);
  void visit_filter(const NNFilterNode& filter);
  [[nodiscard]] std::set<const NNFilterNode*> required() const;
  void compile(const Device& device);

  // graph_encode.cpp
  struct Arguments {
    const NNGraph& graph;
    const CommandBuffer& commands;
    std::span<const ImageBatch> images;
    std::span<const StateBatch> states;
    std::vector<ImageBatch>* intermediates;
    std::vector<StateBatch>* destination_states;
  };
  ImageBatch encode(const Arguments& arguments);
  /// Why encodes go kernel by kernel whatever the inputs; empty: they need not.
  [[nodiscard]] std::string why_direct() const;

 private:
  [[nodiscard]] std::ptrdiff_t reads_of(Index index) const;
  [[nodiscard]] bool is_wanted(Index index) const;
  [[nodiscard]] ImageAllocator* allocator_of(Index index) const;
  struct Tensors;
  template <class Allocators, class Behind>
  void encode_filters(const CommandBuffer& commands, KernelOptions options, Tensors& tensors,
                      Allocators&& allocators, Behind&& behind);
  ImageBatch encode_directly(const Arguments& arguments);
  ImageBatch replay(const Arguments& arguments, const std::shared_ptr<detail::CompiledGraph>& held);
  [[nodiscard]] std::shared_ptr<detail::CompiledGraph> lower(const Arguments& arguments,
                                                             detail::ProgramKey key);
};

}  // namespace cermet
