// ScaledSum (formula: matrix/sum.h). Sums of an element are double and in the order of the sources.

#include <array>
#include <cstring>

#include "cermet/matrix/sum.h"
#include "cpu/activation.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t block = 256;  // columns at a time

struct Place {
  std::int64_t row = 0, column = 0;
};
Place place_of(const std::byte* offsets, std::int64_t k) {
  if (offsets == nullptr) return {};
  std::array<std::uint32_t, 2> pair{};
  std::memcpy(pair.data(), offsets + k * std::int64_t{sizeof pair}, sizeof pair);
  return {pair[0], pair[1]};
}

}  // namespace

StepPtr prepare(const ScaledSum& op, Descs descs, Engine& engine) {
  using Op = ScaledSum;
  const std::vector<TensorDesc> sources(descs.begin(), descs.begin() + op.count);
  const TensorDesc partial = descs[Op::partial], destination = descs[Op::destination];
  const bool has_scales = descs[Op::scales].present(), has_offsets = descs[Op::offsets].present();
  const bool has_bias = descs[Op::bias].present(), transposes = op.transpose != 0;
  const std::int64_t rows = transposes ? destination.c : destination.h;
  const std::int64_t columns = transposes ? destination.h : destination.c;
  const EvaluateRow evaluate = evaluate_row(op.activation.type);
  const int threads = threads_for(destination.count() * op.count, engine);
  return make_step(descs, "rows", [=](const Args& args) {
    const auto* offsets = has_offsets ? args.at<const std::byte>(Op::offsets) : nullptr;
    parallel(threads, rows, [&](std::int64_t begin, std::int64_t end) {
      std::array<double, static_cast<std::size_t>(block)> sums;
      std::array<float, static_cast<std::size_t>(block)> values;
      for (std::int64_t i = begin; i < end; ++i) {
        for (std::int64_t first = 0; first < columns; first += block) {
          const std::int64_t count = std::min(block, columns - first);
          sums.fill(0);
          double* sum = sums.data();
          if (partial.present()) {
            const float* from = pixel(args.at<const float>(Op::partial), partial, 0, i, 0) + first;
            for (std::int64_t j = 0; j < count; ++j) sum[j] = from[j];
          }
          for (std::int64_t k = 0; k < op.count; ++k) {
            const TensorDesc& source = sources[static_cast<std::size_t>(k)];
            const Place at = place_of(offsets, k);
            if (i + at.row >= source.h) continue;
            const float* from =
                pixel(args.at<const float>(static_cast<std::size_t>(k)), source, 0, i + at.row, 0) +
                first;
            const double scale = has_scales ? double{args.at<const float>(Op::scales)[k]} : 1.0;
            const std::int64_t there = std::min(count, source.c - at.column - first);
#pragma omp simd
            for (std::int64_t j = 0; j < there; ++j) sum[j] += scale * double{from[at.column + j]};
          }
          if (has_bias) {
            const float* bias = args.at<const float>(Op::bias) + first;
            for (std::int64_t j = 0; j < count; ++j) sum[j] += double{bias[j]};
          }
          for (std::size_t j = 0; j < static_cast<std::size_t>(count); ++j)
            values[j] = static_cast<float>(sums[j]);
          evaluate(op.activation, values.data(), nullptr, values.data(), count);
          float* to = args.at(Op::destination);
          for (std::int64_t j = 0; j < count; ++j) {
            const float value = values[static_cast<std::size_t>(j)];
            if (transposes) {
              pixel(to, destination, 0, first + j, 0)[i] = value;
            } else {
              pixel(to, destination, 0, i, 0)[first + j] = value;
            }
          }
        }
      }
    });
  });
}

}  // namespace cermet::cpu
