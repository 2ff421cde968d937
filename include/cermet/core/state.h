#pragma once
// State: what one encode leaves for another.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "cermet/core/command_buffer.h"
#include "cermet/core/image.h"

namespace cermet {

class Kernel;
class State;
using StatePtr = std::shared_ptr<State>;
namespace detail {
struct StateOrigin;
}  // namespace detail

enum class StateResourceType : int { None = 0, Buffer = 1, Texture = 2 };

/// Sizes of the resources of a state to be made; textures come first (spec: core 9.2(1)).
class StateResourceList {
 public:
  [[nodiscard]] static StateResourceList resourceList() { return {}; }
  void appendBuffer(std::size_t size) { buffers_.push_back(size); }
  void appendTexture(const ImageDescriptor& descriptor) { textures_.push_back(descriptor); }

 private:
  friend class State;
  std::vector<std::size_t> buffers_;
  std::vector<ImageDescriptor> textures_;
};

struct StateTextureInfo {
  std::size_t width = 0, height = 0, depth = 0, arrayLength = 0;
  PixelFormat pixelFormat = PixelFormat::Invalid;
  TextureType textureType = TextureType::Type2D;
  TextureUsage usage = TextureUsage::Unknown;
};

/// Side data of an encode. States are shared by pointer; a temporary one lives inside one command
/// buffer until it has been read `readCount` times (spec: core 9).
class State : public std::enable_shared_from_this<State> {
 public:
  State(const Device& device, std::size_t bufferSize);
  /// With one texture, an image of that description.
  State(const Device& device, const ImageDescriptor& textureDescriptor);
  State(const Device& device, const StateResourceList& resourceList);
  explicit State(Buffer resource);
  explicit State(std::vector<Buffer> resources);
  virtual ~State();
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  [[nodiscard]] static StatePtr temporaryState(const CommandBuffer& commandBuffer);
  [[nodiscard]] static StatePtr temporaryState(const CommandBuffer& commandBuffer,
                                               std::size_t bufferSize);
  [[nodiscard]] static StatePtr temporaryState(const CommandBuffer& commandBuffer,
                                               const ImageDescriptor& textureDescriptor);
  [[nodiscard]] static StatePtr temporaryState(const CommandBuffer& commandBuffer,
                                               const StateResourceList& resourceList);

  [[nodiscard]] Device device() const { return device_; }
  [[nodiscard]] const std::string& label() const { return label_; }
  void setLabel(std::string label) { label_ = std::move(label); }
  [[nodiscard]] bool isTemporary() const;
  /// 0 for a permanent state, which ignores being set.
  [[nodiscard]] std::size_t readCount() const;
  void setReadCount(std::size_t count);

  [[nodiscard]] std::size_t resourceCount() const { return resources_.size(); }
  /// The buffer at `index`; nil where there is none, or not yet and memory may not be allocated.
  [[nodiscard]] Buffer resource(std::size_t index, bool allocateMemory = true);
  /// Deprecated: the buffer of a state with exactly one resource; nil otherwise.
  [[nodiscard]] Buffer resource() { return resourceCount() == 1 ? resource(0) : Buffer(); }
  /// The image that stands for the texture at `index`; nil where there is none.
  [[nodiscard]] Image texture(std::size_t index, bool allocateMemory = true);
  [[nodiscard]] std::size_t bufferSize(std::size_t index) const;
  [[nodiscard]] StateTextureInfo textureInfo(std::size_t index) const;
  [[nodiscard]] StateResourceType resourceType(std::size_t index) const;
  /// Host and CPU device share memory: nothing is encoded. May be called again and again.
  void synchronize(const CommandBuffer& commandBuffer);
  /// Bytes of storage, without forcing it to be made; 0 for adopted resources.
  [[nodiscard]] std::size_t resourceSize() const;

  /// Lets this state, as a source of an encode, change the suggested result and the kernel.
  [[nodiscard]] virtual ImageDescriptor destinationImageDescriptor(
      std::span<const Image> sourceImages, std::span<const StatePtr> sourceStates, Kernel& kernel,
      const ImageDescriptor& suggestedDescriptor);

  /// Name of the class, for messages.
  [[nodiscard]] virtual std::string_view class_name() const { return "State"; }

  // What follows is for kernels.
  /// Checks that the state may be read or written in `recording`; throws InvalidArgument.
  void check_usable(const detail::Recording& recording) const;
  /// Takes away one read and releases the storage at 0.
  void consume(detail::Recording& recording);

 protected:
  State(const detail::StateOrigin& origin, const StateResourceList& resourceList);
  struct Resource {
    std::size_t bytes = 0;
    bool adopted = false;
    Buffer buffer;
    Image image;
    ImageDescriptor descriptor;
    StateResourceType type = StateResourceType::Buffer;
  };
  /// The buffer at `index`, zero unless `overwrite`.
  const Buffer& buffer(std::size_t index, bool overwrite = false);
  void set_buffer(std::size_t index, Buffer buffer);
  void add_buffer(std::size_t bytes);

 private:
  void allocate(Resource& resource, bool zeroed);
  void release(detail::Recording* recording);

  Device device_;
  std::string label_;
  std::vector<Resource> resources_;
  bool temporary_ = false;
  std::uint64_t family_ = 0;  // the command buffer chain of a temporary
  std::ptrdiff_t reads_ = 1;
};

/// One state for each image of a batch: either one object repeated (`repeated`), or one of each.
class StateBatch {
 public:
  StateBatch() = default;
  StateBatch(
      std::vector<StatePtr> states);  // NOLINT(google-explicit-constructor): a batch is a list
  [[nodiscard]] static StateBatch repeated(StatePtr state, std::size_t count);

  [[nodiscard]] std::size_t size() const { return one_ ? count_ : states_.size(); }
  [[nodiscard]] bool empty() const { return size() == 0; }
  [[nodiscard]] const StatePtr& operator[](std::size_t index) const {
    if (index >= size()) refuse_index(index);
    return one_ ? one_ : states_[index];
  }
  /// The state at `index` as a T; null where it is something else.
  template <class T>
  [[nodiscard]] std::shared_ptr<T> at(std::size_t index) const {
    return std::dynamic_pointer_cast<T>((*this)[index]);
  }
  /// The one object of a repeated batch, else null.
  [[nodiscard]] const StatePtr& shared() const { return one_; }
  /// Each distinct state once; nulls are left out.
  [[nodiscard]] std::vector<StatePtr> distinct() const;

 private:
  [[noreturn]] void refuse_index(std::size_t index) const;
  StatePtr one_;
  std::size_t count_ = 0;
  std::vector<StatePtr> states_;
};

/// Adds to the read count of each distinct temporary state; returns how many are distinct.
std::size_t StateBatchIncrementReadCount(const StateBatch& batch, std::ptrdiff_t amount);
void StateBatchSynchronize(const StateBatch& batch, const CommandBuffer& commandBuffer);
[[nodiscard]] std::size_t StateBatchResourceSize(const StateBatch& batch);

}  // namespace cermet
