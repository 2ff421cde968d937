// What the base classes of one and two sources offer to concrete classes (spec: core 12, 13).

#include "cermet/cnn/arithmetic.h"
#include "cermet/ops/copy.h"
#include "cnn/encoding.h"
#include "help.h"

namespace cermet {
namespace {

using test::filled;
using test::floats;
using test::tested;

/// Remembers the size of the forward source.
class SizeState final : public State, public ImageSizeEncodingState {
 public:
  SizeState(std::size_t width, std::size_t height)
      : State(tested(), 4), width_(width), height_(height) {}
  [[nodiscard]] std::size_t sourceWidth() const override { return width_; }
  [[nodiscard]] std::size_t sourceHeight() const override { return height_; }

 private:
  std::size_t width_, height_;
};

/// A reverse filter of stride 2, if it is one.
class Doubling final : public CNNKernel {
 public:
  explicit Doubling(bool backwards) : CNNKernel(tested()), backwards_(backwards) {}
  [[nodiscard]] std::string_view class_name() const override { return "Doubling"; }
  [[nodiscard]] bool isBackwards() const override { return backwards_; }
  [[nodiscard]] std::size_t strideInPixelsX() const override { return 2; }
  [[nodiscard]] std::size_t strideInPixelsY() const override { return 2; }

 private:
  void record(detail::UnaryEncoding&) const override {}
  bool backwards_;
};

TEST(ReverseFilters, TakeTheirSizeFromAStateThatKnowsIt) {
  const Image source(tested(), floats(3, 4, 2));
  const StatePtr states[] = {std::make_shared<State>(tested(), 4), nullptr,
                             std::make_shared<SizeState>(6, 7)};
  Doubling reverse(true);
  ImageDescriptor descriptor = reverse.destinationImageDescriptor({&source, 1}, {});
  EXPECT_EQ(descriptor.width, 5U) << "(3 - 1) * 2 + 1";
  EXPECT_EQ(descriptor.height, 7U);
  const Offset rounded = reverse.offset();
  descriptor = reverse.destinationImageDescriptor({&source, 1}, states);
  EXPECT_EQ(descriptor.width, 6U) << "what the forward filter rounded away";
  EXPECT_EQ(descriptor.height, 7U);
  EXPECT_EQ(reverse.offset().y, rounded.y);
  Doubling forward(false);
  descriptor = forward.destinationImageDescriptor({&source, 1}, states);
  EXPECT_EQ(descriptor.width, 2U) << "a forward filter does not ask";
}

/// States of a batch are windows of one buffer: each knows its place.
class Place final : public State {
 public:
  explicit Place(std::size_t at) : State(tested(), 4), index(at) {}
  std::size_t index;
};
class Difference final : public CNNBinaryKernel {
 public:
  Difference() : CNNBinaryKernel(tested()) {}
  [[nodiscard]] std::string_view class_name() const override { return "Difference"; }
  mutable int batches = 0;

 private:
  void record(detail::BinaryEncoding& e) const override {
    detail::StepMemo memo;
    Arithmetic op;
    op.kind = ArithmeticKind::subtract;
    detail::encode(e.recording, memo, op, {e.primary, e.secondary, e.destination, {}});
  }
  [[nodiscard]] StateBatch make_state_batch(const detail::StateOrigin&, const ImageBatch& primaries,
                                            const ImageBatch& secondaries,
                                            const ImageBatch& destinations) const override {
    ++batches;
    EXPECT_EQ(secondaries.size(), primaries.size());
    EXPECT_EQ(destinations.size(), primaries.size());
    std::vector<StatePtr> states;
    for (std::size_t i = 0; i < primaries.size(); ++i) states.push_back(std::make_shared<Place>(i));
    return states;
  }
};

TEST(BinaryKernels, MakeTheStatesOfABatchAtOnce) {
  Difference difference;
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  difference.setDestinationImageAllocator(Image::defaultAllocator());
  const ImageBatch a{filled(floats(1, 1, 1), 5), filled(floats(1, 1, 1), 6)};
  const ImageBatch b{filled(floats(1, 1, 1), 1), filled(floats(1, 1, 1), 4)};
  StateBatch states;
  const ImageBatch results = difference.encodeBatch(buffer, a, b, &states, false);
  ASSERT_EQ(states.size(), 2U);
  EXPECT_EQ(states.at<Place>(1)->index, 1U);
  EXPECT_EQ(difference.batches, 1);
  EXPECT_EQ(difference.resultStateBatch(a, b, {}, results).size(), 2U);
  EXPECT_EQ(difference.temporaryResultStateBatch(buffer, a, b, {}, results).size(), 2U);
  EXPECT_TRUE(difference.resultState(a[0], b[0], {}, results[0]));
  EXPECT_TRUE(difference.temporaryResultStateBatch(buffer, {}, {}, {}, {}).empty());
  EXPECT_EQ(difference.batches, 4) << "not for an empty batch";
  buffer.commit();
  buffer.waitUntilCompleted();
  EXPECT_EQ(results[1].read_floats(), std::vector<float>{2});
}

}  // namespace
}  // namespace cermet
