#pragma once
// The base classes of matrix kernels (spec: rnn-matrix A5). Origins count x in rows and y in
// columns, the reverse of images; z must be 0. Matrices and vectors hold Float32 or Float16, of
// which an encode may mix both; sums are float32.
//
// An encode works on regions: `rows x columns` from the origin of each operand on, as large as the
// smallest of what its operands have from there and what properties like
// `sourceInputFeatureChannels` allow. A result must have room for the region and keeps its other
// elements. Origins outside, empty regions and results that are too small throw InvalidArgument,
// and nothing is encoded. An encode takes one read from each temporary that it reads, and none from
// what it writes.

#include <limits>

#include "cermet/core/coder.h"
#include "cermet/core/geometry.h"
#include "cermet/core/kernel.h"
#include "cermet/core/matrix.h"
#include "cermet/ops/activation.h"

namespace cermet {

/// "All there are", of extents and batches.
inline constexpr std::size_t all_elements = std::numeric_limits<std::size_t>::max();

namespace detail {

void code_origin(Coder& coder, std::string_view key, Origin& origin);
/// A number of rows or columns: 1 to 2^31 - 1, else FileError, or InvalidArgument in the name of
/// the kernel.
void code_size(Coder& coder, std::string_view key, std::size_t& size);
void check_size(const Kernel& kernel, std::string_view argument, std::size_t size);
/// Throws InvalidArgument in the name of the kernel for what is no type, and for PReLU, whose
/// slopes have no place in most kernels; `remedy`: where they have one.
void check_neuron(const Kernel& kernel, CNNNeuronType type, std::string_view remedy);

}  // namespace detail

/// What kernels on batches of matrices have in common.
class MatrixKernel : public Kernel {
 public:
  /// Where the result begins. Default {0, 0, 0}.
  [[nodiscard]] const Origin& resultMatrixOrigin() const { return result_; }
  void setResultMatrixOrigin(const Origin& origin) { result_ = origin; }
  /// The first matrix, and the first vector, of every operand. Default 0.
  [[nodiscard]] std::size_t batchStart() const { return batch_start_; }
  void setBatchStart(std::size_t batchStart) { batch_start_ = batchStart; }
  /// How many of them: the k-th of each operand go together. Cut to what the smallest operand has
  /// left, vectors among them: none serves several matrices. Default: all.
  [[nodiscard]] std::size_t batchSize() const { return batch_size_; }
  void setBatchSize(std::size_t batchSize) { batch_size_ = batchSize; }

 protected:
  using Kernel::Kernel;
  void code(Coder& coder) override;

 private:
  Origin result_;
  std::size_t batch_start_ = 0, batch_size_ = all_elements;
};

/// A kernel with one source matrix.
class MatrixUnaryKernel : public MatrixKernel {
 public:
  /// Where the source begins. Default {0, 0, 0}.
  [[nodiscard]] const Origin& sourceMatrixOrigin() const { return source_; }
  void setSourceMatrixOrigin(const Origin& origin) { source_ = origin; }

 protected:
  using MatrixKernel::MatrixKernel;
  void code(Coder& coder) override;

 private:
  Origin source_;
};

/// A kernel with two source matrices.
class MatrixBinaryKernel : public MatrixKernel {
 public:
  /// Where the sources begin. Default {0, 0, 0}.
  [[nodiscard]] const Origin& primarySourceMatrixOrigin() const { return primary_; }
  void setPrimarySourceMatrixOrigin(const Origin& origin) { primary_ = origin; }
  [[nodiscard]] const Origin& secondarySourceMatrixOrigin() const { return secondary_; }
  void setSecondarySourceMatrixOrigin(const Origin& origin) { secondary_ = origin; }

 protected:
  using MatrixKernel::MatrixKernel;
  void code(Coder& coder) override;

 private:
  Origin primary_, secondary_;
};

/// Kernels whose rows are samples and whose columns are feature channels.
template <class Base>
class MatrixFeatureKernel : public Base {
 public:
  /// The most rows that take part. Default: all.
  [[nodiscard]] std::size_t sourceNumberOfFeatureVectors() const { return vectors_; }
  void setSourceNumberOfFeatureVectors(std::size_t count) { vectors_ = count; }
  /// The most columns of the source that take part. Default: all.
  [[nodiscard]] std::size_t sourceInputFeatureChannels() const { return channels_; }
  void setSourceInputFeatureChannels(std::size_t count) { channels_ = count; }

 protected:
  using Base::Base;
  void code(Coder& coder) override {
    Base::code(coder);
    coder("sourceNumberOfFeatureVectors", vectors_);
    coder("sourceInputFeatureChannels", channels_);
  }

 private:
  std::size_t vectors_ = all_elements, channels_ = all_elements;
};

/// Kernels that end with a neuron function (spec: rnn-matrix A8.1).
template <class Base>
class MatrixActivatedKernel : public Base {
 public:
  /// Parameters are taken as they are: a, b and c of the function. Throws InvalidArgument for
  /// PReLU.
  void setNeuronType(CNNNeuronType neuronType, float parameterA, float parameterB,
                     float parameterC) {
    detail::check_neuron(*this, neuronType, neuron_remedy());
    activation_ = {neuronType, parameterA, parameterB, parameterC};
  }
  /// Default None.
  [[nodiscard]] CNNNeuronType neuronType() const { return activation_.type; }
  [[nodiscard]] float neuronParameterA() const { return activation_.a; }
  [[nodiscard]] float neuronParameterB() const { return activation_.b; }
  [[nodiscard]] float neuronParameterC() const { return activation_.c; }

 protected:
  using Base::Base;
  void code(Coder& coder) override {
    Base::code(coder);
    coder("neuronType", activation_.type, CNNNeuronType::GeLU);
    coder("neuronParameterA", activation_.a);
    coder("neuronParameterB", activation_.b);
    coder("neuronParameterC", activation_.c);
    if (coder.is_reading() && activation_.type == CNNNeuronType::PReLU && neuron_remedy().empty())
      coder.refuse("neuronType", "PReLU", "a neuron without slopes");
  }
  [[nodiscard]] virtual std::string_view neuron_remedy() const { return ""; }
  Activation activation_;
};

}  // namespace cermet
