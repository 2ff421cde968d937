// Encoding a graph: kernel by kernel, or by replaying the program that they recorded once.

#include <algorithm>
#include <typeinfo>

#include "cnn/encoding.h"
#include "nn/graph_impl.h"

namespace cermet {

using detail::Capture;
using detail::CompiledGraph;
using detail::FilterEntry;
using detail::GraphFilter;
using detail::ImageEntry;
using detail::ImageRecord;
using detail::none;

namespace {

constexpr std::size_t programs_kept = 8;

/// Makes results of symbolic memory and notes them.
class CapturedResults final : public ImageAllocator {
 public:
  explicit CapturedResults(Capture& capture) : capture_(capture) {}

  struct Made {
    detail::Index image;
    const Kernel* kernel;
    ImageDescriptor descriptor;
    std::size_t count, block;
  };
  std::vector<Made> made;
  detail::Index next = none;  // the graph's image that is made next

  Image image(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
              const Kernel& kernel) override {
    return imageBatch(commandBuffer, descriptor, kernel, 1).front();
  }
  ImageBatch imageBatch(const CommandBuffer& commandBuffer, ImageDescriptor& descriptor,
                        const Kernel& kernel, std::size_t count) override {
    made.push_back({next, &kernel, descriptor, count, capture_.blocks().size()});
    return stand_in(capture_, commandBuffer.device(), descriptor, count);
  }
  static ImageBatch stand_in(Capture& capture, const Device& device,
                             const ImageDescriptor& descriptor, std::size_t count) {
    auto record = ImageRecord::make(device, descriptor, count, nullptr);
    record->memory =
        capture.memory(static_cast<std::size_t>(record->desc.count()) * size_of(record->desc.type));
    return ImageRecord::batch(std::move(record), 0, static_cast<std::uint32_t>(count));
  }

 private:
  Capture& capture_;
};

/// While it lives, a kernel works with a graph's options as well as its own.
class SharedOptions {
 public:
  SharedOptions(Kernel& kernel, KernelOptions options) : kernel_(kernel), own_(kernel.options()) {
    kernel.setOptions(own_ | options);
  }
  ~SharedOptions() { kernel_.setOptions(own_); }
  SharedOptions(const SharedOptions&) = delete;
  SharedOptions& operator=(const SharedOptions&) = delete;

 private:
  Kernel& kernel_;
  KernelOptions own_;
};

/// Puts the read counts of temporary sources back where they were unless told that all went well.
class ReadCounts {
 public:
  explicit ReadCounts(std::span<const ImageBatch> batches) {
    for (const ImageBatch& batch : batches) {
      for (const Image image : batch) {
        const auto& record = ImageRecord::of(image);
        if (record == nullptr || !record->counter.temporary) break;
        before_.emplace_back(image, record->counter.reads_of(ImageRecord::index_of(image)));
      }
    }
  }
  ReadCounts(const ReadCounts&) = delete;
  ReadCounts& operator=(const ReadCounts&) = delete;
  ~ReadCounts() {
    for (const auto& [image, reads] : before_) {
      auto& record = *ImageRecord::of(image);
      const std::uint32_t index = ImageRecord::index_of(image);
      record.change_reads(index, 1, reads - record.counter.reads_of(index), nullptr);
    }
  }
  void keep() { before_.clear(); }

 private:
  std::vector<std::pair<Image, std::ptrdiff_t>> before_;
};

bool is_stock(const std::shared_ptr<ImageAllocator>& allocator) {
  return allocator == Image::defaultAllocator() || allocator == TemporaryImage::defaultAllocator();
}

bool has_stock_padding(Kernel& kernel) {
  const auto stock = [](const std::shared_ptr<NNPadding>& padding) {
    const NNPadding& policy = *padding;
    return typeid(policy) == typeid(NNDefaultPadding);  // not one that the user derived from it
  };
  if (const auto* unary = dynamic_cast<CNNKernel*>(&kernel)) return stock(unary->padding());
  if (const auto* binary = dynamic_cast<CNNBinaryKernel*>(&kernel)) return stock(binary->padding());
  return true;
}

/// Lists the states of the cuts with their owners.
void count_owners(CompiledGraph& made) {
  const auto add = [&](const StatePtr& state) {
    const auto known = std::find_if(made.states.begin(), made.states.end(),
                                    [&](const auto& other) { return other.first == state; });
    if (known != made.states.end()) {
      ++known->second;
    } else {
      made.states.emplace_back(state, 1);
    }
  };
  for (const auto& cut : made.cuts) {
    for (const StateBatch& batch : cut.states) {
      for (std::size_t i = 0; i < (batch.shared() ? 1 : batch.size()); ++i) add(batch[i]);
    }
  }
}

/// Whether nobody but the graph holds a state of the cuts or one of its buffers.
bool are_private(const CompiledGraph& made) {
  return std::all_of(made.states.begin(), made.states.end(), [](const auto& entry) {
    const auto& [state, owners] = entry;
    if (state.use_count() > owners + 1) return false;  // one more is the entry
    for (std::size_t i = 0; i < state->resourceCount(); ++i) {
      const Buffer buffer = state->resource(i, false);
      if (buffer && detail::BufferImpl::of(buffer).use_count() > 2) return false;
    }
    return true;
  });
}

}  // namespace

struct NNGraph::Impl::Tensors {
  std::vector<ImageBatch> images;
  std::vector<StateBatch> states;
};

bool NNGraph::Impl::is_wanted(Index index) const {
  for (std::size_t i = 0; i < results.size(); ++i) {
    if (results[i] == index && needed[i]) return true;
  }
  return images[index].exported;
}

/// Reads that a temporary image needs: the filters', and one each for being exported or a result.
std::ptrdiff_t NNGraph::Impl::reads_of(Index index) const {
  std::ptrdiff_t reads =
      static_cast<std::ptrdiff_t>(images[index].reads) + (images[index].exported ? 1 : 0);
  for (std::size_t i = 0; i < results.size(); ++i) {
    const bool listed_already = i > 0 && images[index].exported;
    if (results[i] == index && needed[i] && !listed_already) ++reads;
  }
  return reads;
}

ImageAllocator* NNGraph::Impl::allocator_of(Index index) const {
  if (index == results[0] && needed[0]) return allocator.get();
  return images[index].allocator.get();
}

/// `allocators(image)` names the allocator of a result; `behind(entry, states)` is called when the
/// filter has been encoded.
template <class Allocators, class Behind>
void NNGraph::Impl::encode_filters(const CommandBuffer& commands, KernelOptions options,
                                   Tensors& tensors, Allocators&& allocators, Behind&& behind) {
  std::vector<ImageBatch> sources;
  std::vector<StateBatch> states_in;
  for (FilterEntry& entry : filters) {
    sources.clear();
    states_in.clear();
    for (const Index i : entry.sources) sources.push_back(tensors.images[i]);
    for (const Index i : entry.states) states_in.push_back(tensors.states[i]);
    GraphFilter::Run run{commands, sources, states_in, entry.result_state != none,
                         false,    format,  nullptr,   entry.result != none};
    if (entry.result != none) {
      const ImageEntry& result = images[entry.result];
      if (result.format != ImageFeatureChannelFormat::None) run.format = result.format;
      run.allocator = allocators(entry.result);
    }
    if (entry.result_state != none)
      run.state_is_temporary = states[entry.result_state].exported && states_are_temporary;
    const SharedOptions shared(entry.filter->kernel(), options);
    GraphFilter::Result made = entry.filter->encode(run);
    if (entry.result != none) {
      ImageBatchIncrementReadCount(made.images, reads_of(entry.result) - 1);
      tensors.images[entry.result] = std::move(made.images);
    }
    if (entry.result_state != none) tensors.states[entry.result_state] = std::move(made.states);
    behind(entry, std::span<const StateBatch>(states_in));
  }
}

ImageBatch NNGraph::Impl::encode_directly(const Arguments& a) {
  Tensors tensors{std::vector<ImageBatch>(images.size()), std::vector<StateBatch>(states.size())};
  ReadCounts counts(a.images);
  for (std::size_t i = 0; i < image_inputs.size(); ++i) {
    tensors.images[image_inputs[i]] = a.images[i];
    // The graph holds a source to its end, however often it reads it, and lowers its count by one.
    ImageBatchIncrementReadCount(a.images[i],
                                 static_cast<std::ptrdiff_t>(images[image_inputs[i]].reads));
  }
  for (std::size_t i = 0; i < state_inputs.size(); ++i)
    tensors.states[state_inputs[i]] = a.states[i];
  encode_filters(
      a.commands, a.graph.options(), tensors, [this](Index index) { return allocator_of(index); },
      [&](FilterEntry& entry, std::span<const StateBatch> states_in) {
        if (entry.filter->updates()) entry.filter->update(a.commands, states_in);
        if (entry.result != none && images[entry.result].synchronized)
          ImageBatchSynchronize(tensors.images[entry.result], a.commands);
        if (entry.result_state != none && states[entry.result_state].synchronized)
          StateBatchSynchronize(tensors.states[entry.result_state], a.commands);
        if (auto work = entry.filter->on_completion()) {
          CommandBuffer(a.commands)
              .addCompletedHandler([work = std::move(work)](const CommandBuffer& done) {
                if (!done.error()) work();  // gradients of a failed buffer are no gradients
              });
        }
      });
  counts.keep();
  for (const Index i : image_inputs) ImageBatchIncrementReadCount(tensors.images[i], -1);
  if (a.intermediates != nullptr) {
    for (const Index i : exported_images) a.intermediates->push_back(tensors.images[i]);
    for (std::size_t i = 1; i < results.size(); ++i) {
      if (!images[results[i]].exported) a.intermediates->push_back(tensors.images[results[i]]);
    }
  }
  if (a.destination_states != nullptr) {
    for (const Index i : exported_states) a.destination_states->push_back(tensors.states[i]);
  }
  return needed[0] ? tensors.images[results[0]] : ImageBatch();
}

std::string NNGraph::Impl::why_direct() const {
  if (!state_inputs.empty()) return "it has state inputs";
  if (!exported_states.empty()) return "it exports states";
  if (!is_stock(allocator)) return "its destination allocator is not one of the library";
  for (const Index i : image_inputs) {
    if (is_wanted(i)) return "a result is an input";
  }
  for (const FilterEntry& entry : filters) {
    if (!entry.filter->can_replay()) return entry.name + " may record something else each time";
    if (!has_stock_padding(entry.filter->kernel()))
      return entry.name + " has a padding policy of the user";
    if (entry.result != none && !is_stock(images[entry.result].allocator))
      return entry.name + " has an image allocator of the user";
  }
  return {};
}

std::shared_ptr<CompiledGraph> NNGraph::Impl::lower(const Arguments& a, detail::ProgramKey key) {
  auto made = std::make_shared<CompiledGraph>();
  made->key = std::move(key);
  Capture capture;
  const CommandBuffer commands = a.commands.commandQueue().makeCommandBuffer();
  commands.recording().begin_capture(capture);
  Tensors tensors{std::vector<ImageBatch>(images.size()), std::vector<StateBatch>(states.size())};
  std::vector<std::size_t> input_blocks, result_blocks;
  for (std::size_t i = 0; i < image_inputs.size(); ++i) {
    const ImageRecord& record = *ImageRecord::run_of(a.images[i]).record;
    input_blocks.push_back(capture.blocks().size());
    ImageBatch& batch = tensors.images[image_inputs[i]];
    batch =
        CapturedResults::stand_in(capture, record.device, record.descriptor, a.images[i].size());
    // A window keeps the strides of what it is a part of.
    TensorDesc& desc = ImageRecord::run_of(batch).record->desc;
    const std::int32_t n = desc.n;
    desc = record.desc;
    desc.n = n;
  }
  CapturedResults made_results(capture);
  std::vector<std::pair<std::size_t, std::size_t>> cuts;
  encode_filters(
      commands, a.graph.options(), tensors,
      [&](Index index) -> ImageAllocator* {
        if (!is_wanted(index)) return TemporaryImage::defaultAllocator().get();
        made_results.next = index;
        return &made_results;
      },
      [&](FilterEntry& entry, std::span<const StateBatch> states_in) {
        if (!entry.filter->updates()) return;
        cuts.emplace_back(capture.operators.size(), made->cuts.size());
        made->cuts.push_back({entry.filter.get(), {states_in.begin(), states_in.end()}});
      });
  count_owners(*made);
  for (const auto& result : made_results.made) {
    result_blocks.push_back(result.block);
    made->results.push_back({result.image, result.kernel, result.descriptor, result.count, {}});
  }
  made->program =
      std::make_shared<detail::Program>(a.commands.recording().engine(), std::move(capture), cuts,
                                        input_blocks, result_blocks, rewrites);
  return made;
}

ImageBatch NNGraph::Impl::replay(const Arguments& a, const std::shared_ptr<CompiledGraph>& held) {
  CompiledGraph& chosen = *held;
  detail::Encode call(a.graph, a.commands);
  chosen.addresses.clear();
  chosen.current.clear();
  for (const ImageBatch& batch : a.images)
    chosen.addresses.push_back(static_cast<std::byte*>(call.source(detail::Operand(batch)).data));
  for (CompiledGraph::Result& result : chosen.results) {
    ImageAllocator* const maker = allocator_of(result.image);
    const bool reusable = maker == Image::defaultAllocator().get();
    const auto unused = [](const ImageBatch& batch) {
      const auto& record = ImageRecord::record_of(batch);
      return record.use_count() == 1 && record->memory.use_count() == 1;
    };
    const auto found = std::find_if(result.made.begin(), result.made.end(), unused);
    if (reusable && found != result.made.end()) {
      chosen.current.push_back(*found);
    } else {
      ImageDescriptor descriptor = result.descriptor;
      chosen.current.push_back(
          maker->imageBatch(a.commands, descriptor, *result.kernel, result.count));
      if (reusable) result.made.push_back(chosen.current.back());
    }
    const ImageBatch& batch = chosen.current.back();
    chosen.addresses.push_back(static_cast<std::byte*>(call.source(detail::Operand(batch)).data));
    const auto kept =
        reads_of(result.image) - static_cast<std::ptrdiff_t>(images[result.image].reads);
    ImageBatchIncrementReadCount(batch, kept - 1);
  }
  const auto update = [&](std::size_t cut) {
    chosen.cuts[cut].filter->update(a.commands, chosen.cuts[cut].states);
  };
  const auto hold = [&] {
    detail::Encode later(a.graph, a.commands);
    for (const ImageBatch& batch : a.images)
      static_cast<void>(later.source(detail::Operand(batch)));
    for (const ImageBatch& batch : chosen.current)
      static_cast<void>(later.source(detail::Operand(batch)));
  };
  chosen.program->replay(chosen.program, a.commands, chosen.addresses, update, hold);
  for (std::size_t i = 0; i < chosen.results.size(); ++i) {
    if (images[chosen.results[i].image].synchronized)
      ImageBatchSynchronize(chosen.current[i], a.commands);
  }
  for (const ImageBatch& batch : a.images) ImageBatchIncrementReadCount(batch, -1);
  const auto image = [&](Index index) {
    for (std::size_t i = 0; i < chosen.results.size(); ++i) {
      if (chosen.results[i].image == index) return chosen.current[i];
    }
    return ImageBatch();
  };
  if (a.intermediates != nullptr) {
    for (const Index i : exported_images) a.intermediates->push_back(image(i));
    for (std::size_t i = 1; i < results.size(); ++i) {
      if (!images[results[i]].exported) a.intermediates->push_back(image(results[i]));
    }
  }
  ImageBatch result = needed[0] ? image(results[0]) : ImageBatch();
  chosen.current.clear();
  return result;
}

ImageBatch NNGraph::Impl::encode(const Arguments& a) {
  if (!replays) replays = why_direct().empty();
  wanted_key.inputs.clear();
  for (const ImageBatch& batch : a.images) {
    const auto run = ImageRecord::run_of(batch);
    if (!*replays || run.record == nullptr || run.record->descriptor.numberOfImages != 1)
      return encode_directly(a);
    TensorDesc desc = run.record->desc;
    desc.n = static_cast<std::int32_t>(run.count);
    wanted_key.inputs.emplace_back(desc, run.record->descriptor.channelFormat);
  }
  const detail::Encode call(a.graph, a.commands);
  for (const ImageBatch& batch : a.images)
    call.check_operand("sourceImages", detail::Operand(batch));
  wanted_key.format = format;
  wanted_key.options = a.graph.options();
  wanted_key.allocator = allocator.get();
  wanted_key.queue = &call.recording().queue();
  const auto found = std::find_if(compiled.begin(), compiled.end(), [this](const auto& candidate) {
    return candidate->key == wanted_key;
  });
  if (found != compiled.end() && are_private(**found)) {
    std::rotate(compiled.begin(), found, found + 1);
  } else {
    auto fresh = lower(a, wanted_key);
    if (found != compiled.end()) compiled.erase(found);
    if (compiled.size() == programs_kept) compiled.pop_back();
    compiled.insert(compiled.begin(), std::move(fresh));
  }
  return replay(a, std::shared_ptr(compiled.front()));  // user code may drop all programs
}

}  // namespace cermet
