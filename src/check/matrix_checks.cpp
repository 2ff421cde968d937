// Kernels of matrices with a gradient. Their gradient kernels come in as many shapes as there are.

#include "cermet/matrix/batch_normalization.h"
#include "cermet/matrix/fully_connected.h"
#include "cermet/matrix/neuron.h"
#include "cermet/matrix/softmax.h"
#include "check/catalog.h"
#include "check/checked_images.h"
#include "check/functions.h"

namespace cermet::detail {
namespace {

/// Rows and columns of the source, and what runs on it.
struct Bench {
  Bench(const Device& on, const Settings& s, const CheckedImages& images)
      : device(on),
        queue(on.makeCommandQueue()),
        rows(images.height * images.width),
        columns(images.featureChannels) {
    check_matrices(s.kernel(), images);
  }
  [[nodiscard]] Matrix source(const std::vector<float>& values) const {
    return make_matrix(device, rows, columns, values);
  }
  [[nodiscard]] Matrix result() const { return make_matrix(device, rows, columns); }
  /// Runs what `encode` encodes.
  template <class Encode>
  void run(Encode&& encode) const {
    CommandBuffer commands = queue.makeCommandBuffer();
    encode(commands);
    finish(commands);
  }
  Device device;
  CommandQueue queue;
  std::size_t rows, columns;
};

CheckedVariable source_variable(const Bench& bench, const CheckedImages& images) {
  return random_variable("source", {bench.rows, bench.columns}, images.seed, images.low,
                         images.high);
}
CheckedVariable column_variable(const std::string& name, std::size_t columns,
                                const CheckedImages& images, std::uint64_t number, double low,
                                double high) {
  return random_variable(name, {columns}, images.seed + number, low, high);
}

template <class Forward, class Gradient>
std::unique_ptr<Differentiable> softmax(const Device& device, const Settings& s,
                                        const CheckedImages& images) {
  const Bench bench(device, s, images);
  const auto forward = std::make_shared<Forward>(device);
  const auto gradient = std::make_shared<Gradient>(device);
  return std::make_unique<CheckedFunctions>(
      std::vector{source_variable(bench, images)},
      [=](const CheckedPoint& point) {
        const Matrix result = bench.result();
        bench.run([&](const CommandBuffer& commands) {
          forward->encode(commands, bench.source(point[0]), result);
        });
        return read(result);
      },
      [=](const CheckedPoint& point, const std::vector<float>& incoming) {
        const Matrix result = bench.result(), found = bench.result();
        bench.run([&](const CommandBuffer& commands) {
          forward->encode(commands, bench.source(point[0]), result);
          gradient->encode(commands, bench.source(incoming), result, found);
        });
        return CheckedPoint{read(found)};
      });
}

std::unique_ptr<Differentiable> neuron(const Device& device, const Settings& s,
                                       const CheckedImages& images) {
  const Bench bench(device, s, images);
  const auto forward = std::make_shared<MatrixNeuron>(device);
  const auto gradient = std::make_shared<MatrixNeuronGradient>(device);
  const auto set = [&](auto& kernel) {
    kernel.setAlpha(s["alpha"]);
    const auto type = s.choice<CNNNeuronType>("neuronType");
    if (type == CNNNeuronType::PReLU) {
      kernel.setNeuronToPReLUWithParametersA(
          column_variable("slopes", bench.columns, images, 2, -1, 1).values);
    } else {
      kernel.setNeuronType(type, s.number("a"), s.number("b"), s.number("c"));
    }
  };
  set(*forward);
  set(*gradient);
  return std::make_unique<CheckedFunctions>(
      std::vector{source_variable(bench, images),
                  column_variable("bias", bench.columns, images, 1, -0.25, 0.25)},
      [=](const CheckedPoint& point) {
        const Matrix result = bench.result();
        bench.run([&](const CommandBuffer& commands) {
          forward->encode(commands, bench.source(point[0]), make_vector(bench.device, point[1]),
                          result);
        });
        return read(result);
      },
      [=](const CheckedPoint& point, const std::vector<float>& incoming) {
        const Matrix found = bench.result();
        const Vector bias = make_vector(bench.device, point[1]);
        bench.run([&](const CommandBuffer& commands) {
          gradient->encode(commands, bench.source(incoming), bench.source(point[0]),
                           make_vector(bench.device, point[1]), found, bias);
        });
        return CheckedPoint{read(found), read(bias)};
      });
}

/// Without a neuron, whose gradient is MatrixNeuronGradient's.
std::unique_ptr<Differentiable> fully_connected(const Device& device, const Settings& s,
                                                const CheckedImages& images) {
  const Bench bench(device, s, images);
  const auto forward = std::make_shared<MatrixFullyConnected>(device);
  const auto gradient = std::make_shared<MatrixFullyConnectedGradient>(device);
  forward->setAlpha(s["alpha"]);
  gradient->setAlpha(s["alpha"]);
  const std::size_t outputs = s.size("outputFeatureChannels");
  return std::make_unique<CheckedFunctions>(
      std::vector{source_variable(bench, images),
                  random_variable("weights", {bench.columns, outputs}, images.seed + 1, -1, 1),
                  column_variable("bias", outputs, images, 2, -1, 1)},
      [=](const CheckedPoint& point) {
        const Matrix result = make_matrix(bench.device, bench.rows, outputs);
        bench.run([&](const CommandBuffer& commands) {
          forward->encode(commands, bench.source(point[0]),
                          make_matrix(bench.device, bench.columns, outputs, point[1]),
                          make_vector(bench.device, point[2]), result);
        });
        return read(result);
      },
      [=](const CheckedPoint& point, const std::vector<float>& incoming) {
        const Matrix source = bench.source(point[0]), found = bench.result(),
                     given = make_matrix(bench.device, bench.rows, outputs, incoming),
                     weights = make_matrix(bench.device, bench.columns, outputs, point[1]),
                     for_weights = make_matrix(bench.device, bench.columns, outputs);
        const Vector for_bias = make_vector(bench.device, point[2]);
        bench.run([&](const CommandBuffer& commands) {
          gradient->encodeGradientForData(commands, given, weights, found);
          gradient->encodeGradientForWeightsAndBias(commands, given, source, for_weights, for_bias);
        });
        return CheckedPoint{read(found), read(for_weights), read(for_bias)};
      });
}

std::unique_ptr<Differentiable> batch_normalization(const Device& device, const Settings& s,
                                                    const CheckedImages& images) {
  const Bench bench(device, s, images);
  const auto forward = std::make_shared<MatrixBatchNormalization>(device);
  const auto gradient = std::make_shared<MatrixBatchNormalizationGradient>(device);
  forward->setComputeStatistics(true);
  const auto set = [&](auto& kernel) {
    kernel.setEpsilon(s.number("epsilon"));
    kernel.setNeuronType(s.choice<CNNNeuronType>("neuronType"), s.number("a"), s.number("b"),
                         s.number("c"));
  };
  set(*forward);
  set(*gradient);
  const auto encode = [=](const CommandBuffer& commands, const CheckedPoint& point,
                          const Vector& mean, const Vector& variance, const Matrix& result) {
    forward->encode(commands, bench.source(point[0]), mean, variance,
                    make_vector(bench.device, point[1]), make_vector(bench.device, point[2]),
                    result);
  };
  const std::vector<float> nothing(bench.columns);
  return std::make_unique<CheckedFunctions>(
      std::vector{source_variable(bench, images),
                  column_variable("gamma", bench.columns, images, 1, 0.5, 2),
                  column_variable("beta", bench.columns, images, 2, -1, 1)},
      [=](const CheckedPoint& point) {
        const Matrix result = bench.result();
        const Vector mean = make_vector(bench.device, nothing),
                     variance = make_vector(bench.device, nothing);
        bench.run([&](const CommandBuffer& commands) {
          encode(commands, point, mean, variance, result);
        });
        return read(result);
      },
      [=](const CheckedPoint& point, const std::vector<float>& incoming) {
        const Matrix result = bench.result(), found = bench.result();
        const Vector mean = make_vector(bench.device, nothing),
                     variance = make_vector(bench.device, nothing),
                     for_gamma = make_vector(bench.device, nothing),
                     for_beta = make_vector(bench.device, nothing);
        bench.run([&](const CommandBuffer& commands) {
          encode(commands, point, mean, variance, result);
          gradient->encode(commands, bench.source(incoming), bench.source(point[0]), mean, variance,
                           make_vector(bench.device, point[1]), make_vector(bench.device, point[2]),
                           found, for_gamma, for_beta);
        });
        return CheckedPoint{read(found), read(for_gamma), read(for_beta)};
      });
}

}  // namespace

Catalog matrix_checks() {
  const auto type = [](CNNNeuronType one) { return static_cast<double>(one); };
  const std::vector<double> types = cases_to(CNNNeuronType::GeLU);
  return {
      {"MatrixSoftMax", true, {}, softmax<MatrixSoftMax, MatrixSoftMaxGradient>},
      {"MatrixLogSoftMax", true, {}, softmax<MatrixLogSoftMax, MatrixLogSoftMaxGradient>},
      {"MatrixNeuron",
       true,
       {{"alpha", 1, {-0.5}},
        {"neuronType", type(CNNNeuronType::Sigmoid), types},
        {"a", 0.5, {-0.25}},
        {"b", 1.5, {0.25}},
        {"c", 2, {3}}},
       neuron},
      {"MatrixFullyConnected",
       true,
       {{"alpha", 1, {-0.5}}, {"outputFeatureChannels", 4, {1, 7}}},
       fully_connected},
      {"MatrixBatchNormalization",
       true,
       {{"epsilon", 1e-3, {0.25}},
        {"neuronType",
         type(CNNNeuronType::None),
         {type(CNNNeuronType::ReLU), type(CNNNeuronType::Sigmoid)}},
        {"a", 0.5, {-0.25}},
        {"b", 1.5, {}},
        {"c", 2, {}}},
       batch_normalization},
  };
}

}  // namespace cermet::detail
