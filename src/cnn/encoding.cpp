#include "cnn/encoding.h"

#include <algorithm>
#include <array>

#include "cermet/ops/copy.h"

namespace cermet::detail {

namespace {

void capture(Capture& into, const OpView& op, std::span<const TensorDesc> descs, const Slots& slots,
             const EncodeExtras& extras) {
  Recorded& recorded = into.operators.emplace_back();
  recorded.set_op(op);
  std::copy(descs.begin(), descs.end(), recorded.descs.begin());
  recorded.slots = slots;
  recorded.slot_count = descs.size();
  if (extras.scalar_bytes != 0)
    std::memcpy(recorded.scalars.data(), extras.scalars, extras.scalar_bytes);
  recorded.late = extras.late;
  recorded.counter = extras.counter;
}

}  // namespace

void encode(Recording& recording, StepMemo& memo, const OpView& op,
            std::span<const TensorView> views, const EncodeExtras& extras) {
  std::array<TensorDesc, max_slots> descs{};
  Slots slots{};
  for (std::size_t i = 0; i < views.size(); ++i) {
    descs[i] = views[i].desc;
    slots[i] = views[i].data;
  }
  if (extras.late) descs[extras.late.slot].layout = any;
  const std::span used(descs.data(), views.size());
  if (recording.capture() != nullptr) {
    capture(*recording.capture(), op, used, slots, extras);
    return;
  }
  const StepPtr& step = memo.find(recording.engine(), op, used);
  if (extras.late) {
    const std::size_t slot = extras.late.slot;
    slots[slot] =
        extras.late.resolve(extras.late.owner, recording, *step, slot, views[slot].desc).data;
  }
  recording.add(step, slots, extras.scalars, extras.scalar_bytes);
}

TensorView view_of(Recording& recording, const Buffer& buffer, TensorDesc desc,
                   std::size_t offset) {
  if (!buffer) return {};
  const BufferImpl& impl = *BufferImpl::of(buffer);
  recording.retain(impl.memory);
  return {desc, impl.data() + offset};
}

ScratchTensor::ScratchTensor(Recording& recording, TensorDesc desc) : recording_(recording) {
  memory_ = recording.temporary(static_cast<std::size_t>(desc.count()) * size_of(desc.type));
  view = {dense_desc(desc.n, desc.h, desc.w, desc.c, desc.type), memory_->data};
}
ScratchTensor::~ScratchTensor() { recording_.recycle(std::move(memory_)); }

namespace {

TensorView moved(TensorView view, std::int64_t elements) {
  view.data = static_cast<std::byte*>(view.data) +
              elements * static_cast<std::int64_t>(size_of(view.desc.type));
  return view;
}

}  // namespace

TensorView window(TensorView view, std::int64_t x, std::int64_t y, std::int32_t w, std::int32_t h) {
  view = moved(view, y * view.desc.stride_h + x * view.desc.stride_w);
  view.desc.w = w;
  view.desc.h = h;
  return view;
}
TensorView images(TensorView view, std::int64_t first, std::int32_t count) {
  view = moved(view, first * view.desc.stride_n);
  view.desc.n = count;
  return view;
}
TensorView feature_channels(TensorView view, std::int64_t first, std::int32_t count) {
  view = moved(view, first);
  view.desc.c = count;
  return view;
}

TensorView region(const TensorView& all, const Region& part, const Image& image, bool stacked) {
  const ClipWindow meets = clip_window(part, image);
  if (meets.width == 0 || meets.height == 0 || meets.images == 0) return window(all, 0, 0, 0, 0);
  const TensorView view = stacked ? images(all, meets.z, meets.images) : all;
  return window(view, meets.x, meets.y, meets.width, meets.height);
}

AlignedSource::AlignedSource(Recording& recording, const TensorView& source, Offset offset,
                             std::int32_t width, std::int32_t height, ImageEdgeMode edge) {
  const bool inside = offset.x >= 0 && offset.y >= 0 && offset.x + width <= source.desc.w &&
                      offset.y + height <= source.desc.h;
  if (inside) {
    view_ = window(source, offset.x, offset.y, width, height);
    return;
  }
  TensorDesc desc = source.desc;
  desc.w = width;
  desc.h = height;
  scratch_ = std::make_unique<ScratchTensor>(recording, desc);
  view_ = scratch_->view;
  const Shift shift{static_cast<std::int32_t>(offset.x), static_cast<std::int32_t>(offset.y),
                    edge == ImageEdgeMode::Clamp ? 1 : 0};
  StepMemo memo;
  encode(recording, memo, shift, {source, view_});
}

Encode::Encode(const Kernel& kernel, const CommandBuffer& commandBuffer)
    : kernel_(kernel), recording_(commandBuffer.recording()) {
  if (!(recording_.device() == kernel.device())) {
    complain("commandBuffer", "on another device", "a command buffer of the kernel's device",
             "Make a copy of the kernel for that device.");
  }
}

void Encode::complain(std::string_view argument, std::string got, std::string needed,
                      std::string remedy) const {
  fail({kernel_.class_name(), kernel_.label(), argument, std::move(got), std::move(needed),
        std::move(remedy)});
}

std::string describe(const Image& image) {
  if (!image) return "nil";
  std::string text = std::to_string(image.width()) + "x" + std::to_string(image.height()) + "x" +
                     std::to_string(image.featureChannels());
  return text + " " + std::string(name_of(image.featureChannelFormat()));
}
std::string describe(const Operand& operand) {
  if (operand.count() == 0) return "an empty batch";
  const std::string one = describe(operand.front());
  return operand.image != nullptr ? one : std::to_string(operand.count()) + " images of " + one;
}

std::string describe(const Region& region) {
  const auto [x, y, z] = region.origin;
  const auto [w, h, d] = region.size;
  return std::to_string(w) + "x" + std::to_string(h) + "x" + std::to_string(d) + " at (" +
         std::to_string(x) + ", " + std::to_string(y) + ", " + std::to_string(z) + ")";
}
std::string region_of(std::string_view what, const Image& image) {
  std::string text = "a region that meets " + std::string(what) + ", " + describe(image);
  if (image.numberOfImages() > 1)
    text += " with " + std::to_string(image.numberOfImages()) + " images";
  return text;
}

void Encode::check_operand(std::string_view argument, const Operand& operand) const {
  const auto check_record = [&](const ImageRecord& record, std::uint32_t first,
                                std::uint32_t count) {
    if (!(record.device == recording_.device())) {
      complain(argument, "on another device", "images of the command buffer's device", "");
    }
    if (!record.counter.temporary) return;
    if (record.counter.family != recording_.family) {
      complain(argument, "temporary in another command buffer", "images of this command buffer",
               "Use Image::defaultAllocator() for images that outlive their command buffer.");
    }
    for (std::uint32_t i = first; i < first + count; ++i) {
      if (record.counter.reads_of(i) > 0) continue;
      complain(argument,
               describe(operand) + (record.label.empty() ? "" : " \"" + record.label + "\"") +
                   ", read for the last time already",
               "a temporary image with reads left",
               "Raise readCount once for every encode that reads it.");
    }
  };
  if (operand.image != nullptr) {
    if (!*operand.image) complain(argument, "nil", "an image");
    check_record(*ImageRecord::of(*operand.image), ImageRecord::index_of(*operand.image), 1);
    return;
  }
  const auto run = ImageRecord::run_of(*operand.batch);
  if (run.record != nullptr) {
    if (run.record->descriptor.numberOfImages != 1) {
      complain(argument,
               "a batch whose images hold " +
                   std::to_string(run.record->descriptor.numberOfImages) + " each",
               "images with numberOfImages 1", "Use batchRepresentation().");
    }
    check_record(*run.record, run.first, run.count);
    return;
  }
  const Image first = operand.batch->front();
  for (const Image image : *operand.batch) {
    if (!image) complain(argument, "a batch with a nil image", "images");
    const ImageDescriptor& a = ImageRecord::of(image)->descriptor;
    const ImageDescriptor& b = ImageRecord::of(first)->descriptor;
    const bool uniform = a.width == b.width && a.height == b.height &&
                         a.featureChannels == b.featureChannels &&
                         a.channelFormat == b.channelFormat && a.numberOfImages == 1;
    if (!uniform) {
      complain(argument, "a batch that mixes " + describe(first) + " and " + describe(image),
               "images of one size and format with numberOfImages 1", "");
    }
    check_record(*ImageRecord::of(image), ImageRecord::index_of(image), 1);
  }
}

void Encode::check_counts(std::string_view argument, const Operand& operand, std::string_view other,
                          std::size_t count) const {
  if (operand.count() == count) return;
  complain(argument, std::to_string(operand.count()) + " images",
           std::to_string(count) + ", as many as " + std::string(other), "");
}

void Encode::check_edge(ImageEdgeMode mode, std::string_view argument, bool is_padding) const {
  if (mode == ImageEdgeMode::Zero || mode == ImageEdgeMode::Clamp) return;
  if (is_padding) {
    if (mode >= ImageEdgeMode::Mirror && mode <= ImageEdgeMode::Constant) return;
    complain(argument, std::to_string(static_cast<int>(mode)),
             "Zero, Clamp, Mirror, MirrorWithEdge or Constant");
  }
  complain(argument, std::to_string(static_cast<int>(mode)), "Zero or Clamp",
           "Mirror, MirrorWithEdge and Constant belong to padding kernels.");
}

ClipWindow Encode::check_clip(const Region& clip, const Image& destination) const {
  const ClipWindow window = clip_window(clip, destination);
  if (window.width != 0 && window.height != 0 && window.images != 0) return window;
  complain("clipRect", describe(clip), region_of("the destination", destination));
}

void Encode::check_channel_offset(std::string_view argument, std::size_t offset) const {
  if (offset % 4 != 0) complain(argument, std::to_string(offset), "a multiple of 4");
}

void Encode::check_channels(std::string_view argument, const Image& image, std::size_t available,
                            std::size_t needed, std::size_t first) const {
  if (available >= needed && available != 0) return;
  complain(argument, describe(image),
           std::to_string(std::max<std::size_t>(needed, 1)) + " feature channels from channel " +
               std::to_string(first));
}

void Encode::check_written(const Image& destination, std::size_t channels) const {
  if (destination.featureChannels() >= channels) return;
  complain("destinationImage", describe(destination),
           std::to_string(channels) + " feature channels");
}

void Encode::check_images(std::string_view argument, const Image& image, std::ptrdiff_t z,
                          std::int32_t count, std::string_view selected_by) const {
  if (z >= 0 && static_cast<std::size_t>(z + count) <= image.numberOfImages()) return;
  complain(argument, std::to_string(image.numberOfImages()) + " images",
           std::to_string(z + count) + ": " + std::string(selected_by) + " select that many");
}

void Encode::check_states(std::string_view argument, const StateBatch& states,
                          std::size_t count) const {
  if (states.size() != count) {
    complain(argument, std::to_string(states.size()) + " states",
             std::to_string(count) + ", one for each image",
             "Pass the states that the matching forward encode returned.");
  }
  if (states.shared()) {
    states.shared()->check_usable(recording_);
    return;
  }
  for (std::size_t i = 0; i < states.size(); ++i) {
    if (!states[i]) complain(argument, "a batch with a null state", "states");
    states[i]->check_usable(recording_);
  }
}

TensorView Encode::source(const Operand& operand) {
  if (operand.image != nullptr) {
    ImageRecord& record = *ImageRecord::of(*operand.image);
    recording_.retain(record.storage());
    return view_of(*operand.image);
  }
  if (const auto run = ImageRecord::run_of(*operand.batch); run.record != nullptr) {
    recording_.retain(run.record->storage());
    return images({run.record->desc, run.record->address()}, run.first,
                  static_cast<std::int32_t>(run.count));
  }
  const TensorView all = destination(operand);
  StepMemo memo;
  for (std::size_t i = 0; i < operand.count(); ++i) {
    const Image image = (*operand.batch)[i];
    encode(recording_, memo, Copy{},
           {source(Operand(image)), images(all, static_cast<std::int64_t>(i), 1)});
  }
  return all;
}

TensorView Encode::destination(const Operand& operand) {
  if (operand.image != nullptr || ImageRecord::run_of(*operand.batch).record != nullptr)
    return source(operand);
  TensorDesc desc = ImageRecord::of(operand.front())->desc;
  desc.n = static_cast<std::int32_t>(operand.count());
  scratch_.push_back(std::make_unique<ScratchTensor>(recording_, desc));
  return scratch_.back()->view;
}

void Encode::scatter(const Operand& operand, const TensorView& region, std::int64_t x,
                     std::int64_t y, std::int64_t first_channel) {
  if (region.desc.count() == 0) return;
  if (operand.image != nullptr || ImageRecord::run_of(*operand.batch).record != nullptr) return;
  StepMemo memo;
  for (std::size_t i = 0; i < operand.count(); ++i) {
    const Image image = (*operand.batch)[i];
    const TensorView home =
        window(feature_channels(source(Operand(image)), first_channel, region.desc.c), x, y,
               region.desc.w, region.desc.h);
    encode(recording_, memo, Copy{}, {images(region, static_cast<std::int64_t>(i), 1), home});
  }
}

void Encode::consume(const Operand& operand) {
  if (operand.image != nullptr) {
    ImageRecord& record = *ImageRecord::of(*operand.image);
    if (record.counter.temporary)
      record.change_reads(ImageRecord::index_of(*operand.image), 1, -1, &recording_);
    return;
  }
  if (const auto run = ImageRecord::run_of(*operand.batch); run.record != nullptr) {
    if (run.record->counter.temporary)
      run.record->change_reads(run.first, run.count, -1, &recording_);
    return;
  }
  std::vector<Image> seen;
  for (const Image image : *operand.batch) {
    if (std::find(seen.begin(), seen.end(), image) != seen.end()) continue;
    seen.push_back(image);
    consume(Operand(image));
  }
}

void Encode::consume(const StateBatch& states) {
  if (states.shared()) {
    states.shared()->consume(recording_);
    return;
  }
  for (const StatePtr& state : states.distinct()) state->consume(recording_);
}

ClipWindow clip_window(const Region& clip, const Image& destination) {
  const auto cut = [](std::size_t origin, std::size_t size, std::size_t extent) {
    if (origin >= extent) return std::size_t{0};
    return std::min(size, extent - origin);
  };
  return {
      static_cast<std::int64_t>(clip.origin.x),
      static_cast<std::int64_t>(clip.origin.y),
      static_cast<std::int64_t>(clip.origin.z),
      static_cast<std::int32_t>(cut(clip.origin.x, clip.size.width, destination.width())),
      static_cast<std::int32_t>(cut(clip.origin.y, clip.size.height, destination.height())),
      static_cast<std::int32_t>(cut(clip.origin.z, clip.size.depth, destination.numberOfImages()))};
}

}  // namespace cermet::detail
