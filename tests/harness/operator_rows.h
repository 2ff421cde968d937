#pragma once
// Rows of kernels that are their operator (cnn/kernel_shapes.h). A case file says the forward
// formula in double precision and the rows; the expected gradient is the difference quotient of the
// formula, so that nobody derives it twice.
//
//   oracle::Tensor formula(const Op& op, const oracle::Tensor& source, int height, int width);
//
// returns height x width pixels. Where Op has a `window` it is placed as the row says and `source`
// is the whole source; else `source` is aligned with the result. A kernel whose result has a size
// of its own has a `Scaling` instead: the size, and a formula that is given the whole source and
// the geometry.

#include "../oracle/differences.h"
#include "rows_test.h"

namespace cermet::test {

template <class Op>
struct OperatorRow {
  Row row{};
  Op op{};
};

template <class Op>
struct Scaling {
  Extent (*size)(const Op& op, const Shape& source);
  oracle::Tensor (*value)(const Op& op, const oracle::Tensor& source, const Geometry& g);
};

/// d(sum of incoming * value(x))/dx at `source`, image by image; the step is exact in binary.
template <class Value>
oracle::Tensor gradient_by_differences(const Value& value, const oracle::Tensor& source,
                                       const oracle::Tensor& incoming) {
  oracle::Tensor gradient = oracle::like(source);
  const auto image_of = [](const oracle::Tensor& all, int n) {
    const auto one = static_cast<std::ptrdiff_t>(all.v.size() / static_cast<std::size_t>(all.n));
    const auto first = all.v.begin() + one * n;
    return oracle::tensor(1, all.h, all.w, all.c, {first, first + one});
  };
  for (int n = 0; n < source.n; ++n) {
    oracle::Tensor image = image_of(source, n);
    const oracle::Tensor e = image_of(incoming, n);
    const auto objective = [&](const std::vector<double>& x) {
      image.v = x;
      const oracle::Tensor y = value(image);
      double sum = 0;
      for (std::size_t i = 0; i < y.v.size(); ++i) sum += y.v[i] * e.v.at(i);
      return sum;
    };
    const std::vector<double> part =
        oracle::gradient_by_differences(objective, std::vector<double>(image.v), 0x1p-16);
    std::copy(part.begin(), part.end(),
              gradient.v.begin() + static_cast<std::ptrdiff_t>(part.size()) * n);
  }
  return gradient;
}

/// A subject that says the forward values; its gradients are the difference quotients of them.
template <class Forward, class Gradient>
class DifferenceSubject : public SubjectOf<Forward, Gradient> {
 public:
  using SubjectOf<Forward, Gradient>::SubjectOf;
  [[nodiscard]] Gradients gradients(const oracle::Tensor& source, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const auto one = [&](const oracle::Tensor& image) { return this->value(image, g); };
    return {gradient_by_differences(one, source, incoming), {}};
  }
};

template <class Forward, class Gradient>
class OperatorSubject final : public DifferenceSubject<Forward, Gradient> {
 public:
  using Op = std::remove_cvref_t<decltype(std::declval<Forward>().operation())>;
  using GradientOp = std::remove_cvref_t<decltype(std::declval<Gradient>().operation())>;
  using Formula = oracle::Tensor (*)(const Op&, const oracle::Tensor&, int, int);

  OperatorSubject(const OperatorRow<Op>& row, Formula formula)
      : DifferenceSubject<Forward, Gradient>(row.row), op_(row.op), formula_(formula) {}
  OperatorSubject(const OperatorRow<Op>& row, Scaling<Op> scaling)
      : DifferenceSubject<Forward, Gradient>(row.row), op_(row.op), scaling_(scaling) {}

  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<Forward>(device, op_);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    GradientOp op;
    op.forward = op_;
    return std::make_unique<Gradient>(device, op);
  }
  [[nodiscard]] WindowSize window() const override {
    if constexpr (has_window) {
      return {static_cast<std::size_t>(op_.window.kernelWidth),
              static_cast<std::size_t>(op_.window.kernelHeight)};
    } else {
      return {};
    }
  }
  [[nodiscard]] std::optional<Planned> planned() const override {
    if (scaling_.size == nullptr) return {};
    return Planned{scaling_.size(op_, this->row().source), {}};
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    if (scaling_.value != nullptr) return scaling_.value(op_, source, g);
    Op op = op_;
    if constexpr (has_window) {
      op.window.padLeft = g.pad_left(window().w);
      op.window.padTop = g.pad_top(window().h);
      op.window.clampEdges = g.edge == oracle::EdgeRule::Clamp ? 1 : 0;
      return formula_(op, source, g.h, g.w);
    } else {
      return formula_(op, aligned(source, g), g.h, g.w);
    }
  }

 private:
  static constexpr bool has_window = requires(Op op) { op.window; };
  Op op_;
  Formula formula_ = nullptr;
  Scaling<Op> scaling_{};
};

/// For INSTANTIATE_TEST_SUITE_P(Name, Rows, operator_rows<Forward, Gradient>(formula, rows),
/// name_of_row). `says`: the formula, or a Scaling.
template <class Forward, class Gradient, class Says, class Op>
auto operator_rows(const Says& says, const std::vector<OperatorRow<Op>>& rows) {
  std::vector<SubjectPtr> subjects;
  for (const auto& row : rows)
    subjects.push_back(std::make_shared<OperatorSubject<Forward, Gradient>>(row, says));
  return testing::ValuesIn(subjects);
}

}  // namespace cermet::test
