#include "check.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <optional>

#include "cermet/check/kernel_check.h"
#include "cermet/core/error.h"

namespace {

using cermet::CheckedImages;
using cermet::CheckSetting;
using cermet::CheckSettings;
using Format = cermet::ImageFeatureChannelFormat;

constexpr double float32_tolerance = 1e-3, float16_tolerance = 1e-2;
constexpr double value_tolerance = 1e-5;  // of results, against another device
constexpr std::size_t sweep_elements = 16;

// ---- Reading the options ------------------------------------------------------------------------

[[noreturn]] void refuse(std::string_view option, std::string got, std::string needed) {
  cermet::fail({"cermet check", "", option, std::move(got), std::move(needed), ""});
}

std::optional<double> number_in(std::string_view text) {
  double value = 0;
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

CheckSettings settings_in(const std::vector<std::string>& words) {
  CheckSettings settings;
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const auto value = equals == std::string::npos
                           ? std::nullopt
                           : number_in(std::string_view(word).substr(equals + 1));
    if (!value) refuse("--set", fmt::format("\"{}\"", word), "name=number, as kernelWidth=3");
    settings[word.substr(0, equals)] = *value;
  }
  return settings;
}

CheckedImages images_in(const std::string& text) {
  CheckedImages images;
  std::size_t* const extents[]{&images.count, &images.height, &images.width,
                               &images.featureChannels};
  const char* at = text.data();
  const char* const end = text.data() + text.size();
  for (std::size_t* extent : extents) {
    const auto [next, problem] = std::from_chars(at, end, *extent);
    const bool is_last = extent == extents[3];
    if (problem != std::errc() || *extent == 0 ||
        (is_last ? next != end : next == end || *next != 'x'))
      refuse("--images", fmt::format("\"{}\"", text),
             "images x height x width x channels, as 2x7x5x3");
    at = next + 1;
  }
  return images;
}

Format format_in(const std::string& text) {
  if (text == "float32") return Format::Float32;
  if (text == "float16") return Format::Float16;
  refuse("--format", fmt::format("\"{}\"", text), "float32 or float16");
}

// ---- One check ----------------------------------------------------------------------------------

/// What is checked, and the words that name it.
struct Case {
  std::string kernel;
  CheckSettings settings;
  CheckedImages images;
};

std::string settings_text(const CheckSettings& settings) {
  std::string text;
  for (const auto& [name, value] : settings) text += fmt::format(" --set {}={}", name, value);
  return text;
}
std::string images_text(const CheckedImages& images) {
  return fmt::format("{}x{}x{}x{}", images.count, images.height, images.width,
                     images.featureChannels);
}

class Checker {
 public:
  explicit Checker(const CheckCommand& command)
      : command_(command),
        device_(command.device.empty() ? cermet::CreateSystemDefaultDevice()
                                       : cermet::Device::named(command.device)),
        reference_(cermet::Device::named("cpu:1")) {}

  struct Found {
    std::vector<cermet::CheckedGradient> gradients;
    double values = 0;  // largest difference from the reference, of the largest result
    bool passed = true;
    [[nodiscard]] double error() const {
      double most = values;
      for (const auto& one : gradients) most = std::max(most, one.error);
      return most;
    }
  };

  [[nodiscard]] Found run(const Case& one, std::size_t elements) const {
    Found found;
    const auto computation = cermet::make_check(device_, one.kernel, one.settings, one.images);
    if (cermet::has_gradient(one.kernel)) {
      cermet::GradientCheckOptions options;
      options.seed = one.images.seed;
      options.elements = elements;
      options.tolerance = tolerance(one);
      found.gradients = cermet::check_gradient(*computation, options);
    }
    const auto reference = cermet::make_check(reference_, one.kernel, one.settings, one.images);
    found.values = difference(*computation, *reference);
    found.passed = cermet::passed(found.gradients) && found.values <= value_tolerance;
    return found;
  }

  [[nodiscard]] std::string repeat(const Case& one) const {
    std::string text = fmt::format("cermet check --kernel {}{} --images {}", one.kernel,
                                   settings_text(one.settings), images_text(one.images));
    if (one.images.format == Format::Float16) text += " --format float16";
    if (one.images.seed != 1) text += fmt::format(" --seed {}", one.images.seed);
    if (!command_.device.empty()) text += fmt::format(" --device {}", command_.device);
    return text;
  }

  void print(const Case& one, const Found& found) const {
    fmt::print("{}{}, {} of {} on {}\n{}", one.kernel, settings_text(one.settings),
               images_text(one.images),
               one.images.format == Format::Float16 ? "float16" : "float32", device_.name(),
               cermet::text_of(found.gradients));
    fmt::print("  results    as on {}: largest difference {:.1e}  {}\n", reference_.name(),
               found.values, found.values <= value_tolerance ? "passed" : "FAILED");
    fmt::print("repeat: {}\n", repeat(one));
  }

 private:
  [[nodiscard]] double tolerance(const Case& one) const {
    if (command_.tolerance > 0) return command_.tolerance;
    return one.images.format == Format::Float16 ? float16_tolerance : float32_tolerance;
  }
  /// Of the results in float32, of the size of the largest; NaN and infinities must be the same.
  static double difference(cermet::Differentiable& a, cermet::Differentiable& b) {
    cermet::CheckedPoint point;
    for (auto& variable : a.variables()) point.push_back(std::move(variable.values));
    const std::vector<float> x = a.results(point), y = b.results(point);
    if (x.size() != y.size()) return std::numeric_limits<double>::infinity();
    double most = 0, size = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double got = x[i], wanted = y[i];
      if (got == wanted || (std::isnan(got) && std::isnan(wanted))) continue;
      if (!std::isfinite(got) || !std::isfinite(wanted))
        return std::numeric_limits<double>::infinity();
      most = std::max(most, std::abs(got - wanted));
    }
    for (const float value : y)
      if (std::isfinite(value)) size = std::max(size, std::abs(static_cast<double>(value)));
    return most == 0 ? 0 : most / size;
  }

  const CheckCommand& command_;
  cermet::Device device_, reference_;
};

// ---- Several ------------------------------------------------------------------------------------

/// The defaults; every other value by itself, and every pair of them.
std::vector<CheckSettings> variations(const std::string& kernel, bool pairs) {
  const std::vector<CheckSetting> settings = cermet::check_settings(kernel);
  std::vector<CheckSettings> all{{}};
  for (const CheckSetting& one : settings)
    for (const double value : one.others) all.push_back({{one.name, value}});
  if (!pairs) return all;
  for (std::size_t i = 0; i < settings.size(); ++i)
    for (std::size_t j = i + 1; j < settings.size(); ++j)
      for (const double a : settings[i].others)
        for (const double b : settings[j].others)
          all.push_back({{settings[i].name, a}, {settings[j].name, b}});
  return all;
}

std::vector<Case> sweep(const std::string& kernel, std::uint64_t seed) {
  std::vector<Case> all;
  const auto add = [&](const CheckSettings& settings, CheckedImages images, Format format) {
    images.format = format;
    images.seed = seed;
    all.push_back({kernel, settings, images});
  };
  const CheckedImages usual;
  for (const CheckSettings& settings : variations(kernel, true))
    add(settings, usual, Format::Float32);
  for (const CheckedImages& images :
       {CheckedImages{1, 1, 1, 1}, CheckedImages{7, 3, 2, 5}, CheckedImages{1, 9, 16, 8},
        CheckedImages{2, 2, 13, 4}, usual})
    for (const Format format : {Format::Float32, Format::Float16})
      for (const CheckSettings& settings : variations(kernel, false)) add(settings, images, format);
  return all;
}

/// A line for each kernel, and everything about a case that failed.
int check_cases(const Checker& checker, const std::string& kernel, const std::vector<Case>& cases,
                std::size_t elements) {
  std::size_t passed = 0, failed = 0, refused = 0;
  double worst = 0;
  for (const Case& one : cases) {
    try {
      const Checker::Found found = checker.run(one, elements);
      worst = std::max(worst, found.error());
      if (found.passed) {
        ++passed;
      } else {
        ++failed;
        checker.print(one, found);
      }
    } catch (const cermet::InvalidArgument& problem) {
      ++refused;
      if (!one.settings.empty()) continue;  // not every pair of values makes a kernel
      if (cases.size() == 1) {
        ++failed;
        fmt::print("{}\n  refused: {}\n", one.kernel, problem.what());
      }
    }
  }
  const std::string others = refused > 0 ? fmt::format(", {} refused", refused) : "";
  fmt::print("{:<38} {:>5} passed, {} failed{}, largest error {:.1e}{}\n", kernel, passed, failed,
             others, worst, cermet::has_gradient(kernel) ? "" : " (no gradient)");
  std::fflush(stdout);
  return failed == 0 && passed > 0 ? 0 : 1;
}

void list() {
  for (const std::string& kernel : cermet::checked_kernels()) {
    fmt::print("{}{}\n ", kernel, cermet::has_gradient(kernel) ? "" : " (no gradient)");
    for (const CheckSetting& setting : cermet::check_settings(kernel))
      fmt::print(" {}={}", setting.name, setting.value);
    fmt::print("\n");
  }
}

}  // namespace

int check(const CheckCommand& command) {
  if (command.list) {
    list();
    return 0;
  }
  CheckedImages images = images_in(command.images);
  images.format = format_in(command.format);
  images.seed = command.seed;
  const CheckSettings settings = settings_in(command.settings);
  const Checker checker(command);
  if (!command.kernel.empty() && !command.all) {
    const Case one{command.kernel, settings, images};
    const Checker::Found found = checker.run(one, command.elements);
    checker.print(one, found);
    return found.passed ? 0 : 1;
  }
  if (!settings.empty())
    refuse("--set", "without --kernel", "one kernel, whose settings these are");
  int result = 0;
  for (const std::string& kernel : cermet::checked_kernels()) {
    if (!command.kernel.empty() && kernel != command.kernel) continue;
    const auto cases =
        command.all ? sweep(kernel, command.seed) : std::vector<Case>{{kernel, {}, images}};
    result |= check_cases(checker, kernel, cases, command.all ? sweep_elements : command.elements);
  }
  return result;
}
