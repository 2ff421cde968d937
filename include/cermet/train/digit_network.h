#pragma once
// The classifier of handwritten digits, written by hand with kernels, states and command buffers.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "cermet/core/device.h"
#include "cermet/train/idx.h"
#include "cermet/train/parameters.h"

namespace cermet {

/// conv 5x5x32 same, ReLU, max-pool 2, conv 5x5x64 same, ReLU, max-pool 2, fully connected 1024,
/// ReLU, dropout keep 0.5, fully connected 10; soft-max cross entropy, reduction Sum, weight
/// 1/batch.
struct DigitNetworkSettings {
  std::size_t height = 28, width = 28, classes = 10;
  std::size_t batch = 64;
  OptimizerSettings optimizer{};
  std::uint64_t seed = 1;
};

/// What one training step gives back.
struct StepResult {
  double loss = 0;  // mean over the batch
  int correct = 0;
  int images = 0;
};

class DigitNetwork {
 public:
  DigitNetwork(const Device& device, const DigitNetworkSettings& settings);
  ~DigitNetwork();
  DigitNetwork(const DigitNetwork&) = delete;
  DigitNetwork& operator=(const DigitNetwork&) = delete;

  /// Encodes and commits one step on images of `set` (bytes 0 to 255 become 0 to 1); at most two
  /// steps are in flight: the result of the step before the last comes back, or nothing yet.
  [[nodiscard]] std::vector<StepResult> submit(const DigitSet& set,
                                               std::span<const std::uint32_t> images);
  /// Waits for all steps in flight.
  [[nodiscard]] std::vector<StepResult> finish();

  /// Images of `set` that the network classifies right, without dropout.
  [[nodiscard]] int count_correct(const DigitSet& set);

  void set_learning_rate(float rate);
  /// Parameters, and with `training` everything that makes a resumed run continue bit for bit. No
  /// step may be in flight.
  void save(SafeTensors& file, bool training) const;
  /// Throws FileError and changes nothing where the file does not fit.
  void load(const SafeTensors& file, bool training);
  [[nodiscard]] std::size_t parameter_count() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace cermet
