// The cermet command.

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <atomic>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <string>

#include "cermet/core/device.h"
#include "cermet/train/training_run.h"
#include "check.h"
#include "mnist_source.h"

namespace {

std::atomic<bool> stop_requested{false};
static_assert(std::atomic<bool>::is_always_lock_free);

extern "C" void on_interrupt(int) { stop_requested = true; }

struct Common {
  std::string device, data = "digits";
};

cermet::Device device_of(const Common& common) {
  return common.device.empty() ? cermet::CreateSystemDefaultDevice()
                               : cermet::Device::named(common.device);
}

void print_accuracy(double accuracy) { fmt::print("test accuracy: {:.2f} %\n", 100 * accuracy); }

int train(const Common& common, cermet::TrainingOptions options, const std::string& optimizer) {
  options.optimizer = cermet::optimizer_kind(optimizer);
  cermet::check_options(options);
  const auto folder = cermet::find_digit_data(common.data);
  const auto training_set = cermet::load_digits(folder, true),
             test_set = cermet::load_digits(folder, false);
  const auto device = device_of(common);
  fmt::print("training on {} images, testing on {}, {}\n", training_set.count, test_set.count,
             device.name());
  std::fflush(stdout);
  std::signal(SIGINT, on_interrupt);
  std::signal(SIGTERM, on_interrupt);
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // a full disk or quota becomes an error message
#endif
  const auto report =
      cermet::train_digits(device, training_set, test_set, options, stdout, stop_requested);
  if (report.stopped) {
    fmt::print("stopped; go on with: {} --resume\n", options.command);
    return 130;
  }
  fmt::print("saved {}\n", (options.out / "model.safetensors").string());
  print_accuracy(report.test_accuracy);
  return 0;
}

int evaluate(const Common& common, const std::string& model) {
  const auto set = cermet::load_digits(cermet::find_digit_data(common.data), false);
  print_accuracy(cermet::evaluate_digits(device_of(common), model, set));
  return 0;
}

int info(const Common& common) {
  const auto device = device_of(common);
  fmt::print("cermet {}\ndevice: {}\n", CERMET_VERSION, device.name());
  for (const auto& found : cermet::list_devices()) {
    const std::string memory =
        found.memory == 0 ? "" : fmt::format(", {:.0f} GiB", std::ldexp(double(found.memory), -30));
    fmt::print("  {:8} {}{}\n", found.name,
               found.problem.empty() ? found.description : found.problem, memory);
  }
  return 0;
}

std::string without_resume(int count, char** words) {
  std::string text;
  for (int i = 0; i < count; ++i) {
    const std::string word = i == 0 ? "cermet" : words[i];
    if (word != "--resume") text += (text.empty() ? "" : " ") + word;
  }
  return text;
}

int run(int argc, char** argv) {
  CLI::App app{"Neural-network training with the kernels of Metal Performance Shaders, on Linux"};
  app.require_subcommand(1);
  app.set_version_flag("--version", CERMET_VERSION);
  Common common;
  cermet::TrainingOptions options;
  std::string optimizer = "adam", model, out = options.out.string();

  const auto with_common = [&](CLI::App* command, bool data) {
    command->add_option(
        "--device", common.device,
        "cpu, cpu:N (N threads), cuda or cuda:N (GPU N); default: $CERMET_DEVICE, else cpu");
    if (data) {
      command
          ->add_option("--data", common.data,
                       "digits (comes with cermet), mnist (the full set), or a folder")
          ->capture_default_str();
    }
  };
  auto* train_command = app.add_subcommand("train", "Train a CNN on handwritten digits");
  train_command->add_option("--epochs", options.epochs, "Passes over the training images")
      ->capture_default_str();
  train_command->add_option("--batch", options.batch, "Images in a step")->capture_default_str();
  train_command
      ->add_option("--learning-rate", options.learning_rate,
                   "At the start; decays along half a cosine")
      ->capture_default_str();
  train_command->add_option("--optimizer", optimizer, "sgd, momentum, rmsprop or adam")
      ->capture_default_str();
  train_command->add_option("--seed", options.seed, "Of initial weights, order and dropout")
      ->capture_default_str();
  train_command->add_option("--out", out, "Folder for the model, metrics and checkpoint")
      ->capture_default_str();
  train_command->add_flag("--resume", options.resume, "Go on from the checkpoint in --out");
  with_common(train_command, true);
  auto* eval_command = app.add_subcommand("eval", "Measure a saved model on the test images");
  eval_command->add_option("model", model, "model.safetensors of a run")->required();
  with_common(eval_command, true);
  auto* check_command =
      app.add_subcommand("check", "Compare gradients of kernels with difference quotients");
  CheckCommand checked;
  // An unsigned option would take -1 for a huge number.
  const auto not_negative = [](const std::string& text) {
    return text.starts_with('-') ? "got " + text + ", needed a number from 0 on" : std::string();
  };
  check_command->add_option("--kernel", checked.kernel, "A forward class; default: every one");
  check_command->add_option("--set", checked.settings,
                            "name=value of a parameter, as often as needed; --list names them");
  check_command->add_option("--images", checked.images,
                            "Images x height x width x feature channels; default 2x7x5x3");
  check_command->add_option("--format", checked.format, "float32 (default) or float16");
  check_command->add_option("--seed", checked.seed, "Of all values")
      ->check(not_negative)
      ->capture_default_str();
  check_command
      ->add_option("--elements", checked.elements,
                   "Of each tensor to compare; 0: all of them; default 64, with --all 16")
      ->check(not_negative);
  check_command->add_option("--tolerance", checked.tolerance,
                            "Of the largest element of a gradient; default 1e-3, float16 1e-2");
  check_command->add_flag("--all", checked.all,
                          "Every value of every parameter, pairs of them, shapes and formats");
  check_command->add_flag("--list", checked.list, "Print the kernels and their parameters");
  with_common(check_command, false);
  auto* info_command = app.add_subcommand("info", "Print version and device");
  with_common(info_command, false);
  CLI11_PARSE(app, argc, argv);

  options.out = out;
  options.command = without_resume(argc, argv);
  if (*train_command) return train(common, options, optimizer);
  if (*check_command) {
    checked.device = common.device;
    return check(checked);
  }
  if (*eval_command) return evaluate(common, model);
  return info(common);
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& problem) {
    fmt::print(stderr, "cermet: {}\n", problem.what());
    return 1;
  }
}
