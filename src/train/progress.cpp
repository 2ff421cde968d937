#include "cermet/train/progress.h"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <string_view>
#include <vector>

#include "cermet/core/error.h"

namespace cermet {
namespace {

constexpr int usual_columns = 80;
constexpr double seconds_between_draws = 0.1;
constexpr std::string_view erase_line = "\r\x1b[K";

bool is_live(std::FILE* stream) {
  if (stream == nullptr || ::isatty(::fileno(stream)) == 0) return false;
  const char* terminal = std::getenv("TERM");
  return terminal == nullptr || std::string_view(terminal) != "dumb";  // dumb: cannot erase
}

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

/// "[=====>    ]" in exactly `width` characters.
std::string bar_text(double share, int width) {
  const int inside = width - 2;
  const int filled = std::clamp(static_cast<int>(share * inside), 0, inside);
  std::string text(static_cast<std::size_t>(filled), '=');
  if (filled < inside) text += '>';
  return fmt::format("[{:<{}}]", text, inside);
}

std::string rate_text(double images_per_second) {
  return fmt::format("{:.{}f} images/s", images_per_second, images_per_second < 10 ? 1 : 0);
}

std::string epoch_text(const ProgressValues& values) {
  return fmt::format("epoch {:>{}}/{}", values.epoch, fmt::formatted_size("{}", values.epochs),
                     values.epochs);
}

void write_text(std::FILE* stream, std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stream);
  std::fflush(stream);
}

}  // namespace

std::string duration_text(double seconds) {
  constexpr double longest = 359999;  // 99:59:59
  if (!(seconds <= longest)) return ">99 h";
  const int whole = static_cast<int>(std::lround(std::max(seconds, 0.0)));
  const int minutes = whole / 60;
  if (minutes < 60) return fmt::format("{}:{:02}", minutes, whole % 60);
  return fmt::format("{}:{:02}:{:02}", minutes / 60, minutes % 60, whole % 60);
}

std::string progress_line(const ProgressValues& values, int columns) {
  constexpr int narrowest_bar = 8;
  constexpr int widest_bar = 40;
  const auto width = static_cast<std::size_t>(std::max(columns, 0));
  const double share =
      std::isfinite(values.share_done) ? std::clamp(values.share_done, 0.0, 1.0) : 0.0;

  const std::string epoch = epoch_text(values);
  std::vector<std::string> fields = {fmt::format("loss {:.4f}", values.loss)};
  if (values.accuracy) fields.push_back(fmt::format("acc {:.2f} %", *values.accuracy * 100));
  fields.push_back(rate_text(values.images_per_second));
  if (values.seconds_left) fields.push_back(duration_text(*values.seconds_left) + " left");

  const auto joined = [&](std::string_view start) {
    std::string line(start);
    for (const std::string& field : fields) line.append("  ").append(field);
    return line;
  };
  const std::size_t without_bar = joined(epoch).size();
  if (without_bar + 2 + narrowest_bar <= width) {
    const auto room = static_cast<int>(std::min<std::size_t>(width - without_bar - 2, widest_bar));
    return joined(epoch + "  " + bar_text(share, room));
  }
  while (!fields.empty() && joined(epoch).size() > width) fields.pop_back();
  return joined(epoch).substr(0, width);
}

ProgressBar::ProgressBar(std::FILE* stream, ProgressPlan plan, Clock clock)
    : stream_(stream),
      plan_(plan),
      clock_(clock ? std::move(clock) : Clock(steady_seconds)),
      live_(is_live(stream)) {
  if (plan.epochs < 1 || plan.images_per_epoch < 1) {
    fail({"ProgressBar", "", "plan",
          fmt::format("{} epochs of {} images", plan.epochs, plan.images_per_epoch),
          "one or more of each", "Pass the plan of the run."});
  }
}

ProgressBar::~ProgressBar() { clear(); }

void ProgressBar::begin_epoch(int epoch) {
  if (epoch < 1 || epoch > plan_.epochs) {
    fail({"ProgressBar", "", "epoch", fmt::format("{}", epoch),
          fmt::format("1 to {}", plan_.epochs), "Count epochs from 1."});
  }
  epoch_start_ = clock_();
  if (epoch_ == 0) run_start_ = epoch_start_;
  images_before_ += images_done_;
  images_done_ = 0;
  epoch_ = epoch;
}

void ProgressBar::update(std::int64_t images_done, double loss, std::optional<double> accuracy) {
  if (epoch_ == 0) begin_epoch(1);
  images_done_ = images_done;
  if (!live_) return;
  const double now = clock_();
  if (last_draw_ && now - *last_draw_ < seconds_between_draws) return;
  last_draw_ = now;
  draw(values(loss, accuracy, now));
}

void ProgressBar::end_epoch(double loss, std::optional<double> accuracy) {
  if (epoch_ == 0) begin_epoch(1);
  images_done_ = plan_.images_per_epoch;
  if (live_) update(images_done_, loss, accuracy);
  if (live_ || stream_ == nullptr) return;
  const double now = clock_();
  const ProgressValues shown = values(loss, accuracy, now);
  std::string line = fmt::format("{}  loss {:.4f}", epoch_text(shown), loss);
  if (accuracy) line += fmt::format("  accuracy {:.2f} %", *accuracy * 100);
  line += fmt::format("  {}  {:.1f} s\n", rate_text(shown.images_per_second), now - epoch_start_);
  write_text(stream_, line);
}

void ProgressBar::clear() {
  if (!drawn_) return;
  write_text(stream_, erase_line);
  drawn_ = false;
  last_draw_.reset();
}

ProgressValues ProgressBar::values(double loss, std::optional<double> accuracy,
                                   double seconds) const {
  const auto rate = [](std::int64_t images, double elapsed) {
    return elapsed > 0 ? static_cast<double>(images) / elapsed : 0.0;
  };
  ProgressValues shown = {
      .epoch = epoch_,
      .epochs = plan_.epochs,
      .share_done = static_cast<double>(images_done_) / static_cast<double>(plan_.images_per_epoch),
      .loss = loss,
      .accuracy = accuracy,
      .images_per_second = rate(images_done_, seconds - epoch_start_),
      .seconds_left = {}};
  // From the whole run, so that the pauses between epochs (tests, checkpoints) count too.
  const double run_rate = rate(images_before_ + images_done_, seconds - run_start_);
  const auto epochs_left = static_cast<double>(plan_.epochs - epoch_) + 1 - shown.share_done;
  const double images_left = epochs_left * static_cast<double>(plan_.images_per_epoch);
  if (run_rate > 0) shown.seconds_left = std::max(images_left, 0.0) / run_rate;
  return shown;
}

void ProgressBar::draw(const ProgressValues& shown) {
  // One column stays free: some terminals wrap when the last one is written.
  const std::string line = progress_line(shown, columns() - 1);
  write_text(stream_, fmt::format("\r{}\x1b[K", line));
  drawn_ = true;
}

int ProgressBar::columns() const {
  struct winsize size = {};
  if (::ioctl(::fileno(stream_), TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return usual_columns;
}

}  // namespace cermet
