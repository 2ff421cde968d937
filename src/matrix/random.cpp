#include "cermet/matrix/random.h"

#include <cmath>
#include <optional>

#include "matrix/encoding.h"

namespace cermet {

using Distribution = MatrixRandomDistributionDescriptor;

Distribution Distribution::uniformDistributionDescriptor(float minimum, float maximum) {
  const double low = minimum, high = maximum;
  Distribution made;
  made.type_ = MatrixRandomDistribution::Uniform;
  made.minimum_ = minimum;
  made.maximum_ = maximum;
  made.mean_ = static_cast<float>((low + high) / 2);
  made.deviation_ = static_cast<float>((high - low) / std::sqrt(12.0));
  return made;
}
Distribution Distribution::normalDistributionDescriptor(float mean, float standardDeviation) {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  return normalDistributionDescriptor(mean, standardDeviation, -infinity, infinity);
}
Distribution Distribution::normalDistributionDescriptor(float mean, float standardDeviation,
                                                        float minimum, float maximum) {
  Distribution made;
  made.type_ = MatrixRandomDistribution::Normal;
  made.minimum_ = minimum;
  made.maximum_ = maximum;
  made.mean_ = mean;
  made.deviation_ = standardDeviation;
  return made;
}

namespace {

/// Why there is no such kernel.
struct Problem {
  std::string_view argument;
  std::string got, needed, remedy;
};

/// Of a normal distribution, below z standard deviations; the small ones are as exact as others.
double probability(double z) { return std::erfc(-z / std::sqrt(2.0)) / 2; }

/// Its shares below, between and above two limits.
struct Shares {
  double below, between, above;
  explicit Shares(const Distribution& d) {
    const double low = (double{d.minimum()} - double{d.mean()}) / double{d.standardDeviation()};
    const double high = (double{d.maximum()} - double{d.mean()}) / double{d.standardDeviation()};
    below = probability(low);
    above = probability(-high);
    between = low > 0 ? probability(-low) - above : probability(high) - below;
  }
};

constexpr double least_share = 0x1p-100;

std::optional<Problem> problem_of_limits(const Distribution& d) {
  const float low = d.minimum(), high = d.maximum();
  if (low < high) return {};
  return Problem{"minimum", std::to_string(low), "less than the maximum, " + std::to_string(high),
                 ""};
}
std::optional<Problem> problem_of(const Distribution& d) {
  const auto finite = [](std::string_view name, float value) -> std::optional<Problem> {
    if (std::isfinite(value)) return {};
    return Problem{name, std::to_string(value), "a finite number", ""};
  };
  if (d.distributionType() == MatrixRandomDistribution::Uniform) {
    if (auto problem = finite("minimum", d.minimum())) return problem;
    if (auto problem = finite("maximum", d.maximum())) return problem;
    if (auto problem = problem_of_limits(d)) return problem;
    if (std::isfinite(d.maximum() - d.minimum())) return {};
    return Problem{"maximum", std::to_string(d.maximum()),
                   "at most FLT_MAX more than the minimum, " + std::to_string(d.minimum()), ""};
  }
  if (auto problem = finite("mean", d.mean())) return problem;
  if (auto problem = finite("standardDeviation", d.standardDeviation())) return problem;
  if (!(d.standardDeviation() > 0))
    return Problem{"standardDeviation", std::to_string(d.standardDeviation()), "more than 0", ""};
  if (auto problem = problem_of_limits(d)) return problem;
  if (Shares(d).between >= least_share) return {};
  return Problem{"minimum", std::to_string(d.minimum()),
                 "at least 2^-100 of the distribution between it and the maximum, " +
                     std::to_string(d.maximum()),
                 "Limits are values, not numbers of standard deviations."};
}
std::optional<Problem> problem_of(DataType type, const Distribution& d) {
  using enum MatrixRandomDistribution;
  if (type != DataType::UInt32 && type != DataType::Float32)
    return Problem{"destinationDataType", "of another kind", "UInt32 or Float32", ""};
  if (d.distributionType() < Default || d.distributionType() > Normal) {
    return Problem{"distributionType",
                   std::to_string(static_cast<std::int32_t>(d.distributionType())), "1 to 3", ""};
  }
  if (d.distributionType() == Default) return {};
  if (type == DataType::UInt32) {
    return Problem{"destinationDataType", "UInt32", "Float32 for a uniform or normal distribution",
                   "Words have the default distribution."};
  }
  return problem_of(d);
}

RandomFill operation_of(DataType type, const Distribution& d) {
  using enum MatrixRandomDistribution;
  RandomFill op;
  if (type == DataType::UInt32) return op;
  if (d.distributionType() == Normal) {
    const Shares shares(d);
    op.variate = RandomVariate::normal;
    op.scale = d.standardDeviation();
    op.offset = d.mean();
    op.least = d.minimum();
    op.most = d.maximum();
    op.below = static_cast<float>(shares.below);
    op.between = static_cast<float>(shares.between);
    op.above = static_cast<float>(shares.above);
    return op;
  }
  const bool is_unit = d.distributionType() == Default;
  const float low = is_unit ? 0 : d.minimum(), high = is_unit ? 1 : d.maximum();
  op.variate = RandomVariate::uniform;
  op.scale = high - low;
  op.offset = op.least = low;
  op.most = std::nextafter(high, low);
  return op;
}

}  // namespace

void MatrixRandom::set_up() {
  if (auto problem = problem_of(type_, distribution_)) {
    complain(problem->argument, std::move(problem->got), std::move(problem->needed),
             std::move(problem->remedy));
  }
  op_ = operation_of(type_, distribution_);
}

void MatrixRandom::code(Coder& coder) {
  Kernel::code(coder);
  auto type = static_cast<std::uint32_t>(type_);
  coder("destinationDataType", type);
  coder("seed", seed_);
  MatrixRandomDistribution distribution = distribution_.distributionType();
  float minimum = distribution_.minimum(), maximum = distribution_.maximum(),
        mean = distribution_.mean(), deviation = distribution_.standardDeviation();
  coder("distributionType", distribution, MatrixRandomDistribution::Normal);
  coder("minimum", minimum);
  coder("maximum", maximum);
  coder("mean", mean);
  coder("standardDeviation", deviation);
  coder("batchStart", batch_start_);
  coder("batchSize", batch_size_);
  coder("block_offset", block_);
  if (!coder.is_reading()) return;
  type_ = static_cast<DataType>(type);
  distribution_.setDistributionType(distribution);
  distribution_.setMinimum(minimum);
  distribution_.setMaximum(maximum);
  distribution_.setMean(mean);
  distribution_.setStandardDeviation(deviation);
  if (auto problem = problem_of(type_, distribution_)) {
    coder.refuse(problem->argument, std::move(problem->got), std::move(problem->needed),
                 std::move(problem->remedy));
  }
  set_up();
}

template <class Array>
void MatrixRandom::fill(const CommandBuffer& commandBuffer, std::string_view argument,
                        const Array& destination) const {
  detail::MatrixEncode call(*this, commandBuffer);
  const auto result =
      call.result_of(argument, destination, type_, "the destinationDataType of this kernel");
  call.batch(batch_start_, batch_size_);
  const TensorView view = call.view(result, result.rows, result.columns);
  RandomFill::Scalars scalars;
  scalars.block = block_;
  scalars.seed = static_cast<std::uint32_t>(seed_);
  scalars.generator = generator_;
  detail::encode(call.recording(), memo_, op_, {view}, scalars);
  call.finish();
  block_ += (static_cast<std::uint64_t>(view.desc.count()) + 3) / 4;
}

void MatrixRandom::encode(const CommandBuffer& commandBuffer,
                          const Vector& destinationVector) const {
  fill(commandBuffer, "destinationVector", destinationVector);
}
void MatrixRandom::encode(const CommandBuffer& commandBuffer,
                          const Matrix& destinationMatrix) const {
  fill(commandBuffer, "destinationMatrix", destinationMatrix);
}

namespace {

constexpr std::uint32_t of_philox = 0, of_mtgp32 = 0x4D544750;

}  // namespace

MatrixRandomPhilox::MatrixRandomPhilox(const Device& device)
    : MatrixRandomPhilox(device, DataType::UInt32, 0) {}
MatrixRandomPhilox::MatrixRandomPhilox(const Device& device, DataType destinationDataType,
                                       std::size_t seed)
    : MatrixRandomPhilox(device, destinationDataType, seed, {}) {}
MatrixRandomPhilox::MatrixRandomPhilox(
    const Device& device, DataType destinationDataType, std::size_t seed,
    const MatrixRandomDistributionDescriptor& distributionDescriptor)
    : Concrete(device, destinationDataType, seed, distributionDescriptor, of_philox) {
  set_up();
}

MatrixRandomMTGP32::MatrixRandomMTGP32(const Device& device)
    : MatrixRandomMTGP32(device, DataType::UInt32, 0) {}
MatrixRandomMTGP32::MatrixRandomMTGP32(const Device& device, DataType destinationDataType,
                                       std::size_t seed)
    : MatrixRandomMTGP32(device, destinationDataType, seed, {}) {}
MatrixRandomMTGP32::MatrixRandomMTGP32(
    const Device& device, DataType destinationDataType, std::size_t seed,
    const MatrixRandomDistributionDescriptor& distributionDescriptor)
    : Concrete(device, destinationDataType, seed, distributionDescriptor, of_mtgp32) {
  set_up();
}

void MatrixRandomMTGP32::synchronizeState(const CommandBuffer& commandBuffer) const {
  static_cast<void>(commandBuffer.recording());
}

}  // namespace cermet
