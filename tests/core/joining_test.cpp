// Which runs of a list become one launch, and where it stands (cuda/joining.h): no GPU is needed
// for that.

#include "cuda/joining.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace cermet::cuda {
namespace {

using Launches = std::vector<std::vector<std::size_t>>;

struct Fake : Step {
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override { return nullptr; }
};
struct FakeUpdate final : Fake, Joinable {
  explicit FakeUpdate(const void* which) : of(which) {}
  [[nodiscard]] const void* kind() const override { return of; }
  void launch_joined(std::span<const StepRun* const>, CudaStream&) const override {}
  const void* of;
};

/// A list of runs over floats of one array.
class List {
 public:
  struct Slot {
    std::size_t first;  // element
    TensorDesc desc = flat_desc(10);
  };
  /// Another step.
  void add(const std::vector<Slot>& slots) { add(std::make_unique<Fake>(), slots); }
  /// An update: of gradient and values.
  void update(std::size_t gradient, std::size_t values, char kind = 'a') {
    update({{gradient}, {values}}, kind);
  }
  void update(const std::vector<Slot>& slots, char kind = 'a') {
    add(std::make_unique<FakeUpdate>(kind == '-' ? nullptr : kinds_.data() + (kind - 'a')), slots);
  }
  /// The last run's.
  void set_scratch(std::size_t first, std::size_t bytes) {
    steps_.back()->scratch_bytes = bytes;
    runs_.back().scratch = &memory_[first];
  }
  [[nodiscard]] Launches launches() const { return launches_of(runs_); }

 private:
  void add(std::unique_ptr<Fake> step, const std::vector<Slot>& slots) {
    StepRun& run = runs_.emplace_back();
    for (std::size_t i = 0; i < slots.size(); ++i) {
      const TensorDesc& desc = slots[i].desc;
      step->slots.push_back(desc);
      step->bytes.push_back(static_cast<std::size_t>(desc.count()) * size_of(desc.type));
      run.slots[i] = &memory_[slots[i].first];
    }
    run.step = step.get();
    steps_.push_back(std::move(step));
  }
  std::vector<float> memory_ = std::vector<float>(1000);
  std::string kinds_ = "ab";
  std::vector<std::unique_ptr<Fake>> steps_;
  std::vector<StepRun> runs_;
};

TEST(Joining, UpdatesArePutOffPastWorkThatSharesNothing) {
  List list;
  list.add({{0}, {10}});
  list.update(100, 200);
  list.add({{20}, {30}});
  list.update(110, 210);
  list.update(120, 220);
  list.add({{20}, {40}});
  list.update(130, 230);
  list.add({{50}, {60}});
  EXPECT_EQ(list.launches(), (Launches{{0}, {2}, {5}, {1, 3, 4, 6}, {7}}));
}

TEST(Joining, NothingElseMoves) {
  EXPECT_EQ(List().launches(), Launches{});
  List list;
  for (std::size_t i = 0; i < 4; ++i) list.add({{10 * i}});
  list.update(100, 200);
  list.add({{50}});
  EXPECT_EQ(list.launches(), (Launches{{0}, {1}, {2}, {3}, {4}, {5}}));
}

TEST(Joining, AnUpdateIsNotPutOffPastWhatTouchesItsTensors) {
  for (const std::size_t touched : {109U, 209U}) {  // the last element of its gradient, its values
    List list;
    list.update(100, 200);
    list.add({{touched}, {10}});
    list.update(110, 210);
    EXPECT_EQ(list.launches(), (Launches{{0}, {1}, {2}})) << touched;
  }
  for (const std::size_t beside : {90U, 120U, 190U, 220U}) {  // they touch at most
    List list;
    list.update(100, 200);
    list.add({{beside}});
    list.update(110, 210);
    EXPECT_EQ(list.launches(), (Launches{{1}, {0, 2}})) << beside;
  }
}

TEST(Joining, MemoryThatIsUsedAgainKeepsTheOrder) {
  List list;
  list.update(100, 200);
  list.add({{0}});  // scratch memory where the gradient was
  list.set_scratch(100, 4);
  list.update(110, 210);
  list.add({{0}});  // and somewhere else
  list.set_scratch(300, 400);
  list.update(120, 220);
  EXPECT_EQ(list.launches(), (Launches{{0}, {1}, {3}, {2, 4}}));
}

TEST(Joining, UpdatesThatShareMemoryAreNotJoined) {
  List gradient;
  gradient.update(100, 200);
  gradient.update(100, 210);
  EXPECT_EQ(gradient.launches(), (Launches{{0}, {1}}));
  List values;
  values.update(100, 200);
  values.update(120, 220);
  values.update(110, 200);
  EXPECT_EQ(values.launches(), (Launches{{0}, {1, 2}}));
  List in_a_row;
  in_a_row.update(100, 200);
  in_a_row.update(110, 200);
  in_a_row.add({{110}});
  in_a_row.update(120, 220);
  EXPECT_EQ(in_a_row.launches(), (Launches{{0}, {1}, {2}, {3}}));
}

TEST(Joining, GroupsFormWhereRunsAreHeldUp) {
  List list;
  list.update(100, 200);
  list.add({{0}});
  list.update(110, 210);
  list.update(120, 220);
  list.add({{200}, {220}});  // reads what the first and the third have updated
  list.update(130, 230);
  EXPECT_EQ(list.launches(), (Launches{{1}, {0, 3}, {4}, {2, 5}}));
}

TEST(Joining, KindsStayApart) {
  List list;
  list.update(100, 200, 'a');
  list.update(110, 210, 'b');
  list.update(120, 220, '-');  // of those that run alone
  list.update(130, 230, 'a');
  list.update(140, 240, '-');
  list.update(150, 250, 'b');
  EXPECT_EQ(list.launches(), (Launches{{2}, {0, 3}, {4}, {1, 5}}));
  List crossed;  // the update of one kind stands in the way of the other's
  crossed.update(100, 200, 'a');
  crossed.update(110, 210, 'b');
  crossed.update(120, 200, 'b');
  crossed.update(130, 230, 'a');
  EXPECT_EQ(crossed.launches(), (Launches{{0}, {1, 2}, {3}}));
}

TEST(Joining, AStridedWindowEndsWithItsLastElement) {
  // 2 x 2 pixels of 3 channels in an image of 4 x 4 pixels of 5 channels: 20 + 5 + 3 elements.
  const TensorDesc window{1, 2, 2, 3, 80, 20, 5, ElementType::float32, plain};
  for (const std::size_t distance : {27U, 28U}) {
    List list;
    list.update(100 + distance, 200);
    list.add({{100, window}});
    list.update(300, 400);
    EXPECT_EQ(list.launches(),
              distance == 28 ? (Launches{{1}, {0, 2}}) : (Launches{{0}, {1}, {2}}));
  }
}

TEST(Joining, AbsentSlotsTouchNothing) {
  List list;
  list.update({{100}, {200}, {300, TensorDesc{}}});
  list.add({{0}, {100, TensorDesc{}}});
  list.update({{110}, {210}, {300, TensorDesc{}}});
  EXPECT_EQ(list.launches(), (Launches{{1}, {0, 2}}));
}

TEST(Joining, ALaunchIsFullAtSomeTime) {
  List list;
  for (std::size_t i = 0; i <= most_joined; ++i) list.update(10 * i, 500 + 10 * i);
  const Launches launches = list.launches();
  ASSERT_EQ(launches.size(), 2U);
  EXPECT_EQ(launches[0], std::vector<std::size_t>{0});
  EXPECT_EQ(launches[1].size(), most_joined);
}

}  // namespace
}  // namespace cermet::cuda
