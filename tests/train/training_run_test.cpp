// A run of the digit classifier: it learns, stops and resumes bit for bit, and refuses what does
// not fit without losing anything.

#include "cermet/train/training_run.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <limits>
#include <optional>
#include <thread>

#include "cermet/train/file.h"
#include "harness/device.h"
#include "help.h"

namespace cermet {
namespace {

namespace fs = std::filesystem;

const Device& device() {
  static const Device one = test::device_under_test(2);
  return one;
}

/// Bars whose place says the class: learnable in a few steps.
DigitSet bars(int count, std::uint64_t seed) {
  DigitSet set;
  set.count = count;
  set.height = set.width = 12;
  RandomNumbers random(seed);
  for (int i = 0; i < count; ++i) {
    const auto label = static_cast<std::uint8_t>(random.below(10));
    set.labels.push_back(label);
    for (int y = 0; y < 12; ++y) {
      for (int x = 0; x < 12; ++x) {
        set.pixels.push_back(static_cast<std::uint8_t>(random.below(60) + (x == label ? 180 : 0)));
      }
    }
  }
  return set;
}

class TrainingRun : public testing::Test {
 protected:
  void SetUp() override {
    folder_ =
        fs::temp_directory_path() /
        (std::string("cermet-") + testing::UnitTest::GetInstance()->current_test_info()->name() +
         std::to_string(::getpid()));
    options_.epochs = 2;
    options_.batch = 10;
    options_.out = folder_ / "run";
    options_.command = "cermet train";
  }
  void TearDown() override { fs::remove_all(folder_); }

  TrainingReport run(const std::atomic<bool>& stop) {
    return train_digits(device(), train_, test_, options_, nullptr, stop);
  }
  TrainingReport run() { return run(never_); }
  std::vector<std::byte> model() const { return read_file(options_.out / "model.safetensors"); }

  fs::path folder_;
  TrainingOptions options_;
  DigitSet train_ = bars(200, 1), test_ = bars(50, 2);
  std::atomic<bool> never_{false};
};

TEST_F(TrainingRun, Learns) {
  const TrainingReport report = run();
  ASSERT_EQ(report.epochs.size(), 2U);
  EXPECT_LT(report.epochs[1].loss, report.epochs[0].loss);
  EXPECT_GT(report.test_accuracy, 0.8);
  EXPECT_DOUBLE_EQ(evaluate_digits(device(), options_.out / "model.safetensors", test_),
                   report.test_accuracy);
}

TEST_F(TrainingRun, SameSeedSameModel) {
  run();
  const auto first = model();
  options_.out = folder_ / "again";
  run();
  EXPECT_EQ(model(), first);
  options_.out = folder_ / "other";
  options_.seed = 2;
  run();
  EXPECT_NE(model(), first);
}

TEST_F(TrainingRun, StoppedAndResumedEqualsUninterrupted) {
  run();
  const auto whole = model();
  options_.out = folder_ / "pieces";
  int stops = 0;
  for (bool stopped = true; stopped; options_.resume = true) {
    std::atomic<bool> stop{false};
    std::jthread later;
    if (stops < 3) {
      later = std::jthread([&stop, wait = 25 * (stops + 1)] {
        std::this_thread::sleep_for(std::chrono::milliseconds(wait));
        stop = true;
      });
    }
    stopped = run(stop).stopped;
    later = {};
    if (stopped) ++stops;
  }
  EXPECT_GT(stops, 0);
  EXPECT_EQ(model(), whole);
}

TEST_F(TrainingRun, ResumeWithOtherOptionsIsRefused) {
  run();
  options_.resume = true;
  options_.batch = 20;
  try {
    run();
    FAIL();
  } catch (const InvalidArgument& problem) {
    EXPECT_EQ(std::string(problem.what()),
              "train: batch is 20; needed 10, as in the checkpoint. Resume with the options of the "
              "run (command.txt), or choose another folder with --out.");
  }
}

TEST_F(TrainingRun, AnOptionThatCannotBeTrainedWithIsNamed) {
  const auto text = [&] { return test::text_of<InvalidArgument>([&] { run(); }); };
  options_.epochs = 0;
  EXPECT_EQ(text(), "train: epochs is 0; needed 1 or more.");
  options_.epochs = 2;
  options_.batch = -3;
  EXPECT_EQ(text(), "train: batch is -3; needed 1 or more.");
  options_.batch = 10;
  for (const float rate : {0.0F, -1.0F, std::numeric_limits<float>::infinity(),
                           std::numeric_limits<float>::quiet_NaN()}) {
    options_.learning_rate = rate;
    test::expect_parts(text(), {"train: learning-rate is ", "; needed a positive number."});
  }
  EXPECT_FALSE(fs::exists(options_.out)) << "a refused run made its folder";
}

/// Every entry of a checkpoint, taken away and replaced by what it cannot be.
TEST_F(TrainingRun, AMalformedCheckpointIsRefusedByTheNameOfItsEntry) {
  train_.count = test_.count = 20;  // of the first rows of bars: a small network, a small file
  train_.height = train_.width = test_.height = test_.width = 4;
  train_.pixels.resize(320);
  test_.pixels.resize(320);
  train_.labels.resize(20);
  test_.labels.resize(20);
  run();
  const fs::path path = options_.out / "checkpoint.safetensors";
  const SafeTensors good = read_safetensors(path);
  options_.resume = true;
  const auto text_with = [&](const std::string& entry, const std::optional<std::string>& value) {
    SafeTensors bad = good;
    if (value) {
      bad.metadata.at(entry) = *value;
    } else {
      bad.metadata.erase(entry);
    }
    write_safetensors(path, bad);
    return test::text_of<FileError>([&] { run(); });
  };
  const struct {
    std::string entry, value, needed;
  } cases[] = {
      {"epochs_done", "x", "a whole number from 0 to 2"},
      {"epochs_done", "", "a whole number from 0 to 2"},
      {"epochs_done", "3", "a whole number from 0 to 2"},
      {"epochs_done", "-1", "a whole number from 0 to 2"},
      {"epochs_done", "99999999999999999999", "a whole number from 0 to 2"},
      {"batches_done", "1.5", "a whole number from 0 to 2"},
      {"loss", "much", "a finite number"},
      {"loss", "nan", "a finite number"},
      {"loss", "0x1p+1 ", "a finite number"},
      {"correct", "1", "a whole number from 0 to 0"},
      {"images", " 0", "a whole number from 0 to 20"},
      {"steps", "many", "a whole number from 0 to 18446744073709551615"},
      {"conv1.time_step", "12 ", "a whole number from 0 to 18446744073709551615"},
      {"metrics", "[{\"epoch\": 1}]", "a list of the metrics of 2 epochs"},
      {"metrics", "[", "a list of the metrics of 2 epochs"},
      {"metrics", "[]", "a list of the metrics of 2 epochs"},
      {"metrics", "5", "a list of the metrics of 2 epochs"},
      {"options", "", "the options of a run"},
      {"options", "batch 10 epochs 2", "the options of a run"},
  };
  for (const auto& one : cases) {
    SCOPED_TRACE(one.entry + " = \"" + one.value + "\"");
    test::expect_parts(
        text_with(one.entry, one.value),
        {path.string(), "metadata \"" + one.entry + "\" is ", "needed " + one.needed});
  }
  for (const std::string entry : {"epochs_done", "batches_done", "loss", "correct", "images",
                                  "metrics", "options", "steps", "conv1.time_step"}) {
    SCOPED_TRACE(entry);
    test::expect_parts(text_with(entry, std::nullopt),
                       {path.string(), "metadata \"" + entry + "\" is missing"});
  }
  write_safetensors(path, good);
  EXPECT_EQ(run().epochs.size(), 2U) << "the sound checkpoint serves";
}

TEST_F(TrainingRun, AWeightsFileOfAnotherShapeIsRefused) {
  run();
  DigitSet larger = bars(10, 3);
  larger.height = 24;
  larger.pixels.insert(larger.pixels.end(), larger.pixels.begin(), larger.pixels.end());
  try {
    static_cast<void>(evaluate_digits(device(), options_.out / "model.safetensors", larger));
    FAIL();
  } catch (const FileError& problem) {
    const std::string text = problem.what();
    EXPECT_NE(text.find("full1.weight"), std::string::npos) << text;
    EXPECT_NE(text.find("1024x6x3x64"), std::string::npos) << text;
  }
}

TEST_F(TrainingRun, ATruncatedModelIsRefused) {
  run();
  auto bytes = model();
  bytes.resize(bytes.size() / 2);
  const fs::path cut = folder_ / "cut.safetensors";
  write_file_atomically(cut, bytes);
  EXPECT_THROW(static_cast<void>(evaluate_digits(device(), cut, test_)), FileError);
}

TEST_F(TrainingRun, AnUnwritableFolderIsRefusedBeforeTraining) {
  fs::create_directories(folder_);
  write_file_atomically(folder_ / "run", std::as_bytes(std::span("a file")));
  EXPECT_THROW(run(), FileError);
}

}  // namespace
}  // namespace cermet
