// RNNImageInferenceLayer: cells of 1x1 pixels and convolutional ones, states, both directions
// (spec: rnn-matrix B4).

#include <gtest/gtest.h>

#include <cmath>

#include "../core/help.h"
#include "../harness/recurrent.h"
#include "../harness/refusal.h"
#include "cermet/rnn/image_inference_layer.h"

namespace cermet::test {
namespace {

using enum CNNNeuronType;
using oracle::RecurrentCell;

/// n x h x w x c
struct Picture {
  std::size_t n = 1, h = 1, w = 1, c = 1;
  std::vector<double> v;

  Picture(std::size_t images, std::size_t height, std::size_t width, std::size_t channels)
      : n(images), h(height), w(width), c(channels), v(n * h * w * c) {}
  double& at(std::size_t i, std::size_t y, std::size_t x, std::size_t k) {
    return v.at(((i * h + y) * w + x) * c + k);
  }
  [[nodiscard]] double at(std::size_t i, std::size_t y, std::size_t x, std::size_t k) const {
    return v.at(((i * h + y) * w + x) * c + k);
  }
};

/// Weights [output][side][side][input / groups] of one part of a gate.
struct Kernel2D {
  std::size_t side = 1, groups = 1, dilation = 1;
  std::vector<float> v;
};

struct ImageCell {
  RecurrentCell::Kind kind = RecurrentCell::single_gate;
  std::size_t inputs = 2, outputs = 2;
  std::array<Activation, 4> neurons{};
  std::vector<float> slopes{};
  bool diagonal = false, unit = false, flip = false;
  double p = 1;
  std::array<std::array<Kernel2D, 3>, 4> kernels{};  // by gate and part; empty: no source
  std::array<std::vector<float>, 4> biases{};

  [[nodiscard]] std::size_t gates() const {
    return kind == RecurrentCell::lstm ? 4 : kind == RecurrentCell::gru ? 3 : 1;
  }
};

/// A correlation, centred, of the input's size, zeros around.
double correlation(const Kernel2D& kernel, const Picture& x, std::size_t outputs, std::size_t i,
                   std::size_t y, std::size_t column, std::size_t k) {
  if (kernel.v.empty()) return 0;
  const std::size_t of_group = x.c / kernel.groups, group = k / (outputs / kernel.groups);
  double sum = 0;
  for (std::size_t q = 0; q < kernel.side; ++q) {
    for (std::size_t p = 0; p < kernel.side; ++p) {
      const auto place = [&](std::size_t at, std::size_t tap) {
        return static_cast<std::ptrdiff_t>(at) + static_cast<std::ptrdiff_t>(kernel.dilation) *
                                                     (static_cast<std::ptrdiff_t>(tap) -
                                                      static_cast<std::ptrdiff_t>(kernel.side / 2));
      };
      const std::ptrdiff_t row = place(y, q), at = place(column, p);
      if (row < 0 || at < 0 || row >= static_cast<std::ptrdiff_t>(x.h) ||
          at >= static_cast<std::ptrdiff_t>(x.w))
        continue;
      for (std::size_t c = 0; c < of_group; ++c) {
        sum += double{kernel.v.at(((k * kernel.side + q) * kernel.side + p) * of_group + c)} *
               x.at(i, static_cast<std::size_t>(row), static_cast<std::size_t>(at),
                    group * of_group + c);
      }
    }
  }
  return sum;
}

/// What a gate makes of x, h and what its memory weights look at.
Picture gate(const ImageCell& cell, std::size_t number, const Picture& x, const Picture& h,
             const Picture& memory) {
  Picture out(x.n, x.h, x.w, cell.outputs);
  for (std::size_t i = 0; i < x.n; ++i)
    for (std::size_t y = 0; y < x.h; ++y)
      for (std::size_t at = 0; at < x.w; ++at)
        for (std::size_t k = 0; k < cell.outputs; ++k) {
          const auto& parts = cell.kernels.at(number);
          double a =
              cell.unit ? x.at(i, y, at, k) : correlation(parts[0], x, cell.outputs, i, y, at, k);
          a += correlation(parts[1], h, cell.outputs, i, y, at, k);
          if (cell.diagonal && !parts[2].v.empty())
            a += double{parts[2].v.at(k)} * memory.at(i, y, at, k);
          else
            a += correlation(parts[2], memory, cell.outputs, i, y, at, k);
          if (!cell.biases.at(number).empty()) a += double{cell.biases.at(number).at(k)};
          const Activation& n = cell.neurons.at(number);
          oracle::NeuronFunction f{n.type, n.a, n.b, n.c};
          if (f.type == PReLU) f.a = double{cell.slopes.at(number * cell.outputs + k)};
          out.at(i, y, at, k) = f.value(a);
        }
  return out;
}

template <class Function>
Picture pixels(const Picture& like, Function&& function) {
  Picture out = like;
  for (std::size_t i = 0; i < out.v.size(); ++i) out.v[i] = function(i);
  return out;
}

void step(const ImageCell& cell, const Picture& x, Picture& h, Picture& c) {
  switch (cell.kind) {
    case RecurrentCell::single_gate:
      h = gate(cell, 0, x, h, h);
      return;
    case RecurrentCell::gru: {
      const Picture z = gate(cell, 0, x, h, h), r = gate(cell, 1, x, h, h);
      const Picture reset = pixels(h, [&](std::size_t i) { return r.v[i] * h.v[i]; });
      const Picture updated = pixels(h, [&](std::size_t i) { return z.v[i] * h.v[i]; });
      const Picture made = gate(cell, 2, x, reset, updated);
      h = pixels(h, [&](std::size_t i) {
        const double q = std::pow(1 - std::pow(z.v[i], cell.p), 1 / cell.p);
        return cell.flip ? q * h.v[i] + z.v[i] * made.v[i] : q * made.v[i] + z.v[i] * h.v[i];
      });
      return;
    }
    case RecurrentCell::lstm: {
      const Picture in = gate(cell, 0, x, h, c), keep = gate(cell, 1, x, h, c);
      const Picture fresh = gate(cell, 2, x, h, c);
      c = pixels(c, [&](std::size_t i) { return keep.v[i] * c.v[i] + in.v[i] * fresh.v[i]; });
      const Picture out = gate(cell, 3, x, h, c);
      h = pixels(h, [&](std::size_t i) { return out.v[i] * std::tanh(c.v[i]); });
      return;
    }
  }
}

struct ImageRow {
  std::string name;
  ImageCell cell{};
  std::size_t width = 5, height = 4, images = 1, steps = 3;
  std::array<std::size_t, 3> sides{3, 3, 3};  // of input, recurrent and memory kernels
  std::size_t groups = 1, dilation = 1;
  std::array<bool, 4> memory{};
  bool begins = false, half = false;
  bool quick = true;

  friend std::ostream& operator<<(std::ostream& out, const ImageRow& row) {
    return out << row.name;
  }
};

/// The cell of a row with weights.
ImageCell filled(const ImageRow& row) {
  ImageCell cell = row.cell;
  std::uint64_t seed = 3;
  cell.slopes = floats(cell.gates() * cell.outputs, 9, 0.1F, 0.9F);
  for (std::size_t g = 0; g < cell.gates(); ++g) {
    for (std::size_t part = 0; part < 3; ++part) {
      if (part == 2 && !row.memory.at(g)) continue;
      if (part == 0 && cell.unit) continue;
      Kernel2D& kernel = cell.kernels.at(g).at(part);
      const bool is_vector = part == 2 && cell.diagonal;
      kernel.side = is_vector ? 1 : row.sides.at(part) + (part == 0 && g == 1 ? 2 : 0);
      kernel.groups = is_vector ? 1 : row.groups;
      kernel.dilation = is_vector ? 1 : row.dilation;
      const std::size_t inputs = part == 0 ? cell.inputs : cell.outputs;
      const std::size_t count =
          is_vector ? cell.outputs
                    : cell.outputs * kernel.side * kernel.side * inputs / kernel.groups;
      kernel.v = grid_floats(count, ++seed, -0.5F, 0.5F);
    }
    if (!cell.unit) cell.biases.at(g) = grid_floats(cell.outputs, ++seed, -1, 1);
  }
  return cell;
}

std::shared_ptr<RNNDescriptor> descriptor_of(const ImageCell& cell) {
  const auto source = [&](std::size_t g, std::size_t part) -> RNNWeights {
    const Kernel2D& kernel = cell.kernels.at(g).at(part);
    if (kernel.v.empty()) return nullptr;
    const bool is_vector = part == 2 && cell.diagonal;
    const std::size_t inputs = is_vector ? 1 : part == 0 ? cell.inputs : cell.outputs;
    NNNeuronDescriptor neuron;
    const Activation& f = cell.neurons.at(g);
    if (part != 0) {
      neuron = NNNeuronDescriptor::cnnNeuronDescriptor(TanH, 3, 2);  // must not be looked at
    } else if (f.type == PReLU) {
      const auto first = cell.slopes.begin() + static_cast<std::ptrdiff_t>(g * cell.outputs);
      neuron = NNNeuronDescriptor::cnnNeuronPReLUDescriptor(
          std::vector<float>(first, first + static_cast<std::ptrdiff_t>(cell.outputs)));
    } else {
      neuron = NNNeuronDescriptor::cnnNeuronDescriptor(f.type, f.a, f.b, f.c);
    }
    auto made = std::make_shared<GateWeights>(
        inputs, cell.outputs, kernel.v,
        part == 0 ? cell.biases.at(g) : std::vector<float>(cell.outputs, 7), neuron, kernel.side);
    made->own_descriptor().setGroups(kernel.groups);
    made->own_descriptor().setDilationRateX(kernel.dilation);
    made->own_descriptor().setDilationRateY(kernel.dilation);
    return made;
  };
  std::shared_ptr<RNNDescriptor> made;
  switch (cell.kind) {
    case RecurrentCell::single_gate: {
      auto d = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(cell.inputs, cell.outputs);
      d->setInputWeights(source(0, 0));
      d->setRecurrentWeights(source(0, 1));
      made = d;
      break;
    }
    case RecurrentCell::gru: {
      auto d = GRUDescriptor::createGRUDescriptor(cell.inputs, cell.outputs);
      d->setInputGateInputWeights(source(0, 0));
      d->setInputGateRecurrentWeights(source(0, 1));
      d->setRecurrentGateInputWeights(source(1, 0));
      d->setRecurrentGateRecurrentWeights(source(1, 1));
      d->setOutputGateInputWeights(source(2, 0));
      d->setOutputGateRecurrentWeights(source(2, 1));
      d->setOutputGateInputGateWeights(source(2, 2));
      d->setFlipOutputGates(cell.flip);
      d->setGatePnormValue(static_cast<float>(cell.p));
      made = d;
      break;
    }
    case RecurrentCell::lstm: {
      auto d = LSTMDescriptor::createLSTMDescriptor(cell.inputs, cell.outputs);
      d->setMemoryWeightsAreDiagonal(cell.diagonal);
      d->setInputGateInputWeights(source(0, 0));
      d->setInputGateRecurrentWeights(source(0, 1));
      d->setInputGateMemoryWeights(source(0, 2));
      d->setForgetGateInputWeights(source(1, 0));
      d->setForgetGateRecurrentWeights(source(1, 1));
      d->setForgetGateMemoryWeights(source(1, 2));
      d->setCellGateInputWeights(source(2, 0));
      d->setCellGateRecurrentWeights(source(2, 1));
      d->setCellGateMemoryWeights(source(2, 2));
      d->setOutputGateInputWeights(source(3, 0));
      d->setOutputGateRecurrentWeights(source(3, 1));
      d->setOutputGateMemoryWeights(source(3, 2));
      made = d;
      break;
    }
  }
  made->setUseLayerInputUnitTransformMode(cell.unit);
  return made;
}

Picture random_picture(const ImageRow& row, std::size_t channels, std::uint64_t seed) {
  Picture picture(row.images, row.height, row.width, channels);
  const std::vector<float> values = grid_floats(picture.v.size(), seed);
  picture.v.assign(values.begin(), values.end());
  return picture;
}
ImageDescriptor sized(std::size_t width, std::size_t height, std::size_t channels) {
  return floats(width, height, channels, std::size_t{1});
}
Image image_of(const Picture& picture, bool half = false, std::size_t more_channels = 0) {
  const std::size_t channels = picture.c + more_channels;
  const Image image(tested(), half ? halves(picture.w, picture.h, channels, picture.n)
                                   : floats(picture.w, picture.h, channels, picture.n));
  std::vector<float> values(picture.n * picture.h * picture.w * channels, 5);
  for (std::size_t pixel = 0; pixel < picture.v.size() / picture.c; ++pixel)
    for (std::size_t k = 0; k < picture.c; ++k)
      values.at(pixel * channels + k) = static_cast<float>(picture.v[pixel * picture.c + k]);
  image.write_floats(values);
  return image;
}
/// Channels from `first` on of an image.
void expect_near(const Image& image, const Picture& wanted, double tolerance,
                 const std::string& what, std::size_t first = 0) {
  ASSERT_TRUE(image) << what;
  const std::vector<float> got = image.read_floats();
  const std::size_t channels = image.featureChannels();
  ASSERT_EQ(got.size() / channels, wanted.v.size() / wanted.c) << what;
  for (std::size_t i = 0; i < wanted.v.size(); ++i) {
    ASSERT_NEAR(double{got.at(i / wanted.c * channels + first + i % wanted.c)}, wanted.v[i],
                tolerance)
        << what << ", element " << i;
  }
}

class RecurrentImages : public testing::TestWithParam<ImageRow> {};

TEST_P(RecurrentImages, hold) {
  const ImageRow& row = GetParam();
  const ImageCell cell = filled(row);
  const bool has_cell = cell.kind == RecurrentCell::lstm;
  const double tolerance = row.half ? 4e-3 : 8e-6;
  const RNNImageInferenceLayer layer(tested(), descriptor_of(cell));
  EXPECT_EQ(layer.inputFeatureChannels(), cell.inputs);
  EXPECT_EQ(layer.outputFeatureChannels(), cell.outputs);
  Picture h(row.images, row.height, row.width, cell.outputs), c = h;
  std::vector<Picture> wanted, cells;
  std::vector<Image> sources, destinations;
  const std::size_t ahead = row.begins ? 2 : 0;  // steps before, which leave the state
  for (std::size_t t = 0; t < ahead + row.steps; ++t) {
    const Picture x = random_picture(row, cell.inputs, 40 + t);
    step(cell, x, h, c);
    wanted.push_back(h);
    cells.push_back(c);
    sources.push_back(image_of(x, row.half, t % 2));
    destinations.push_back(image_of(h, row.half, 4));
  }
  CommandBuffer buffer = tested().makeCommandQueue().makeCommandBuffer();
  std::vector<RNNRecurrentImageStatePtr> states;
  const std::span<const Image> from(sources), to(destinations);
  if (ahead != 0)
    layer.encodeSequence(buffer, from.first(ahead), to.first(ahead), nullptr, &states);
  layer.encodeSequence(buffer, from.subspan(ahead), to.subspan(ahead),
                       states.empty() ? nullptr : states.back(), &states);
  // A plain encode is one step from zeros.
  const Image plain = image_of(h, row.half);
  layer.encode(buffer, sources[0], plain);
  buffer.commit();
  buffer.waitUntilCompleted();
  for (std::size_t t = 0; t < wanted.size(); ++t) {
    expect_near(destinations[t], wanted[t], tolerance, "step " + std::to_string(t));
    const std::vector<float> all = destinations[t].read_floats();
    EXPECT_EQ(all.back(), 5) << "a channel that is not the layer's";
  }
  expect_near(plain, wanted[0], tolerance, "a plain encode");
  ASSERT_EQ(states.size(), ahead == 0 ? 1U : 2U);
  expect_near(states.back()->getRecurrentOutputImage(0), wanted.back(), tolerance, "h");
  EXPECT_FALSE(states.back()->getRecurrentOutputImage(1));
  EXPECT_EQ(static_cast<bool>(states.back()->getMemoryCellImage(0)), has_cell);
  if (has_cell) expect_near(states.back()->getMemoryCellImage(0), cells.back(), tolerance, "c");
}

constexpr Activation logistic{Sigmoid}, tanh_one{TanH, 1, 1, 1};
constexpr std::array gru_neurons{logistic, logistic, tanh_one, Activation{}};
constexpr std::array lstm_neurons{logistic, logistic, tanh_one, logistic};
constexpr std::array<bool, 4> all{true, true, true, true}, last_of_gru{false, false, true, false};

std::vector<ImageRow> rows() {
  constexpr auto gru = RecurrentCell::gru;
  constexpr auto lstm = RecurrentCell::lstm;
  return {{.name = "single", .cell = {.neurons = {tanh_one}}},
          {.name = "single_pixels",
           .cell = {.inputs = 3, .outputs = 5, .neurons = {tanh_one}},
           .width = 1,
           .height = 1,
           .sides = {1, 1, 1},
           .begins = true},
          {.name = "single_batch", .cell = {.neurons = {tanh_one}}, .images = 2, .begins = true},
          {.name = "single_unit", .cell = {.neurons = {Activation{}}, .unit = true}},
          {.name = "single_prelu", .cell = {.outputs = 3, .neurons = {Activation{PReLU}}}},
          {.name = "gru", .cell = {.kind = gru, .neurons = gru_neurons}, .begins = true},
          {.name = "gru_vh_flip",
           .cell = {.kind = gru, .neurons = gru_neurons, .flip = true, .p = 2},
           .memory = last_of_gru,
           .begins = true},
          {.name = "gru_1x1",
           .cell = {.kind = gru, .outputs = 3, .neurons = gru_neurons},
           .images = 7,
           .sides = {1, 1, 1}},
          {.name = "lstm", .cell = {.kind = lstm, .neurons = lstm_neurons}, .begins = true},
          {.name = "lstm_peepholes",
           .cell = {.kind = lstm, .neurons = lstm_neurons},
           .memory = all,
           .begins = true},
          {.name = "lstm_diagonal",
           .cell = {.kind = lstm, .outputs = 3, .neurons = lstm_neurons, .diagonal = true},
           .images = 2,
           .memory = all,
           .begins = true},
          {.name = "lstm_sizes",
           .cell = {.kind = lstm, .inputs = 5, .outputs = 8, .neurons = lstm_neurons},
           .width = 7,
           .height = 1,
           .sides = {5, 1, 3},
           .memory = {true, false, false, true}},
          {.name = "lstm_groups",
           .cell = {.kind = lstm, .inputs = 4, .outputs = 4, .neurons = lstm_neurons},
           .groups = 2,
           .memory = all,
           .begins = true},
          {.name = "lstm_dilation",
           .cell = {.kind = lstm, .neurons = lstm_neurons},
           .dilation = 2,
           .begins = true},
          {.name = "lstm_half",
           .cell = {.kind = lstm, .neurons = lstm_neurons},
           .begins = true,
           .half = true}};
}
std::string name_of_row(const testing::TestParamInfo<ImageRow>& row) {
  return row.param.name + (row.param.quick ? "_quick" : "");
}
INSTANTIATE_TEST_SUITE_P(Rows, RecurrentImages, testing::ValuesIn(rows()), name_of_row);

// ---- beyond the rows
// ------------------------------------------------------------------------------

/// A layer of each kind, its cell, images and what it makes of them.
struct Setting {
  ImageRow row{.name = "setting", .cell = {.kind = RecurrentCell::lstm, .neurons = lstm_neurons}};
  ImageCell cell = filled(row);
  std::vector<Picture> x;
  std::vector<Image> sources;
  CommandQueue queue = tested().makeCommandQueue();

  explicit Setting(std::size_t steps = 3) {
    for (std::size_t t = 0; t < steps; ++t) {
      x.push_back(random_picture(row, cell.inputs, 70 + t));
      sources.push_back(image_of(x.back()));
    }
  }
  [[nodiscard]] std::vector<Picture> walk(const ImageCell& with, std::vector<Picture> values,
                                          bool back = false) const {
    if (back) std::reverse(values.begin(), values.end());
    Picture h(row.images, row.height, row.width, with.outputs), c = h;
    for (Picture& value : values) {
      step(with, value, h, c);
      value = h;
    }
    if (back) std::reverse(values.begin(), values.end());
    return values;
  }
  [[nodiscard]] std::vector<Image> results(std::size_t channels) const {
    std::vector<Image> images;
    for (std::size_t t = 0; t < x.size(); ++t)
      images.push_back(image_of(Picture(row.images, row.height, row.width, channels)));
    return images;
  }
};

TEST(RecurrentImage, AStackIsItsLayersOneAfterTheOther_quick) {
  const Setting s;
  ImageRow second{.name = "second",
                  .cell = {.kind = RecurrentCell::gru, .outputs = 3, .neurons = gru_neurons}};
  const ImageCell above = filled(second);
  const std::vector<std::shared_ptr<RNNDescriptor>> both{descriptor_of(s.cell),
                                                         descriptor_of(above)};
  RNNImageInferenceLayer layer(tested(), both);
  EXPECT_EQ(layer.numberOfLayers(), 2U);
  layer.setStoreAllIntermediateStates(true);
  const auto below = s.walk(s.cell, s.x), wanted = s.walk(above, below);
  const auto results = s.results(3);
  std::vector<RNNRecurrentImageStatePtr> states;
  CommandBuffer buffer = s.queue.makeCommandBuffer();
  layer.encodeSequence(buffer, s.sources, results, nullptr, &states);
  buffer.commit();
  buffer.waitUntilCompleted();
  ASSERT_EQ(states.size(), 3U);
  for (std::size_t t = 0; t < 3; ++t) {
    expect_near(results[t], wanted[t], 1e-5, "step " + std::to_string(t));
    expect_near(states[t]->getRecurrentOutputImage(0), below[t], 1e-5, "h of the first layer");
    expect_near(states[t]->getRecurrentOutputImage(1), wanted[t], 1e-5, "h of the second layer");
    EXPECT_TRUE(states[t]->getMemoryCellImage(0));
    EXPECT_FALSE(states[t]->getMemoryCellImage(1));
  }
}

TEST(RecurrentImage, BothDirections_quick) {
  using enum RNNBidirectionalCombineMode;
  const Setting s;
  ImageRow other{.name = "other", .cell = {.neurons = {tanh_one}}};
  const ImageCell back_cell = filled(other);
  const auto back = descriptor_of(back_cell);
  back->setLayerSequenceDirection(RNNSequenceDirection::Backward);
  const std::vector<std::shared_ptr<RNNDescriptor>> both{descriptor_of(s.cell), back};
  RNNImageInferenceLayer layer(tested(), both);
  const auto ahead = s.walk(s.cell, s.x), behind = s.walk(back_cell, s.x, true);
  for (const RNNBidirectionalCombineMode mode : {None, Add, Concatenate}) {
    layer.setBidirectionalCombineMode(mode);
    const auto first = s.results(mode == Concatenate ? 4 : 2), second = s.results(2);
    CommandBuffer buffer = s.queue.makeCommandBuffer();
    layer.encodeBidirectionalSequence(
        buffer, s.sources, first,
        mode == None ? std::span<const Image>(second) : std::span<const Image>());
    buffer.commit();
    buffer.waitUntilCompleted();
    for (std::size_t t = 0; t < s.x.size(); ++t) {
      const Picture sum =
          pixels(ahead[t], [&](std::size_t i) { return ahead[t].v[i] + behind[t].v[i]; });
      expect_near(first[t], mode == Add ? sum : ahead[t], 1e-5, "ahead");
      if (mode == Concatenate) expect_near(first[t], behind[t], 1e-5, "side by side", 2);
      if (mode == None) expect_near(second[t], behind[t], 1e-5, "back");
    }
  }
}

TEST(RecurrentImage, TemporaryStatesAndSourcesAreReadOnce_quick) {
  const Setting s(1);
  RNNImageInferenceLayer layer(tested(), descriptor_of(s.cell));
  layer.setRecurrentOutputIsTemporary(true);
  CommandBuffer buffer = s.queue.makeCommandBuffer();
  const TemporaryImage source(buffer, sized(5, 4, 2));
  CNNNeuronReLUN(tested(), 1, 6).encode(buffer, s.sources[0], source);
  const std::vector<Image> sources{source};
  const auto results = s.results(2);
  std::vector<RNNRecurrentImageStatePtr> states;
  layer.encodeSequence(buffer, sources, results, nullptr, &states);
  EXPECT_EQ(source.readCount(), 0U);
  ASSERT_EQ(states.size(), 1U);
  EXPECT_TRUE(states[0]->isTemporary());
  EXPECT_EQ(states[0]->readCount(), 1U);
  layer.encodeSequence(buffer, s.sources, results, states[0], nullptr);
  EXPECT_EQ(states[0]->readCount(), 0U);
  buffer.commit();
  buffer.waitUntilCompleted();
}

TEST(RecurrentImage, CopiesAndArchivesDoTheSame_quick) {
  const Setting s;
  RNNImageInferenceLayer layer(tested(), descriptor_of(s.cell));
  layer.setBidirectionalCombineMode(RNNBidirectionalCombineMode::Add);
  layer.setStoreAllIntermediateStates(true);
  Coder writer;
  layer.encodeWithCoder(writer);
  Coder reader(writer.bytes());
  const RNNImageInferenceLayer read(reader, tested()), copied = layer.copy();
  const auto wanted = s.walk(s.cell, s.x);
  for (const RNNImageInferenceLayer* one : {&read, &copied}) {
    EXPECT_EQ(one->bidirectionalCombineMode(), RNNBidirectionalCombineMode::Add);
    EXPECT_TRUE(one->storeAllIntermediateStates());
    EXPECT_FALSE(one->recurrentOutputIsTemporary());
    const auto results = s.results(2);
    CommandBuffer buffer = s.queue.makeCommandBuffer();
    one->encodeSequence(buffer, s.sources, results, nullptr, nullptr);
    buffer.commit();
    buffer.waitUntilCompleted();
    for (std::size_t t = 0; t < results.size(); ++t) expect_near(results[t], wanted[t], 1e-5, "h");
  }
}

TEST(RecurrentImage, Refusals_quick) {
  const Setting s(2);
  const RNNImageInferenceLayer layer(tested(), descriptor_of(s.cell));
  const auto results = s.results(2), narrow = s.results(1);
  CommandBuffer buffer = s.queue.makeCommandBuffer();
  const auto refused = [&](std::span<const Image> from, std::span<const Image> to,
                           const RNNRecurrentImageStatePtr& state, const std::string& text) {
    expect_refusal([&] { layer.encodeSequence(buffer, from, to, state, nullptr); },
                   "RNNImageInferenceLayer: " + text);
  };
  refused({}, {}, nullptr, "sourceImages is empty; needed an image for each step.");
  refused(s.sources, std::span(results).first(1), nullptr,
          "destinationImages is 1 images; needed 2, as many as sources.");
  refused(s.sources, narrow, nullptr,
          "destinationImages[0] is 5x4x1 Float32; needed 2 feature channels or more, and the size "
          "of the first source, 5x4x2 Float32.");
  const std::vector<Image> mixed{s.sources[0], Image(tested(), sized(4, 4, 2))};
  refused(mixed, results, nullptr,
          "sourceImages[1] is 4x4x2 Float32; needed 2 feature channels or more, and the size of "
          "the first source, 5x4x2 Float32.");
  std::vector<RNNRecurrentImageStatePtr> states;
  const std::vector<Image> small{Image(tested(), sized(4, 4, 2))};
  layer.encodeSequence(buffer, small, small, nullptr, &states);
  refused(s.sources, results, states[0],
          "recurrentInputState is 1 images of 4x4; needed the size of the sources, 5x4x2 Float32.");
  const RNNImageInferenceLayer other(
      tested(), descriptor_of(filled({.name = "other", .cell = {.neurons = {tanh_one}}})));
  expect_refusal([&] { other.encodeSequence(buffer, small, small, states[0], nullptr); },
                 "RNNImageInferenceLayer: recurrentInputState is of other layers; needed a state "
                 "of this kernel, or of one with the same layers.");
  expect_refusal(
      [&] { layer.encodeBidirectionalSequence(buffer, s.sources, results, results); },
      "RNNImageInferenceLayer: rnnDescriptors is all Forward; needed layers of both directions. "
      "Set layerSequenceDirection of the descriptors.");

  const auto made = [&](const std::shared_ptr<GateWeights>& weights) {
    const auto d = RNNSingleGateDescriptor::createRNNSingleGateDescriptor(2, 2);
    d->setInputWeights(weights);
    return RNNImageInferenceLayer(tested(), d);
  };
  const auto weights = std::make_shared<GateWeights>(2, 2, std::vector<float>(36),
                                                     std::vector<float>(), NNNeuronDescriptor(), 3);
  weights->own_descriptor().setStrideInPixelsX(2);
  expect_refusal([&] { static_cast<void>(made(weights)); },
                 "RNNImageInferenceLayer: weights \"gate\" is 3x3 pixels, 2 to 2 channels; needed "
                 "2 to 2 channels, of stride 1 and without sub-pixels.");
  expect_refusal([&] { static_cast<void>(RNNImageInferenceLayer(tested(), nullptr)); },
                 "RNNImageInferenceLayer: rnnDescriptor is null; needed a descriptor.");
}

}  // namespace
}  // namespace cermet::test
