#include "cpu/sampling.h"

#include <algorithm>
#include <array>
#include <vector>

namespace cermet::cpu {
namespace {

enum Slot { image, result };

/// Source pixel `first` with weight 1 - next, and the one after it with weight `next`; where that
/// is 0 it is not read.
struct Reading {
  std::int64_t first = 0;
  double next = 0;
};
using Readings = std::vector<Reading>;  // of each output along an axis

/// `linear`: between two pixels; else the pixel at the position rounded down.
Readings readings(const SamplingAxis& axis, std::int64_t extent, std::int64_t outputs,
                  bool linear) {
  const std::int64_t divisor = axis.divisor;
  Readings all;
  for (std::int64_t d = 0; d < outputs; ++d) {
    const std::int64_t position =
        std::clamp<std::int64_t>(axis.offset * divisor + d * axis.step, 0, (extent - 1) * divisor);
    const auto rest = static_cast<double>(position % divisor);
    all.push_back({position / divisor, linear ? rest / static_cast<double>(divisor) : 0.0});
  }
  return all;
}

/// Outputs that read a source pixel, and with which weight.
struct Reader {
  std::int64_t output;
  double weight;
};
using Readers = std::vector<std::vector<Reader>>;  // of each source pixel along an axis

Readers readers(const Readings& of, std::int64_t extent) {
  Readers all(static_cast<std::size_t>(extent));
  for (std::size_t d = 0; d < of.size(); ++d) {
    const auto first = static_cast<std::size_t>(of[d].first);
    const auto output = static_cast<std::int64_t>(d);
    all[first].push_back({output, 1 - of[d].next});
    if (of[d].next != 0) all[first + 1].push_back({output, of[d].next});
  }
  return all;
}

}  // namespace

StepPtr sampling_step(const SamplingGrid& grid, Descs descs, Engine& engine, bool linear) {
  const TensorDesc source = descs[image], destination = descs[result];
  const int threads = threads_for(destination.count(), engine, 16384);
  const auto body = [=, rows = readings(grid.y, source.h, destination.h, linear),
                     columns =
                         readings(grid.x, source.w, destination.w, linear)](const Args& args) {
    const auto* from = args.at<const float>(image);
    float* to = args.at(result);
    const std::int64_t channels = destination.c;
    for_each_row(threads, destination, [&](std::int64_t n, std::int64_t j) {
      const Reading& row = rows[static_cast<std::size_t>(j)];
      for (std::int64_t i = 0; i < destination.w; ++i) {
        const Reading& column = columns[static_cast<std::size_t>(i)];
        const float* a = pixel(from, source, n, row.first, column.first);
        float* out = pixel(to, destination, n, j, i);
        if (row.next == 0 && column.next == 0) {
          std::copy_n(a, channels, out);
        } else if (row.next == 0 || column.next == 0) {
          const float* b = a + (row.next == 0 ? source.stride_w : source.stride_h);
          const double t = row.next == 0 ? column.next : row.next;
#pragma omp simd
          for (std::int64_t c = 0; c < channels; ++c)
            out[c] = static_cast<float>((1 - t) * double{a[c]} + t * double{b[c]});
        } else {
          const float *b = a + source.stride_w, *below = a + source.stride_h;
          const float* beside_below = below + source.stride_w;
          const double t = column.next, s = row.next;
          const double w0 = (1 - s) * (1 - t), w1 = (1 - s) * t, w2 = s * (1 - t), w3 = s * t;
#pragma omp simd
          for (std::int64_t c = 0; c < channels; ++c)
            out[c] = static_cast<float>(w0 * double{a[c]} + w1 * double{b[c]} +
                                        w2 * double{below[c]} + w3 * double{beside_below[c]});
        }
      }
    });
  };
  return make_step(descs, "sampling", body);
}

StepPtr sampling_gradient_step(const SamplingGrid& grid, std::int64_t height, std::int64_t width,
                               Descs descs, Engine& engine, bool linear) {
  constexpr std::int64_t block = 64;
  const TensorDesc gradient = descs[image], destination = descs[result];
  const int threads = threads_for(gradient.count(), engine, 8192);
  const auto body =
      [=, rows = readers(readings(grid.y, height, gradient.h, linear), height),
       columns = readers(readings(grid.x, width, gradient.w, linear), width)](const Args& args) {
        const auto* g = args.at<const float>(image);
        float* to = args.at(result);
        for_each_pixel(threads, destination, [&](std::int64_t n, std::int64_t y, std::int64_t x) {
          float* out = pixel(to, destination, n, y, x);
          const auto row = static_cast<std::size_t>(y), column = static_cast<std::size_t>(x);
          if (row >= rows.size() || column >= columns.size()) {
            std::fill_n(out, destination.c, 0.0F);
            return;
          }
          alignas(64) std::array<double, block> sums;
          for (std::int64_t first = 0; first < destination.c; first += block) {
            const std::int64_t count = std::min(block, destination.c - first);
            std::fill_n(sums.data(), count, 0.0);
            for (const Reader& line : rows[row]) {
              for (const Reader& place : columns[column]) {
                const float* arriving = pixel(g, gradient, n, line.output, place.output) + first;
                const double weight = line.weight * place.weight;
#pragma omp simd
                for (std::int64_t c = 0; c < count; ++c)
                  sums[static_cast<std::size_t>(c)] += weight * double{arriving[c]};
              }
            }
            for (std::int64_t c = 0; c < count; ++c)
              out[first + c] = static_cast<float>(sums[static_cast<std::size_t>(c)]);
          }
        });
      };
  return make_step(descs, "sampling, gather", body);
}

}  // namespace cermet::cpu
