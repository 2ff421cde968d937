#pragma once
// Rows of soft-max and log-soft-max: what they say and how they run.

#include "../oracle/softmax.h"
#include "cermet/cnn/softmax.h"
#include "subject.h"

namespace cermet::test {

struct SoftMaxRow {
  Row row{};
};

/// The gradient is given the forward result.
template <class Forward, class Gradient, bool logarithmic>
class SoftMaxSubjectOf final : public SubjectOf<Forward, Gradient> {
 public:
  explicit SoftMaxSubjectOf(const SoftMaxRow& r) : SubjectOf<Forward, Gradient>(r.row) {}
  [[nodiscard]] std::unique_ptr<CNNKernel> forward(const Device& device) const override {
    return std::make_unique<Forward>(device);
  }
  [[nodiscard]] std::unique_ptr<CNNGradientKernel> gradient(const Device& device) const override {
    return std::make_unique<Gradient>(device);
  }
  [[nodiscard]] oracle::Tensor value(const oracle::Tensor& source,
                                     const Geometry& g) const override {
    return oracle::soft_max({logarithmic ? 1 : 0}, aligned(source, g));
  }
  [[nodiscard]] Gradients gradients(const oracle::Tensor& result, const oracle::Tensor& incoming,
                                    const Geometry& g) const override {
    const SoftMaxGradient op{{logarithmic ? 1 : 0}};
    return {scattered(oracle::soft_max_gradient(op, incoming, result), g), {}};
  }
  [[nodiscard]] bool gradient_reads_result() const override { return true; }
};
using SoftMaxSubject = SoftMaxSubjectOf<CNNSoftMax, CNNSoftMaxGradient, false>;
using LogSoftMaxSubject = SoftMaxSubjectOf<CNNLogSoftMax, CNNLogSoftMaxGradient, true>;

}  // namespace cermet::test
