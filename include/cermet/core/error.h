#pragma once
// Every failure of the library is an exception under cermet::Error. Misuse throws at the call,
// before anything has changed; what only the device can see is kept by the command buffer.

#include <stdexcept>
#include <string>
#include <string_view>

namespace cermet {

/// Base of everything Cermet throws.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A call that cannot be carried out as written: the message names the kernel and its label, the
/// argument, what it got, what it needs and what to do.
class InvalidArgument : public Error {
 public:
  using Error::Error;
};

/// A file that cannot be read, written or understood. Nothing that existed before is lost.
class FileError : public Error {
 public:
  using Error::Error;
};

/// Codes of a failed command buffer (spec: core 2.2).
enum class CommandBufferError : int {
  None = 0,
  Internal = 1,
  Timeout = 2,
  PageFault = 3,
  AccessRevoked = 4,
  NotPermitted = 7,
  OutOfMemory = 8,
  InvalidResource = 9,
  Memoryless = 10,
  DeviceRemoved = 11,
  StackOverflow = 12,
};

/// A failure of a device: a missing or unfit one, lack of memory, or a step that went wrong.
class DeviceError : public Error {
 public:
  DeviceError(CommandBufferError code, const std::string& what) : Error(what), code_(code) {}
  [[nodiscard]] CommandBufferError code() const noexcept { return code_; }

 private:
  CommandBufferError code_;
};

/// The five parts of a message about a wrong call. `subject` is the class, `label` may be empty.
struct Complaint {
  std::string_view subject;
  std::string_view label;
  std::string_view argument;
  std::string got;
  std::string needed;
  std::string remedy;
};

/// `CNNPoolingMax "pool1": source is 4x4x3; needed 1 or more images. Pass the batch that ...`
[[nodiscard]] std::string describe(const Complaint& complaint);
[[noreturn]] void fail(const Complaint& complaint);

}  // namespace cermet
