#include "cermet/matrix/batch_normalization.h"

#include "matrix/encoding.h"

namespace cermet {
namespace {

using detail::images;
using detail::MatrixEncode;
using detail::MatrixPart;

void check_vector(const MatrixEncode& call, const MatrixPart& part, std::size_t columns) {
  if (!part) return;
  if (part.array->dataType() != DataType::Float32)
    call.complain(part.argument, part.array->describe(), "elements of Float32");
  call.check_room(part, 1, columns, "the columns that take part");
}

TensorView one_of(const TensorView& all, std::int32_t matrix) {
  return all.desc.present() ? images(all, matrix, 1) : all;
}

}  // namespace

void MatrixBatchNormalization::code(Coder& coder) {
  MatrixNormalizationKernel::code(coder);
  coder("computeStatistics", compute_);
}

void MatrixBatchNormalization::encode(const CommandBuffer& commandBuffer, const Matrix& inputMatrix,
                                      const Vector& meanVector, const Vector& varianceVector,
                                      const Vector& gammaVector, const Vector& betaVector,
                                      const Matrix& resultMatrix) const {
  MatrixEncode call(*this, commandBuffer);
  const auto input =
      call.source("inputMatrix", inputMatrix, "sourceMatrixOrigin", sourceMatrixOrigin());
  const auto mean =
      compute_ ? call.result("meanVector", meanVector) : call.source("meanVector", meanVector);
  const auto variance = compute_ ? call.result("varianceVector", varianceVector)
                                 : call.source("varianceVector", varianceVector);
  const auto gamma = call.optional_source("gammaVector", gammaVector);
  const auto beta = call.optional_source("betaVector", betaVector);
  const auto result =
      call.result("resultMatrix", resultMatrix, "resultMatrixOrigin", resultMatrixOrigin());
  const std::size_t rows =
      call.extent("sourceNumberOfFeatureVectors", sourceNumberOfFeatureVectors(), {input.rows});
  const std::size_t columns =
      call.extent("sourceInputFeatureChannels", sourceInputFeatureChannels(), {input.columns});
  for (const MatrixPart& part : {mean, variance, gamma, beta}) check_vector(call, part, columns);
  call.check_room(result, rows, columns);
  call.check_apart(result, input, rows, columns, true);
  if (compute_) {
    call.check_apart(variance, mean, 1, columns, false);
    for (const MatrixPart& read : {gamma, beta}) {
      call.check_apart(mean, read, 1, columns, false);
      call.check_apart(variance, read, 1, columns, false);
    }
  }
  call.batch(batchStart(), batchSize());

  detail::Recording& recording = call.recording();
  const TensorView x = call.view(input, rows, columns), y = call.view(result, rows, columns);
  const TensorView means = call.view(mean, columns), variances = call.view(variance, columns);
  const TensorView gammas = call.view(gamma, columns), betas = call.view(beta, columns);
  const auto sums_bytes = static_cast<std::int64_t>(sizeof(double) * (1 + 2 * columns));
  for (std::int32_t k = 0; k < call.batch_count(); ++k) {
    const TensorView of_x = images(x, k, 1);
    const TensorView of_mean = images(means, k, 1), of_variance = images(variances, k, 1);
    if (compute_) {
      const detail::ScratchTensor sums(recording, flat_desc(sums_bytes, ElementType::uint8));
      detail::encode(recording, statistics_memo_, BatchNormalizationStatistics{},
                     {of_x, sums.view, of_mean, of_variance});
    }
    detail::encode(recording, memo_, operation(),
                   {of_x, of_mean, of_variance, one_of(gammas, k), one_of(betas, k), TensorView{},
                    images(y, k, 1)});
  }
  call.finish();
}

void MatrixBatchNormalizationGradient::encode(
    const CommandBuffer& commandBuffer, const Matrix& gradientMatrix, const Matrix& inputMatrix,
    const Vector& meanVector, const Vector& varianceVector, const Vector& gammaVector,
    const Vector& betaVector, const Matrix& resultGradientForDataMatrix,
    const Vector& resultGradientForGammaVector, const Vector& resultGradientForBetaVector) const {
  MatrixEncode call(*this, commandBuffer);
  const auto gradient = call.source("gradientMatrix", gradientMatrix, "primarySourceMatrixOrigin",
                                    primarySourceMatrixOrigin());
  const auto input = call.source("inputMatrix", inputMatrix, "secondarySourceMatrixOrigin",
                                 secondarySourceMatrixOrigin());
  const auto mean = call.source("meanVector", meanVector);
  const auto variance = call.source("varianceVector", varianceVector);
  const auto gamma = call.optional_source("gammaVector", gammaVector);
  const auto beta = call.optional_source("betaVector", betaVector);
  const auto result = call.result("resultGradientForDataMatrix", resultGradientForDataMatrix,
                                  "resultMatrixOrigin", resultMatrixOrigin());
  const auto for_gamma =
      call.optional_result("resultGradientForGammaVector", resultGradientForGammaVector);
  const auto for_beta =
      call.optional_result("resultGradientForBetaVector", resultGradientForBetaVector);
  const std::size_t rows = call.extent("sourceNumberOfFeatureVectors",
                                       sourceNumberOfFeatureVectors(), {gradient.rows, input.rows});
  const std::size_t columns =
      call.extent("sourceInputFeatureChannels", sourceInputFeatureChannels(),
                  {gradient.columns, input.columns});
  for (const MatrixPart& part : {mean, variance, gamma, beta, for_gamma, for_beta})
    check_vector(call, part, columns);
  call.check_room(result, rows, columns);
  call.check_apart(result, gradient, rows, columns, true);
  call.check_apart(result, input, rows, columns, true);
  call.check_apart(for_beta, for_gamma, 1, columns, false);
  for (const MatrixPart& read : {mean, variance, gamma, beta}) {
    call.check_apart(for_gamma, read, 1, columns, false);
    call.check_apart(for_beta, read, 1, columns, false);
  }
  call.batch(batchStart(), batchSize());

  detail::Recording& recording = call.recording();
  const TensorView g = call.view(gradient, rows, columns), x = call.view(input, rows, columns);
  const TensorView means = call.view(mean, columns), variances = call.view(variance, columns);
  const TensorView gammas = call.view(gamma, columns), betas = call.view(beta, columns);
  const TensorView dx = call.view(result, rows, columns);
  const TensorView gamma_gradients = call.view(for_gamma, columns);
  const TensorView beta_gradients = call.view(for_beta, columns);
  const BatchNormalizationStatisticsGradient sums_op{operation()};
  const BatchNormalizationGradient op{operation()};
  for (std::int32_t k = 0; k < call.batch_count(); ++k) {
    const TensorDesc desc = flat_desc(static_cast<std::int64_t>(columns));
    const detail::ScratchTensor gamma_sums(recording, desc), beta_sums(recording, desc);
    const TensorView of_gamma = for_gamma ? images(gamma_gradients, k, 1) : gamma_sums.view;
    const TensorView of_beta = for_beta ? images(beta_gradients, k, 1) : beta_sums.view;
    const TensorView of_g = images(g, k, 1), of_x = images(x, k, 1);
    const TensorView of_mean = images(means, k, 1), of_variance = images(variances, k, 1);
    detail::encode(recording, sums_memo_, sums_op,
                   {of_g, of_x, of_mean, of_variance, one_of(gammas, k), one_of(betas, k),
                    TensorView{}, of_gamma, of_beta});
    detail::encode(recording, memo_, op,
                   {of_g, of_x, of_mean, of_variance, one_of(gammas, k), one_of(betas, k),
                    TensorView{}, of_gamma, of_beta, TensorView{}, images(dx, k, 1)});
  }
  call.finish();
}

}  // namespace cermet
