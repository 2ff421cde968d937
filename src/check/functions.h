#pragma once
// Computations that are no encode of one image kernel, from functions.

#include <functional>
#include <utility>

#include "cermet/check/checked_kernel.h"
#include "cermet/core/matrix.h"

namespace cermet::detail {

class CheckedFunctions final : public Differentiable {
 public:
  using Results = std::function<std::vector<float>(const CheckedPoint&)>;
  using Gradients = std::function<CheckedPoint(const CheckedPoint&, const std::vector<float>&)>;
  CheckedFunctions(std::vector<CheckedVariable> variables, Results results, Gradients gradients,
                   bool takes_incoming = true)
      : variables_(std::move(variables)),
        results_(std::move(results)),
        gradients_(std::move(gradients)),
        takes_incoming_(takes_incoming) {}

  [[nodiscard]] std::vector<CheckedVariable> variables() const override { return variables_; }
  [[nodiscard]] std::vector<float> results(const CheckedPoint& point) override {
    return results_(point);
  }
  [[nodiscard]] CheckedPoint gradients(const CheckedPoint& point,
                                       const std::vector<float>& incoming) override {
    return gradients_(point, incoming);
  }
  [[nodiscard]] bool takes_incoming() const override { return takes_incoming_; }

 private:
  std::vector<CheckedVariable> variables_;
  Results results_;
  Gradients gradients_;
  bool takes_incoming_;
};

/// Random values of a variable of this shape.
[[nodiscard]] CheckedVariable random_variable(std::string name, std::vector<std::size_t> shape,
                                              std::uint64_t seed, double low, double high);

/// As check_images; matrices of checks are Float32.
void check_matrices(std::string_view kernel, const CheckedImages& images);

// Float32 matrices with their own row strides, and what they hold without gaps.
[[nodiscard]] Matrix make_matrix(const Device& device, std::size_t rows, std::size_t columns);
[[nodiscard]] Matrix make_matrix(const Device& device, std::size_t rows, std::size_t columns,
                                 const std::vector<float>& values);
void write(const Matrix& matrix, const std::vector<float>& values);
[[nodiscard]] std::vector<float> read(const Matrix& matrix);
[[nodiscard]] Vector make_vector(const Device& device, const std::vector<float>& values);
[[nodiscard]] std::vector<float> read(const Vector& vector);

}  // namespace cermet::detail
