#include "cermet/core/state.h"

#include <algorithm>

#include "core/image_impl.h"
#include "core/state_impl.h"

namespace cermet {

Buffer detail::StateOrigin::make_buffer(std::size_t bytes, bool zeroed) const {
  auto impl = std::make_shared<BufferImpl>();
  impl->device = device;
  impl->length = bytes;
  impl->memory = recording != nullptr ? recording->temporary(bytes)
                                      : DeviceImpl::of(device).allocator->allocate(bytes, zeroed);
  return BufferImpl::handle(std::move(impl));
}

State::State(const Device& device, std::size_t bufferSize)
    : State(detail::StateOrigin::permanent(device), StateResourceList()) {
  add_buffer(bufferSize);
}
State::State(const Device& device, const ImageDescriptor& textureDescriptor)
    : State(detail::StateOrigin::permanent(device), StateResourceList()) {
  Resource& texture = resources_.emplace_back();
  texture.type = StateResourceType::Texture;
  texture.descriptor = textureDescriptor;
}
State::State(const Device& device, const StateResourceList& resourceList)
    : State(detail::StateOrigin::permanent(device), resourceList) {}
State::State(Buffer resource) : State(std::vector<Buffer>{std::move(resource)}) {}
State::State(std::vector<Buffer> resources) {
  for (Buffer& buffer : resources) {
    if (!buffer) fail({"State", "", "resource", "nil", "a buffer", ""});
    if (device_ && !(buffer.device() == device_)) {
      fail({"State", "", "resource", "on another device", "buffers of one device", ""});
    }
    device_ = buffer.device();
    Resource& adopted = resources_.emplace_back();
    adopted.bytes = buffer.length();
    adopted.adopted = true;
    adopted.buffer = std::move(buffer);
  }
}
State::~State() = default;

State::State(const detail::StateOrigin& origin, const StateResourceList& resourceList)
    : device_(origin.device) {
  static_cast<void>(detail::DeviceImpl::of(device_));
  for (const ImageDescriptor& descriptor : resourceList.textures_) {
    Resource& texture = resources_.emplace_back();
    texture.type = StateResourceType::Texture;
    texture.descriptor = descriptor;
  }
  for (const std::size_t bytes : resourceList.buffers_) add_buffer(bytes);
  if (origin.recording != nullptr) {
    temporary_ = true;
    family_ = origin.recording->family;
    for (Resource& resource : resources_) {
      if (resource.type == StateResourceType::Buffer)
        resource.buffer = origin.make_buffer(resource.bytes);
    }
  }
}

namespace {
struct Temporary final : State {  // gives make_shared a way in
  Temporary(const detail::StateOrigin& origin, const StateResourceList& list)
      : State(origin, list) {}
};
}  // namespace

StatePtr State::temporaryState(const CommandBuffer& commandBuffer) {
  return temporaryState(commandBuffer, StateResourceList());
}
StatePtr State::temporaryState(const CommandBuffer& commandBuffer, std::size_t bufferSize) {
  StateResourceList list;
  list.appendBuffer(bufferSize);
  return temporaryState(commandBuffer, list);
}
StatePtr State::temporaryState(const CommandBuffer& commandBuffer,
                               const ImageDescriptor& textureDescriptor) {
  StateResourceList list;
  list.appendTexture(textureDescriptor);
  return temporaryState(commandBuffer, list);
}
StatePtr State::temporaryState(const CommandBuffer& commandBuffer,
                               const StateResourceList& resourceList) {
  return std::make_shared<Temporary>(detail::StateOrigin::temporary(commandBuffer), resourceList);
}

bool State::isTemporary() const { return temporary_; }
std::size_t State::readCount() const { return temporary_ ? static_cast<std::size_t>(reads_) : 0; }

void State::setReadCount(std::size_t count) {
  if (!temporary_) return;
  if (reads_ == 0) {
    fail({class_name(), label_, "readCount", "0: the storage is gone",
          "a state that still has reads",
          "Raise readCount before the last encode that reads the state."});
  }
  reads_ = static_cast<std::ptrdiff_t>(count);
  if (reads_ == 0) release(nullptr);
}

void State::check_usable(const detail::Recording& recording) const {
  if (!(device_ == recording.device())) {
    fail({class_name(), label_, "the state", "on another device",
          "the device of the command buffer", ""});
  }
  if (!temporary_) return;
  if (reads_ == 0) {
    fail({class_name(), label_, "the state", "read for the last time already",
          "a temporary state with reads left",
          "Raise readCount once for every encode that reads it."});
  }
  if (family_ != recording.family) {
    fail({class_name(), label_, "the state", "temporary in another command buffer",
          "a state of this command buffer, or a permanent one", ""});
  }
}

void State::consume(detail::Recording& recording) {
  if (!temporary_ || reads_ == 0) return;
  if (--reads_ == 0) release(&recording);
}

void State::release(detail::Recording* recording) {
  for (Resource& resource : resources_) {
    resource.image = {};
    if (!resource.buffer) continue;
    if (recording != nullptr) detail::BufferImpl::recycle(resource.buffer, *recording);
    resource.buffer = {};
  }
}

void State::allocate(Resource& resource, bool zeroed) {
  if (temporary_ && reads_ == 0) {
    fail({class_name(), label_, "the state", "read for the last time already",
          "a temporary state with reads left", ""});
  }
  if (resource.type == StateResourceType::Texture) {
    if (!resource.image) resource.image = Image(device_, resource.descriptor);
  } else if (!resource.buffer) {
    resource.buffer = detail::StateOrigin::permanent(device_).make_buffer(resource.bytes, zeroed);
  }
}

const Buffer& State::buffer(std::size_t index, bool overwrite) {
  allocate(resources_.at(index), !overwrite);
  return resources_[index].buffer;
}
void State::set_buffer(std::size_t index, Buffer buffer) {
  resources_.at(index).bytes = buffer ? buffer.length() : 0;
  resources_[index].buffer = std::move(buffer);
}
void State::add_buffer(std::size_t bytes) {
  Resource& resource = resources_.emplace_back();
  resource.bytes = bytes;
}

Buffer State::resource(std::size_t index, bool allocateMemory) {
  if (index >= resources_.size() || resources_[index].type != StateResourceType::Buffer) return {};
  if (allocateMemory) allocate(resources_[index], true);
  return resources_[index].buffer;
}
Image State::texture(std::size_t index, bool allocateMemory) {
  if (index >= resources_.size() || resources_[index].type != StateResourceType::Texture) return {};
  if (allocateMemory) allocate(resources_[index], true);
  return resources_[index].image;
}
std::size_t State::bufferSize(std::size_t index) const {
  return index < resources_.size() && resources_[index].type == StateResourceType::Buffer
             ? resources_[index].bytes
             : 0;
}
StateTextureInfo State::textureInfo(std::size_t index) const {
  if (index >= resources_.size() || resources_[index].type != StateResourceType::Texture) return {};
  const ImageDescriptor& d = resources_[index].descriptor;
  const std::size_t slices = d.numberOfImages * ((d.featureChannels + 3) / 4);
  return {d.width, d.height,        1,
          slices,  d.pixelFormat(), slices == 1 ? TextureType::Type2D : TextureType::Type2DArray,
          d.usage};
}
StateResourceType State::resourceType(std::size_t index) const {
  return index < resources_.size() ? resources_[index].type : StateResourceType::None;
}
void State::synchronize(const CommandBuffer& commandBuffer) {
  check_usable(commandBuffer.recording());
}

std::size_t State::resourceSize() const {
  std::size_t bytes = 0;
  for (const Resource& resource : resources_) {
    if (resource.adopted) return 0;
    const ImageDescriptor& d = resource.descriptor;
    bytes += resource.type == StateResourceType::Buffer
                 ? resource.bytes
                 : d.width * d.height * d.featureChannels * d.numberOfImages *
                       size_of(element_type(d.channelFormat));
  }
  return bytes;
}

ImageDescriptor State::destinationImageDescriptor(std::span<const Image>, std::span<const StatePtr>,
                                                  Kernel&,
                                                  const ImageDescriptor& suggestedDescriptor) {
  return suggestedDescriptor;
}

StateBatch::StateBatch(std::vector<StatePtr> states) {
  const bool same =
      !states.empty() && std::all_of(states.begin(), states.end(),
                                     [&](const StatePtr& state) { return state == states[0]; });
  if (same && states[0]) {
    one_ = states[0];
    count_ = states.size();
  } else {
    states_ = std::move(states);
  }
}
void StateBatch::refuse_index(std::size_t index) const {
  fail({"StateBatch", "", "index", std::to_string(index), "less than " + std::to_string(size()),
        ""});
}
StateBatch StateBatch::repeated(StatePtr state, std::size_t count) {
  StateBatch batch;
  if (!state || count == 0) return batch;
  batch.one_ = std::move(state);
  batch.count_ = count;
  return batch;
}
std::vector<StatePtr> StateBatch::distinct() const {
  if (one_) return {one_};
  std::vector<StatePtr> seen;
  for (const StatePtr& state : states_) {
    if (state && std::find(seen.begin(), seen.end(), state) == seen.end()) seen.push_back(state);
  }
  return seen;
}

std::size_t StateBatchIncrementReadCount(const StateBatch& batch, std::ptrdiff_t amount) {
  const auto states = batch.distinct();
  const auto changes = [](const StatePtr& state) {
    return state->isTemporary() && state->readCount() != 0;
  };
  for (const StatePtr& state : states) {  // first, so that all or none change
    if (changes(state) && static_cast<std::ptrdiff_t>(state->readCount()) + amount < 0) {
      fail({state->class_name(), state->label(), "readCount",
            std::to_string(state->readCount()) + ", to be changed by " + std::to_string(amount),
            "a count that stays at 0 or more",
            "Raise readCount once for every encode that reads the state."});
    }
  }
  for (const StatePtr& state : states) {
    if (!changes(state)) continue;
    state->setReadCount(
        static_cast<std::size_t>(static_cast<std::ptrdiff_t>(state->readCount()) + amount));
  }
  return states.size();
}
void StateBatchSynchronize(const StateBatch& batch, const CommandBuffer& commandBuffer) {
  for (const StatePtr& state : batch.distinct()) state->synchronize(commandBuffer);
}
std::size_t StateBatchResourceSize(const StateBatch& batch) {
  std::size_t bytes = 0;
  for (const StatePtr& state : batch.distinct()) bytes += state->resourceSize();
  return bytes;
}

}  // namespace cermet
