#pragma once
// One row for each kernel class: how to make it with no property at its default, and how to run it.

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include "cermet/cnn/convolution.h"
#include "cermet/core/kernel.h"

namespace cermet::test {

using Bits = std::vector<float>;

struct ArchiveRow {
  std::string name;
  /// A kernel whose own properties, and those of its bases, all differ from the defaults.
  std::function<std::unique_ptr<Kernel>(const Device&)> make;
  /// What it computes on fixed images, in place of properties that `make` set and this overrides.
  std::function<Bits(Kernel&)> run;

  friend std::ostream& operator<<(std::ostream& out, const ArchiveRow& row) {
    return out << row.name;
  }
};

[[nodiscard]] const std::vector<ArchiveRow>& archive_rows();
/// Of them, those of recurrent layers.
[[nodiscard]] std::vector<ArchiveRow> recurrent_rows();
/// Nothing of the base classes at its default.
void set_base(Kernel& kernel);

/// Every public property as text: "alpha=2.5", in the order of the class and its bases.
[[nodiscard]] std::vector<std::string> properties(const Kernel& kernel);

/// A data source that can be archived (class "TestWeights"), or not.
class TestWeights : public CNNConvolutionDataSource {
 public:
  TestWeights(std::shared_ptr<const CNNConvolutionDescriptor> descriptor,
              std::vector<float> weights, std::vector<float> biases, bool codable)
      : descriptor_(std::move(descriptor)),
        weights_(std::move(weights)),
        biases_(std::move(biases)),
        codable_(codable) {}
  explicit TestWeights(Coder& coder) { code(coder); }

  [[nodiscard]] DataType dataType() const override { return DataType::Float32; }
  [[nodiscard]] std::shared_ptr<const CNNConvolutionDescriptor> descriptor() const override {
    return descriptor_;
  }
  [[nodiscard]] const void* weights() override { return weights_.data(); }
  [[nodiscard]] const float* biasTerms() override {
    return biases_.empty() ? nullptr : biases_.data();
  }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return "test weights"; }
  [[nodiscard]] bool supportsSecureCoding() const override { return codable_; }
  [[nodiscard]] std::string_view archive_name() const override { return "TestWeights"; }
  [[nodiscard]] std::shared_ptr<CNNConvolutionDataSource> copy(const Device&) const override {
    return copies ? std::make_shared<TestWeights>(*this) : nullptr;
  }

  bool copies = false;
  std::vector<float>& values() { return weights_; }

 protected:
  void code(Coder& coder) override {
    auto descriptor = descriptor_ ? std::make_shared<CNNConvolutionDescriptor>(*descriptor_)
                                  : std::make_shared<CNNConvolutionDescriptor>();
    coder("descriptor", *descriptor);
    descriptor_ = descriptor;
    coder("weights", weights_);
    coder("biases", biases_);
    codable_ = true;
  }

 private:
  std::shared_ptr<const CNNConvolutionDescriptor> descriptor_;
  std::vector<float> weights_, biases_;
  bool codable_ = false;
};

/// 3x2 windows, 4 channels to 8 in two groups, strides, dilation, a folded batch normalisation and
/// a fused PReLU; `connected`: one group, plain windows, for fully connected layers.
[[nodiscard]] std::shared_ptr<TestWeights> test_weights(bool codable, bool connected = false);

}  // namespace cermet::test
