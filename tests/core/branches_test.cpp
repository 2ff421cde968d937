// Which launches of a list run on a second stream, and what waits for what (cuda/branches.h): no
// GPU is needed for that.

#include "cuda/branches.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>

#include "harness/random.h"

namespace cermet::cuda {
namespace {

/// Launches of one run each, over floats of one array.
class List {
 public:
  /// Reads some elements and writes others.
  void add(const std::vector<std::size_t>& read, const std::vector<std::size_t>& written) {
    struct Fake : Step {
      [[nodiscard]] std::unique_ptr<BoundStep> bind() const override { return nullptr; }
    };
    static constexpr std::array reads{Access::read, Access::read, Access::read, Access::read};
    Fake reader, writer;
    reader.access = reads;
    RunMemory memory = memory_of(reader, read);
    memory.add(memory_of(writer, written));  // its access is not known
    memory_.push_back(memory);
  }
  [[nodiscard]] const std::vector<RunMemory>& memory() const { return memory_; }
  [[nodiscard]] std::vector<Place> places() const { return places_of(memory_); }
  [[nodiscard]] Place place(std::size_t launch) const {
    const std::vector<Place> all = places();
    return *std::find_if(all.begin(), all.end(),
                         [&](const Place& place) { return place.launch == launch; });
  }
  /// By launch.
  [[nodiscard]] std::string aside() const {
    std::string text;
    for (std::size_t i = 0; i < memory_.size(); ++i) text += place(i).aside ? 'a' : '-';
    return text;
  }
  [[nodiscard]] std::vector<std::size_t> order() const {
    std::vector<std::size_t> numbers;
    for (const Place& place : places()) numbers.push_back(place.launch);
    return numbers;
  }

 private:
  RunMemory memory_of(Step& step, const std::vector<std::size_t>& elements) {
    StepRun run;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      step.slots.push_back(flat_desc(1));
      step.bytes.push_back(sizeof(float));
      run.slots[i] = &array_[elements[i]];
    }
    run.step = &step;
    return RunMemory(run);
  }
  std::vector<float> array_ = std::vector<float>(100);
  std::vector<RunMemory> memory_;
};

TEST(Branches, TheLongestChainStays) {
  EXPECT_EQ(List().aside(), "");
  List list;
  list.add({0}, {1});
  list.add({1}, {2});
  list.add({2}, {3});
  EXPECT_EQ(list.aside(), "---");
  list.add({50}, {51});
  EXPECT_EQ(list.aside(), "---a");
  EXPECT_EQ(list.place(3).waits_for, 0U) << "the chain begins alone";
}

TEST(Branches, WeightGradientsAndUpdatesOfATrainingStepGoAside) {
  // Two layers: sources 0 to 2, weights 10 and 11, their gradients 20 and 21, gradients 30 to 32.
  List list;
  list.add({0, 10}, {1});
  list.add({1, 11}, {2});
  list.add({2}, {32});
  list.add({32, 11}, {31});
  list.add({32, 1}, {21});
  list.add({21}, {11});
  list.add({31, 0}, {20});
  list.add({20}, {10});
  EXPECT_EQ(list.aside(), "----aa--");
  EXPECT_EQ(list.place(4).waits_for, 3U) << "the chain goes first, and reads the weights";
  for (const std::size_t i : {0U, 1U, 2U, 3U, 5U, 6U, 7U})
    EXPECT_FALSE(list.place(i).waits_for) << i;
}

TEST(Branches, WhatIsReadTwiceDoesNotBindItsReaders) {
  List list;
  list.add({0}, {1});
  list.add({0}, {2});
  EXPECT_EQ(list.aside(), "-a");
  List written;
  written.add({0}, {1});
  written.add({2}, {0});
  EXPECT_EQ(written.aside(), "--");
}

TEST(Branches, TheChainWaitsForWhatItNeedsFromAside) {
  List list;
  list.add({}, {0});
  list.add({0}, {1});  // a way round
  list.add({0}, {2});
  list.add({2}, {3});
  list.add({1, 3}, {4});
  list.add({1, 4}, {5});
  EXPECT_EQ(list.aside(), "-a----");
  EXPECT_EQ(list.place(1).waits_for, 2U) << "the chain goes first";
  EXPECT_EQ(list.place(4).waits_for, 1U);
  EXPECT_FALSE(list.place(5).waits_for) << "its stream has waited";
}

TEST(Branches, NothingWaitsBehindWhatIsNotReadyYet) {
  List list;
  list.add({}, {0});
  list.add({0}, {1});
  list.add({1}, {50});  // a loss, of which nothing depends
  list.add({}, {60});   // the gradient to begin with
  list.add({1, 60}, {2});
  list.add({2}, {3});
  EXPECT_EQ(list.aside(), "--aa--");
  EXPECT_EQ(list.order(), (std::vector<std::size_t>{0, 3, 1, 4, 2, 5}));
  EXPECT_EQ(list.place(2).waits_for, 4U);
  EXPECT_EQ(list.place(4).waits_for, 3U);
}

TEST(Branches, LaunchesThatConflictFollowOneAnother) {
  test::Random random(1);
  const auto any = [&](std::size_t below) { return random.below(below); };
  std::size_t conflicts = 0, aside = 0;
  for (int round = 0; round < 200; ++round) {
    List list;
    const std::size_t count = 1 + any(12), elements = 4 + any(20);
    for (std::size_t i = 0; i < count; ++i)
      list.add({any(elements), any(elements)}, {any(elements)});
    const std::vector<Place> places = list.places();
    ASSERT_EQ(places.size(), count);
    // What has ended when a launch begins: by order on its stream, and by waiting.
    std::vector<std::vector<bool>> ended(count, std::vector<bool>(count, false));
    std::vector<bool> enqueued(count, false);
    std::optional<std::size_t> latest[2];
    for (const Place& place : places) {
      const std::size_t i = place.launch;
      const auto follow = [&](std::optional<std::size_t> other) {
        if (!other) return;
        ASSERT_TRUE(enqueued[*other]);
        ended[i][*other] = true;
        for (std::size_t k = 0; k < count; ++k) ended[i][k] = ended[i][k] || ended[*other][k];
      };
      std::optional<std::size_t>& before = latest[place.aside ? 1 : 0];
      follow(before);
      follow(place.waits_for);
      before = i;
      EXPECT_FALSE(enqueued[i]);
      enqueued[i] = true;
      aside += place.aside ? 1 : 0;
      for (std::size_t k = 0; k < i; ++k) {
        if (!list.memory()[k].conflicts(list.memory()[i])) continue;
        ++conflicts;
        EXPECT_TRUE(ended[i][k]) << "round " << round << ": " << i << " after " << k;
      }
    }
  }
  EXPECT_GT(conflicts, 1000U);
  EXPECT_GT(aside, 100U);
}

}  // namespace
}  // namespace cermet::cuda
