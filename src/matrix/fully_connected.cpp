#include "cermet/matrix/fully_connected.h"

#include "matrix/encoding.h"

namespace cermet {

void MatrixConnectedKernel::code(Coder& coder) {
  MatrixFeatureKernel::code(coder);
  coder("sourceOutputFeatureChannels", outputs_);
  coder("alpha", alpha_);
}

void MatrixFullyConnected::encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
                                  const Matrix& weightMatrix, const Vector& biasVector,
                                  const Matrix& resultMatrix) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto input = call.source("inputMatrix", inputMatrix, "primarySourceMatrixOrigin",
                                 primarySourceMatrixOrigin());
  const auto weights = call.source("weightMatrix", weightMatrix, "secondarySourceMatrixOrigin",
                                   secondarySourceMatrixOrigin());
  const auto bias = call.optional_source("biasVector", biasVector);
  const auto result =
      call.result("resultMatrix", resultMatrix, "resultMatrixOrigin", resultMatrixOrigin());
  const std::size_t rows =
      call.extent("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors(), {input.rows});
  const std::size_t inputs = call.extent("sourceInputFeatureChannels", sourceInputFeatureChannels(),
                                         {input.columns, weights.rows});
  const std::size_t outputs =
      call.extent("sourceOutputFeatureChannels", sourceOutputFeatureChannels(), {weights.columns});
  call.check_room(bias, 1, outputs, "the output channels");
  call.check_room(result, rows, outputs);
  call.check_apart(result, rows, outputs, input, rows, inputs);
  call.check_apart(result, rows, outputs, weights, inputs, outputs);
  call.batch(batchStart(), batchSize());
  const MatrixMultiply op{.alpha = static_cast<float>(alpha()), .activation = activation_};
  detail::encode(call.recording(), memo_, op,
                 {call.view(input, rows, inputs), call.view(weights, inputs, outputs),
                  call.view(bias, outputs), call.view(result, rows, outputs)});
  call.finish();
}

void MatrixFullyConnectedGradient::encodeGradientForData(
    const CommandBuffer& commandBuffer, const Matrix& gradientMatrix, const Matrix& weightMatrix,
    const Matrix& resultGradientForDataMatrix) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto gradient = call.source("gradientMatrix", gradientMatrix, "primarySourceMatrixOrigin",
                                    primarySourceMatrixOrigin());
  const auto weights = call.source("weightMatrix", weightMatrix, "secondarySourceMatrixOrigin",
                                   secondarySourceMatrixOrigin());
  const auto result = call.result("resultGradientForDataMatrix", resultGradientForDataMatrix,
                                  "resultMatrixOrigin", resultMatrixOrigin());
  const std::size_t rows =
      call.extent("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors(), {gradient.rows});
  const std::size_t inputs =
      call.extent("sourceInputFeatureChannels", sourceInputFeatureChannels(), {weights.rows});
  const std::size_t outputs =
      call.extent("sourceOutputFeatureChannels", sourceOutputFeatureChannels(),
                  {gradient.columns, weights.columns});
  call.check_room(result, rows, inputs);
  call.check_apart(result, rows, inputs, gradient, rows, outputs);
  call.check_apart(result, rows, inputs, weights, inputs, outputs);
  call.batch(batchStart(), batchSize());
  const MatrixMultiply op{.alpha = static_cast<float>(alpha()), .transposeRight = 1};
  detail::encode(call.recording(), data_memo_, op,
                 {call.view(gradient, rows, outputs), call.view(weights, inputs, outputs),
                  TensorView{}, call.view(result, rows, inputs)});
  call.finish();
}

void MatrixFullyConnectedGradient::encodeGradientForWeightsAndBias(
    const CommandBuffer& commandBuffer, const Matrix& gradientMatrix, const Matrix& inputMatrix,
    const Matrix& resultGradientForWeightMatrix, const Vector& resultGradientForBiasVector) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto gradient = call.source("gradientMatrix", gradientMatrix, "primarySourceMatrixOrigin",
                                    primarySourceMatrixOrigin());
  const auto input = call.source("inputMatrix", inputMatrix, "secondarySourceMatrixOrigin",
                                 secondarySourceMatrixOrigin());
  const auto result = call.result("resultGradientForWeightMatrix", resultGradientForWeightMatrix,
                                  "resultMatrixOrigin", resultMatrixOrigin());
  const auto bias =
      call.optional_result("resultGradientForBiasVector", resultGradientForBiasVector);
  const std::size_t rows = call.extent("sourceNumberOfFeatureVectors",
                                       sourceNumberOfFeatureVectors(), {gradient.rows, input.rows});
  const std::size_t inputs =
      call.extent("sourceInputFeatureChannels", sourceInputFeatureChannels(), {input.columns});
  const std::size_t outputs =
      call.extent("sourceOutputFeatureChannels", sourceOutputFeatureChannels(), {gradient.columns});
  call.check_room(result, inputs, outputs);
  call.check_room(bias, 1, outputs, "the output channels");
  call.check_apart(result, inputs, outputs, gradient, rows, outputs);
  call.check_apart(result, inputs, outputs, input, rows, inputs);
  call.batch(batchStart(), batchSize());
  const MatrixMultiply op{.alpha = static_cast<float>(alpha()), .transposeLeft = 1};
  const TensorView g = call.view(gradient, rows, outputs);
  detail::encode(
      call.recording(), weight_memo_, op,
      {call.view(input, rows, inputs), g, TensorView{}, call.view(result, inputs, outputs)});
  if (bias) {
    const Reduce sum{.axis = ReduceAxis::column, .kind = ReduceKind::sum};
    detail::encode(call.recording(), bias_memo_, sum, {g, call.view(bias, outputs)});
  }
  call.finish();
}

}  // namespace cermet
