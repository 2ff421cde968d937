#include "check/catalog.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace cermet {
namespace {

using detail::Catalog;
using detail::CatalogEntry;

Catalog make_catalog() {
  Catalog all;
  for (auto&& family : {detail::operator_checks(), detail::image_checks(),
                        detail::weighted_checks(), detail::binary_checks(), detail::loss_checks(),
                        detail::matrix_checks(), detail::recurrent_checks()})
    all.insert(all.end(), family.begin(), family.end());
  std::ranges::sort(all, {}, &CatalogEntry::kernel);
  return all;
}
const Catalog& catalog() {
  static const Catalog made = make_catalog();
  return made;
}

const CatalogEntry& find(std::string_view kernel) {
  const auto found = std::ranges::find(catalog(), kernel, &CatalogEntry::kernel);
  if (found == catalog().end()) {
    fail({"check", "", "kernel", fmt::format("\"{}\"", kernel),
          "the name of a class of forward kernels, as CNNConvolution",
          "`cermet check --list` prints them."});
  }
  return *found;
}

}  // namespace

std::vector<std::string> checked_kernels() {
  std::vector<std::string> names;
  for (const CatalogEntry& entry : catalog()) names.emplace_back(entry.kernel);
  return names;
}

std::vector<CheckSetting> check_settings(std::string_view kernel) { return find(kernel).settings; }

bool has_gradient(std::string_view kernel) { return find(kernel).has_gradient; }

std::unique_ptr<Differentiable> make_check(const Device& device, std::string_view kernel,
                                           const CheckSettings& settings,
                                           const CheckedImages& images) {
  const CatalogEntry& entry = find(kernel);
  CheckSettings complete;
  for (const CheckSetting& setting : entry.settings) complete[setting.name] = setting.value;
  for (const auto& [name, value] : settings) {
    const auto place = complete.find(name);
    if (place == complete.end()) {
      std::string known;
      for (const CheckSetting& setting : entry.settings)
        known += (known.empty() ? "" : ", ") + setting.name;
      fail({entry.kernel, "", "setting", fmt::format("\"{}\"", name), "one of " + known, ""});
    }
    place->second = value;
  }
  return entry.make(device, detail::Settings(entry.kernel, std::move(complete)), images);
}

// ---- One source ---------------------------------------------------------------------------------

namespace detail {

std::int64_t Settings::whole(const std::string& name) const {
  constexpr double most = 0x1p53;
  const double value = values_.at(name);
  if (!(std::abs(value) <= most) || value != std::trunc(value))
    fail({kernel_, "", name, fmt::format("{}", value), "a whole number", ""});
  return static_cast<std::int64_t>(value);
}

std::size_t Settings::size(const std::string& name) const {
  constexpr std::int64_t most = 1 << 20;
  const std::int64_t value = whole(name);
  if (value < 0 || value > most)
    fail({kernel_, "", name, fmt::format("{}", value), fmt::format("0 to {}", most), ""});
  return static_cast<std::size_t>(value);
}

namespace {

const std::vector<CheckSetting>& placement() {
  static const std::vector<CheckSetting> settings{
      {"edgeMode", 0, {1}},
      {"offsetX", 0, {1}},
      {"offsetY", 0, {-1}},
      {"destinationWidth", 0, {2}},
      {"destinationHeight", 0, {3}},
      {"paddingMethod", -1, {static_cast<double>(NNPaddingMethod::SizeValidOnly)}},
      {"sourceFeatureChannelOffset", 0, {}},
      {"sourceFeatureChannelMaxCount", 0, {2}},
  };
  return settings;
}

void place(CNNKernel& kernel, const Settings& s) {
  kernel.setEdgeMode(s.choice<ImageEdgeMode>("edgeMode"));
  kernel.setOffset({s.choice<std::ptrdiff_t>("offsetX"), s.choice<std::ptrdiff_t>("offsetY"), 0});
  if (s.whole("paddingMethod") >= 0)
    kernel.setPadding(NNDefaultPadding::padding(s.choice<NNPaddingMethod>("paddingMethod")));
  kernel.setSourceFeatureChannelOffset(s.size("sourceFeatureChannelOffset"));
  if (s.size("sourceFeatureChannelMaxCount") > 0)
    kernel.setSourceFeatureChannelMaxCount(s.size("sourceFeatureChannelMaxCount"));
}

}  // namespace

CatalogEntry unary_check(std::string_view kernel, std::vector<CheckSetting> settings,
                         PairMaker make, bool has_gradient) {
  for (const CheckSetting& one : placement()) {
    if (std::ranges::find(settings, one.name, &CheckSetting::name) == settings.end())
      settings.push_back(one);
  }
  return {kernel, has_gradient, std::move(settings),
          [make = std::move(make)](const Device& device, const Settings& s,
                                   const CheckedImages& images) -> std::unique_ptr<Differentiable> {
            const KernelPair pair = make(device, s, images);
            place(*pair.forward, s);
            auto check = std::make_unique<CheckedKernel>(pair.forward, pair.gradient, images);
            if (s.size("destinationWidth") > 0 || s.size("destinationHeight") > 0) {
              // The size by the policy says how many channels there are; it also sets an offset.
              const Offset offset = pair.forward->offset();
              const Image source(
                  device, ImageDescriptor::imageDescriptor(images.format, images.width,
                                                           images.height, images.featureChannels));
              const ImageDescriptor planned =
                  pair.forward->destinationImageDescriptor(std::array{source}, {});
              pair.forward->setOffset(offset);
              const auto extent = [&](const std::string& name, std::size_t otherwise) {
                return s.size(name) > 0 ? s.size(name) : otherwise;
              };
              check->setDestination(extent("destinationHeight", planned.height),
                                    extent("destinationWidth", planned.width),
                                    planned.featureChannels);
            }
            return check;
          }};
}

}  // namespace detail
}  // namespace cermet
