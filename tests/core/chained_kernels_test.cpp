// Neurons, dropout and their gradients in one command buffer that comes again and again give the
// bits of the same kernels one by one: a backend may make one launch of several.

#include <bit>
#include <functional>
#include <memory>

#include "cermet/cnn/dropout.h"
#include "harness/random.h"
#include "help.h"

namespace cermet {
namespace {

using test::tested;
using Floats = std::vector<float>;

struct Extents {
  std::size_t width, height, channels, images;
};
void PrintTo(const Extents& e, std::ostream* out) {
  *out << e.images << " x " << e.width << "x" << e.height << "x" << e.channels;
}

/// Kernels that are always encoded in the same order, their inputs and all that they result in.
class Kernels {
 public:
  explicit Kernels(const Extents& extents) : extents_(extents) {}

  [[nodiscard]] Image input(float low, float high) {
    inputs_.push_back({image(), low, high});
    return inputs_.back().image;
  }
  [[nodiscard]] Image image() const {
    return {tested(),
            test::floats(extents_.width, extents_.height, extents_.channels, extents_.images)};
  }

  /// f(source); `to`: where the result goes, else to an image of its own.
  Image neuron(const NNNeuronDescriptor& f, const Image& source, Image to = {}) {
    Image result = result_in(to);
    encodes_.emplace_back([=, kernel = CNNNeuron(tested(), f)](const CommandBuffer& commands) {
      kernel.encode(commands, source, result);
    });
    return result;
  }
  Image neuron_gradient(const NNNeuronDescriptor& f, const Image& gradient, const Image& source,
                        Image to = {}) {
    Image result = result_in(to);
    encodes_.emplace_back(
        [=, kernel = CNNNeuronGradient(tested(), f)](const CommandBuffer& commands) {
          kernel.encode(commands, gradient, source, result);
        });
    return result;
  }
  /// With a mask where `state` is asked for.
  Image dropout(const Image& source, StatePtr* state, Image to = {}) {
    Image result = result_in(to);
    const CNNDropout kernel(tested(), keep, ++seed_, {1, 1, 1});
    if (state == nullptr) {
      encodes_.emplace_back(
          [=](const CommandBuffer& commands) { kernel.encode(commands, source, result); });
      return result;
    }
    *state = kernel.resultState(source, {}, result);
    states_.push_back(*state);
    encodes_.emplace_back([=, mask = *state](const CommandBuffer& commands) {
      kernel.encode(commands, source, mask, result);
    });
    return result;
  }
  Image dropout_gradient(const Image& gradient, const Image& source, const StatePtr& state,
                         Image to = {}) {
    Image result = result_in(to);
    const CNNDropoutGradient kernel(tested(), keep, 1, {1, 1, 1});
    encodes_.emplace_back([=](const CommandBuffer& commands) {
      kernel.encode(commands, gradient, source, state, result);
    });
    return result;
  }

  void fill_inputs(std::uint64_t seed) const {
    for (const Input& input : inputs_) {
      Image image = input.image;
      image.write_floats(test::floats(test::elements(image), ++seed, input.low, input.high));
    }
  }
  void run(bool together) const {
    const CommandQueue queue = tested().makeCommandQueue();
    CommandBuffer commands = queue.makeCommandBuffer();
    for (const auto& encode : encodes_) {
      encode(commands);
      if (together) continue;
      finish(commands);
      commands = queue.makeCommandBuffer();
    }
    finish(commands);
  }
  /// Bits of all results and masks.
  [[nodiscard]] std::vector<std::vector<std::uint32_t>> results() const {
    std::vector<std::vector<std::uint32_t>> all;
    for (const Image& image : results_) {
      std::vector<std::uint32_t>& bits = all.emplace_back();
      for (const float value : image.read_floats())
        bits.push_back(std::bit_cast<std::uint32_t>(value));
    }
    for (const StatePtr& state : states_) {
      const auto mask = std::dynamic_pointer_cast<CNNDropoutGradientState>(state)->maskData();
      all.emplace_back(mask.begin(), mask.end());
    }
    return all;
  }

 private:
  static constexpr float keep = 0.6F;
  struct Input {
    Image image;
    float low, high;
  };
  [[nodiscard]] Image result_in(const Image& given) {
    return results_.emplace_back(given ? given : image());
  }
  static void finish(CommandBuffer& commands) {
    commands.commit();
    commands.waitUntilCompleted();
    EXPECT_EQ(commands.status(), CommandBufferStatus::Completed);
  }

  Extents extents_;
  std::size_t seed_ = 0;
  std::vector<Input> inputs_;
  std::vector<Image> results_;
  std::vector<StatePtr> states_;
  std::vector<std::function<void(const CommandBuffer&)>> encodes_;
};

void expect_bits_of_single_kernels(const Extents& extents,
                                   const std::function<void(Kernels&)>& make) {
  Kernels together(extents), alone(extents);
  make(together);
  make(alone);
  for (std::uint64_t round = 0; round < 4; ++round) {
    together.fill_inputs(10 * round);
    alone.fill_inputs(10 * round);
    together.run(true);
    alone.run(false);
    ASSERT_TRUE(together.results() == alone.results()) << "round " << round;
  }
}

NNNeuronDescriptor relu(float slope = 0) {
  return NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::ReLU, slope);
}
NNNeuronDescriptor neuron_of(CNNNeuronType type, const Extents& extents) {
  if (type == CNNNeuronType::PReLU)
    return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(test::floats(extents.channels, 5));
  return NNNeuronDescriptor::cnnNeuronDescriptor(type);
}

class ChainedKernels : public testing::TestWithParam<Extents> {};

TEST_P(ChainedKernels, NeuronAndDropoutForwardAndBackward) {
  for (int code = 0; code < static_cast<int>(CNNNeuronType::Count); ++code) {
    SCOPED_TRACE(code);
    const NNNeuronDescriptor f = neuron_of(static_cast<CNNNeuronType>(code), GetParam());
    expect_bits_of_single_kernels(GetParam(), [&](Kernels& kernels) {
      const Image x = kernels.input(-2, 3), g = kernels.input(-1, 1);
      StatePtr state;
      const Image activated = kernels.neuron(f, x);
      const Image dropped = kernels.dropout(activated, &state);
      kernels.neuron(relu(), activated);  // a later reader
      const Image passed = kernels.dropout_gradient(g, dropped, state);
      kernels.neuron_gradient(f, passed, x);
      kernels.neuron(relu(0.5F), passed);
    });
  }
}

TEST_P(ChainedKernels, ReluInSlopes) {
  for (const float slope : {-0.25F, 0.0F, 0.1F}) {
    expect_bits_of_single_kernels(GetParam(), [&](Kernels& kernels) {
      const Image x = kernels.input(-2, 2), g = kernels.input(-1, 1);
      StatePtr state;
      const Image dropped = kernels.dropout(kernels.neuron(relu(slope), x), &state);
      kernels.neuron_gradient(relu(slope), kernels.dropout_gradient(g, dropped, state), x);
    });
  }
}

TEST_P(ChainedKernels, LongerThanALaunch) {
  using enum CNNNeuronType;
  const auto of = [&](CNNNeuronType type) { return neuron_of(type, GetParam()); };
  expect_bits_of_single_kernels(GetParam(), [&](Kernels& kernels) {
    const Image x = kernels.input(-2, 2), g = kernels.input(-1, 1);
    StatePtr first, second;
    const Image a = kernels.neuron(of(TanH), x), b = kernels.dropout(a, &first);
    const Image c = kernels.neuron(of(SoftSign), b), d = kernels.dropout(c, &second);
    const Image e = kernels.dropout(kernels.neuron(of(GeLU), d), nullptr);
    Image gradient = kernels.neuron_gradient(of(GeLU), g, d);
    gradient = kernels.dropout_gradient(gradient, c, second);
    gradient = kernels.neuron_gradient(of(SoftSign), gradient, b);
    gradient = kernels.dropout_gradient(gradient, a, first);
    gradient = kernels.neuron_gradient(of(TanH), gradient, x);
    kernels.neuron(of(SoftPlus), kernels.neuron(of(Linear), kernels.neuron(of(Absolute), e)));
  });
}

TEST_P(ChainedKernels, InPlace) {
  expect_bits_of_single_kernels(GetParam(), [&](Kernels& kernels) {
    const Image x = kernels.input(-2, 2), g = kernels.input(-1, 1);
    StatePtr state;
    const Image y = kernels.neuron(relu(), x);
    kernels.dropout(y, &state, y);
    kernels.neuron(relu(0.5F), y, y);
    kernels.dropout_gradient(g, y, state, g);
    kernels.neuron_gradient(relu(0.25F), g, x, x);  // the source of the gradient is replaced
  });
}

TEST_P(ChainedKernels, AMaskThatIsReadAtOnce) {
  expect_bits_of_single_kernels(GetParam(), [&](Kernels& kernels) {
    const Image x = kernels.input(-2, 2);
    StatePtr state;
    const Image dropped = kernels.dropout(kernels.neuron(relu(), x), &state);
    kernels.neuron(relu(), kernels.dropout_gradient(dropped, dropped, state));
  });
}

INSTANTIATE_TEST_SUITE_P(Sizes, ChainedKernels,
                         testing::Values(Extents{1, 1, 4, 1}, Extents{4, 3, 8, 2},
                                         Extents{1, 1, 1024, 64},
                                         Extents{5, 2, 2, 3},      // fives of fours
                                         Extents{3, 3, 37, 2},     // no fours
                                         Extents{5, 1, 2, 2},      // one lies in two images
                                         Extents{17, 5, 12, 3}));  // blocks and a part of one

}  // namespace
}  // namespace cermet
