#pragma once
// A row made ready to drive: how to make the kernels, and what the oracle says they compute.

#include <memory>
#include <ostream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "row.h"

namespace cermet::test {

/// What a gradient pass leaves: the image gradient, of the channels that the forward kernel read,
/// and gradients of parameters.
struct Gradients {
  oracle::Tensor image;
  std::vector<std::vector<double>> parameters;
};

class Subject {
 public:
  explicit Subject(Row row) : row_(std::move(row)) {}
  virtual ~Subject() = default;
  Subject(const Subject&) = delete;
  Subject& operator=(const Subject&) = delete;

  [[nodiscard]] const Row& row() const { return row_; }
  /// Overridden where the size of a result does not follow from a window.
  [[nodiscard]] virtual Geometry geometry() const {
    return resolve(row_, window(), default_policy(), planned());
  }

  // The library's side.
  [[nodiscard]] virtual std::unique_ptr<CNNKernel> forward(const Device& device) const = 0;
  [[nodiscard]] virtual std::unique_ptr<CNNKernel> copy(const CNNKernel& kernel) const = 0;
  [[nodiscard]] virtual std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const = 0;
  [[nodiscard]] virtual std::unique_ptr<CNNGradientKernel> copy(
      const CNNGradientKernel& kernel) const = 0;
  /// Gradients of parameters that a gradient encode left in the states.
  [[nodiscard]] virtual std::vector<std::vector<float>> parameters(const StateBatch&) const {
    return {};
  }

  /// Their values typed from the specification; empty: not given.
  [[nodiscard]] virtual std::vector<std::vector<double>> given_parameters() const { return {}; }

  // The specification's side.
  [[nodiscard]] virtual WindowSize window() const { return {}; }
  [[nodiscard]] virtual NNPaddingMethod default_policy() const { return NNPaddingMethod::SizeSame; }
  /// For kernels that size their result themselves.
  [[nodiscard]] virtual std::optional<Planned> planned() const { return {}; }
  /// Channels read of those available, and channels written.
  [[nodiscard]] virtual std::size_t channels_read(std::size_t available) const { return available; }
  [[nodiscard]] virtual std::size_t channels_written(std::size_t read) const { return read; }
  /// The region that is written. `source` has the channels that are read.
  [[nodiscard]] virtual oracle::Tensor value(const oracle::Tensor& source,
                                             const Geometry& g) const = 0;
  /// `incoming`: the gradient of the region that was written. `source`: the channels that were
  /// read, or the region of the result for a gradient that reads that.
  [[nodiscard]] virtual Gradients gradients(const oracle::Tensor& source,
                                            const oracle::Tensor& incoming,
                                            const Geometry& g) const = 0;

  // Facts about the family.
  /// The incoming gradient image covers the clip rectangle alone, not the whole destination.
  [[nodiscard]] virtual bool incoming_is_region() const { return false; }
  /// An encode writes all channels of a destination that there are from its channel offset on.
  [[nodiscard]] virtual bool fills_channels() const { return false; }
  /// The gradient kernel is given the forward result instead of the source.
  [[nodiscard]] virtual bool gradient_reads_result() const { return false; }
  /// One state object for the whole batch, which adds up.
  [[nodiscard]] virtual bool shared_state() const { return false; }
  /// A state keeps a tensor of the region, so that it must be made with the final properties.
  [[nodiscard]] virtual bool state_has_extents() const { return false; }
  /// Result bits may depend on the number of images in an encode: a library orders its sums by it.
  [[nodiscard]] virtual bool bits_depend_on_batch() const { return false; }

 private:
  Row row_;
};
using SubjectPtr = std::shared_ptr<const Subject>;

/// Copies of kernels of known classes.
template <class Forward, class Gradient>
class SubjectOf : public Subject {
 public:
  using Subject::Subject;
  [[nodiscard]] std::unique_ptr<CNNKernel> copy(const CNNKernel& kernel) const override {
    return std::make_unique<Forward>(dynamic_cast<const Forward&>(kernel));
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> copy(
      const CNNGradientKernel& kernel) const override {
    return std::make_unique<Gradient>(dynamic_cast<const Gradient&>(kernel));
  }
};

/// The subject of a class without a gradient; its rows are `forward_only`.
template <class Forward>
class ForwardSubject : public Subject {
 public:
  using Subject::Subject;
  [[nodiscard]] std::unique_ptr<CNNKernel> copy(const CNNKernel& kernel) const override {
    return std::make_unique<Forward>(dynamic_cast<const Forward&>(kernel));
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device&) const override {
    throw std::logic_error("no gradient");
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> copy(const CNNGradientKernel&) const override {
    throw std::logic_error("no gradient");
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor&, const oracle::Tensor&,
                                    const Geometry&) const override {
    throw std::logic_error("no gradient");
  }
};

/// Drives a row through every way to encode it and reports what differs from the oracle.
void check(const Subject& subject);

/// Turns a table into subjects.
template <class Made, class Table>
std::vector<SubjectPtr> subjects(const Table& table) {
  std::vector<SubjectPtr> out;
  for (const auto& row : table) out.push_back(std::make_shared<Made>(row));
  return out;
}

}  // namespace cermet::test
