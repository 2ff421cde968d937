// Batch normalisation: statistics, forward, both gradients, against the oracle.

#include "../oracle/batch_normalization.h"
#include "batch_normalization.h"
#include "bench.h"
#include "report.h"

namespace cermet::test {
namespace {

class RowSource final : public CNNBatchNormalizationDataSource {
 public:
  RowSource(const BatchNormalizationRow& r) : epsilon_(r.epsilon), channels_(r.source.c) {
    if (r.scaled) {
      gamma_ = floats(channels_, 41, 0.5F, 2);
      beta_ = floats(channels_, 42);
    }
    mean_ = floats(channels_, 43);
    variance_ = floats(channels_, 44, 0.25F, 2);
  }
  [[nodiscard]] std::size_t numberOfFeatureChannels() const override { return channels_; }
  [[nodiscard]] const float* gamma() override { return gamma_.empty() ? nullptr : gamma_.data(); }
  [[nodiscard]] const float* beta() override { return beta_.empty() ? nullptr : beta_.data(); }
  [[nodiscard]] const float* mean() override { return mean_.data(); }
  [[nodiscard]] const float* variance() override { return variance_.data(); }
  [[nodiscard]] bool load() override { return true; }
  void purge() override {}
  [[nodiscard]] std::string label() const override { return ""; }
  [[nodiscard]] float epsilon() const override { return epsilon_; }

  [[nodiscard]] oracle::BatchNormalizationArrays arrays() const {
    const auto wide = [](const Values& v) { return std::vector<double>(v.begin(), v.end()); };
    return {wide(mean_), wide(variance_), wide(gamma_), wide(beta_), {}};
  }

 private:
  float epsilon_;
  std::size_t channels_;
  Values gamma_, beta_, mean_, variance_;
};

class DriveBatchNormalization {
 public:
  explicit DriveBatchNormalization(const BatchNormalizationRow& row)
      : r_(row),
        report_("CNNBatchNormalization", row.name),
        source_(std::make_shared<RowSource>(row)) {
    images_ = {row.batch, row.source.h, row.source.w, row.source.c};
  }

  void run() {
    const Pass pass = encode(Bench::with(2), nullptr, 51, whole);
    expect(pass, 51, whole);
    same("second run", encode(Bench::with(2), nullptr, 51, whole), pass);
    same("one thread", encode(Bench::with(1), nullptr, 51, whole), pass);
    // The state of one batch serves the next.
    CNNBatchNormalization kernel(Bench::with(2).device, source_, neuron());
    const ImageBatch any =
        upload(Bench::with(2).device, Format::Float32, images_, Values(images_.count()));
    const auto state = std::dynamic_pointer_cast<CNNBatchNormalizationState>(
        kernel.resultState(any[0], {}, any[0]));
    static_cast<void>(encode(Bench::with(2), state, 52, whole, &kernel));
    same("state used again", encode(Bench::with(2), state, 51, whole, &kernel), pass);
    if (r_.parts > 1) expect(encode(Bench::with(2), nullptr, 51, r_.parts), 51, r_.parts);
  }

 private:
  using Format = ImageFeatureChannelFormat;
  static constexpr std::size_t whole = 1;
  struct Pass {
    Values y, dx, mean, variance, gamma_gradient, beta_gradient;
  };

  [[nodiscard]] NNNeuronDescriptor neuron() const {
    if (r_.neuron.type == CNNNeuronType::PReLU)
      return NNNeuronDescriptor::cnnNeuronPReLUDescriptor(r_.slopes);
    return NNNeuronDescriptor::cnnNeuronDescriptor(r_.neuron.type, r_.neuron.a, r_.neuron.b,
                                                   r_.neuron.c);
  }
  [[nodiscard]] Values sources(std::uint64_t seed) const {
    return floats(images_.count(), seed, r_.low, r_.high);
  }
  [[nodiscard]] Values incoming() const { return floats(images_.count(), 61); }

  Pass encode(const Bench& bench, CNNBatchNormalizationStatePtr state, std::uint64_t seed,
              std::size_t parts, const CNNBatchNormalization* shared = nullptr) const {
    const CNNBatchNormalization own(bench.device, source_, neuron());
    const CNNBatchNormalization& kernel = shared != nullptr ? *shared : own;
    const ImageBatch x = upload(bench.device, Format::Float32, images_, sources(seed));
    const ImageBatch e = upload(bench.device, Format::Float32, images_, incoming());
    const ImageBatch y = upload(bench.device, Format::Float32, images_, Values(images_.count(), 9));
    const ImageBatch dx =
        upload(bench.device, Format::Float32, images_, Values(images_.count(), 9));
    if (!state)
      state =
          std::dynamic_pointer_cast<CNNBatchNormalizationState>(kernel.resultState(x[0], {}, y[0]));
    const CNNBatchNormalizationStatistics statistics(bench.device);
    const CNNBatchNormalizationStatisticsGradient statistics_gradient(bench.device, neuron());
    const CNNBatchNormalizationGradient gradient(bench.device, neuron());
    CommandBuffer buffer = bench.queue.makeCommandBuffer();
    const std::size_t length = (x.size() + parts - 1) / parts;
    const auto in_parts = [&](auto encode_part) {
      for (std::size_t first = 0; first < x.size(); first += length)
        encode_part(Range{first, std::min(length, x.size() - first)});
    };
    if (r_.statistics)
      in_parts([&](Range part) { statistics.encodeBatch(buffer, x.subrange(part), state); });
    in_parts(
        [&](Range part) { kernel.encodeBatch(buffer, x.subrange(part), state, y.subrange(part)); });
    in_parts([&](Range part) {
      statistics_gradient.encodeBatch(buffer, e.subrange(part), x.subrange(part), state);
    });
    in_parts([&](Range part) {
      gradient.encodeBatch(buffer, e.subrange(part), x.subrange(part), state, dx.subrange(part));
    });
    finish(buffer);
    const auto values = [&](const Buffer& from) {
      const auto all = from.as<float>();
      return Values(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(images_.c));
    };
    return {read(y),
            read(dx),
            values(state->mean()),
            values(state->variance()),
            values(state->gradientForGamma()),
            values(state->gradientForBeta())};
  }

  void expect(const Pass& got, std::uint64_t seed, std::size_t parts) {
    const std::string how = parts > 1 ? " in parts" : "";
    const auto x = tensor_of(images_, sources(seed)), e = tensor_of(images_, incoming());
    auto arrays = source_->arrays();
    arrays.slopes = {r_.slopes.begin(), r_.slopes.end()};
    double samples = 1;
    if (r_.statistics) {
      const auto sums = oracle::batch_normalization_statistics({1}, x);
      arrays.mean = sums.mean;
      arrays.variance = sums.variance();
      samples = sums.count;
    }
    const Extents flat{1, 1, 1, static_cast<int>(images_.c)};
    const Tolerance tolerance{r_.tolerance, 1e-30};
    report_.expect("mean" + how, got.mean, arrays.mean, flat, tolerance);
    report_.expect("variance" + how, got.variance, arrays.variance, flat, tolerance);
    const BatchNormalization op{r_.epsilon, r_.neuron};
    report_.expect("forward" + how, got.y, oracle::batch_normalization(op, x, arrays), tolerance);
    const auto sums = oracle::batch_normalization_statistics_gradient({op, 0}, e, x, arrays);
    report_.expect("gradient of gamma" + how, got.gamma_gradient, sums.gamma, flat, tolerance);
    report_.expect("gradient of beta" + how, got.beta_gradient, sums.beta, flat, tolerance);
    const auto dx = oracle::batch_normalization_gradient({op, r_.statistics ? 0 : 1}, e, x, arrays,
                                                         sums, samples);
    report_.expect("gradient" + how, got.dx, dx, tolerance);
  }
  void same(const std::string& what, const Pass& got, const Pass& wanted) {
    const Extents all{static_cast<int>(images_.n), static_cast<int>(images_.h),
                      static_cast<int>(images_.w), static_cast<int>(images_.c)};
    const Extents flat{1, 1, 1, all.c};
    const Tolerance tolerance{r_.tolerance, 0};
    report_.expect_same(what + ", forward", got.y, wanted.y, all, false, tolerance);
    report_.expect_same(what + ", gradient", got.dx, wanted.dx, all, false, tolerance);
    report_.expect_same(what + ", mean", got.mean, wanted.mean, flat, false, tolerance);
    report_.expect_same(what + ", variance", got.variance, wanted.variance, flat, false, tolerance);
    report_.expect_same(what + ", gamma", got.gamma_gradient, wanted.gamma_gradient, flat, false,
                        tolerance);
    report_.expect_same(what + ", beta", got.beta_gradient, wanted.beta_gradient, flat, false,
                        tolerance);
  }

  const BatchNormalizationRow& r_;
  Report report_;
  std::shared_ptr<RowSource> source_;
  Images images_;
};

}  // namespace

void check(const BatchNormalizationRow& row) { DriveBatchNormalization(row).run(); }

}  // namespace cermet::test
