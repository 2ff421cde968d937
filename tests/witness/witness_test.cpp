// Our kernels against PyTorch: the numbers in the JSON files beside this one, which `make` wrote.
// One test for each case of a file. Nothing here needs PyTorch.

#include <gtest/gtest.h>

#include <cctype>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "../harness/bench.h"
#include "../harness/convolution.h"
#include "../harness/report.h"
#include "cermet/cnn/arithmetic.h"
#include "cermet/cnn/batch_normalization.h"
#include "cermet/cnn/loss.h"
#include "cermet/cnn/neuron.h"
#include "cermet/cnn/normalization.h"
#include "cermet/cnn/pooling.h"
#include "cermet/cnn/softmax.h"
#include "cermet/nn/optimizer.h"

namespace cermet::test {
namespace {

using Json = nlohmann::json;
constexpr auto Float32 = ImageFeatureChannelFormat::Float32;

struct Case {
  std::string family;
  Json json;
  [[nodiscard]] std::string name() const { return json.at("name"); }
};
void PrintTo(const Case& one, std::ostream* out) { *out << one.family << ' ' << one.name(); }

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const std::string family :
       {"convolution", "neuron", "pooling", "normalization", "arithmetic", "loss", "optimizer"}) {
    std::ifstream file(CERMET_SOURCE_DIR "/tests/witness/" + family + ".json");
    const Json content = Json::parse(file);
    for (const Json& one : content.at("cases")) all.push_back({family, one});
  }
  return all;
}

class Witness : public testing::TestWithParam<Case> {
 protected:
  // ---- what a case says ----

  template <class T>
  [[nodiscard]] T parameter(const char* name) const {
    return json().at("parameters").at(name).get<T>();
  }
  [[nodiscard]] std::size_t size(const char* name) const { return parameter<std::size_t>(name); }
  [[nodiscard]] float number(const char* name) const { return parameter<float>(name); }
  [[nodiscard]] bool has(const char* name) const { return json().at("tensors").contains(name); }
  [[nodiscard]] std::vector<double> doubles(const char* name) const {
    return json().at("tensors").at(name).at("data").get<std::vector<double>>();
  }
  /// Empty where the case has none.
  [[nodiscard]] Values values(const char* name) const {
    if (!has(name)) return {};
    const auto wide = doubles(name);
    return {wide.begin(), wide.end()};
  }
  [[nodiscard]] Images extents(const char* name) const {
    const auto shape = json().at("tensors").at(name).at("shape").get<std::vector<std::size_t>>();
    if (shape.size() == 4) return {shape[0], shape[1], shape[2], shape[3]};
    return {1, 1, 1, shape.back()};
  }
  [[nodiscard]] ImageBatch images(const char* name) const {
    return has(name) ? upload(device_, Float32, extents(name), values(name)) : ImageBatch();
  }
  /// Images of that tensor's size that hold other values.
  [[nodiscard]] ImageBatch blank(const char* name) const {
    const Images e = extents(name);
    return upload(device_, Float32, e, Values(e.count(), 77));
  }

  // ---- comparison ----

  void expect(const char* name, std::span<const float> got, double floor = 0) {
    const Images e = extents(name);
    const auto wanted = doubles(name);
    report_.expect(name, got, wanted,
                   {static_cast<int>(wanted.size() / e.one()), static_cast<int>(e.h),
                    static_cast<int>(e.w), static_cast<int>(e.c)},
                   {1e-5, floor});
  }
  void expect(const char* name, const Buffer& got) {
    const auto all = got.as<float>();
    expect(name, all.first(extents(name).count()));
  }

  // ---- families ----

  /// A forward kernel whose geometry is set, and its gradient.
  template <class Forward, class Gradient>
  void unary(const Forward& forward, Gradient gradient, bool reads_result = false) {
    gradient.setDestinationImageAllocator(Image::defaultAllocator());
    const ImageBatch x = images("source"), y = blank("result"), e = images("incoming");
    const CNNKernel& kernel = forward;
    states_ = kernel.resultStateBatch(x, {}, y);
    CommandBuffer commands = bench_.queue.makeCommandBuffer();
    kernel.encodeBatch(commands, x, states_, y);
    const ImageBatch dx = static_cast<CNNGradientKernel&>(gradient).encodeBatch(
        commands, e, reads_result ? y : x, states_);
    finish(commands);
    expect("result", read(y));
    expect("source_gradient", read(dx));
  }

  void place(CNNKernel& kernel) const {
    kernel.setOffset(
        {parameter<std::ptrdiff_t>("offsetX"), parameter<std::ptrdiff_t>("offsetY"), 0});
    kernel.setEdgeMode(parameter<bool>("clamp") ? ImageEdgeMode::Clamp : ImageEdgeMode::Zero);
  }

  void expect_parameter_gradients() {
    const auto state = states_.at<CNNConvolutionGradientState>(0);
    expect("weight_gradient", state->gradientForWeights());
    if (has("bias_gradient")) expect("bias_gradient", state->gradientForBiases());
  }
  [[nodiscard]] ConvolutionRow parameters_of_convolution() const {
    ConvolutionRow row;
    row.kernelWidth = size("kernelWidth");
    row.kernelHeight = size("kernelHeight");
    row.outputFeatureChannels = extents("result").c;
    row.weights = values("weights");
    row.biased = has("biases");
    row.biases = values("biases");
    return row;
  }
  void convolution() {
    ConvolutionRow row = parameters_of_convolution();
    row.strideInPixelsX = size("strideX");
    row.strideInPixelsY = size("strideY");
    row.dilationRateX = size("dilationX");
    row.dilationRateY = size("dilationY");
    row.groups = size("groups");
    row.depthwise = parameter<bool>("depthwise");
    const auto source = std::make_shared<RowWeights>(row, extents("source").c);
    CNNConvolution forward(device_, source);
    place(forward);
    unary(forward, CNNConvolutionGradient(device_, source));
    expect_parameter_gradients();
  }
  void fully_connected() {
    const auto source =
        std::make_shared<RowWeights>(parameters_of_convolution(), extents("source").c);
    unary(CNNFullyConnected(device_, source), CNNFullyConnectedGradient(device_, source));
    expect_parameter_gradients();
  }

  void neuron() {
    const auto type = static_cast<CNNNeuronType>(parameter<int>("type"));
    const auto descriptor =
        type == CNNNeuronType::PReLU
            ? NNNeuronDescriptor::cnnNeuronPReLUDescriptor(values("slopes"))
            : NNNeuronDescriptor::cnnNeuronDescriptor(type, number("a"), number("b"), number("c"));
    unary(CNNNeuron(device_, descriptor), CNNNeuronGradient(device_, descriptor));
  }

  template <class Forward, class Gradient>
  void pooling() {
    const std::size_t w = size("kernelWidth"), h = size("kernelHeight"), x = size("strideX"),
                      y = size("strideY");
    Forward forward(device_, w, h, x, y);
    place(forward);
    if constexpr (std::is_same_v<Forward, CNNPoolingAverage>) {
      forward.setZeroPadSizeX(size("zeroPadX"));
      forward.setZeroPadSizeY(size("zeroPadY"));
    }
    unary(forward, Gradient(device_, w, h, x, y));
  }

  void spatial_normalization() {
    CNNSpatialNormalization forward(device_, size("kernelWidth"), size("kernelHeight"));
    CNNSpatialNormalizationGradient gradient(device_, size("kernelWidth"), size("kernelHeight"));
    const auto set = [&](auto& kernel) {
      kernel.setAlpha(number("alpha"));
      kernel.setBeta(number("beta"));
      kernel.setDelta(number("delta"));
    };
    set(forward);
    set(gradient);
    unary(forward, gradient);
  }

  void batch_normalization() {
    class Source final : public CNNBatchNormalizationDataSource {
     public:
      explicit Source(const Witness& test)
          : gamma_(test.values("gamma")),
            beta_(test.values("beta")),
            mean_(test.values("running_mean")),
            variance_(test.values("running_variance")),
            epsilon_(test.number("epsilon")) {}
      [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return mean_.size(); }
      [[nodiscard]] const float* gamma() override { return pointer(gamma_); }
      [[nodiscard]] const float* beta() override { return pointer(beta_); }
      [[nodiscard]] const float* mean() override { return pointer(mean_); }
      [[nodiscard]] const float* variance() override { return pointer(variance_); }
      [[nodiscard]] bool load() override { return true; }
      void purge() override {}
      [[nodiscard]] std::string label() const override { return {}; }
      [[nodiscard]] float epsilon() const override { return epsilon_; }

     private:
      static const float* pointer(const Values& v) { return v.empty() ? nullptr : v.data(); }
      Values gamma_, beta_, mean_, variance_;
      float epsilon_;
    };
    const auto neuron = NNNeuronDescriptor::cnnNeuronDescriptor(
        parameter<bool>("relu") ? CNNNeuronType::ReLU : CNNNeuronType::None);
    const CNNBatchNormalization kernel(device_, std::make_shared<Source>(*this), neuron);
    const ImageBatch x = images("source"), y = blank("result"), e = images("incoming"),
                     dx = blank("source_gradient");
    const auto state =
        std::dynamic_pointer_cast<CNNBatchNormalizationState>(kernel.resultState(x[0], {}, y[0]));
    CommandBuffer commands = bench_.queue.makeCommandBuffer();
    if (parameter<bool>("training"))
      CNNBatchNormalizationStatistics(device_).encodeBatch(commands, x, state);
    kernel.encodeBatch(commands, x, state, y);
    CNNBatchNormalizationStatisticsGradient(device_, neuron).encodeBatch(commands, e, x, state);
    CNNBatchNormalizationGradient(device_, neuron).encodeBatch(commands, e, x, state, dx);
    finish(commands);
    expect("mean", state->mean());
    expect("variance", state->variance());
    expect("result", read(y));
    expect("source_gradient", read(dx));
    if (!has("gamma")) return;
    expect("gamma_gradient", state->gradientForGamma());
    expect("beta_gradient", state->gradientForBeta());
  }

  template <class Kernel>
  Kernel arithmetic_kernel() const {
    Kernel kernel(device_);
    kernel.setPrimaryScale(number("primaryScale"));
    kernel.setSecondaryScale(number("secondaryScale"));
    kernel.setBias(number("bias"));
    if (json().at("parameters").contains("minimum")) {
      kernel.setMinimumValue(number("minimum"));
      kernel.setMaximumValue(number("maximum"));
    }
    // One element for a whole axis is stride 0.
    const Images x = extents("primary"), y = extents("secondary"), z = extents("result");
    const auto stride = [](std::size_t own, std::size_t result) -> std::size_t {
      return own == 1 && result != 1 ? 0 : 1;
    };
    kernel.setPrimaryStrideInPixelsX(stride(x.w, z.w));
    kernel.setPrimaryStrideInPixelsY(stride(x.h, z.h));
    kernel.setPrimaryStrideInFeatureChannels(stride(x.c, z.c));
    kernel.setSecondaryStrideInPixelsX(stride(y.w, z.w));
    kernel.setSecondaryStrideInPixelsY(stride(y.h, z.h));
    kernel.setSecondaryStrideInFeatureChannels(stride(y.c, z.c));
    return kernel;
  }
  template <class Kernel>
  void arithmetic_forward() {
    const ImageBatch x = images("primary"), y = images("secondary"), z = blank("result");
    const auto kernel = arithmetic_kernel<Kernel>();
    states_ = kernel.resultStateBatch(x, y, {}, z);
    CommandBuffer commands = bench_.queue.makeCommandBuffer();
    kernel.encodeBatch(commands, x, y, states_, z);
    finish(commands);
    expect("result", read(z));
  }
  /// Addition and subtraction scale the gradient by the operand's own factor, a product by both.
  template <class Kernel, class Gradient>
  void arithmetic(bool product, float secondary_sign = 1) {
    arithmetic_forward<Kernel>();
    for (const bool of_secondary : {false, true}) {
      Gradient gradient(device_, of_secondary);
      gradient.setDestinationImageAllocator(Image::defaultAllocator());
      const float p = number("primaryScale"), s = number("secondaryScale");
      gradient.setPrimaryScale(product ? p : of_secondary ? secondary_sign * s : p);
      if (product) gradient.setSecondaryScale(s);
      const ImageBatch second = images(of_secondary != product ? "secondary" : "primary");
      CommandBuffer commands = bench_.queue.makeCommandBuffer();
      const ImageBatch result = static_cast<CNNGradientKernel&>(gradient).encodeBatch(
          commands, images("incoming"), second, states_);
      finish(commands);
      expect(of_secondary ? "secondary_gradient" : "primary_gradient", read(result));
    }
  }

  void loss() {
    auto descriptor = CNNLossDescriptor::cnnLossDescriptor(
        static_cast<CNNLossType>(parameter<int>("type")),
        static_cast<CNNReductionType>(parameter<int>("reduction")));
    descriptor.setReduceAcrossBatch(parameter<bool>("across"));
    descriptor.setWeight(number("weight"));
    descriptor.setLabelSmoothing(number("smoothing"));
    descriptor.setNumberOfClasses(size("classes"));
    descriptor.setEpsilon(number("epsilon"));
    descriptor.setDelta(number("delta"));
    const ImageBatch y = images("predictions"), t = images("labels"), w = images("weights"),
                     loss = blank("loss");
    CommandBuffer commands = bench_.queue.makeCommandBuffer();
    NNForwardLoss(device_, descriptor).encodeBatch(commands, y, t, w, {}, loss);
    finish(commands);
    expect("loss", read(loss));
    for (const char* name : {"by_prediction", "by_label"}) {
      if (!has(name)) continue;
      NNLossGradient gradient(device_, descriptor);
      gradient.setComputeLabelGradients(std::string(name) == "by_label");
      const ImageBatch to = blank(name);
      CommandBuffer backward = bench_.queue.makeCommandBuffer();
      gradient.encodeBatch(backward, images("incoming"), y, t, w, {}, to);
      finish(backward);
      expect(name, read(to));
    }
  }

  /// `step` encodes one update of the values in place.
  template <class Step>
  void optimize(NNOptimizer& optimizer, Step step) {
    const std::size_t count = extents("values").c;
    const auto descriptor = VectorDescriptor::vectorDescriptor(count, DataType::Float32);
    const Vector value(device_, descriptor), gradient(device_, descriptor);
    std::ranges::copy(values("values"), value.data().as<float>().begin());
    const Values gradients = values("gradients"), rates = values("rates");
    Values trace;
    for (std::size_t i = 0; i < rates.size(); ++i) {
      std::copy_n(gradients.begin() + static_cast<std::ptrdiff_t>(i * count), count,
                  gradient.data().as<float>().begin());
      optimizer.setLearningRate(rates[i]);
      CommandBuffer commands = bench_.queue.makeCommandBuffer();
      step(commands, gradient, value);
      finish(commands);
      const auto now = value.data().as<float>().first(count);
      trace.insert(trace.end(), now.begin(), now.end());
    }
    report_.expect("trace", trace, doubles("trace"),
                   {1, static_cast<int>(rates.size()), 1, static_cast<int>(count)}, {1e-5, 0});
  }
  void optimizer(const std::string& kernel) {
    NNOptimizerDescriptor descriptor(0, 1, NNRegularizationType::L2, number("decay"));
    if (json().at("parameters").contains("clip")) {
      descriptor.setApplyGradientClipping(true);
      descriptor.setGradientClipMax(number("clip"));
      descriptor.setGradientClipMin(-number("clip"));
    }
    const Vector first(device_, vector_descriptor()), second(device_, vector_descriptor()),
        third(device_, vector_descriptor());
    if (kernel == "SGD") {
      NNOptimizerStochasticGradientDescent sgd(device_, number("momentum"),
                                               parameter<bool>("nesterov"), descriptor);
      const Vector momentum = number("momentum") != 0 ? first : Vector();
      optimize(sgd, [&](const CommandBuffer& commands, const Vector& g, const Vector& w) {
        sgd.encode(commands, g, w, momentum, w);
      });
    } else if (kernel == "RMSProp") {
      NNOptimizerRMSProp rmsprop(device_, parameter<double>("alpha"), number("epsilon"),
                                 descriptor);
      optimize(rmsprop, [&](const CommandBuffer& commands, const Vector& g, const Vector& w) {
        rmsprop.encode(commands, g, w, first, w);
      });
    } else {
      NNOptimizerAdam adam(device_, parameter<double>("beta1"), parameter<double>("beta2"), 0, 0,
                           descriptor);
      const bool amsgrad = parameter<bool>("amsgrad");
      optimize(adam, [&](const CommandBuffer& commands, const Vector& g, const Vector& w) {
        if (amsgrad) {
          adam.encode(commands, g, w, first, second, third, w);
        } else {
          adam.encode(commands, g, w, first, second, w);
        }
      });
    }
  }
  [[nodiscard]] VectorDescriptor vector_descriptor() const {
    return VectorDescriptor::vectorDescriptor(extents("values").c, DataType::Float32);
  }

  [[nodiscard]] const Json& json() const { return GetParam().json; }
  const Bench& bench_ = Bench::with(2);
  const Device& device_ = bench_.device;
  Report report_{GetParam().json.at("kernel"), GetParam().name()};
  StateBatch states_;
};

TEST_P(Witness, agrees) {
  const std::string kernel = json().at("kernel");
  if (kernel == "Convolution") return convolution();
  if (kernel == "FullyConnected") return fully_connected();
  if (kernel == "Neuron") return neuron();
  if (kernel == "PoolingMax") return pooling<CNNPoolingMax, CNNPoolingMaxGradient>();
  if (kernel == "PoolingAverage") return pooling<CNNPoolingAverage, CNNPoolingAverageGradient>();
  if (kernel == "SoftMax") return unary(CNNSoftMax(device_), CNNSoftMaxGradient(device_), true);
  if (kernel == "LogSoftMax")
    return unary(CNNLogSoftMax(device_), CNNLogSoftMaxGradient(device_), true);
  if (kernel == "SpatialNormalization") return spatial_normalization();
  if (kernel == "BatchNormalization") return batch_normalization();
  if (kernel == "Add") return arithmetic<CNNAdd, CNNAddGradient>(false);
  if (kernel == "Subtract") return arithmetic<CNNSubtract, CNNSubtractGradient>(false, -1);
  if (kernel == "Multiply") return arithmetic<CNNMultiply, CNNMultiplyGradient>(true);
  if (kernel == "Divide") return arithmetic_forward<CNNDivide>();
  if (kernel == "Loss") return loss();
  if (GetParam().family == "optimizer") return optimizer(kernel);
  FAIL() << "no kernel is called " << kernel;
}

INSTANTIATE_TEST_SUITE_P(Torch, Witness, testing::ValuesIn(cases()),
                         [](const auto& one) { return one.param.family + "_" + one.param.name(); });

}  // namespace
}  // namespace cermet::test
