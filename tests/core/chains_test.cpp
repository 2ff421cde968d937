// Which launches become one because each works on what the one before it results in
// (cuda/chains.h): no GPU is needed for that.

#include "cuda/chains.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>

#include "cuda/pointwise.h"

namespace cermet::cuda {
namespace {

using Launches = std::vector<std::vector<std::size_t>>;

struct Fake : Step {
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override { return nullptr; }
};
/// Works on its first slot; the last one is the result.
struct FakePointwise final : Fake, Pointwise {
  explicit FakePointwise(bool stage) : may_be_stage(stage) {}
  [[nodiscard]] std::size_t input_slot() const override { return 0; }
  [[nodiscard]] std::size_t result_slot() const override { return slots.size() - 1; }
  [[nodiscard]] bool fits(const StepRun&) const override { return may_be_stage; }
  void describe(const StepRun&, CudaStream&, PointwiseStage&) const override {}
  bool may_be_stage;
};

constexpr std::size_t count = 8;  // elements, where nothing else is said

/// A list of runs over one array; places are elements of it.
class List {
 public:
  /// result = f(input), as a neuron does.
  void map(std::size_t input, std::size_t result, TensorDesc desc = flat_desc(count)) {
    static constexpr std::array access{Access::read, Access::write};
    add_pointwise(access, {{input, desc}, {result, desc}});
  }
  /// result = f(input, beside), as the gradient of a neuron does.
  void combine(std::size_t input, std::size_t beside, std::size_t result) {
    static constexpr std::array access{Access::read, Access::read, Access::write};
    const TensorDesc desc = flat_desc(count);
    add_pointwise(access, {{input, desc}, {beside, desc}, {result, desc}});
  }
  /// As dropout does; `mask`: as many bytes, four of them in the place of an element.
  void drop(std::size_t input, std::size_t mask, std::size_t result,
            TensorDesc mask_desc = flat_desc(count, ElementType::uint8)) {
    static constexpr std::array access{Access::read, Access::write, Access::write};
    const TensorDesc desc = flat_desc(count);
    add_pointwise(access, {{input, desc}, {mask, mask_desc}, {result, desc}});
  }
  /// As dropout's gradient does.
  void apply_mask(std::size_t input, std::size_t mask, std::size_t result) {
    static constexpr std::array access{Access::read, Access::read, Access::write};
    const TensorDesc desc = flat_desc(count);
    add_pointwise(access,
                  {{input, desc}, {mask, flat_desc(count, ElementType::uint8)}, {result, desc}});
  }
  /// `map`, with addresses or types that no chain takes.
  void map_unfit(std::size_t input, std::size_t result) {
    static constexpr std::array access{Access::read, Access::write};
    const TensorDesc desc = flat_desc(count);
    add(std::make_unique<FakePointwise>(false), access, {{input, desc}, {result, desc}});
  }
  /// Another step that reads `input` and writes `result`.
  void other(std::size_t input, std::size_t result) {
    static constexpr std::array access{Access::read, Access::write};
    const TensorDesc desc = flat_desc(count);
    add(std::make_unique<Fake>(), access, {{input, desc}, {result, desc}});
  }
  /// A pointwise step that does not say what it does to its slots.
  void map_in_secret(std::size_t input, std::size_t beside, std::size_t result) {
    const TensorDesc desc = flat_desc(count);
    add_pointwise({}, {{input, desc}, {beside, desc}, {result, desc}});
  }

  /// Of launches of one run each.
  [[nodiscard]] Launches joined() const {
    Launches alone;
    for (std::size_t run = 0; run < runs_.size(); ++run) alone.push_back({run});
    return joined(alone);
  }
  [[nodiscard]] Launches joined(Launches launches) const {
    join_chains(runs_, launches);
    return launches;
  }

 private:
  struct Slot {
    std::size_t first;
    TensorDesc desc;
  };
  void add_pointwise(std::span<const Access> access, const std::vector<Slot>& slots) {
    add(std::make_unique<FakePointwise>(true), access, slots);
  }
  void add(std::unique_ptr<Fake> step, std::span<const Access> access,
           const std::vector<Slot>& slots) {
    StepRun& run = runs_.emplace_back();
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const TensorDesc& desc = slots[i].desc;
      step->slots.push_back(desc);
      step->bytes.push_back(static_cast<std::size_t>(desc.count()) * size_of(desc.type));
      run.slots[i] = &memory_[slots[i].first];
    }
    step->access = access;
    run.step = step.get();
    steps_.push_back(std::move(step));
  }
  std::vector<float> memory_ = std::vector<float>(1000);
  std::vector<std::unique_ptr<Fake>> steps_;
  std::vector<StepRun> runs_;
};

TEST(Chains, WhatFollowsOnAResultIsOneLaunch) {
  List list;
  list.other(0, 100);
  list.map(100, 200);
  list.drop(200, 300, 400);
  list.other(400, 500);
  list.apply_mask(500, 300, 600);
  list.combine(600, 100, 700);
  list.other(700, 800);
  EXPECT_EQ(list.joined(), (Launches{{0}, {1, 2}, {3}, {4, 5}, {6}}));
}

TEST(Chains, NothingElseChanges) {
  EXPECT_EQ(List().joined(), Launches{});
  List one;
  one.map(0, 100);
  EXPECT_EQ(one.joined(), (Launches{{0}}));
  List apart;  // each works on something of its own
  apart.map(0, 100);
  apart.map(200, 300);
  EXPECT_EQ(apart.joined(), (Launches{{0}, {1}}));
}

TEST(Chains, TakeFourRunsAtMost) {
  List list;
  for (std::size_t i = 0; i < 9; ++i) list.map(100 * i, 100 * (i + 1));
  EXPECT_EQ(list.joined(), (Launches{{0, 1, 2, 3}, {4, 5, 6, 7}, {8}}));
}

TEST(Chains, ResultsAreTakenAsAWhole) {
  List elsewhere;
  elsewhere.map(0, 100);
  elsewhere.map(104, 200);
  EXPECT_EQ(elsewhere.joined(), (Launches{{0}, {1}}));
  List shorter;
  shorter.map(0, 100);
  shorter.map(100, 200, flat_desc(count - 4));
  EXPECT_EQ(shorter.joined(), (Launches{{0}, {1}}));
  List reshaped;  // in another shape
  reshaped.map(0, 100);
  reshaped.map(100, 200, dense_desc(2, 1, 2, 2));
  EXPECT_EQ(reshaped.joined(), (Launches{{0, 1}}));
}

TEST(Chains, OtherInputsDoNotPassAResultOn) {
  List list;
  list.map(0, 100);
  list.combine(200, 100, 300);  // the result is what it reads besides
  EXPECT_EQ(list.joined(), (Launches{{0}, {1}}));
}

TEST(Chains, OnlyTheNextLaunchJoins) {
  List list;
  list.map(0, 100);
  list.other(500, 600);
  list.map(100, 200);
  EXPECT_EQ(list.joined(), (Launches{{0}, {1}, {2}}));
  // Launches may stand in another order than their runs.
  EXPECT_EQ(list.joined({{1}, {0}, {2}}), (Launches{{1}, {0, 2}}));
  EXPECT_EQ(list.joined({{2}, {0}, {1}}), (Launches{{2}, {0}, {1}}));
}

TEST(Chains, LaunchesOfSeveralRunsStay) {
  List list;
  list.other(0, 100);
  list.other(200, 300);
  list.map(300, 400);
  list.map(400, 500);
  EXPECT_EQ(list.joined({{0, 1}, {2}, {3}}), (Launches{{0, 1}, {2, 3}}));
  EXPECT_EQ(list.joined({{2}, {3, 0}, {1}}), (Launches{{2}, {3, 0}, {1}}));
}

TEST(Chains, RunsThatDoNotFitStayAlone) {
  for (const bool first : {true, false}) {
    List list;
    first ? list.map_unfit(0, 100) : list.map(0, 100);
    first ? list.map(100, 200) : list.map_unfit(100, 200);
    list.map(200, 300);
    list.map(300, 400);
    EXPECT_EQ(list.joined(), first ? (Launches{{0}, {1, 2, 3}}) : (Launches{{0}, {1}, {2, 3}}));
  }
}

TEST(Chains, AResultMayHaveOtherReaders) {
  List list;
  list.map(0, 100);
  list.map(100, 200);
  list.other(100, 300);
  list.map(100, 400);
  EXPECT_EQ(list.joined(), (Launches{{0, 1}, {2}, {3}}));
}

TEST(Chains, ReadTheirOtherInputsFirst) {
  List list;
  list.map(0, 100);
  list.map(100, 200);
  list.combine(200, 100, 300);  // reads what the first has written
  EXPECT_EQ(list.joined(), (Launches{{0, 1}, {2}}));
  List twice;
  twice.map(0, 100);
  twice.combine(100, 100, 200);
  EXPECT_EQ(twice.joined(), (Launches{{0}, {1}}));
  List mask;
  mask.drop(0, 100, 200);
  mask.apply_mask(200, 100, 300);
  EXPECT_EQ(mask.joined(), (Launches{{0}, {1}}));
}

TEST(Chains, WorkInPlace) {
  List list;
  list.map(0, 0);
  list.drop(0, 100, 0);
  list.map(0, 200);
  EXPECT_EQ(list.joined(), (Launches{{0, 1, 2}}));
  List over_source;  // the result replaces what is read
  over_source.apply_mask(0, 100, 200);
  over_source.combine(200, 300, 300);
  EXPECT_EQ(over_source.joined(), (Launches{{0, 1}}));
  List over_input;  // and what the first has read
  over_input.map(0, 100);
  over_input.map(100, 0);
  EXPECT_EQ(over_input.joined(), (Launches{{0, 1}}));
  List over_beside;
  over_beside.combine(0, 100, 200);
  over_beside.map(200, 100);
  EXPECT_EQ(over_beside.joined(), (Launches{{0, 1}}));
}

TEST(Chains, ArraysThatOverlapInPartStayApart) {
  for (const std::size_t distance : {count - 1, count}) {
    const Launches expected = distance == count ? Launches{{0, 1}} : Launches{{0}, {1}};
    List input;
    input.map(0, 100);
    input.map(100, distance);
    EXPECT_EQ(input.joined(), expected) << distance;
    List result;
    result.map(0, 100);
    result.map(100, 100 + distance);
    EXPECT_EQ(result.joined(), expected) << distance;
    List beside;
    beside.map(0, 100);
    beside.combine(100, 100 - distance, 200);
    EXPECT_EQ(beside.joined(), expected) << distance;
    List first;  // a run that does so itself
    first.map(0, distance);
    first.map(distance, 100);
    EXPECT_EQ(first.joined(), expected) << distance;
    List read;  // what is only read may
    read.combine(0, distance, 100);
    read.map(100, 200);
    EXPECT_EQ(read.joined(), (Launches{{0, 1}})) << distance;
  }
}

TEST(Chains, AMaskIsNoPlaceForAResult) {
  for (const std::size_t mask : {0U, 100U, 200U}) {  // the input, what is passed on, the result
    List list;
    list.map(0, 100);
    list.drop(100, mask, 200);
    EXPECT_EQ(list.joined(), (Launches{{0}, {1}})) << mask;
  }
  List reader;  // the result replaces a mask that is read
  reader.apply_mask(0, 100, 200);
  reader.map(200, 100);
  EXPECT_EQ(reader.joined(), (Launches{{0}, {1}}));
}

TEST(Chains, AbsentSlotsTouchNothing) {
  List list;
  list.map(0, 100);
  list.drop(100, 0, 200, TensorDesc{});
  EXPECT_EQ(list.joined(), (Launches{{0, 1}}));
}

TEST(Chains, WhatIsNotSaidMayBeAnything) {
  List list;
  list.map_in_secret(0, 100, 200);
  list.combine(200, 100, 300);  // reads what may have been written
  EXPECT_EQ(list.joined(), (Launches{{0}, {1}}));
  List apart;
  apart.map_in_secret(0, 100, 200);
  apart.map_in_secret(200, 300, 400);
  EXPECT_EQ(apart.joined(), (Launches{{0, 1}}));
}

TEST(Chains, ElementsAreNumberedInFourBytes) {
  for (const std::int32_t images : {1, 2}) {
    List list;  // nothing there is touched
    list.map(0, 0, dense_desc(images, 1 << 10, 1 << 10, 1 << 10));
    list.map(0, 0, dense_desc(images, 1 << 10, 1 << 10, 1 << 10));
    EXPECT_EQ(list.joined(), images == 1 ? (Launches{{0, 1}}) : (Launches{{0}, {1}}));
  }
}

}  // namespace
}  // namespace cermet::cuda
