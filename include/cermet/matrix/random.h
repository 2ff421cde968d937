#pragma once
// Matrices and vectors of random numbers (spec: rnn-matrix A12).

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>

#include "cermet/core/operator.h"

namespace cermet {

enum class MatrixRandomDistribution : std::int32_t {
  Default = 1,  // UInt32: all words; Float32: uniform from 0 to below 1
  Uniform = 2,  // from the minimum to below the maximum
  Normal = 3,   // cut off at minimum and maximum
};

enum class RandomVariate : std::int32_t { word, uniform, normal };

/// Element e of the destination, counted row by row and matrix by matrix, is made of word w = e mod
/// 4 of block b = block + e / 4 of Philox4x32-10 with key = {seed, generator} and counter = {0, 0,
/// high half of b, low half of b}. `word`: the bits of the float32 element are those of w. Else it
/// is scale * v + offset, rounded once, then least where it is less and most where it is more. With
/// u = (w >> 9) / 2^23, v is u (`uniform`), or with 2^-24 for a u of 0 the number below which a
/// normal distribution has p = below + between * u and above which it has q = above + between * (1
/// - u) (`normal`).
struct RandomFill {
  static constexpr std::string_view name = "MatrixRandom";
  enum Slot { destination };
  static constexpr std::array access{Access::write};
  RandomVariate variate = RandomVariate::word;
  float scale = 1, offset = 0;
  float least = -std::numeric_limits<float>::infinity(),
        most = std::numeric_limits<float>::infinity();
  float below = 0, between = 1, above = 0;
  struct Scalars {
    std::uint64_t block = 0;
    std::uint32_t seed = 0, generator = 0;
  };
};

using MatrixRandomOperators = TypeList<RandomFill>;

}  // namespace cermet

#ifndef CERMET_OPERATORS_ALONE

#include "cermet/cnn/kernel.h"
#include "cermet/matrix/kernel.h"

namespace cermet {

/// A distribution and its parameters. A value; checked where a kernel is made.
class MatrixRandomDistributionDescriptor {
 public:
  /// The default distribution: UInt32 words, or Float32 numbers from 0 to below 1. Other fields are
  /// 0.
  MatrixRandomDistributionDescriptor() = default;
  [[nodiscard]] static MatrixRandomDistributionDescriptor defaultDistributionDescriptor() {
    return {};
  }
  /// minimum + (maximum - minimum) * u, rounded once, of 2^23 evenly spaced u from 0 to below 1;
  /// what would be rounded to the maximum is the largest number below it. Mean and standard
  /// deviation are filled in.
  [[nodiscard]] static MatrixRandomDistributionDescriptor uniformDistributionDescriptor(
      float minimum, float maximum);
  /// mean + standardDeviation * z, z the inverse of the normal distribution's probability, within
  /// 4e-6, at such a u, or at 2^-24 instead of 0. Minimum and maximum are infinite.
  [[nodiscard]] static MatrixRandomDistributionDescriptor normalDistributionDescriptor(
      float mean, float standardDeviation);
  /// The part of that distribution from minimum to maximum: as often as the whole one has them.
  [[nodiscard]] static MatrixRandomDistributionDescriptor normalDistributionDescriptor(
      float mean, float standardDeviation, float minimum, float maximum);

  [[nodiscard]] MatrixRandomDistribution distributionType() const { return type_; }
  void setDistributionType(MatrixRandomDistribution type) { type_ = type; }
  /// Of Uniform, and of Normal where it is cut off.
  [[nodiscard]] float minimum() const { return minimum_; }
  void setMinimum(float minimum) { minimum_ = minimum; }
  [[nodiscard]] float maximum() const { return maximum_; }
  void setMaximum(float maximum) { maximum_ = maximum; }
  /// Of Normal; unused otherwise.
  [[nodiscard]] float mean() const { return mean_; }
  void setMean(float mean) { mean_ = mean; }
  [[nodiscard]] float standardDeviation() const { return deviation_; }
  void setStandardDeviation(float standardDeviation) { deviation_ = standardDeviation; }
  bool operator==(const MatrixRandomDistributionDescriptor&) const = default;

 private:
  MatrixRandomDistribution type_ = MatrixRandomDistribution::Default;
  float minimum_ = 0, maximum_ = 0, mean_ = 0, deviation_ = 0;
};

/// Fills a vector or a matrix with random numbers: UInt32 words or Float32 numbers of a
/// distribution. Numbers are a function of the seed and the place in the stream, the same on every
/// device (those of Normal up to the rounding of its processor). Elements are filled row by row and
/// matrix by matrix; what lies between rows is not touched. Each encode goes on with the next block
/// of four words behind the last that was used, also in a copy of the kernel or one from an
/// archive.
class MatrixRandom : public Kernel {
 public:
  [[nodiscard]] DataType destinationDataType() const { return type_; }
  [[nodiscard]] MatrixRandomDistribution distributionType() const {
    return distribution_.distributionType();
  }
  /// The first matrix, or vector, that is filled. Default 0.
  [[nodiscard]] std::size_t batchStart() const { return batch_start_; }
  void setBatchStart(std::size_t batchStart) { batch_start_ = batchStart; }
  /// How many of them at most. Default: all.
  [[nodiscard]] std::size_t batchSize() const { return batch_size_; }
  void setBatchSize(std::size_t batchSize) { batch_size_ = batchSize; }

  /// Ours: what the kernel was made with.
  [[nodiscard]] std::size_t seed() const { return seed_; }
  [[nodiscard]] const MatrixRandomDistributionDescriptor& distribution() const {
    return distribution_;
  }
  /// Ours: the block of four words that the next encode begins with; set it to begin elsewhere, 0
  /// for the stream's beginning.
  [[nodiscard]] std::uint64_t block_offset() const { return block_; }
  void set_block_offset(std::uint64_t block) { block_ = block; }

  /// Throws InvalidArgument for a vector of another type than destinationDataType, and a batch that
  /// it does not have; then the stream does not advance.
  void encode(const CommandBuffer& commandBuffer, const Vector& destinationVector) const;
  void encode(const CommandBuffer& commandBuffer, const Matrix& destinationMatrix) const;

 protected:
  /// `generator`: what tells the streams of equal seeds apart.
  MatrixRandom(const Device& device, DataType destinationDataType, std::size_t seed,
               const MatrixRandomDistributionDescriptor& distributionDescriptor,
               std::uint32_t generator)
      : Kernel(device),
        type_(destinationDataType),
        seed_(seed),
        distribution_(distributionDescriptor),
        generator_(generator) {}
  void code(Coder& coder) override;
  /// Makes the operator. Throws InvalidArgument for what the constructors refuse.
  void set_up();

 private:
  template <class Array>
  void fill(const CommandBuffer& commandBuffer, std::string_view argument,
            const Array& destination) const;

  DataType type_;
  std::size_t seed_;
  MatrixRandomDistributionDescriptor distribution_;
  std::uint32_t generator_;
  std::size_t batch_start_ = 0, batch_size_ = all_elements;
  RandomFill op_;
  mutable std::uint64_t block_ = 0;
  mutable detail::StepMemo memo_;
};

/// Philox4x32-10. The seed counts modulo 2^32.
class MatrixRandomPhilox final : public Concrete<MatrixRandomPhilox, MatrixRandom> {
 public:
  /// UInt32 words of seed 0.
  explicit MatrixRandomPhilox(const Device& device);
  /// The default distribution.
  MatrixRandomPhilox(const Device& device, DataType destinationDataType, std::size_t seed);
  /// Throws InvalidArgument for a type other than UInt32 and Float32, for UInt32 with another
  /// distribution than the default, for limits of a uniform distribution that are not finite, in
  /// order and at most FLT_MAX apart, for a mean that is not finite, a standard deviation that is
  /// not above 0, and limits of a normal distribution that are not in order or have less than
  /// 2^-100 of it between them.
  MatrixRandomPhilox(const Device& device, DataType destinationDataType, std::size_t seed,
                     const MatrixRandomDistributionDescriptor& distributionDescriptor);
  MatrixRandomPhilox(Coder& coder, const Device& device) : MatrixRandomPhilox(device) {
    read(coder);
  }
};

/// In the place of the original's Mersenne Twister, whose seeding is not known, so that its numbers
/// cannot be had: a Philox4x32-10 whose streams are not those of MatrixRandomPhilox. The seed
/// counts modulo 2^32.
class MatrixRandomMTGP32 final : public Concrete<MatrixRandomMTGP32, MatrixRandom> {
 public:
  /// UInt32 words of seed 0.
  explicit MatrixRandomMTGP32(const Device& device);
  /// The default distribution.
  MatrixRandomMTGP32(const Device& device, DataType destinationDataType, std::size_t seed);
  /// Throws InvalidArgument for what MatrixRandomPhilox refuses.
  MatrixRandomMTGP32(const Device& device, DataType destinationDataType, std::size_t seed,
                     const MatrixRandomDistributionDescriptor& distributionDescriptor);
  MatrixRandomMTGP32(Coder& coder, const Device& device) : MatrixRandomMTGP32(device) {
    read(coder);
  }

  /// The state is two numbers in the kernel, on the host: nothing is encoded.
  void synchronizeState(const CommandBuffer& commandBuffer) const;
};

using MatrixRandomKernels = TypeList<MatrixRandomPhilox, MatrixRandomMTGP32>;

}  // namespace cermet

#endif  // CERMET_OPERATORS_ALONE
