#include "cermet/matrix/neuron.h"

#include "matrix/encoding.h"

namespace cermet {

void MatrixNeuron::encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
                          const Vector& biasVector, const Matrix& resultMatrix) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto input =
      call.source("inputMatrix", inputMatrix, "sourceMatrixOrigin", sourceMatrixOrigin());
  const auto bias = call.optional_source("biasVector", biasVector);
  const auto result =
      call.result("resultMatrix", resultMatrix, "resultMatrixOrigin", resultMatrixOrigin());
  const std::size_t rows =
      call.extent("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors(), {input.rows});
  const std::size_t columns =
      call.extent("sourceInputFeatureChannels", sourceInputFeatureChannels(), {input.columns});
  const Buffer slopes = slopes_for(columns);
  call.check_room(bias, 1, columns, "the columns that take part");
  call.check_room(result, rows, columns);
  call.check_apart(result, input, rows, columns, true);
  call.batch(batchStart(), batchSize());
  detail::encode(
      call.recording(), memo_, operation(),
      {call.view(input, rows, columns), call.view(bias, columns),
       detail::view_of(call.recording(), slopes, flat_desc(static_cast<std::int64_t>(columns))),
       call.view(result, rows, columns)});
  call.finish();
}

void MatrixNeuronGradient::encode(const CommandBuffer& commandBuffer, const Matrix& gradientMatrix,
                                  const Matrix& inputMatrix, const Vector& biasVector,
                                  const Matrix& resultGradientForDataMatrix,
                                  const Vector& resultGradientForBiasVector) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto gradient = call.source("gradientMatrix", gradientMatrix, "primarySourceMatrixOrigin",
                                    primarySourceMatrixOrigin());
  const auto input = call.source("inputMatrix", inputMatrix, "secondarySourceMatrixOrigin",
                                 secondarySourceMatrixOrigin());
  const auto bias = call.optional_source("biasVector", biasVector);
  const auto result = call.result("resultGradientForDataMatrix", resultGradientForDataMatrix,
                                  "resultMatrixOrigin", resultMatrixOrigin());
  const auto for_bias =
      call.optional_result("resultGradientForBiasVector", resultGradientForBiasVector);
  const std::size_t rows = call.extent("sourceNumberOfFeatureVectors",
                                       sourceNumberOfFeatureVectors(), {gradient.rows, input.rows});
  const std::size_t columns =
      call.extent("sourceInputFeatureChannels", sourceInputFeatureChannels(),
                  {gradient.columns, input.columns});
  const Buffer slopes = slopes_for(columns);
  call.check_room(bias, 1, columns, "the columns that take part");
  call.check_room(result, rows, columns);
  call.check_room(for_bias, 1, columns, "the columns that take part");
  call.check_apart(result, gradient, rows, columns, true);
  call.check_apart(result, input, rows, columns, true);
  call.check_apart(for_bias, 1, columns, bias, 1, columns);
  call.batch(batchStart(), batchSize());
  const BiasedNeuronGradient op{operation()};
  detail::encode(
      call.recording(), memo_, op,
      {call.view(gradient, rows, columns), call.view(input, rows, columns),
       call.view(bias, columns),
       detail::view_of(call.recording(), slopes, flat_desc(static_cast<std::int64_t>(columns))),
       call.view(result, rows, columns), call.view(for_bias, columns)});
  call.finish();
}

}  // namespace cermet
