// Which steps of a captured list wait for which (cuda/dependencies.h): no GPU is needed for that.

#include "cuda/dependencies.h"

#include <gtest/gtest.h>

#include <array>

namespace cermet::cuda {
namespace {

using Numbers = std::vector<std::size_t>;
constexpr Access reads = Access::read, writes = Access::write, updates = Access::update;

struct Fake final : Step {
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override { return nullptr; }
};

/// A list of runs over floats of one array.
class Plan {
 public:
  struct Slot {
    Access access;
    std::size_t first;  // element
    TensorDesc desc;
  };
  /// What the run that this describes waits for.
  Numbers add(const std::vector<Slot>& slots, bool known = true) {
    return add_with_scratch(slots, 0, 0, known);
  }
  Numbers add_with_scratch(const std::vector<Slot>& slots, std::size_t first, std::size_t bytes,
                           bool known = true) {
    auto step = std::make_unique<Fake>();
    auto& access = accesses_.emplace_back(std::make_unique<std::vector<Access>>());
    StepRun run;
    for (std::size_t i = 0; i < slots.size(); ++i) {
      step->slots.push_back(slots[i].desc);
      access->push_back(slots[i].access);
      run.slots[i] = &memory_[slots[i].first];
    }
    if (known) step->access = *access;
    step->scratch_bytes = bytes;
    run.scratch = bytes != 0 ? &memory_[first] : nullptr;
    run.step = step.get();
    steps_.push_back(std::move(step));
    return dependencies.add(run);
  }
  Dependencies dependencies;

 private:
  std::vector<float> memory_ = std::vector<float>(1000);
  std::vector<std::unique_ptr<Fake>> steps_;
  std::vector<std::unique_ptr<std::vector<Access>>> accesses_;
};

TEST(Dependencies, ReadersOfOneTensorRunSideBySide) {
  Plan plan;
  const TensorDesc ten = flat_desc(10);
  EXPECT_EQ(plan.add({{writes, 0, ten}}), Numbers{});
  EXPECT_EQ(plan.add({{reads, 0, ten}, {writes, 10, ten}}), Numbers{0});
  EXPECT_EQ(plan.add({{reads, 0, ten}, {writes, 20, ten}}), Numbers{0});
  EXPECT_EQ(plan.add({{reads, 10, ten}, {reads, 20, ten}, {writes, 30, ten}}), (Numbers{2, 1}));
}

TEST(Dependencies, AWriterWaitsForReadersAndWriters) {
  Plan plan;
  const TensorDesc ten = flat_desc(10);
  EXPECT_EQ(plan.add({{reads, 0, ten}}), Numbers{});
  EXPECT_EQ(plan.add({{reads, 0, ten}}), Numbers{});
  EXPECT_EQ(plan.add({{writes, 0, ten}}), (Numbers{1, 0})) << "after the readers";
  EXPECT_EQ(plan.add({{writes, 0, ten}}), Numbers{2}) << "after the other writer";
  EXPECT_EQ(plan.add({{updates, 0, ten}}), Numbers{3});
  EXPECT_EQ(plan.add({{updates, 0, ten}}), Numbers{4});
  EXPECT_EQ(plan.add({{reads, 0, ten}}), Numbers{5});
}

TEST(Dependencies, RangesOverlapByTheByte) {
  Plan plan;
  EXPECT_EQ(plan.add({{writes, 0, flat_desc(10)}}), Numbers{});
  EXPECT_EQ(plan.add({{writes, 10, flat_desc(10)}}), Numbers{}) << "they touch";
  EXPECT_EQ(plan.add({{reads, 9, flat_desc(1)}}), Numbers{0});
  EXPECT_EQ(plan.add({{reads, 9, flat_desc(2)}}), (Numbers{1, 0}));
  EXPECT_EQ(plan.add({{reads, 8, flat_desc(8, ElementType::uint8)}}), Numbers{0});
  EXPECT_EQ(plan.add({{reads, 8, flat_desc(9, ElementType::uint8)}}), (Numbers{1, 0}));
}

TEST(Dependencies, AStridedWindowEndsWithItsLastElement) {
  Plan plan;
  // 2 x 2 pixels of 3 channels in an image of 4 x 4 pixels of 5 channels: 20 + 5 + 3 elements.
  const TensorDesc window{1, 2, 2, 3, 80, 20, 5, ElementType::float32, plain};
  EXPECT_EQ(plan.add({{writes, 7, window}}), Numbers{});
  EXPECT_EQ(plan.add({{reads, 34, flat_desc(1)}}), Numbers{0});
  EXPECT_EQ(plan.add({{writes, 35, flat_desc(1)}}), Numbers{});
  EXPECT_EQ(plan.add({{writes, 6, flat_desc(1)}}), Numbers{});
  EXPECT_EQ(plan.add({{writes, 10, flat_desc(1)}}), Numbers{0}) << "between two rows";
  const TensorDesc images{3, 2, 2, 3, 80, 20, 5, ElementType::float32, plain};
  EXPECT_EQ(plan.add({{reads, 7, images}}), (Numbers{4, 2})) << "which both wait for nothing else";
}

TEST(Dependencies, ScratchMemoryIsWritten) {
  Plan plan;
  const TensorDesc one = flat_desc(1);
  EXPECT_EQ(plan.add_with_scratch({{reads, 0, one}}, 100, 40), Numbers{});
  EXPECT_EQ(plan.add_with_scratch({{reads, 0, one}}, 109, 40), Numbers{0}) << "shared";
  EXPECT_EQ(plan.add_with_scratch({{reads, 0, one}}, 119, 40), Numbers{}) << "its own";
  EXPECT_EQ(plan.add({{reads, 105, one}}), Numbers{0});
}

TEST(Dependencies, AStepOfUnknownAccessIsABarrier) {
  Plan plan;
  const TensorDesc one = flat_desc(1);
  EXPECT_EQ(plan.add({{writes, 0, one}}), Numbers{});
  EXPECT_EQ(plan.add({{reads, 0, one}}), Numbers{0});
  EXPECT_EQ(plan.add({{writes, 5, one}}), Numbers{});
  EXPECT_EQ(plan.add({{reads, 9, one}}, false), (Numbers{2, 1}));
  EXPECT_EQ(plan.add({{reads, 7, one}}), Numbers{3});
  EXPECT_EQ(plan.add({{reads, 0, one}}), Numbers{3});
}

TEST(LongestPath, HasAllThatItWaitsForAndNothingElse) {
  using Flags = std::vector<bool>;
  EXPECT_EQ(longest_path({}), Flags{});
  EXPECT_EQ(longest_path({{}, {}}), (Flags{true, false})) << "the first of equals";
  EXPECT_EQ(longest_path({{}, {0}, {0}, {2}}), (Flags{true, false, true, true}));
  // 4 ends the chain 0 1 2 4 and waits for 3 as well; 5 and 6 stand beside it.
  EXPECT_EQ(longest_path({{}, {0}, {1}, {}, {3, 2}, {1}, {5}}),
            (Flags{true, true, true, true, true, false, false}));
}

TEST(Dependencies, OnlyDirectOnesStay) {
  Plan plan;
  const TensorDesc one = flat_desc(1);
  EXPECT_EQ(plan.add({{writes, 0, one}}), Numbers{});
  EXPECT_EQ(plan.add({{reads, 0, one}, {writes, 1, one}}), Numbers{0});
  EXPECT_EQ(plan.add({{reads, 0, one}, {reads, 1, one}, {writes, 2, one}}), Numbers{1});
  EXPECT_EQ(plan.add({{writes, 9, one}}), Numbers{});
  EXPECT_EQ(plan.add({{reads, 0, one}, {reads, 9, one}, {reads, 2, one}}), (Numbers{3, 2}));
}

TEST(Dependencies, AbsentSlotsTouchNothing) {
  Plan plan;
  EXPECT_EQ(plan.add({{writes, 0, flat_desc(4)}}), Numbers{});
  EXPECT_EQ(plan.add({{updates, 0, TensorDesc{}}, {reads, 4, flat_desc(4)}}), Numbers{});
}

}  // namespace
}  // namespace cermet::cuda
