#include "cuda/plan_choices.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace cermet::cuda {
namespace {

namespace fs = std::filesystem;

/// $CERMET_CUDA_PLANS, else cermet/cuda_plans in the user's cache folder; empty: nowhere.
fs::path file() {
  const auto variable = [](const char* name) -> std::string {
    const char* value = std::getenv(name);
    return value != nullptr ? value : "";
  };
  if (const std::string named = variable("CERMET_CUDA_PLANS"); !named.empty()) return named;
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    return fs::path(cache) / "cermet" / "cuda_plans";
  if (const std::string home = variable("HOME"); !home.empty())
    return fs::path(home) / ".cache" / "cermet" / "cuda_plans";
  return {};
}

}  // namespace

void PlanChoices::read_locked() {
  if (read_) return;
  read_ = true;
  std::ifstream stream(file());
  for (std::string line; std::getline(stream, line);) {  // problem, a tab, the plan
    const auto tab = line.rfind('\t');
    if (tab != std::string::npos) chosen_[line.substr(0, tab)] = line.substr(tab + 1);
  }
}

std::size_t PlanChoices::choose(const std::string& problem, const std::vector<std::string>& names,
                                const std::function<float(std::size_t)>& measure) {
  if (names.size() == 1) return 0;
  const std::string key = card_ + "; " + problem;
  const std::scoped_lock lock(mutex_);
  read_locked();
  if (const auto known = chosen_.find(key); known != chosen_.end()) {
    const auto plan = std::find(names.begin(), names.end(), known->second);
    if (plan != names.end()) return static_cast<std::size_t>(plan - names.begin());
  }
  std::size_t best = 0;
  float least = measure(0);
  for (std::size_t i = 1; i < names.size(); ++i) {
    const float time = measure(i);
    if (time >= 0.95F * least) continue;
    least = time;
    best = i;
  }
  chosen_[key] = names[best];
  const fs::path path = file();
  if (!path.empty()) {  // a file that cannot be written costs a measurement in the next run
    std::error_code ignored;
    fs::create_directories(path.parent_path(), ignored);
    std::ofstream(path, std::ios::app) << key + "\t" + names[best] + "\n" << std::flush;
  }
  return best;
}

}  // namespace cermet::cuda
