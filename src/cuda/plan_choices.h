#pragma once
// Which of several plans is the fastest, measured once on a card and kept in a file, so that later
// runs take the same one and give the same bits.

#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

namespace cermet::cuda {

class PlanChoices {
 public:
  /// `card`: its name and the library's version; choices of another card are not looked at.
  explicit PlanChoices(std::string card) : card_(std::move(card)) {}

  /// Index of the plan to take for `problem`. `names` tell the plans apart; `measure(i)` gives
  /// microseconds of plan i. An earlier plan stays unless a later one is 5 % faster.
  [[nodiscard]] std::size_t choose(const std::string& problem,
                                   const std::vector<std::string>& names,
                                   const std::function<float(std::size_t)>& measure);

 private:
  void read_locked();
  std::string card_;
  std::mutex mutex_;
  bool read_ = false;
  std::map<std::string, std::string> chosen_;  // by card and problem
};

}  // namespace cermet::cuda
