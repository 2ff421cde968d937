#include "cermet/train/progress.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "cermet/core/error.h"
#include "help.h"

namespace cermet {
namespace {

using test::expect_parts;
using test::text_of;

constexpr double infinity = std::numeric_limits<double>::infinity();
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

const ProgressValues half_way = {.epoch = 3,
                                 .epochs = 10,
                                 .share_done = 0.5,
                                 .loss = 0.12344,
                                 .accuracy = 0.9712,
                                 .images_per_second = 12345.6,
                                 .seconds_left = 75};

/// A stream that is a terminal of so many columns, and what was written to it.
class Terminal {
 public:
  explicit Terminal(unsigned short columns) : control_(::posix_openpt(O_RDWR | O_NOCTTY)) {
    const bool ready = ::grantpt(control_) == 0 && ::unlockpt(control_) == 0;
    const char* name = ready ? ::ptsname(control_) : nullptr;
    stream_ = name != nullptr ? std::fopen(name, "w") : nullptr;
    if (stream_ == nullptr) throw std::runtime_error("no pseudo-terminal: is /dev/pts mounted?");
    const struct winsize size = {24, columns, 0, 0};
    EXPECT_EQ(::ioctl(::fileno(stream_), TIOCSWINSZ, &size), 0);
    ::setenv("TERM", "xterm", 1);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;
  ~Terminal() {
    std::fclose(stream_);
    ::close(control_);
  }

  [[nodiscard]] std::FILE* stream() const { return stream_; }
  /// The kernel hands the text over in its own time: a mark sent after it tells when all is there.
  [[nodiscard]] std::string written() const {
    constexpr char mark = '\x01';
    std::fputc(mark, stream_);
    std::fflush(stream_);
    std::string text;
    char letter = 0;
    while (::read(control_, &letter, 1) == 1 && letter != mark) text += letter;
    return text;
  }

 private:
  int control_;
  std::FILE* stream_;
};

/// A stream that is a file.
class PlainStream {
 public:
  PlainStream() : stream_(std::tmpfile()) {}
  PlainStream(const PlainStream&) = delete;
  PlainStream& operator=(const PlainStream&) = delete;
  ~PlainStream() { std::fclose(stream_); }

  [[nodiscard]] std::FILE* stream() const { return stream_; }
  [[nodiscard]] std::string written() const {
    std::string text(4096, '\0');
    std::rewind(stream_);
    text.resize(std::fread(text.data(), 1, text.size(), stream_));
    return text;
  }

 private:
  std::FILE* stream_;
};

TEST(Progress, LineHasEveryField) {
  EXPECT_EQ(progress_line(half_way, 100),
            "epoch  3/10  [================>               ]  loss 0.1234  acc 97.12 %  12346 "
            "images/s  1:15 left");
  EXPECT_EQ(progress_line(half_way, 79),
            "epoch  3/10  [=====>     ]  loss 0.1234  acc 97.12 %  12346 images/s  1:15 left");
}

TEST(Progress, NarrowLinesGiveUpTheBarThenFields) {
  EXPECT_EQ(progress_line(half_way, 73),
            "epoch  3/10  loss 0.1234  acc 97.12 %  12346 images/s  1:15 left");
  EXPECT_EQ(progress_line(half_way, 60), "epoch  3/10  loss 0.1234  acc 97.12 %  12346 images/s");
  EXPECT_EQ(progress_line(half_way, 25), "epoch  3/10  loss 0.1234");
  EXPECT_EQ(progress_line(half_way, 12), "epoch  3/10");
  EXPECT_EQ(progress_line(half_way, 5), "epoch");
  EXPECT_EQ(progress_line(half_way, 0), "");
  EXPECT_EQ(progress_line(half_way, -3), "");
}

TEST(Progress, UnknownFieldsAreLeftOut) {
  ProgressValues values = half_way;
  values.accuracy.reset();
  values.seconds_left.reset();
  const std::string line = progress_line(values, 100);
  EXPECT_EQ(line.find("accuracy"), std::string::npos);
  EXPECT_EQ(line.find("left"), std::string::npos);
}

TEST(Progress, ShowsALossThatIsNotANumber) {
  ProgressValues values = half_way;
  values.loss = not_a_number;
  EXPECT_NE(progress_line(values, 100).find("loss nan"), std::string::npos);
}

TEST(Progress, OnlyADoneEpochIsAFullBar) {
  ProgressValues values = half_way;
  values.share_done = 1;
  expect_parts(progress_line(values, 79), {"[===========]"});
  values.share_done = 0.9999;
  expect_parts(progress_line(values, 79), {"[==========>]"});
  values.share_done = 0;
  expect_parts(progress_line(values, 79), {"[>          ]"});
}

RC_GTEST_PROP(Progress, LineFitsWhateverTheValues, (int columns_seed)) {
  const int columns = columns_seed % 200;
  const auto number = rc::gen::oneOf(rc::gen::arbitrary<double>(),
                                     rc::gen::element(0.0, -1.0, 1e300, infinity, not_a_number));
  const ProgressValues values = {.epoch = *rc::gen::arbitrary<int>(),
                                 .epochs = *rc::gen::arbitrary<int>(),
                                 .share_done = *number,
                                 .loss = *number,
                                 .accuracy = *number,
                                 .images_per_second = *number,
                                 .seconds_left = *number};
  const std::string line = progress_line(values, columns);
  RC_ASSERT(line.size() <= static_cast<std::size_t>(std::max(columns, 0)));
  RC_ASSERT(line.find('\n') == std::string::npos);
}

TEST(Progress, Durations) {
  EXPECT_EQ(duration_text(0), "0:00");
  EXPECT_EQ(duration_text(-5), "0:00");
  EXPECT_EQ(duration_text(59.6), "1:00");
  EXPECT_EQ(duration_text(3599.4), "59:59");
  EXPECT_EQ(duration_text(3600), "1:00:00");
  EXPECT_EQ(duration_text(359999), "99:59:59");
  EXPECT_EQ(duration_text(infinity), ">99 h");
  EXPECT_EQ(duration_text(not_a_number), ">99 h");
}

TEST(Progress, PlainStreamsGetOneLinePerEpoch) {
  const PlainStream plain;
  double now = 100;
  {
    ProgressBar bar(plain.stream(), {.epochs = 2, .images_per_epoch = 1000}, [&] { return now; });
    for (const int epoch : {1, 2}) {
      bar.begin_epoch(epoch);
      for (int batch = 1; batch <= 10; ++batch) bar.update(batch * 100, 0.5, 0.25);
      now += 4;
      bar.end_epoch(0.25 / epoch, 0.5 * epoch);
    }
  }
  EXPECT_EQ(plain.written(),
            "epoch 1/2  loss 0.2500  accuracy 50.00 %  250 images/s  4.0 s\n"
            "epoch 2/2  loss 0.1250  accuracy 100.00 %  250 images/s  4.0 s\n");
}

TEST(Progress, PlainLinesLeaveOutAnUnknownAccuracy) {
  const PlainStream plain;
  double now = 0;
  ProgressBar bar(plain.stream(), {.epochs = 1, .images_per_epoch = 10}, [&] { return now; });
  bar.begin_epoch(1);
  now = 2;
  bar.end_epoch(1);
  EXPECT_EQ(plain.written(), "epoch 1/1  loss 1.0000  5.0 images/s  2.0 s\n");
}

TEST(Progress, TerminalsGetOneLiveLineThatGoesAway) {
  const Terminal terminal(80);
  double now = 0;
  {
    ProgressBar bar(terminal.stream(), {.epochs = 2, .images_per_epoch = 1000},
                    [&] { return now; });
    bar.begin_epoch(1);
    now = 2;
    bar.update(500, 0.5, 0.25);
    EXPECT_EQ(terminal.written(),
              "\repoch 1/2  [=======>       ]  loss 0.5000  acc 25.00 %  250 images/s  0:06 "
              "left\x1b[K");
    now = 4;
    bar.end_epoch(0.5, 0.25);
    bar.begin_epoch(2);
    now = 8;  // the rate is this epoch's, the time left is the run's
    bar.update(200, 0.5, 0.25);
    const std::string second = terminal.written();
    expect_parts(second, {"epoch 2/2", "50 images/s", "0:05 left"});
    EXPECT_EQ(second.find('\n'), std::string::npos);
  }
  EXPECT_EQ(terminal.written(), "\r\x1b[K");
}

TEST(Progress, RedrawsAtMostTenTimesASecond) {
  const Terminal terminal(100);
  double now = 0;
  int updates = 0;
  ProgressBar bar(terminal.stream(), {.epochs = 1, .images_per_epoch = 10000}, [&] { return now; });
  bar.begin_epoch(1);
  for (; now < 1; now += 0.001) bar.update(++updates, 0.5);
  const std::string text = terminal.written();
  const auto draws = std::count(text.begin(), text.end(), '\r');
  EXPECT_GE(draws, 9);
  EXPECT_LE(draws, 10);
}

TEST(Progress, FitsTheTerminal) {
  const Terminal terminal(30);
  ProgressBar bar(terminal.stream(), {.epochs = 1, .images_per_epoch = 10});
  bar.update(5, 0.5, 0.5);
  const std::string text = terminal.written();
  EXPECT_LE(text.size(), 30u + 3);  // one column free; a carriage return and the erase code
  expect_parts(text, {"epoch 1/1", "loss 0.5000"});
}

TEST(Progress, ClearMakesRoomOnce) {
  const Terminal terminal(80);
  ProgressBar bar(terminal.stream(), {.epochs = 1, .images_per_epoch = 10});
  bar.clear();
  EXPECT_EQ(terminal.written(), "");
  bar.update(5, 0.5);
  (void)terminal.written();
  bar.clear();
  bar.clear();
  EXPECT_EQ(terminal.written(), "\r\x1b[K");
  bar.update(6, 0.5);
  expect_parts(terminal.written(), {"epoch 1/1"});
}

TEST(Progress, ATerminalThatCannotEraseIsAPlainStream) {
  const Terminal terminal(80);
  ::setenv("TERM", "dumb", 1);
  ProgressBar bar(terminal.stream(), {.epochs = 1, .images_per_epoch = 10});
  bar.update(5, 0.5);
  EXPECT_EQ(terminal.written(), "");
  bar.end_epoch(0.5);
  expect_parts(terminal.written(), {"epoch 1/1  loss 0.5000", "\n"});
}

TEST(Progress, ANullStreamDrawsNothing) {
  ProgressBar bar(nullptr, {.epochs = 1, .images_per_epoch = 10});
  bar.begin_epoch(1);
  bar.update(5, 0.5);
  bar.end_epoch(0.5);
  bar.clear();
}

TEST(Progress, AResumedRunCountsOnlyWhatItHasSeen) {
  const Terminal terminal(101);
  double now = 0;
  ProgressBar bar(terminal.stream(), {.epochs = 10, .images_per_epoch = 100}, [&] { return now; });
  bar.begin_epoch(10);
  now = 1;
  bar.update(50, 0.5);
  expect_parts(terminal.written(), {"epoch 10/10", "0:01 left"});
}

TEST(Progress, RefusesAnImpossiblePlan) {
  const auto refusal = [](ProgressPlan plan) {
    return text_of<InvalidArgument>([&] { ProgressBar bar(nullptr, plan); });
  };
  expect_parts(refusal({.epochs = 0, .images_per_epoch = 5}),
               {"plan is 0 epochs of 5 images", "needed one or more"});
  expect_parts(refusal({.epochs = 1, .images_per_epoch = 0}), {"1 epochs of 0 images"});
  ProgressBar bar(nullptr, {.epochs = 3, .images_per_epoch = 5});
  expect_parts(text_of<InvalidArgument>([&] { bar.begin_epoch(0); }), {"epoch is 0", "1 to 3"});
  expect_parts(text_of<InvalidArgument>([&] { bar.begin_epoch(4); }), {"epoch is 4", "1 to 3"});
}

}  // namespace
}  // namespace cermet
