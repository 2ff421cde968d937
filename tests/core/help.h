#pragma once
// What the core tests share: the device under test, small images, and a gate that holds the
// worker.

#include <gtest/gtest.h>

#include <future>
#include <string>
#include <vector>

#include "cermet/cnn/neuron.h"
#include "cermet/core/command_buffer.h"
#include "cermet/core/image.h"
#include "core/device_impl.h"
#include "harness/device.h"

namespace cermet::test {

/// The device under test; a CPU with one thread, since the thread sanitizer knows nothing of
/// OpenMP's barriers.
inline Device tested() {
  static const Device device = device_under_test(1);
  return device;
}

inline ImageDescriptor floats(std::size_t width, std::size_t height, std::size_t channels,
                              std::size_t images = 1) {
  return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, width, height,
                                          channels, images);
}
inline ImageDescriptor halves(std::size_t width, std::size_t height, std::size_t channels,
                              std::size_t images = 1) {
  return ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float16, width, height,
                                          channels, images);
}

inline std::size_t elements(const Image& image) {
  return image.width() * image.height() * image.featureChannels() * image.numberOfImages();
}
inline std::vector<float> constant(const Image& image, float value) {
  return std::vector<float>(elements(image), value);
}
/// A permanent image with one value everywhere.
inline Image filled(const ImageDescriptor& descriptor, float value,
                    const Device& device = tested()) {
  Image image(device, descriptor);
  image.write_floats(constant(image, value));
  return image;
}

/// The text of the InvalidArgument that `call` throws.
template <class Call>
std::string complaint(Call&& call) {
  try {
    call();
  } catch (const InvalidArgument& problem) {
    return problem.what();
  } catch (const std::exception& problem) {
    return std::string("another exception: ") + problem.what();
  }
  return "no exception";
}

/// A queue that is run by the worker with this number.
inline CommandQueue queue_on(const Device& device, std::size_t worker) {
  const auto queue = std::make_shared<detail::QueueImpl>();
  queue->device = device;
  const auto seat = std::make_shared<detail::Seat>(queue, worker);
  queue->seat = seat;
  return detail::QueueImpl::handle(queue);
}

/// Keeps a queue's worker busy until it is opened: what is committed meanwhile waits.
class Gate {
 public:
  explicit Gate(const CommandQueue& queue)
      : buffer_(
            queue_on(queue.device(), detail::QueueImpl::of(queue)->seat.lock()->worker().number())
                .makeCommandBuffer()) {
    buffer_.addScheduledHandler(
        [closed = promise_.get_future().share()](CommandBuffer) { closed.wait(); });
    buffer_.commit();
    buffer_.waitUntilScheduled();
  }
  ~Gate() { open(); }
  Gate(const Gate&) = delete;
  Gate& operator=(const Gate&) = delete;
  void open() {
    if (!open_) promise_.set_value();
    open_ = true;
    buffer_.waitUntilCompleted();
  }

 private:
  std::promise<void> promise_;
  CommandBuffer buffer_;
  bool open_ = false;
};

/// Returns when the workers have run all that they were given so far.
inline void settle(const Device& device) {
  detail::Workers& workers = *detail::DeviceImpl::of(device).workers;
  for (std::size_t worker = 0; worker < workers.count(); ++worker) {
    CommandBuffer last = queue_on(device, worker).makeCommandBuffer();
    last.commit();
    last.waitUntilCompleted();
  }
}

}  // namespace cermet::test
