#include "cermet/train/training_run.h"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <numbers>
#include <sstream>

#include "cermet/train/file.h"
#include "cermet/train/progress.h"

namespace cermet {
namespace {

namespace fs = std::filesystem;

DigitNetworkSettings network_settings(const DigitSet& set, const TrainingOptions& options) {
  DigitNetworkSettings settings;
  settings.height = static_cast<std::size_t>(set.height);
  settings.width = static_cast<std::size_t>(set.width);
  settings.batch = static_cast<std::size_t>(options.batch);
  settings.seed = options.seed;
  settings.optimizer.kind = options.optimizer;
  settings.optimizer.learning_rate = options.learning_rate;
  return settings;
}

std::vector<std::uint32_t> shuffled(int count, std::uint64_t seed, int epoch) {
  std::vector<std::uint32_t> order(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::uint32_t>(i);
  RandomNumbers random(seed + (static_cast<std::uint64_t>(epoch) << 32));
  for (std::size_t i = order.size(); i > 1; --i) std::swap(order[i - 1], order[random.below(i)]);
  return order;
}

/// Where a run stands between two batches.
struct Position {
  int epoch = 0;          // finished ones
  std::size_t batch = 0;  // of the present one
  double loss = 0;        // sum over the batches of the present epoch
  std::int64_t correct = 0, images = 0;
};

void write_text(const fs::path& path, const std::string& text) {
  write_file_atomically(path, std::as_bytes(std::span(text)));
}

nlohmann::json as_json(const EpochMetrics& m) {
  return {{"epoch", m.epoch},
          {"loss", m.loss},
          {"train_accuracy", m.train_accuracy},
          {"test_accuracy", m.test_accuracy},
          {"images_per_second", m.images_per_second},
          {"learning_rate", m.learning_rate}};
}

class Run {
 public:
  Run(const Device& device, const DigitSet& train, const DigitSet& test,
      const TrainingOptions& options)
      : train_(train),
        test_(test),
        options_(options),
        network_(device, network_settings(train, options)) {
    std::error_code problem;
    fs::create_directories(options.out, problem);
    if (problem) {
      throw FileError(describe({"train", "", "the folder " + options.out.string(),
                                "not to be made: " + problem.message(),
                                "a folder that can be written", "Choose another with --out."}));
    }
    if (options.resume) resume();
    write_text(options.out / "command.txt", options.command + "\n");
  }

  TrainingReport go(std::FILE* progress, const std::atomic<bool>& stop) {
    ProgressBar bar(progress, {options_.epochs, train_.count});
    while (at_.epoch < options_.epochs) {
      bar.begin_epoch(at_.epoch + 1);
      const auto started = std::chrono::steady_clock::now();
      const std::int64_t images_before = at_.images;
      const bool whole = train_epoch(bar, stop);
      if (!whole) {
        bar.clear();
        save();
        report_.stopped = true;
        return report_;
      }
      const double seconds =
          std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count();
      finish_epoch(static_cast<double>(at_.images - images_before) / seconds, bar);
    }
    return report_;
  }

 private:
  [[nodiscard]] std::size_t batches() const {
    return (static_cast<std::size_t>(train_.count) + static_cast<std::size_t>(options_.batch) - 1) /
           static_cast<std::size_t>(options_.batch);
  }

  [[nodiscard]] float rate_now() const {
    const double step = static_cast<double>(at_.epoch) * static_cast<double>(batches()) +
                        static_cast<double>(at_.batch);
    const double share =
        step / (static_cast<double>(options_.epochs) * static_cast<double>(batches()));
    return options_.learning_rate *
           static_cast<float>(0.01 + 0.99 * 0.5 * (1 + std::cos(std::numbers::pi * share)));
  }

  void take(const std::vector<StepResult>& results) {
    for (const StepResult& result : results) {
      at_.loss += result.loss * result.images;
      at_.correct += result.correct;
      at_.images += result.images;
    }
  }

  /// False when stopped before the end.
  bool train_epoch(ProgressBar& bar, const std::atomic<bool>& stop) {
    const auto order = shuffled(train_.count, options_.seed, at_.epoch);
    const auto batch = static_cast<std::size_t>(options_.batch);
    for (; at_.batch < batches(); ++at_.batch) {
      if (stop) {
        take(network_.finish());
        return false;
      }
      network_.set_learning_rate(rate_now());
      const std::size_t first = at_.batch * batch;
      take(network_.submit(train_,
                           std::span(order).subspan(first, std::min(batch, order.size() - first))));
      if (at_.images > 0) {
        const auto images = static_cast<double>(at_.images);
        bar.update(at_.images, at_.loss / images, static_cast<double>(at_.correct) / images);
      }
    }
    take(network_.finish());
    return true;
  }

  void finish_epoch(double images_per_second, ProgressBar& bar) {
    const auto images = static_cast<double>(at_.images);
    EpochMetrics metrics;
    metrics.epoch = at_.epoch + 1;
    metrics.loss = at_.loss / images;
    metrics.train_accuracy = static_cast<double>(at_.correct) / images;
    metrics.test_accuracy = static_cast<double>(network_.count_correct(test_)) / test_.count;
    metrics.images_per_second = images_per_second;
    metrics.learning_rate = static_cast<double>(rate_now());
    bar.end_epoch(metrics.loss, metrics.test_accuracy);
    report_.epochs.push_back(metrics);
    report_.test_accuracy = metrics.test_accuracy;
    at_ = {at_.epoch + 1, 0, 0, 0, 0};
    save();
  }

  void save() const {
    SafeTensors checkpoint;
    network_.save(checkpoint, true);
    nlohmann::json epochs = nlohmann::json::array();
    for (const EpochMetrics& metrics : report_.epochs) epochs.push_back(as_json(metrics));
    checkpoint.metadata["epochs_done"] = std::to_string(at_.epoch);
    checkpoint.metadata["batches_done"] = std::to_string(at_.batch);
    checkpoint.metadata["loss"] = fmt::format("{:a}", at_.loss);
    checkpoint.metadata["correct"] = std::to_string(at_.correct);
    checkpoint.metadata["images"] = std::to_string(at_.images);
    checkpoint.metadata["metrics"] = epochs.dump();
    checkpoint.metadata["options"] = options_text();
    write_safetensors(options_.out / "checkpoint.safetensors", checkpoint);

    SafeTensors model;
    network_.save(model, false);
    model.metadata["height"] = std::to_string(train_.height);
    model.metadata["width"] = std::to_string(train_.width);
    write_safetensors(options_.out / "model.safetensors", model);

    std::string lines,
        table = "epoch,loss,train_accuracy,test_accuracy,images_per_second,learning_rate\n";
    for (const EpochMetrics& m : report_.epochs) {
      lines += as_json(m).dump() + "\n";
      table += fmt::format("{},{:.6g},{:.6g},{:.6g},{:.1f},{:.6g}\n", m.epoch, m.loss,
                           m.train_accuracy, m.test_accuracy, m.images_per_second, m.learning_rate);
    }
    write_text(options_.out / "metrics.jsonl", lines);
    write_text(options_.out / "metrics.csv", table);
  }

  [[nodiscard]] std::string options_text() const {
    return fmt::format("epochs {} batch {} learning-rate {} optimizer {} seed {} images {}",
                       options_.epochs, options_.batch, options_.learning_rate,
                       name_of(options_.optimizer), options_.seed, train_.count);
  }

  void resume() {
    const fs::path path = options_.out / "checkpoint.safetensors";
    const SafeTensors checkpoint = read_safetensors(path);
    check_same_options(checkpoint);
    const auto count = [&](const char* name, std::size_t most) {
      return metadata_count(checkpoint, name, most, start_anew);
    };
    Position at;
    at.epoch = static_cast<int>(count("epochs_done", static_cast<std::size_t>(options_.epochs)));
    at.batch = count("batches_done", batches());
    at.loss = metadata_number(checkpoint, "loss", start_anew);
    at.images = static_cast<std::int64_t>(count("images", static_cast<std::size_t>(train_.count)));
    at.correct = static_cast<std::int64_t>(count("correct", static_cast<std::size_t>(at.images)));
    std::vector<EpochMetrics> epochs = metrics_of(checkpoint, static_cast<std::size_t>(at.epoch));
    network_.load(checkpoint, true);
    at_ = at;
    report_.epochs = std::move(epochs);
    if (!report_.epochs.empty()) report_.test_accuracy = report_.epochs.back().test_accuracy;
  }

  /// Names the first option that differs from the run's.
  void check_same_options(const SafeTensors& checkpoint) const {
    std::istringstream now(options_text()),
        then(metadata_entry(checkpoint, "options", "the options of a run", start_anew));
    std::string name, value, name_then, value_then;
    while (now >> name >> value) {
      if (!(then >> name_then >> value_then) || name != name_then) {
        fail_file({checkpoint.file, "", "metadata \"options\"", "\"" + then.str() + "\"",
                   "the options of a run", start_anew});
      }
      if (value == value_then) continue;
      fail({"train", "", name == "images" ? "the number of training images" : name, value,
            value_then + ", as in the checkpoint",
            "Resume with the options of the run (command.txt), or choose another folder with "
            "--out."});
    }
  }

  [[nodiscard]] static std::vector<EpochMetrics> metrics_of(const SafeTensors& checkpoint,
                                                            std::size_t epochs) {
    const std::string needed = "a list of the metrics of " + std::to_string(epochs) + " epochs";
    const auto refuse = [&](const std::string& got) {
      fail_file({checkpoint.file, "", "metadata \"metrics\"", got, needed, start_anew});
    };
    std::vector<EpochMetrics> metrics;
    try {
      for (const auto& m :
           nlohmann::json::parse(metadata_entry(checkpoint, "metrics", needed, start_anew))) {
        metrics.push_back({m.at("epoch"), m.at("loss"), m.at("train_accuracy"),
                           m.at("test_accuracy"), m.at("images_per_second"),
                           m.at("learning_rate")});
      }
    } catch (const nlohmann::json::exception& problem) {
      refuse(std::string("something else (") + problem.what() + ")");
    }
    if (metrics.size() != epochs) refuse("of " + std::to_string(metrics.size()));
    return metrics;
  }

  static constexpr const char* start_anew = "Start anew without --resume.";

  const DigitSet& train_;
  const DigitSet& test_;
  TrainingOptions options_;
  DigitNetwork network_;
  Position at_;
  TrainingReport report_;
};

}  // namespace

void check_options(const TrainingOptions& options) {
  const auto refuse = [](std::string_view name, std::string got, std::string needed) {
    fail({"train", "", name, std::move(got), std::move(needed), ""});
  };
  if (options.epochs < 1) refuse("epochs", std::to_string(options.epochs), "1 or more");
  if (options.batch < 1) refuse("batch", std::to_string(options.batch), "1 or more");
  if (!(options.learning_rate > 0) || !std::isfinite(options.learning_rate))
    refuse("learning-rate", fmt::format("{}", options.learning_rate), "a positive number");
}

TrainingReport train_digits(const Device& device, const DigitSet& train, const DigitSet& test,
                            const TrainingOptions& options, std::FILE* progress,
                            const std::atomic<bool>& stop) {
  check_options(options);
  if (train.count == 0 || test.count == 0)
    fail({"train", "", "the data", "empty", "1 or more images in each set", ""});
  return Run(device, train, test, options).go(progress, stop);
}

double evaluate_digits(const Device& device, const fs::path& file, const DigitSet& set) {
  TrainingOptions options;
  DigitNetwork network(device, network_settings(set, options));
  network.load(read_safetensors(file), false);
  return static_cast<double>(network.count_correct(set)) / set.count;
}

}  // namespace cermet
