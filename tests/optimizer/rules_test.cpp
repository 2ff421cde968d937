// Rules that all encodes of optimizers share, and the properties.

#include <limits>

#include "optimizer/forms.h"
#include "oracle/optimizer.h"

namespace cermet::optimizer_test {
namespace {

TEST(Optimizer, TheResultMayBeTheGradient) {
  const Sgd sgd(device(), 0.1F);
  const Vector g = vector_of(example_g), w = vector_of(example_w);
  run([&](const CommandBuffer& commands) { sgd.encode(commands, g, w, Vector(), g); });
  expect_close(read(g), {0.49, -1.1, 1.975, -0.1});
  EXPECT_EQ(read(w), example_w);
}

TEST(Optimizer, NilMomentumIsPlainDescentWhateverTheScale) {
  const Sgd sgd(device(), 0.9F, true, with_rate(0.1F));
  const Vector w = vector_of(example_w);
  const Matrix g = matrix_2x2(12, example_g), v = matrix_2x2(8, example_w);
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, vector_of(example_g), w, Vector(), w);
    sgd.encode(commands, g, v, Matrix(), v);
  });
  expect_close(read(w), {0.49, -1.1, 1.975, -0.1});
  expect_close(read(v), {0.49, -1.1, 1.975, -0.1});

  ConvolutionForm form(example_w, true);
  form.set_gradient(example_g);
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, form.gradient, form.source, {}, form.source);
  });
  expect_close(form.values(), {0.49, -1.1, 1.975, -0.1});
}

TEST(Optimizer, EncodesOfOneCommandBufferSeeEachOther) {
  const Sgd sgd(device(), 0.1F);
  const Vector g = vector_of({1}), w = vector_of({0}), between = zeros(1), last = zeros(1);
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, g, w, {}, between);
    sgd.encode(commands, g, between, {}, last);
  });
  expect_close(read(last), {-0.2}, 2);
}

TEST(Optimizer, AnArrayOfOneLeavesTheBiases) {
  NNOptimizerAdam adam(device(), 0.01F);
  ConvolutionForm form(example_w, false);
  form.set_gradient(example_g);
  const std::vector<Vector> m{form.moments[0][0]}, v{form.moments[1][0]};
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, form.gradient, form.source, m, v, form.result);
  });
  expect_close(floats_at(form.result->weights(), 0, 4),
               {0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772});
  EXPECT_EQ(floats_at(form.source->biases(), 4, 2), first_two(example_w));
  const auto* biases = static_cast<const std::byte*>(form.result->biases().contents());
  for (std::size_t i = 0; i < 64; ++i) EXPECT_EQ(biases[i], padding);
  EXPECT_EQ(adam.timeStep(), 1U);
}

TEST(Optimizer, AnArrayOfOneLeavesBeta) {
  const Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  BatchNormalizationForm<false> form(example_w, false);
  form.set_gradient(example_g);
  put(form.result->beta(), 0, {9, 9, 9, 9});
  const std::vector<Vector> m{zeros(4)};
  run([&](const CommandBuffer& commands) { sgd.encode(commands, form.source, m, form.result); });
  expect_close(floats_at(form.result->gamma(), 0, 4), {0.49, -1.1, 1.975, -0.1});
  EXPECT_EQ(floats_at(form.result->beta(), 0, 4), Floats(4, 9));
}

TEST(Optimizer, ASourceWithoutBiasesUpdatesWeightsAlone) {
  NNOptimizerAdam adam(device(), 0.01F);
  ConvolutionForm form(example_w, true);
  form.set_gradient(example_g);
  const auto source = std::make_shared<CNNConvolutionWeightsAndBiasesState>(
      device().makeBuffer(example_w.data(), 16), Buffer());
  const Vector unused = vector_of({5, 6, 7});  // any length: nobody looks
  const std::vector<Vector> m{form.moments[0][0], unused}, v{form.moments[1][0], unused};
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, form.gradient, source, m, v, source);
  });
  expect_close(floats_at(source->weights(), 0, 4),
               {0.490000031623, -1.49000000079, 1.99000001265, -0.00999999683772});
  EXPECT_EQ(read(unused), (Floats{5, 6, 7}));
}

TEST(Optimizer, VectorsAfterTheSecondAreIgnored) {
  const Sgd sgd(device(), 0.9F, false, with_rate(0.1F));
  ConvolutionForm form(example_w, true);
  form.set_gradient(example_g);
  form.moments[0].push_back(Vector());
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, form.gradient, form.source, form.moments[0], form.source);
  });
  expect_close(form.values(), {0.49, -1.1, 1.975, -0.1});
}

TEST(Optimizer, TheTimeStepRisesOnceForEveryEncode) {
  NNOptimizerAdam adam(device(), 0.01F);
  EXPECT_EQ(adam.timeStep(), 0U);
  ConvolutionForm form(example_w, true);
  CommandBuffer commands = command_buffer();
  form.encode(adam, commands, std::make_index_sequence<2>());
  EXPECT_EQ(adam.timeStep(), 1U);
  form.encode(adam, commands, std::make_index_sequence<3>());
  EXPECT_EQ(adam.timeStep(), 2U);
  NNOptimizerAdam copy = adam;
  VectorForm vectors(example_w, true);
  vectors.encode(copy, commands, std::make_index_sequence<2>());
  EXPECT_EQ(copy.timeStep(), 3U);
  EXPECT_EQ(adam.timeStep(), 2U);
  EXPECT_THROW(copy.encode(commands, zeros(4), zeros(4), zeros(4), zeros(3), zeros(4)),
               InvalidArgument);
  EXPECT_EQ(copy.timeStep(), 3U);
  finish(commands);
  EXPECT_EQ(copy.timeStep(), 3U);
}

TEST(Optimizer, NaNPassesTheClip) {
  const Sgd sgd(device(), 0, false, {0.1F, 1, true, 1, -1, NNRegularizationType::None, 0});
  const Vector w = vector_of({0.5F, 0.5F});
  run([&](const CommandBuffer& commands) {
    sgd.encode(commands, vector_of({std::nanf(""), 3}), w, {}, w);
  });
  EXPECT_TRUE(std::isnan(read(w)[0]));
  expect_close({read(w)[1]}, {0.4});
}

TEST(Optimizer, TemporariesLoseOneReadForAnEncode) {
  NNOptimizerAdam adam(device(), 0.01F);
  const Sgd sgd(device(), 1);
  const auto descriptor = VectorDescriptor::vectorDescriptor(4, DataType::Float32);
  CommandBuffer commands = command_buffer();
  TemporaryVector gradient(commands, descriptor), between(commands, descriptor);
  TemporaryVector momentum(commands, descriptor);
  sgd.encode(commands, vector_of(example_g), zeros(4), {}, gradient);  // -g
  sgd.encode(commands, zeros(4), zeros(4), {}, momentum);
  sgd.encode(commands, zeros(4), vector_of(example_w), {}, between);
  EXPECT_EQ(gradient.readCount(), 1U);
  gradient.setReadCount(2);
  momentum.setReadCount(3);
  const Vector result = zeros(4), velocity = zeros(4);
  adam.encode(commands, gradient, between, momentum, velocity, result);
  EXPECT_EQ(gradient.readCount(), 1U);
  EXPECT_EQ(between.readCount(), 0U);
  EXPECT_EQ(momentum.readCount(), 2U);
  // One object for two arguments is read once.
  sgd.encode(commands, momentum, momentum, {}, zeros(4));
  EXPECT_EQ(momentum.readCount(), 1U);
  finish(commands);
  expect_close(read(result), {0.509999968377, -1.50999999921, 2.00999998735, 0.00999999683772});

  CommandBuffer other = command_buffer();
  ConvolutionForm form(example_w, true);
  const auto source =
      CNNConvolutionWeightsAndBiasesState::temporaryCNNConvolutionWeightsAndBiasesState(
          other, *form.data->descriptor());
  source->setReadCount(2);
  sgd.encode(other, form.gradient, source, {}, form.source);
  EXPECT_EQ(source->readCount(), 1U);
  EXPECT_THROW(sgd.encode(other, form.gradient, source, form.moments[0], nullptr), InvalidArgument);
  EXPECT_EQ(source->readCount(), 1U);
}

TEST(Optimizer, Float16MixesWithFloat32) {
  NNOptimizerAdam adam(device(), 0.9, 0.5, 1e-4F, 0, with_rate(0.01F));
  const auto half = DataType::Float16;
  const auto rounded = [](Floats values) {
    for (float& value : values) value = float_from_half(half_from_float(value));
    return values;
  };
  // Exact inputs: what differs from the float32 run is the rounding of what is stored.
  const Floats g{0.125F, -4, 0.25F, 1};
  const Vector w = vector_of(example_w), m = zeros(4), v = zeros(4), result = zeros(4);
  const Vector half_w = vector_of(example_w, half), half_v = vector_of({0, 0, 0, 0}, half),
               half_result = vector_of({0, 0, 0, 0}, half), full_m = zeros(4);
  const Matrix matrix_w = matrix_2x2(6, example_w, half), matrix_g = matrix_2x2(12, g),
               matrix_m = matrix_2x2(4, {0, 0, 0, 0}, half), matrix_v = matrix_2x2(8, {0, 0, 0, 0});
  run([&](const CommandBuffer& commands) {
    adam.encode(commands, vector_of(g), w, m, v, result);
    adam.setTimeStep(0);
    adam.encode(commands, vector_of(g, half), half_w, full_m, half_v, half_result);
    adam.setTimeStep(0);
    adam.encode(commands, matrix_g, matrix_w, matrix_m, matrix_v, matrix_w);
  });
  EXPECT_EQ(read(full_m), read(m));
  EXPECT_EQ(read(half_v), rounded(read(v)));
  EXPECT_EQ(read(half_result), rounded(read(result)));
  EXPECT_EQ(read(half_w), example_w);
  EXPECT_EQ(read(matrix_w), rounded(read(result)));
  EXPECT_EQ(read(matrix_m), rounded(read(m)));
  EXPECT_EQ(read(matrix_v), read(v));
  for (const Matrix& matrix : {matrix_w, matrix_g, matrix_m, matrix_v}) {
    expect_padding_untouched(matrix);
  }
}

TEST(Optimizer, AWholeBufferWithZeroPaddingIsAVector) {
  NNOptimizerAdam adam(device(), 0.01F);
  const auto descriptor = MatrixDescriptor::matrixDescriptor(3, 5, 32, DataType::Float32);
  const Matrix w(device(), descriptor), g(device(), descriptor);
  write(w, test::floats(15, 1));
  write(g, test::floats(15, 2));
  const auto all = VectorDescriptor::vectorDescriptor(3 * 32 / 4, DataType::Float32);
  const Vector m(device(), all), v(device(), all), flat(w.data(), all);
  run([&](const CommandBuffer& c) { adam.encode(c, Vector(g.data(), all), flat, m, v, flat); });
  const Floats after = read(flat);
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t j = 5; j < 8; ++j) EXPECT_EQ(after[row * 8 + j], 0);
  }
}

TEST(Optimizer, TrainsAConvolutionInOneCommandBuffer) {
  auto data = std::make_shared<ConvolutionWeightsSource>(3, 4);
  CNNConvolution forward(device(), data);
  CNNConvolutionGradient backward(device(), data);
  backward.setGradientOption(CNNConvolutionGradientOption::GradientWithWeightsAndBias);
  NNOptimizerAdam adam(device(), 0.01F);
  const auto image = [](std::size_t channels, std::uint64_t seed) {
    const Image made(device(), ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32,
                                                                5, 6, channels));
    made.write_floats(test::floats(30 * channels, seed));
    return made;
  };
  const Image source = image(3, 1), incoming = image(4, 2), sink = image(3, 3),
              result = image(4, 4);
  const std::vector<Vector> m{zeros(12), zeros(4)}, v{zeros(12), zeros(4)};

  CommandBuffer commands = command_buffer();
  const auto state = gradient_state_of(forward);
  forward.encode(commands, source, state, result);
  const auto before = forward.exportWeightsAndBiases(commands, false);
  const auto after =
      std::make_shared<CNNConvolutionWeightsAndBiasesState>(device(), *data->descriptor());
  backward.encode(commands, incoming, source, state, sink);
  adam.encode(commands, state, before, m, v, after);
  forward.reloadWeightsAndBiases(commands, after);
  const auto reloaded = forward.exportWeightsAndBiases(commands, false);
  finish(commands);

  oracle::AdamScalars scalars;
  scalars.stepLearningRate = oracle::adam_step_learning_rate(0.01F, 0.9, 0.999, 1);
  const auto expect_update = [&](const Buffer& gradient, const Buffer& old, const Buffer& updated,
                                 std::size_t count) {
    const Floats g = floats_at(gradient, 0, count);
    EXPECT_GT(std::abs(g[0]), 0.01);
    const auto wanted =
        oracle::adam({}, scalars, doubles(g),
                     {doubles(floats_at(old, 0, count)), Doubles(count, 0), Doubles(count, 0), {}});
    expect_close(floats_at(updated, 0, count), wanted.values, 1, 0.05);
  };
  expect_update(state->gradientForWeights(), before->weights(), reloaded->weights(), 12);
  expect_update(state->gradientForBiases(), before->biases(), reloaded->biases(), 4);
}

// ---- properties --------------------------------------------------------------------------------

TEST(Optimizer, Descriptor) {
  NNOptimizerDescriptor d;
  EXPECT_EQ(d.learningRate(), 1e-3F);
  EXPECT_EQ(d.gradientRescale(), 1);
  EXPECT_FALSE(d.applyGradientClipping());
  EXPECT_EQ(d.gradientClipMax(), std::numeric_limits<float>::max());
  EXPECT_EQ(d.gradientClipMin(), std::numeric_limits<float>::lowest());
  EXPECT_EQ(d.regularizationScale(), 0);
  EXPECT_EQ(d.regularizationType(), NNRegularizationType::None);

  const auto full = NNOptimizerDescriptor::optimizerDescriptor(0.5F, 2, true, 3, -4,
                                                               NNRegularizationType::L1, 0.25F);
  d.setLearningRate(0.5F);
  d.setGradientRescale(2);
  d.setApplyGradientClipping(true);
  d.setGradientClipMax(3);
  d.setGradientClipMin(-4);
  d.setRegularizationType(NNRegularizationType::L1);
  d.setRegularizationScale(0.25F);
  EXPECT_EQ(d, full);
  const auto brief =
      NNOptimizerDescriptor::optimizerDescriptor(0.5F, 2, NNRegularizationType::L2, 0.25F);
  EXPECT_FALSE(brief.applyGradientClipping());
  EXPECT_EQ(brief.regularizationType(), NNRegularizationType::L2);

  NNOptimizerRMSProp rms(device(), 0.75, 0.5F, d);
  d.setLearningRate(9);  // read once
  EXPECT_EQ(rms.learningRate(), 0.5F);
  EXPECT_EQ(rms.gradientRescale(), 2);
  EXPECT_EQ(rms.gradientClipMax(), 3);
  EXPECT_EQ(rms.gradientClipMin(), -4);
  EXPECT_EQ(rms.regularizationType(), NNRegularizationType::L1);
  EXPECT_EQ(rms.regularizationScale(), 0.25F);
  EXPECT_EQ(rms.decay(), 0.75);
  EXPECT_EQ(rms.epsilon(), 0.5F);
  EXPECT_TRUE(rms.applyGradientClipping());
  rms.setApplyGradientClipping(false);
  EXPECT_FALSE(rms.applyGradientClipping());
}

TEST(Optimizer, Defaults) {
  const Sgd sgd(device(), 0.5F);
  EXPECT_EQ(sgd.learningRate(), 0.5F);
  EXPECT_EQ(sgd.momentumScale(), 0);
  EXPECT_FALSE(sgd.useNesterovMomentum());
  EXPECT_FALSE(sgd.useNestrovMomentum());
  const Sgd nesterov(device(), 0.25F, true, {});
  EXPECT_EQ(nesterov.learningRate(), 1e-3F);
  EXPECT_EQ(nesterov.momentumScale(), 0.25F);
  EXPECT_TRUE(nesterov.useNesterovMomentum());
  EXPECT_TRUE(nesterov.useNestrovMomentum());
  const NNOptimizerRMSProp rms(device(), 0.5F);
  EXPECT_EQ(rms.decay(), 0.9);
  EXPECT_EQ(rms.epsilon(), 1e-8F);
  const NNOptimizerAdam adam(device(), 0.5F);
  EXPECT_EQ(adam.beta1(), 0.9);
  EXPECT_EQ(adam.beta2(), 0.999);
  EXPECT_EQ(adam.epsilon(), 1e-8F);
  EXPECT_EQ(adam.timeStep(), 0U);
  EXPECT_EQ(adam.class_name(), "NNOptimizerAdam");
}

}  // namespace
}  // namespace cermet::optimizer_test
