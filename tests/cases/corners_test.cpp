// What the tables have no column for: images that hold several, what a convolution's gradient
// computes, Caffe's divisor, other element types in gradients and losses, lists that repeat images,
// reads that losses take away.

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "../harness/bench.h"
#include "../harness/convolution.h"
#include "../harness/images.h"
#include "cermet/cnn/loss.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/normalization.h"
#include "cermet/cnn/pooling.h"
#include "cermet/cnn/softmax.h"
#include "cermet/cnn/upsampling.h"

namespace cermet::test {
namespace {

using Format = ImageFeatureChannelFormat;
using Option = CNNConvolutionGradientOption;

const Bench& bench() { return Bench::with(2); }
const Device& device() { return bench().device; }
CommandBuffer command_buffer() { return bench().queue.makeCommandBuffer(); }

std::shared_ptr<RowWeights> weights() {
  static const auto one =
      std::make_shared<RowWeights>(ConvolutionRow{.outputFeatureChannels = 8}, 4);
  return one;
}

/// A forward kernel and its gradient, for sources of 4 channels.
struct Pair {
  std::string name;
  std::function<std::unique_ptr<CNNKernel>()> forward;
  std::function<std::unique_ptr<CNNGradientKernel>()> gradient;
  bool reads_result = false;  // the gradient is given the forward result
  bool shared_state = false;
};
void PrintTo(const Pair& pair, std::ostream* out) { *out << pair.name; }

template <class Forward, class Gradient, class... Arguments>
Pair pair(std::string name, bool reads_result, const Arguments&... arguments) {
  return {std::move(name), [=] { return std::make_unique<Forward>(device(), arguments...); },
          [=] { return std::make_unique<Gradient>(device(), arguments...); }, reads_result,
          std::is_same_v<Forward, CNNConvolution>};
}
std::vector<Pair> pairs() {
  constexpr std::size_t one = 1, two = 2, three = 3;
  return {pair<CNNConvolution, CNNConvolutionGradient>("Convolution", false, weights()),
          pair<CNNNeuron, CNNNeuronGradient>(
              "Neuron", false, NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::Sigmoid)),
          pair<CNNPoolingMax, CNNPoolingMaxGradient>("PoolingMax", false, three, two, two, two),
          pair<CNNPoolingAverage, CNNPoolingAverageGradient>("PoolingAverage", false, two, three,
                                                             two, two),
          pair<CNNDilatedPoolingMax, CNNDilatedPoolingMaxGradient>("DilatedPoolingMax", false, two,
                                                                   three, two, two, two, one),
          pair<CNNPoolingL2Norm, CNNPoolingL2NormGradient>("PoolingL2Norm", false, three, two, two,
                                                           two),
          pair<CNNSoftMax, CNNSoftMaxGradient>("SoftMax", true),
          pair<CNNLogSoftMax, CNNLogSoftMaxGradient>("LogSoftMax", true),
          pair<CNNSpatialNormalization, CNNSpatialNormalizationGradient>("SpatialNormalization",
                                                                         false, three, two),
          pair<CNNUpsamplingNearest, CNNUpsamplingNearestGradient>("UpsamplingNearest", false, two,
                                                                   three),
          pair<CNNUpsamplingBilinear, CNNUpsamplingBilinearGradient>("UpsamplingBilinear", false,
                                                                     three, two)};
}

constexpr Images source_size{4, 5, 6, 4};
/// The result's size; sets the kernel's offset.
Images result_size(CNNKernel& kernel, const Images& source) {
  const Image one(device(), source.descriptor(Format::Float32));
  const ImageDescriptor d = kernel.destinationImageDescriptor({&one, 1}, {});
  return {source.n, d.height, d.width, d.featureChannels};
}
std::vector<float> gradients_of(const StatePtr& state) {
  const auto own = std::dynamic_pointer_cast<CNNConvolutionGradientState>(state);
  if (!own) return {};
  const auto w = own->gradientForWeights().as<float>(), b = own->gradientForBiases().as<float>();
  std::vector<float> all(w.begin(), w.end());
  all.insert(all.end(), b.begin(), b.end());
  return all;
}
void expect_close(const std::vector<float>& got, const std::vector<float>& wanted,
                  const std::string& what) {
  const auto result =
      compare(got, std::vector<double>(wanted.begin(), wanted.end()), {1, 1, 1, 1}, {1e-5, 1e-30});
  EXPECT_TRUE(result.ok) << what << ": " << result.text;
}

class EveryKernel : public testing::TestWithParam<Pair> {
 protected:
  /// Forward and gradient of a batch; what the other ways are compared with.
  struct Pass {
    ImageBatch x, y, e, dx;
    StateBatch states;
  };
  [[nodiscard]] Pass reference(Format format = Format::Float32) const {
    const auto forward = GetParam().forward();
    const auto gradient = GetParam().gradient();
    gradient->setDestinationImageAllocator(Image::defaultAllocator());
    const Images result = result_size(*forward, source_size);
    Pass p;
    p.x = upload(device(), format, source_size, floats(source_size.count(), 1, 0.05F, 0.95F));
    p.y = upload(device(), Format::Float32, result, Values(result.count()));
    p.e = upload(device(), format, result, floats(result.count(), 2, 0.05F, 0.95F));
    p.states = forward->resultStateBatch(p.x, {}, p.y);
    CommandBuffer commands = command_buffer();
    forward->encodeBatch(commands, p.x, p.states, p.y);
    p.dx = gradient->encodeBatch(commands, p.e, GetParam().reads_result ? p.y : p.x, p.states);
    finish(commands);
    return p;
  }
};
INSTANTIATE_TEST_SUITE_P(Corners, EveryKernel, testing::ValuesIn(pairs()),
                         [](const auto& one) { return one.param.name; });

// ---- images that hold several ------------------------------------------------------------------

Image stack(const Images& e, const std::vector<float>& values) {
  ImageDescriptor descriptor = e.descriptor(Format::Float32);
  descriptor.numberOfImages = e.n;
  const Image image(device(), descriptor);
  image.write_floats(values);
  return image;
}

/// Images 1 and 2 of a source of four go to images 2 and 3 of a destination of five.
TEST_P(EveryKernel, TakesImagesAlongZ_quick) {
  const Pass p = reference();
  const auto forward = GetParam().forward();
  Images result = result_size(*forward, source_size);
  result.n = 5;
  const Image x = stack(source_size, read(p.x)), y = stack(result, Values(result.count(), 7));
  Offset offset = forward->offset();
  offset.z = 1;
  forward->setOffset(offset);
  forward->setClipRect({{0, 0, 2}, {all_channels, all_channels, 2}});
  CommandBuffer commands = command_buffer();
  const StatePtr state = forward->resultState(x, {}, y);
  forward->encode(commands, x, state, y);
  finish(commands);
  const Values got = y.read_floats(), wanted = read(p.y);
  for (std::size_t n = 0; n < 5; ++n) {
    const Values image(got.begin() + static_cast<std::ptrdiff_t>(n * result.one()),
                       got.begin() + static_cast<std::ptrdiff_t>((n + 1) * result.one()));
    if (n < 2 || n > 3) {
      EXPECT_EQ(image, Values(result.one(), 7)) << "image " << n << " was written";
    } else {
      expect_close(image, picked(wanted, result.one(), {n - 1}), "image " + std::to_string(n));
    }
  }
}

TEST_P(EveryKernel, TakesAllImagesWithoutAClipRectangle_quick) {
  const Pass p = reference();
  const auto forward = GetParam().forward();
  forward->setDestinationImageAllocator(Image::defaultAllocator());
  const Image x = stack(source_size, read(p.x));
  CommandBuffer commands = command_buffer();
  const Image y = forward->encode(commands, x);
  finish(commands);
  EXPECT_EQ(y.numberOfImages(), source_size.n);
  expect_close(y.read_floats(), read(p.y), "returned");
}

TEST_P(EveryKernel, RefusesImagesThatAreNotThere_quick) {
  const auto forward = GetParam().forward();
  const Images result = result_size(*forward, source_size);
  const Image x = stack(source_size, Values(source_size.count())),
              y = stack(result, Values(result.count()));
  const CommandBuffer commands = command_buffer();
  const auto encode_with = [&](std::ptrdiff_t from, Region clip) {
    Offset offset = forward->offset();
    offset.z = from;
    forward->setOffset(offset);
    forward->setClipRect(clip);
    forward->encode(commands, x, y);
  };
  EXPECT_THROW(encode_with(1, RectNoClip), InvalidArgument) << "five of four source images";
  EXPECT_THROW(encode_with(-1, RectNoClip), InvalidArgument);
  EXPECT_THROW(encode_with(0, {{0, 0, 4}, {9, 9, 1}}), InvalidArgument) << "no such destination";
  EXPECT_THROW(encode_with(3, {{0, 0, 0}, {9, 9, 2}}), InvalidArgument);
  EXPECT_NO_THROW(encode_with(3, {{0, 0, 0}, {9, 9, 1}}));
}

/// The gradient of images 1 and 2, from places 0 and 1 of the incoming gradient, to 2 and 3.
TEST_P(EveryKernel, GradientTakesImagesAlongZ_quick) {
  const Pass p = reference();
  const auto forward = GetParam().forward();
  const auto gradient = GetParam().gradient();
  const Images result = result_size(*forward, source_size);
  const Image x = stack(source_size, read(p.x)), y = stack(result, read(p.y)),
              e = stack(result, picked(read(p.e), result.one(), {1, 2, 0, 3})),
              dx = stack(source_size, Values(source_size.count(), 7));
  const StatePtr state = forward->resultState(x, {}, y);
  const Image second = GetParam().reads_result ? y : x;
  const Image sources[] = {e, second};
  static_cast<void>(gradient->destinationImageDescriptor(sources, {&state, 1}));
  Offset offset = gradient->secondaryOffset();
  offset.z = 1;
  gradient->setSecondaryOffset(offset);
  gradient->setClipRect({{0, 0, 2}, {all_channels, all_channels, 2}});
  CommandBuffer commands = command_buffer();
  gradient->encode(commands, e, second, state, dx);
  finish(commands);
  const Values got = dx.read_floats(), wanted = read(p.dx);
  const std::size_t one = source_size.one();
  EXPECT_EQ(picked(got, one, {0, 1}), Values(2 * one, 7)) << "images 0 and 1 were written";
  expect_close(picked(got, one, {2, 3}), picked(wanted, one, {1, 2}), "images 2 and 3");
  if (!GetParam().shared_state) return;
  // Gradients of parameters are those of the two images alone.
  const auto other = GetParam().gradient();
  const StatePtr two = forward->resultState(x, {}, y);
  CommandBuffer batch = command_buffer();
  static_cast<void>(other->encodeBatch(batch, p.e.subrange({1, 2}), p.x.subrange({1, 2}),
                                       StateBatch::repeated(two, 2)));
  finish(batch);
  expect_close(gradients_of(state), gradients_of(two), "parameters");
}

// ---- lists of images ---------------------------------------------------------------------------

/// Images of one batch out of order, one of them twice, are the same as one after the other.
TEST_P(EveryKernel, GradientOfAListThatRepeatsImages_quick) {
  const Pass p = reference();
  const ImageBatch& second = GetParam().reads_result ? p.y : p.x;
  const std::vector<std::size_t> order{2, 0, 2, 3};
  std::vector<Image> e, x;
  std::vector<StatePtr> own;
  const auto forward = GetParam().forward();
  static_cast<void>(result_size(*forward, source_size));
  const StateBatch states = forward->resultStateBatch(p.x, {}, p.y);
  for (const std::size_t i : order) {
    e.push_back(p.e[i]);
    x.push_back(second[i]);
    own.push_back(states[i]);
  }
  const StateBatch chosen =
      GetParam().shared_state ? StateBatch::repeated(states[0], order.size()) : StateBatch(own);
  const auto gradient = GetParam().gradient();
  gradient->setDestinationImageAllocator(Image::defaultAllocator());
  CommandBuffer commands = command_buffer();
  const ImageBatch dx = gradient->encodeBatch(commands, e, x, chosen);
  finish(commands);
  expect_close(read(dx), picked(read(p.dx), source_size.one(), order), "image gradients");
  if (!GetParam().shared_state) return;
  std::vector<float> sum;
  for (const std::size_t i : order) {
    const StatePtr single = forward->resultState(p.x[i], {}, p.y[i]);
    CommandBuffer one = command_buffer();
    static_cast<void>(gradient->encode(one, p.e[i], p.x[i], single));
    finish(one);
    const auto part = gradients_of(single);
    sum.resize(part.size());
    std::transform(part.begin(), part.end(), sum.begin(), sum.begin(), std::plus<>());
  }
  expect_close(gradients_of(states[0]), sum, "parameters: the repeated image counts twice");
}

/// Into loose images; each distinct temporary of the lists loses one read, however often it occurs.
TEST_P(EveryKernel, GradientOfRepeatedTemporariesReadsEachOnce_quick) {
  const Pass p = reference();
  const CNNNeuron identity(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None));
  CommandBuffer commands = command_buffer();
  const auto temporary = [&](const Image& from) {
    const TemporaryImage to(
        commands, ImageDescriptor::imageDescriptor(Format::Float32, from.width(), from.height(),
                                                   from.featureChannels()));
    identity.encode(commands, from, to);
    return static_cast<Image>(to);
  };
  const ImageBatch& second = GetParam().reads_result ? p.y : p.x;
  const Image e0 = temporary(p.e[0]), e1 = temporary(p.e[1]), x0 = temporary(second[0]),
              x1 = temporary(second[1]);
  ImageBatchIncrementReadCount({e0, x1}, 2);
  const auto forward = GetParam().forward();
  static_cast<void>(result_size(*forward, source_size));
  const StateBatch states = forward->resultStateBatch(p.x.subrange({0, 3}), {}, p.y);
  const auto gradient = GetParam().gradient();
  const ImageBatch images{e0, e1, e0}, seconds{x0, x1, x0};
  const Image sources[] = {e0, x0};
  const StatePtr state = states[0];
  static_cast<void>(gradient->destinationImageDescriptor(sources, {&state, 1}));
  std::vector<Image> to;
  for (int i = 0; i < 3; ++i) to.emplace_back(device(), source_size.descriptor(Format::Float32));
  gradient->encodeBatch(commands, images, seconds,
                        GetParam().shared_state ? StateBatch::repeated(state, 3) : states, to);
  EXPECT_EQ(e0.readCount(), 2U);
  EXPECT_EQ(e1.readCount(), 0U);
  EXPECT_EQ(x0.readCount(), 0U);
  EXPECT_EQ(x1.readCount(), 2U);
  finish(commands);
  expect_close(read(to), picked(read(p.dx), source_size.one(), {0, 1, 0}), "image gradients");
}

// ---- element types -----------------------------------------------------------------------------

/// Sources and incoming gradients in unorm8 are those of float images with the same values.
TEST_P(EveryKernel, GradientOfUnorm8Images_quick) {
  const Pass small = reference(Format::Unorm8);
  const auto wide = [](const ImageBatch& batch) {
    const Image one = batch.front();
    return upload(device(), Format::Float32,
                  {batch.size(), one.height(), one.width(), one.featureChannels()}, read(batch));
  };
  const ImageBatch x = wide(small.x), e = wide(small.e);
  const auto forward = GetParam().forward();
  static_cast<void>(result_size(*forward, source_size));
  const auto gradient = GetParam().gradient();
  gradient->setDestinationImageAllocator(Image::defaultAllocator());
  const StateBatch states = forward->resultStateBatch(x, {}, small.y);
  CommandBuffer commands = command_buffer();
  forward->encodeBatch(commands, x, states, small.y);
  const ImageBatch dx =
      gradient->encodeBatch(commands, e, GetParam().reads_result ? small.y : x, states);
  finish(commands);
  expect_close(gradients_of(small.states[0]), gradients_of(states[0]), "parameters");
  // Into float images: a returned one would have the format of its source.
  const Images s = source_size;
  const ImageBatch to = upload(device(), Format::Float32, s, Values(s.count(), 7));
  CommandBuffer again = command_buffer();
  const StateBatch fresh = forward->resultStateBatch(small.x, {}, small.y);
  gradient->encodeBatch(again, small.e, GetParam().reads_result ? small.y : small.x, fresh, to);
  finish(again);
  expect_close(read(to), read(dx), "image gradients");
}

// ---- what a convolution's gradient computes ----------------------------------------------------

class GradientOption : public testing::Test {
 protected:
  GradientOption() {
    CommandBuffer commands = command_buffer();
    kernel_.setDestinationImageAllocator(Image::defaultAllocator());
    state_ = state();
    all_ = kernel_.encodeBatch(commands, e_, x_, states(state_));
    finish(commands);
  }
  [[nodiscard]] StatePtr state() const { return forward_.resultState(x_[0], {}, e_[0]); }
  [[nodiscard]] StateBatch states(const StatePtr& state) const {
    return StateBatch::repeated(state, x_.size());
  }
  static void fill(const StatePtr& state, float value) {
    const auto own = std::dynamic_pointer_cast<CNNConvolutionGradientState>(state);
    std::ranges::fill(own->gradientForWeights().as<float>(), value);
    std::ranges::fill(own->gradientForBiases().as<float>(), value);
  }

  Images result_{2, 5, 6, 8}, source_{2, 5, 6, 4};
  ImageBatch x_ = upload(device(), Format::Float32, source_, floats(source_.count(), 1)),
             e_ = upload(device(), Format::Float32, result_, floats(result_.count(), 2));
  CNNConvolution forward_{device(), weights()};
  CNNConvolutionGradient kernel_{device(), weights()};
  StatePtr state_;  // of the gradient with everything
  ImageBatch all_;
};

TEST_F(GradientOption, DefaultIsAll_quick) {
  EXPECT_EQ(kernel_.gradientOption(), Option::All);
  EXPECT_NE(read(all_), Values(source_.count()));
  EXPECT_NE(gradients_of(state_), Values(gradients_of(state_).size()));
}

TEST_F(GradientOption, WithDataLeavesTheStateAlone_quick) {
  kernel_.setGradientOption(Option::GradientWithData);
  const StatePtr mine = state();
  fill(mine, 7);
  CommandBuffer commands = command_buffer();
  const ImageBatch dx = kernel_.encodeBatch(commands, e_, x_, states(mine));
  finish(commands);
  EXPECT_EQ(read(dx), read(all_));
  EXPECT_EQ(gradients_of(mine), Values(gradients_of(mine).size(), 7));
  // It was no gradient of weights: the next one overwrites.
  kernel_.setGradientOption(Option::All);
  CommandBuffer next = command_buffer();
  static_cast<void>(kernel_.encodeBatch(next, e_, x_, states(mine)));
  finish(next);
  EXPECT_EQ(gradients_of(mine), gradients_of(state_));
}

TEST_F(GradientOption, WithWeightsAndBiasLeavesTheDestinationAlone_quick) {
  kernel_.setGradientOption(Option::GradientWithWeightsAndBias);
  const StatePtr mine = state();
  const ImageBatch to = upload(device(), Format::Float32, source_, Values(source_.count(), 7));
  const Image sources[] = {e_[0], x_[0]};
  static_cast<void>(kernel_.destinationImageDescriptor(sources, {&mine, 1}));
  CommandBuffer commands = command_buffer();
  kernel_.encodeBatch(commands, e_, x_, states(mine), to);
  finish(commands);
  EXPECT_EQ(read(to), Values(source_.count(), 7));
  EXPECT_EQ(gradients_of(mine), gradients_of(state_));
}

TEST_F(GradientOption, WithWeightsAndBiasReturnsZeros_quick) {
  kernel_.setGradientOption(Option::GradientWithWeightsAndBias);
  const StatePtr mine = state();
  CommandBuffer commands = command_buffer();
  const ImageBatch dx = kernel_.encodeBatch(commands, e_, x_, states(mine));
  finish(commands);
  EXPECT_EQ(read(dx), Values(source_.count()));
  EXPECT_EQ(gradients_of(mine), gradients_of(state_));
}

TEST_F(GradientOption, OfAFullyConnectedLayer_quick) {
  const auto source = std::make_shared<RowWeights>(
      ConvolutionRow{.kernelWidth = 6, .kernelHeight = 5, .outputFeatureChannels = 8}, 4);
  const CNNFullyConnected forward(device(), source);
  const Images one{2, 1, 1, 8};
  const ImageBatch e = upload(device(), Format::Float32, one, floats(one.count(), 3));
  const auto run = [&](Option option, const StatePtr& state) {
    CNNFullyConnectedGradient gradient(device(), source);
    gradient.setDestinationImageAllocator(Image::defaultAllocator());
    gradient.setGradientOption(option);
    CommandBuffer commands = command_buffer();
    const ImageBatch dx = gradient.encodeBatch(commands, e, x_, states(state));
    finish(commands);
    return read(dx);
  };
  const StatePtr all = forward.resultState(x_[0], {}, e[0]),
                 data = forward.resultState(x_[0], {}, e[0]),
                 parameters = forward.resultState(x_[0], {}, e[0]);
  fill(data, 7);
  const Values dx = run(Option::All, all);
  EXPECT_EQ(run(Option::GradientWithData, data), dx);
  EXPECT_EQ(gradients_of(data), Values(gradients_of(data).size(), 7));
  EXPECT_EQ(run(Option::GradientWithWeightsAndBias, parameters), Values(dx.size()));
  EXPECT_EQ(gradients_of(parameters), gradients_of(all));
}

/// Temporaries are read whatever is computed from them.
TEST_F(GradientOption, TakesTheReadsAllTheSame_quick) {
  const CNNNeuron identity(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None));
  for (const Option option :
       {Option::GradientWithData, Option::GradientWithWeightsAndBias, Option::All}) {
    kernel_.setGradientOption(option);
    CommandBuffer commands = command_buffer();
    const ImageBatch x(commands, source_.descriptor(Format::Float32), 2),
        e(commands, result_.descriptor(Format::Float32), 2);
    identity.encodeBatch(commands, x_, x);
    identity.encodeBatch(commands, e_, e);
    const StatePtr own = forward_.temporaryResultState(commands, x[0], {}, e[0]);
    static_cast<void>(kernel_.encodeBatch(commands, e, x, states(own)));
    for (const Image& image : {x[0], x[1], e[0], e[1]}) EXPECT_EQ(image.readCount(), 0U);
    EXPECT_EQ(own->readCount(), 0U);
    finish(commands);
  }
}

TEST(ConvolutionGradientProperties, AreThoseOfTheDataSource_quick) {
  ConvolutionRow row{.outputFeatureChannels = 6};
  row.groups = 2;
  const auto grouped = std::make_shared<RowWeights>(row, 4);
  const CNNConvolutionGradient regular(device(), grouped);
  EXPECT_EQ(regular.sourceGradientFeatureChannels(), 6U);
  EXPECT_EQ(regular.sourceImageFeatureChannels(), 4U);
  EXPECT_EQ(regular.groups(), 2U);
  EXPECT_EQ(regular.channelMultiplier(), 0U) << "not depthwise";
  EXPECT_EQ(regular.dataSource(), grouped);
  EXPECT_TRUE(regular.isStateModified());
  EXPECT_FALSE(regular.serializeWeightsAndBiases());
  row = {.outputFeatureChannels = 8};
  row.depthwise = true;
  const CNNConvolutionGradient depthwise(device(), std::make_shared<RowWeights>(row, 4));
  EXPECT_EQ(depthwise.sourceGradientFeatureChannels(), 8U);
  EXPECT_EQ(depthwise.sourceImageFeatureChannels(), 4U);
  EXPECT_EQ(depthwise.groups(), 1U);
  EXPECT_EQ(depthwise.channelMultiplier(), 2U);
}

// ---- Caffe's divisor ---------------------------------------------------------------------------

/// The policy's flag: windows are divided by what they cover of the image and of the padding that
/// the policy applied.
TEST(ExcludeEdges, CountsThePaddingOfThePolicy_quick) {
  using Method = NNPaddingMethod;
  CNNPoolingAverage kernel(device(), 3, 3, 2, 2);
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  kernel.setPadding(NNDefaultPadding::padding(Method::SizeSame | Method::ExcludeEdges));
  const Images e{1, 4, 4, 1};
  const ImageBatch x = upload(device(), Format::Float32, e, Values(16, 1));
  CommandBuffer commands = command_buffer();
  StateBatch states;
  const ImageBatch y = kernel.encodeBatch(commands, x, &states, false);
  finish(commands);
  EXPECT_EQ(kernel.edgeMode(), ImageEdgeMode::Clamp);
  EXPECT_EQ(kernel.zeroPadSizeX(), 1U);
  EXPECT_EQ(kernel.zeroPadSizeY(), 1U);
  // Windows of columns -1 ... 1 and 1 ... 3: padding lies to the left, and inside the divisor.
  expect_close(read(y), {4 / 9.0F, 6 / 9.0F, 6 / 9.0F, 1}, "forward");
  // Its gradient takes edges and pads from the state.
  CNNPoolingAverageGradient gradient(device(), 3, 3, 2, 2);
  gradient.setDestinationImageAllocator(Image::defaultAllocator());
  const ImageBatch g =
      upload(device(), Format::Float32, {1, 2, 2, 1}, std::vector<float>{9, 18, 27, 36});
  CommandBuffer backward = command_buffer();
  const ImageBatch dx = gradient.encodeBatch(backward, g, x, states);
  finish(backward);
  expect_close(read(dx), {1, 3, 2, 2, 4, 10, 6, 6, 3, 7, 4, 4, 3, 7, 4, 4}, "gradient");
}

/// Where the padding lies to the right a window may run past the zeros: it shrinks.
TEST(ExcludeEdges, ShrinksPastTheZeros_quick) {
  using Method = NNPaddingMethod;
  CNNPoolingAverage kernel(device(), 3, 1, 2, 1);
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  kernel.setPadding(NNDefaultPadding::padding(Method::SizeSame | Method::ExcludeEdges |
                                              Method::AddRemainderToBottomRight));
  const ImageBatch x =
      upload(device(), Format::Float32, {1, 1, 4, 1}, std::vector<float>{3, 6, 9, 12});
  CommandBuffer commands = command_buffer();
  const ImageBatch y = kernel.encodeBatch(commands, x);
  finish(commands);
  EXPECT_EQ(kernel.zeroPadSizeX(), 0U);
  expect_close(read(y), {6, 10.5F}, "windows of columns 0 ... 2 and 2 ... 4");
}

TEST(ExcludeEdges, MeansNothingToMaxPooling_quick) {
  using Method = NNPaddingMethod;
  CNNPoolingMax kernel(device(), 3, 3, 2, 2);
  kernel.setDestinationImageAllocator(Image::defaultAllocator());
  kernel.setPadding(NNDefaultPadding::padding(Method::SizeSame | Method::ExcludeEdges));
  const ImageBatch x = upload(device(), Format::Float32, {1, 4, 4, 1}, Values(16, -1));
  CommandBuffer commands = command_buffer();
  const ImageBatch y = kernel.encodeBatch(commands, x);
  finish(commands);
  EXPECT_EQ(kernel.edgeMode(), ImageEdgeMode::Zero);
  EXPECT_EQ(read(y), (Values{0, 0, 0, -1}));
}

// ---- losses ------------------------------------------------------------------------------------

struct LossData {
  Images image{3, 2, 3, 4}, reduced{3, 1, 1, 1};
  Values y = floats(image.count(), 1, -2, 2), t = floats(image.count(), 2, 0, 1),
         w = floats(image.count(), 3, 0.25F, 2), g = floats(reduced.count(), 4, 0.5F, 2);
};
CNNLossDescriptor loss_descriptor(CNNLossType type) {
  auto descriptor = CNNLossDescriptor::cnnLossDescriptor(type, CNNReductionType::Sum);
  descriptor.setWeight(0.5F);
  return descriptor;
}
const CNNLossType differentiable[] = {CNNLossType::MeanSquaredError,
                                      CNNLossType::SoftMaxCrossEntropy,
                                      CNNLossType::SigmoidCrossEntropy, CNNLossType::Huber};

/// All images in half precision: the gradient of the float images with the same values, rounded.
TEST(LossCorners, GradientsInFloat16_quick) {
  const LossData d;
  for (const CNNLossType type : differentiable) {
    for (const bool by_labels : {false, true}) {
      NNLossGradient gradient(device(), loss_descriptor(type));
      gradient.setComputeLabelGradients(by_labels);
      const auto run = [&](Format format, Format to_format) {
        const auto half = [&](const Images& e, const Values& values) {
          return upload(device(), format, e, read(upload(device(), Format::Float16, e, values)));
        };
        const ImageBatch to = upload(device(), to_format, d.image, Values(d.image.count(), 7));
        CommandBuffer commands = command_buffer();
        gradient.encodeBatch(commands, half(d.reduced, d.g), half(d.image, d.y), half(d.image, d.t),
                             half(d.image, d.w), {}, to);
        finish(commands);
        return read(to);
      };
      const Values wide = run(Format::Float32, Format::Float32);
      EXPECT_EQ(run(Format::Float16, Format::Float32), wide);
      Values rounded = wide;
      for (float& value : rounded) value = float_from_half(half_from_float(value));
      EXPECT_EQ(run(Format::Float16, Format::Float16), rounded)
          << "type " << static_cast<int>(type) << (by_labels ? " by labels" : "");
    }
  }
}

/// A property that is set is as good as one of the descriptor.
TEST(LossCorners, SettersOfTheGradientAreObeyed_quick) {
  const LossData d;
  const auto run = [&](const NNLossGradient& gradient, const Values& y) {
    const ImageBatch to = upload(device(), Format::Float32, d.image, Values(d.image.count(), 7));
    CommandBuffer commands = command_buffer();
    gradient.encodeBatch(commands, upload(device(), Format::Float32, d.reduced, d.g),
                         upload(device(), Format::Float32, d.image, y),
                         upload(device(), Format::Float32, d.image, d.t), {}, {}, to);
    finish(commands);
    return read(to);
  };
  const struct {
    const char* name;
    CNNLossType type;
    void (CNNLossDescriptor::*describe)(float);
    void (NNLossGradient::*set)(float);
    float (NNLossGradient::*get)() const;
  } cases[] = {
      {"weight", CNNLossType::MeanSquaredError, &CNNLossDescriptor::setWeight,
       &NNLossGradient::setWeight, &NNLossGradient::weight},
      {"labelSmoothing", CNNLossType::SigmoidCrossEntropy, &CNNLossDescriptor::setLabelSmoothing,
       &NNLossGradient::setLabelSmoothing, &NNLossGradient::labelSmoothing},
      {"epsilon", CNNLossType::Log, &CNNLossDescriptor::setEpsilon, &NNLossGradient::setEpsilon,
       &NNLossGradient::epsilon},
      {"delta", CNNLossType::Huber, &CNNLossDescriptor::setDelta, &NNLossGradient::setDelta,
       &NNLossGradient::delta},
  };
  const Values inside = floats(d.image.count(), 9, 0.125F, 0.875F);
  for (const auto& one : cases) {
    SCOPED_TRACE(one.name);
    const Values& y = one.type == CNNLossType::Log ? inside : d.y;
    auto descriptor = loss_descriptor(one.type);
    NNLossGradient set(device(), descriptor);
    const Values before = run(set, y);
    (set.*one.set)(0.25F);
    EXPECT_EQ((set.*one.get)(), 0.25F);
    (descriptor.*one.describe)(0.25F);
    EXPECT_EQ(run(set, y), run(NNLossGradient(device(), descriptor), y));
    EXPECT_NE(run(set, y), before);
  }
}

TEST(LossCorners, CombinedLossInFloat16_quick) {
  const LossData d;
  for (const CNNLossType type : differentiable) {
    const CNNLoss loss(device(), loss_descriptor(type));
    const ImageBatch half = upload(device(), Format::Float16, d.image, d.y),
                     t = upload(device(), Format::Float32, d.image, d.t);
    const auto run = [&](const ImageBatch& y, Format format) {
      CNNLossLabelsBatch labels;
      for (const Image image : t)
        labels.push_back(std::make_shared<CNNLossLabels>(device(), Size{1, 1, 1}, image, Image()));
      const ImageBatch to = upload(device(), format, d.image, Values(d.image.count(), 7));
      CommandBuffer commands = command_buffer();
      loss.encodeBatch(commands, y, labels, to);
      finish(commands);
      Values all = read(to);
      for (const auto& one : labels) all.push_back(one->lossImage().read_floats()[0]);
      return all;
    };
    const Values wide =
        run(upload(device(), Format::Float32, d.image, read(half)), Format::Float32);
    Values rounded = wide;
    for (std::size_t i = 0; i < d.image.count(); ++i)
      rounded[i] = float_from_half(half_from_float(rounded[i]));
    EXPECT_EQ(run(half, Format::Float16), rounded) << "type " << static_cast<int>(type);
  }
}

/// Every temporary that a loss filter reads loses one read, states too.
TEST(LossCorners, TakeTheReadsOfTheirSources_quick) {
  const LossData d;
  const CNNNeuron identity(device(), NNNeuronDescriptor::cnnNeuronDescriptor(CNNNeuronType::None));
  CommandBuffer commands = command_buffer();
  const auto temporary = [&](const Images& e, const Values& values) {
    const ImageBatch to(commands, e.descriptor(Format::Float32), e.n);
    identity.encodeBatch(commands, upload(device(), Format::Float32, e, values), to);
    return to;
  };
  const ImageBatch y = temporary(d.image, d.y), t = temporary(d.image, d.t),
                   w = temporary(d.image, d.w), g = temporary(d.reduced, d.g);
  const auto expect_reads = [&](const char* what, const ImageBatch& batch, std::size_t wanted) {
    for (const Image image : batch) EXPECT_EQ(image.readCount(), wanted) << what;
  };
  for (const ImageBatch& batch : {y, t, w}) ImageBatchIncrementReadCount(batch, 2);
  ImageBatchIncrementReadCount(g, 1);
  const auto descriptor = loss_descriptor(CNNLossType::MeanSquaredError);
  StateBatch states;
  const ImageBatch loss =
      NNForwardLoss(device(), descriptor).encodeBatch(commands, y, t, w, &states, true);
  for (const ImageBatch& batch : {y, t, w}) expect_reads("after the forward loss", batch, 2);
  ASSERT_EQ(states.size(), 3U);
  EXPECT_TRUE(states[0]->isTemporary());
  EXPECT_EQ(StateBatchIncrementReadCount(states, 1), 3U);

  NNLossGradient gradient(device(), descriptor);
  const ImageBatch by_prediction = gradient.encodeBatch(commands, g, y, t, w, states);
  for (const ImageBatch& batch : {y, t, w, g}) expect_reads("after the gradient", batch, 1);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(states[i]->readCount(), 1U);
  gradient.setComputeLabelGradients(true);
  const ImageBatch by_label = gradient.encodeBatch(commands, g, y, t, w, states);
  for (const ImageBatch& batch : {y, t, w, g}) expect_reads("after both gradients", batch, 0);
  for (std::size_t i = 0; i < 3; ++i) EXPECT_EQ(states[i]->readCount(), 0U);
  EXPECT_THROW(static_cast<void>(gradient.encodeBatch(commands, g, y, t, w, {})), InvalidArgument);

  const ImageBatch ones = NNInitialGradient(device()).encodeBatch(commands, loss);
  expect_reads("after the initial gradient", loss, 0);
  for (const ImageBatch& batch : {by_prediction, by_label, ones}) {
    expect_reads("a result", batch, 1);
    ImageBatchIncrementReadCount(batch, -1);
  }

  const ImageBatch source = temporary(d.image, d.y);
  CNNLossLabelsBatch labels;
  const ImageBatch kept = upload(device(), Format::Float32, d.image, d.t);
  for (const Image image : kept)
    labels.push_back(std::make_shared<CNNLossLabels>(device(), Size{1, 1, 1}, image, Image()));
  const ImageBatch combined = CNNLoss(device(), descriptor).encodeBatch(commands, source, labels);
  expect_reads("after the combined loss", source, 0);
  ImageBatchIncrementReadCount(combined, -1);
  finish(commands);
}

}  // namespace
}  // namespace cermet::test
