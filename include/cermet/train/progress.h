#pragma once
// Where a training run stands: one live line on a terminal, one plain line per epoch elsewhere.

#include <cstdint>
#include <cstdio>
#include <functional>
#include <optional>
#include <string>

namespace cermet {

struct ProgressValues {
  int epoch = 1;  ///< From 1.
  int epochs = 1;
  double share_done = 0;  ///< Of this epoch, 0 to 1.
  double loss = 0;
  std::optional<double> accuracy;  ///< 0 to 1.
  double images_per_second = 0;
  std::optional<double> seconds_left;  ///< Of the whole run.
};

/// One line of at most `columns` characters; in a narrow one the bar goes first, then the fields
/// from the right.
[[nodiscard]] std::string progress_line(const ProgressValues& values, int columns);

/// `m:ss`, from an hour on `h:mm:ss`.
[[nodiscard]] std::string duration_text(double seconds);

struct ProgressPlan {
  int epochs = 1;
  std::int64_t images_per_epoch = 1;
};

/// Draws on the stream given, never elsewhere; a null stream draws nothing. A failed write is
/// ignored: training must not end because nobody watches. One thread at a time.
///   ProgressBar bar(stderr, {.epochs = 3, .images_per_epoch = 60000});
///   for each epoch: bar.begin_epoch(k); per batch: bar.update(images, loss, accuracy); then
///   bar.end_epoch(loss, accuracy)
class ProgressBar {
 public:
  using Clock = std::function<double()>;  ///< Seconds from any origin, never backwards.

  ProgressBar(std::FILE* stream, ProgressPlan plan, Clock clock = {});
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Clears the live line.
  ~ProgressBar();

  /// `epoch` counts from 1; a resumed run starts at a later one.
  void begin_epoch(int epoch);

  /// `images_done` in this epoch. Redraws at most 10 times a second.
  void update(std::int64_t images_done, double loss, std::optional<double> accuracy = {});

  /// Off a terminal, writes the epoch's line.
  void end_epoch(double loss, std::optional<double> accuracy = {});

  /// Removes the live line, so that others can write; the next update brings it back.
  void clear();

 private:
  [[nodiscard]] ProgressValues values(double loss, std::optional<double> accuracy,
                                      double seconds) const;
  void draw(const ProgressValues& shown);
  [[nodiscard]] int columns() const;

  std::FILE* stream_;
  ProgressPlan plan_;
  Clock clock_;
  bool live_;
  bool drawn_ = false;
  int epoch_ = 0;
  std::int64_t images_done_ = 0;
  std::int64_t images_before_ = 0;  ///< In earlier epochs that this bar has seen.
  double run_start_ = 0;
  double epoch_start_ = 0;
  std::optional<double> last_draw_;
};

}  // namespace cermet
