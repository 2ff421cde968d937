#include "check.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

#include "cermet/check/kernel_check.h"
#include "cermet/core/error.h"

namespace {

using cermet::CheckedImages;
using cermet::CheckSetting;
using cermet::CheckSettings;
using Format = cermet::ImageFeatureChannelFormat;

constexpr double float32_tolerance = 1e-3, float16_tolerance = 1e-2;
constexpr double value_tolerance = 1e-5;  // of results, against another device
constexpr std::size_t usual_elements = 64, sweep_elements = 16;

// ---- Reading the options ------------------------------------------------------------------------

[[noreturn]] void refuse(std::string_view option, std::string got, std::string needed) {
  cermet::fail({"check", "", option, std::move(got), std::move(needed), ""});
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
    if (!settings.emplace(word.substr(0, equals), *value).second)
      refuse("--set", fmt::format("\"{}\" twice", word.substr(0, equals)), "each name once");
  }
  return settings;
}

CheckedImages images_in(const std::string& text) {
  CheckedImages images;
  const char *at = text.data(), *const end = at + text.size();
  const auto extent = [&](char behind) {
    std::size_t value = 0;
    const auto [next, problem] = std::from_chars(at, end, value);
    const bool is_last = behind == '\0';
    if (problem != std::errc() || value == 0 ||
        (is_last ? next != end : next == end || *next != behind)) {
      refuse("--images", fmt::format("\"{}\"", text),
             "images x height x width x channels, as 2x7x5x3");
    }
    at = is_last ? next : next + 1;
    return value;
  };
  images.count = extent('x');
  images.height = extent('x');
  images.width = extent('x');
  images.featureChannels = extent('\0');
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
    /// Whether something is wrong, not merely undecided or below rounding.
    bool failed = false;
    /// NaN if any is.
    [[nodiscard]] double error() const {
      double most = values;
      for (const auto& one : gradients)
        if (!(one.error <= most)) most = one.error;
      return most;
    }
  };
  using Made = std::unique_ptr<cermet::Differentiable>;

  /// Throws InvalidArgument where the kernel refuses its settings or the images.
  [[nodiscard]] Made make(const Case& one) const {
    Made computation = cermet::make_check(device_, one.kernel, one.settings, one.images);
    static_cast<void>(computation->results(point_of(*computation)));
    return computation;
  }
  [[nodiscard]] Found run(const Case& one, cermet::Differentiable& computation) const {
    Found found;
    if (cermet::has_gradient(one.kernel)) {
      cermet::GradientCheckOptions options;
      options.seed = one.images.seed;
      options.elements = command_.elements.value_or(command_.all ? sweep_elements : usual_elements);
      options.tolerance = tolerance(one);
      found.gradients = cermet::check_gradient(computation, options);
    }
    const Made reference = cermet::make_check(reference_, one.kernel, one.settings, one.images);
    found.values = difference(computation, *reference);
    const bool same = found.values <= value_tolerance;
    found.passed = cermet::passed(found.gradients) && same;
    found.failed = !same || !std::ranges::all_of(found.gradients, [&](const auto& gradient) {
      return gradient.error <= tolerance(one);
    });
    return found;
  }

  /// The command that checks this case again.
  [[nodiscard]] std::string repeat(const Case& one) const {
    std::string text = fmt::format("cermet check --kernel {}{} --images {}", one.kernel,
                                   settings_text(one.settings), images_text(one.images));
    if (one.images.format == Format::Float16) text += " --format float16";
    if (one.images.seed != 1) text += fmt::format(" --seed {}", one.images.seed);
    if (command_.elements || command_.all)
      text += fmt::format(" --elements {}", command_.elements.value_or(sweep_elements));
    if (command_.tolerance) text += fmt::format(" --tolerance {}", *command_.tolerance);
    const char* const chosen = std::getenv("CERMET_DEVICE");
    if (!command_.device.empty()) {
      text += fmt::format(" --device {}", command_.device);
    } else if (chosen != nullptr && *chosen != '\0') {
      text += fmt::format(" --device {}", chosen);
    }
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
    if (command_.tolerance) return *command_.tolerance;
    return one.images.format == Format::Float16 ? float16_tolerance : float32_tolerance;
  }
  static cermet::CheckedPoint point_of(const cermet::Differentiable& computation) {
    cermet::CheckedPoint point;
    for (auto& variable : computation.variables()) point.push_back(std::move(variable.values));
    return point;
  }
  /// Of the results in float32, of the size of the largest; NaN and infinities must be the same.
  static double difference(cermet::Differentiable& a, cermet::Differentiable& b) {
    const cermet::CheckedPoint point = point_of(a);
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

/// A line for each kernel, and everything about a case that failed. Not every pair of settings
/// makes a kernel: those are counted as refused, and a kernel that refuses all of them fails. Cases
/// in which no error was found, but too few elements could be compared, are open.
int check_cases(const Checker& checker, const std::string& kernel, const std::vector<Case>& cases) {
  std::size_t passed = 0, failed = 0, refused = 0, open = 0;
  double worst = 0;
  std::string refusal;
  const auto fail_with = [&](const Case& one, const std::exception& problem) {
    ++failed;
    fmt::print("{}{}, {}\n  FAILED: {}\nrepeat: {}\n", one.kernel, settings_text(one.settings),
               images_text(one.images), problem.what(), checker.repeat(one));
  };
  for (const Case& one : cases) {
    Checker::Made computation;
    try {
      computation = checker.make(one);
    } catch (const cermet::InvalidArgument& problem) {
      ++refused;
      refusal = problem.what();
      continue;
    } catch (const std::exception& problem) {
      fail_with(one, problem);
      continue;
    }
    try {
      const Checker::Found found = checker.run(one, *computation);
      if (!(found.error() <= worst)) worst = found.error();
      if (found.passed) {
        ++passed;
      } else if (!found.failed && cases.size() > 1) {
        ++open;
      } else {
        ++failed;
        checker.print(one, found);
      }
    } catch (const std::exception& problem) {
      fail_with(one, problem);
    }
  }
  if (passed + failed == 0) fmt::print("{}\n  refused: {}\n", kernel, refusal);
  std::string others = refused > 0 ? fmt::format(", {} refused", refused) : "";
  if (open > 0) others += fmt::format(", {} open", open);
  fmt::print("{:<38} {:>5} passed, {} failed{}, largest error {:.1e}{}\n", kernel, passed, failed,
             others, worst, cermet::has_gradient(kernel) ? "" : " (no gradient)");
  std::fflush(stdout);
  return failed == 0 && passed > 0 ? 0 : 1;
}

void list(const std::vector<std::string>& kernels) {
  for (const std::string& kernel : kernels) {
    fmt::print("{}{}\n ", kernel, cermet::has_gradient(kernel) ? "" : " (no gradient)");
    for (const CheckSetting& setting : cermet::check_settings(kernel))
      fmt::print(" {}={}", setting.name, setting.value);
    fmt::print("\n");
  }
}

}  // namespace

int check(const CheckCommand& command) {
  const bool is_one = !command.kernel.empty();
  if (is_one) static_cast<void>(cermet::check_settings(command.kernel));  // refuses unknown names
  const std::vector<std::string> kernels =
      is_one ? std::vector{command.kernel} : cermet::checked_kernels();
  if (command.list) {
    list(kernels);
    return 0;
  }
  if (command.all && (command.images || command.format || !command.settings.empty())) {
    refuse("--all", "with --images, --format or --set",
           "without them: it goes through all of them");
  }
  const CheckSettings settings = settings_in(command.settings);
  if (!settings.empty() && !is_one)
    refuse("--set", "without --kernel", "one kernel, whose settings these are");
  CheckedImages images = command.images ? images_in(*command.images) : CheckedImages();
  if (command.format) images.format = format_in(*command.format);
  images.seed = command.seed;
  const Checker checker(command);
  if (is_one && !command.all) {
    const Case one{command.kernel, settings, images};
    const Checker::Found found = checker.run(one, *checker.make(one));
    checker.print(one, found);
    return found.passed ? 0 : 1;
  }
  int result = 0;
  for (const std::string& kernel : kernels) {
    result |= check_cases(
        checker, kernel,
        command.all ? sweep(kernel, command.seed) : std::vector<Case>{{kernel, {}, images}});
  }
  return result;
}
