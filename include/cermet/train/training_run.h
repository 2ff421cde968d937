#pragma once
// A training run of the digit classifier: epochs, learning-rate schedule, metrics, checkpoints,
// resume.

#include <atomic>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "cermet/core/device.h"
#include "cermet/train/digit_network.h"

namespace cermet {

struct TrainingOptions {
  int epochs = 6;
  int batch = 64;
  float learning_rate = 1e-3F;  // decays to 1 % of it along half a cosine
  OptimizerKind optimizer = OptimizerKind::adam;
  std::uint64_t seed = 1;
  std::filesystem::path out = "runs/digits";
  std::string command;  // written to command.txt so that the run can be repeated
  bool resume = false;  // go on from out/checkpoint.safetensors
};

/// Throws InvalidArgument, in the name of the option, for a value that cannot be trained with.
void check_options(const TrainingOptions& options);

struct EpochMetrics {
  int epoch = 0;
  double loss = 0, train_accuracy = 0, test_accuracy = 0, images_per_second = 0, learning_rate = 0;
};

struct TrainingReport {
  std::vector<EpochMetrics> epochs;
  double test_accuracy = 0;
  bool stopped = false;  // by `stop`, at a batch boundary; the checkpoint goes on from there
};

/// Trains on `train`, measures on `test` after every epoch, and writes into `out`:
/// model.safetensors, metrics.jsonl (a line for each epoch), metrics.csv, command.txt and
/// checkpoint.safetensors (after every epoch and when stopped). A resumed run continues bit for bit
/// as if it had not been stopped; throws InvalidArgument where batch, epochs, rate, optimiser or
/// seed differ from the checkpoint's, and FileError where the checkpoint is not one of a run.
[[nodiscard]] TrainingReport train_digits(const Device& device, const DigitSet& train,
                                          const DigitSet& test, const TrainingOptions& options,
                                          std::FILE* progress, const std::atomic<bool>& stop);

/// Share of `set` that the model in `file` classifies right. Throws FileError where it does not
/// fit.
[[nodiscard]] double evaluate_digits(const Device& device, const std::filesystem::path& file,
                                     const DigitSet& set);

}  // namespace cermet
