#include "cermet/nn/graph.h"

#include <algorithm>

#include "nn/graph_impl.h"

namespace cermet {

using detail::FilterEntry;
using detail::GraphFilter;
using detail::Index;
using detail::none;

// ---- compiling: spec graph 5.3 and 5.4 in one walk
// -----------------------------------------------

Index NNGraph::Impl::image_of(const NNImageNode& node) {
  const auto [at, fresh] = image_index.try_emplace(&node, images.size());
  if (fresh) {
    images.push_back({&node, node.handle(), node.format(), node.imageAllocator(),
                      node.exportFromGraph(), node.synchronizeResource(),
                      node.producer() == nullptr, 0});
    if (node.exportFromGraph()) exported_images.push_back(at->second);
  }
  return at->second;
}
Index NNGraph::Impl::state_of(const NNStateNode& node) {
  const auto [at, fresh] = state_index.try_emplace(&node, states.size());
  if (fresh) {
    states.push_back({&node, node.handle(), node.exportFromGraph(), node.synchronizeResource(),
                      node.producer() == nullptr, 0});
    if (node.exportFromGraph()) exported_states.push_back(at->second);
  }
  return at->second;
}

void NNGraph::Impl::visit_image(const NNImageNode& node) {
  const bool known = image_index.contains(&node);
  const Index index = image_of(node);
  if (node.producer() != nullptr) {
    visit_filter(*node.producer());
  } else if (!known) {
    image_inputs.push_back(index);
  }
}
void NNGraph::Impl::visit_filter(const NNFilterNode& filter) {
  if (filter_index.contains(&filter)) return;
  filter_index[&filter] = none;
  image_of(filter.result_image());
  for (const auto& source : filter.sources()) visit_image(*source);
  for (const auto& state : filter.source_states()) {
    const bool known = state_index.contains(state.get());
    const Index index = state_of(*state);
    if (state->producer() != nullptr) {
      visit_filter(*state->producer());
    } else if (!known) {
      state_inputs.push_back(index);
    }
  }
  for (const auto& state : filter.result_state_nodes()) state_of(*state);
  schedule.push_back(&filter);
}

/// Filters that must run: those behind a needed or exported image or state, and trainable ones.
std::set<const NNFilterNode*> NNGraph::Impl::required() const {
  std::set<const NNFilterNode*> kept;
  std::set<const void*> wanted;  // image and state nodes
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (needed[i]) wanted.insert(images[results[i]].node);
  }
  for (const Index i : exported_images) wanted.insert(images[i].node);
  for (const Index i : exported_states) wanted.insert(states[i].node);
  for (auto it = schedule.rbegin(); it != schedule.rend(); ++it) {
    const NNFilterNode& filter = **it;
    const auto* trainable = dynamic_cast<const NNTrainableNode*>(&filter);
    const bool learns = trainable != nullptr &&
                        dynamic_cast<const NNGradientFilterNode*>(&filter) != nullptr &&
                        trainable->trainingStyle() != NNTrainingStyle::UpdateDeviceNone;
    bool keep = learns || wanted.contains(&filter.result_image());
    for (const auto& state : filter.result_state_nodes())
      keep = keep || wanted.contains(state.get());
    if (!keep) continue;
    kept.insert(&filter);
    for (const auto& source : filter.sources()) wanted.insert(source.get());
    for (const auto& state : filter.source_states()) wanted.insert(state.get());
  }
  return kept;
}

void NNGraph::Impl::compile(const Device& device) {
  const auto kept = required();
  std::set<const NNStateNode*> consumed;
  std::set<const NNImageNode*> read;
  for (const NNFilterNode* filter : schedule) {
    if (!kept.contains(filter)) continue;
    for (const auto& state : filter->source_states()) consumed.insert(state.get());
    for (const auto& source : filter->sources()) read.insert(source.get());
  }
  for (const Index i : exported_states) consumed.insert(states[i].node);
  std::set<const NNFilterNode*> unused;
  for (const NNFilterNode* filter : schedule) {
    const NNImageNode* image = &filter->result_image();
    bool used = read.contains(image) || images[image_index.at(image)].exported;
    for (std::size_t i = 0; i < results.size(); ++i)
      used = used || (needed[i] && images[results[i]].node == image);
    if (!used) unused.insert(filter);
  }
  std::map<const NNFilterNode*, GraphFilter*> built;
  for (const NNFilterNode* node : schedule) {
    if (!kept.contains(node)) continue;
    FilterEntry entry;
    entry.node = node;
    entry.name = std::string(node->class_name()) +
                 (node->label().empty() ? "" : " \"" + node->label() + "\"");
    entry.filter = node->instantiate({device, consumed, built, unused});
    for (const auto& source : node->sources())
      entry.sources.push_back(image_index.at(source.get()));
    for (const auto& state : node->source_states())
      entry.states.push_back(state_index.at(state.get()));
    if (!unused.contains(node)) entry.result = image_index.at(&node->result_image());
    for (const auto& state : node->result_state_nodes()) {
      if (consumed.contains(state.get())) entry.result_state = state_index.at(state.get());
    }
    for (std::size_t i = 0; i < entry.sources.size(); ++i) {
      images[entry.sources[i]].reads += entry.filter->reads_of_source(i);
    }
    for (const Index state : entry.states) ++states[state].consumers;
    built[node] = entry.filter.get();
    filters.push_back(std::move(entry));
  }
}

// ---- interface
// -----------------------------------------------------------------------------------

NNGraph::NNGraph(const Device& device, const NNImageNodePtr& resultImage, bool resultImageIsNeeded)
    : NNGraph(device, std::span(&resultImage, 1), {resultImageIsNeeded}) {}

NNGraph::NNGraph(const Device& device, std::span<const NNImageNodePtr> resultImages,
                 const std::vector<bool>& resultsAreNeeded)
    : Kernel(device), impl_(std::make_unique<Impl>()) {
  if (resultImages.empty()) complain("resultImages", "empty", "one or more image nodes");
  for (std::size_t i = 0; i < resultImages.size(); ++i) {
    if (!resultImages[i]) complain("resultImages", "a list with a null node", "image nodes");
    impl_->nodes.push_back(resultImages[i]);
    impl_->visit_image(*resultImages[i]);
    impl_->results.push_back(impl_->image_index.at(resultImages[i].get()));
    impl_->needed.push_back(i < resultsAreNeeded.size() ? resultsAreNeeded[i] : true);
  }
  impl_->compile(device);
}
NNGraph::~NNGraph() = default;
NNGraph::NNGraph(NNGraph&&) noexcept = default;
NNGraph& NNGraph::operator=(NNGraph&&) noexcept = default;

namespace {
template <class Entries>
std::vector<HandlePtr> handles(const Entries& entries, const std::vector<Index>& chosen) {
  std::vector<HandlePtr> list;
  list.reserve(chosen.size());
  for (const Index i : chosen) list.push_back(entries[i].handle);
  return list;
}
}  // namespace

std::vector<HandlePtr> NNGraph::sourceImageHandles() const {
  return handles(impl_->images, impl_->image_inputs);
}
std::vector<HandlePtr> NNGraph::sourceStateHandles() const {
  return handles(impl_->states, impl_->state_inputs);
}
std::vector<HandlePtr> NNGraph::intermediateImageHandles() const {
  return handles(impl_->images, impl_->exported_images);
}
std::vector<HandlePtr> NNGraph::resultStateHandles() const {
  return handles(impl_->states, impl_->exported_states);
}
HandlePtr NNGraph::resultHandle() const { return impl_->images[impl_->results[0]].handle; }
bool NNGraph::resultImageIsNeeded() const { return impl_->needed[0]; }
bool NNGraph::outputStateIsTemporary() const { return impl_->states_are_temporary; }
void NNGraph::setOutputStateIsTemporary(bool temporary) { impl_->states_are_temporary = temporary; }
const std::shared_ptr<ImageAllocator>& NNGraph::destinationImageAllocator() const {
  return impl_->allocator;
}
void NNGraph::setDestinationImageAllocator(std::shared_ptr<ImageAllocator> allocator) {
  impl_->allocator = allocator ? std::move(allocator) : Image::defaultAllocator();
  impl_->replays.reset();
}
ImageFeatureChannelFormat NNGraph::format() const { return impl_->format; }
void NNGraph::setFormat(ImageFeatureChannelFormat format) { impl_->format = format; }
bool NNGraph::rewrites() const { return impl_->rewrites; }
void NNGraph::set_rewrites(bool rewrites) {
  impl_->rewrites = rewrites;
  impl_->compiled.clear();
}

ImageBatch NNGraph::encodeBatch(const CommandBuffer& commandBuffer,
                                std::span<const ImageBatch> sourceImages,
                                std::span<const StateBatch> sourceStates) {
  return encodeBatch(commandBuffer, sourceImages, sourceStates, nullptr, nullptr);
}

ImageBatch NNGraph::encodeBatch(const CommandBuffer& commandBuffer,
                                std::span<const ImageBatch> sourceImages,
                                std::span<const StateBatch> sourceStates,
                                std::vector<ImageBatch>* intermediateImages,
                                std::vector<StateBatch>* destinationStates) {
  const auto inputs = [](const std::vector<HandlePtr>& list) {
    std::string names;
    for (const HandlePtr& handle : list)
      names += (names.empty() ? "" : ", ") + (handle ? handle->label() : std::string("unnamed"));
    return std::to_string(list.size()) + " (" + names + ")";
  };
  if (sourceImages.size() != impl_->image_inputs.size()) {
    complain("sourceImages", std::to_string(sourceImages.size()) + " batches",
             inputs(sourceImageHandles()),
             "Pass one batch for each entry of sourceImageHandles, in that order.");
  }
  if (sourceStates.size() != impl_->state_inputs.size()) {
    complain("sourceStates", std::to_string(sourceStates.size()) + " batches",
             inputs(sourceStateHandles()),
             "Pass one batch for each entry of sourceStateHandles, in that order.");
  }
  const std::size_t count = sourceImages.empty() ? 0 : sourceImages[0].size();
  if (count == 0) complain("sourceImages", "empty", "one or more images for each input");
  for (const ImageBatch& batch : sourceImages) {
    if (batch.size() != count)
      complain("sourceImages", "batches of different sizes", "the same number of images in each");
  }
  for (const StateBatch& batch : sourceStates) {
    if (batch.size() != count)
      complain("sourceStates", "a batch of another size",
               std::to_string(count) + " states in each");
  }
  return impl_->encode(
      {*this, commandBuffer, sourceImages, sourceStates, intermediateImages, destinationStates});
}

Image NNGraph::encode(const CommandBuffer& commandBuffer, std::span<const Image> sourceImages) {
  return encode(commandBuffer, sourceImages, {}, nullptr, nullptr);
}
Image NNGraph::encode(const CommandBuffer& commandBuffer, std::span<const Image> sourceImages,
                      std::span<const StatePtr> sourceStates,
                      std::vector<Image>* intermediateImages,
                      std::vector<StatePtr>* destinationStates) {
  std::vector<ImageBatch> images, intermediates;
  std::vector<StateBatch> states, destinations;
  for (const Image& image : sourceImages) images.emplace_back(std::vector<Image>{image});
  for (const StatePtr& state : sourceStates) states.push_back(StateBatch::repeated(state, 1));
  const ImageBatch result = encodeBatch(commandBuffer, images, states,
                                        intermediateImages != nullptr ? &intermediates : nullptr,
                                        destinationStates != nullptr ? &destinations : nullptr);
  for (const ImageBatch& batch : intermediates)
    intermediateImages->push_back(batch.empty() ? Image() : batch.front());
  for (const StateBatch& batch : destinations)
    destinationStates->push_back(batch.empty() ? nullptr : batch[0]);
  return result.empty() ? Image() : result.front();
}

Image NNGraph::executeAsync(
    std::span<const Image> sourceImages,
    std::function<void(Image, std::optional<DeviceError>)> completionHandler) {
  CommandBuffer commands = device().makeCommandQueue().makeCommandBuffer();
  Image result = encode(commands, sourceImages);
  if (completionHandler) {
    commands.addCompletedHandler([result, handler = std::move(completionHandler)](
                                     const CommandBuffer& done) { handler(result, done.error()); });
  }
  commands.commit();
  return result;
}

void NNGraph::reloadFromDataSources() {
  impl_->compiled.clear();
  for (FilterEntry& entry : impl_->filters) entry.filter->reload_from_data_source();
}

std::size_t NNGraph::readCountForSourceImage(std::size_t index) const {
  if (index >= impl_->image_inputs.size())
    complain("index", std::to_string(index), "an input of the graph");
  return 1;
}
std::size_t NNGraph::readCountForSourceState(std::size_t index) const {
  if (index >= impl_->state_inputs.size())
    complain("index", std::to_string(index), "an input of the graph");
  return 1;
}

std::string NNGraph::debugDescription() const {
  std::string text;
  for (const FilterEntry& entry : impl_->filters) {
    text += entry.name;
    if (entry.result == none) text += " (parameters only)";
    text += "\n";
  }
  if (const std::string why = impl_->why_direct(); !why.empty())
    return text + "encoded kernel by kernel: " + why + "\n";
  for (const auto& compiled : impl_->compiled) {
    if (compiled->program) text += "\nprogram\n" + compiled->program->description();
  }
  return text;
}

}  // namespace cermet
