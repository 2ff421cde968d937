// Pad and its adjoint (formulas: cnn/pad.h). Own code: this only moves memory. Where positions lead
// is worked out once, when the step is made.

#include <algorithm>
#include <cstring>
#include <vector>

#include "cermet/cnn/pad.h"
#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

using Index = std::int64_t;

/// The source position that position i stands for; -1: none.
Index source_position(ImageEdgeMode edge, Index i, Index extent) {
  if (i >= 0 && i < extent) return i;
  switch (edge) {
    case ImageEdgeMode::Zero:
    case ImageEdgeMode::Constant:
      return -1;
    case ImageEdgeMode::Clamp:
      return std::clamp<Index>(i, 0, extent - 1);
    case ImageEdgeMode::Mirror:
    case ImageEdgeMode::MirrorWithEdge:
      break;
  }
  const Index repeated = edge == ImageEdgeMode::MirrorWithEdge ? 1 : 0;
  const Index period = std::max<Index>(2 * (extent - 1 + repeated), 1);
  const Index r = (i % period + period) % period;
  return r < extent ? r : period - repeated - r;
}

/// One axis: where each of `count` positions from `offset` on leads.
std::vector<Index> positions(ImageEdgeMode edge, Index offset, Index count, Index extent) {
  std::vector<Index> map(static_cast<std::size_t>(count));
  for (Index i = 0; i < count; ++i)
    map[static_cast<std::size_t>(i)] = source_position(edge, i + offset, extent);
  return map;
}

/// The same backwards: the positions that lead to source position s, in order.
struct Readers {
  std::vector<Index> begin, at;

  Readers(ImageEdgeMode edge, Index offset, Index count, Index extent)
      : begin(static_cast<std::size_t>(extent) + 1), at(static_cast<std::size_t>(count)) {
    const std::vector<Index> map = positions(edge, offset, count, extent);
    for (const Index s : map) {
      if (s >= 0) ++begin[static_cast<std::size_t>(s) + 1];
    }
    for (std::size_t s = 1; s < begin.size(); ++s) begin[s] += begin[s - 1];
    std::vector<Index> next(begin);
    for (Index i = 0; i < count; ++i) {
      const Index s = map[static_cast<std::size_t>(i)];
      if (s >= 0) at[static_cast<std::size_t>(next[static_cast<std::size_t>(s)]++)] = i;
    }
  }
  [[nodiscard]] std::span<const Index> of(Index s) const {
    const auto first = static_cast<std::size_t>(begin[static_cast<std::size_t>(s)]);
    const auto end = static_cast<std::size_t>(begin[static_cast<std::size_t>(s) + 1]);
    return std::span(at).subspan(first, end - first);
  }
};

std::size_t bytes_of(Index floats) { return static_cast<std::size_t>(floats) * sizeof(float); }

/// The channels of one pixel.
class PixelPad {
 public:
  PixelPad(const Pad& op, Index read, Index written)
      : before_(-op.offsetChannel),
        read_(read),
        channels_(positions(op.edge, op.offsetChannel, written, read)) {}

  [[nodiscard]] bool is_plain() const { return static_cast<Index>(channels_.size()) == read_; }
  /// `in` may be null: a filled pixel. `fill` has an entry for each channel.
  void write(const float* in, const float* fill, float* out) const {
    const auto count = static_cast<Index>(channels_.size());
    if (in == nullptr) {
      std::memcpy(out, fill, bytes_of(count));
      return;
    }
    const auto edge = [&](Index first, Index end) {
      for (Index k = first; k < end; ++k) {
        const Index from = channels_[static_cast<std::size_t>(k)];
        out[k] = from < 0 ? fill[k] : in[from];
      }
    };
    edge(0, before_);
    std::memcpy(out + before_, in, bytes_of(read_));
    edge(before_ + read_, count);
  }

 private:
  Index before_, read_;
  std::vector<Index> channels_;
};

}  // namespace

StepPtr prepare(const Pad& op, Descs descs, Engine& engine) {
  const TensorDesc source = descs[Pad::source], destination = descs[Pad::destination];
  const bool by_channel = descs[Pad::fill].present();
  const std::vector<float> constant(static_cast<std::size_t>(destination.c),
                                    op.edge == ImageEdgeMode::Constant ? op.fillValue : 0.0F);
  // Columns [left, right) are source columns side by side.
  const Index left = std::clamp<Index>(-Index{op.offsetX}, 0, destination.w);
  const Index right = std::clamp<Index>(Index{source.w} - op.offsetX, left, destination.w);
  const int threads = threads_for(destination.count(), engine);
  const auto body =
      [=, channels = PixelPad(op, source.c, destination.c),
       rows = positions(op.edge, op.offsetY, destination.h, source.h),
       columns = positions(op.edge, op.offsetX, destination.w, source.w)](const Args& args) {
        const auto* from = args.at<const float>(Pad::source);
        const float* fill = by_channel ? args.at<const float>(Pad::fill) : constant.data();
        float* to = args.at(Pad::destination);
        const bool whole_runs =
            channels.is_plain() && source.stride_w == source.c && destination.stride_w == source.c;
        for_each_row(threads, destination, [&](Index n, Index y) {
          const Index row = rows[static_cast<std::size_t>(y)];
          const float* in = row < 0 ? nullptr : pixel(from, source, n, row, 0);
          float* out = pixel(to, destination, n, y, 0);
          const auto write = [&](Index first, Index end) {
            for (Index x = first; x < end; ++x) {
              const Index column = columns[static_cast<std::size_t>(x)];
              const bool filled = in == nullptr || column < 0;
              channels.write(filled ? nullptr : in + column * source.stride_w, fill,
                             out + x * destination.stride_w);
            }
          };
          if (in == nullptr || !whole_runs) {
            write(0, destination.w);
            return;
          }
          write(0, left);
          std::memcpy(out + left * source.c, in + (left + op.offsetX) * source.c,
                      bytes_of((right - left) * source.c));
          write(right, destination.w);
        });
      };
  return make_step(descs, "rows", body);
}

StepPtr prepare(const PadGradient& op, Descs descs, Engine& engine) {
  using Op = PadGradient;
  const Pad& f = op.forward;
  const TensorDesc gradient = descs[Op::gradient], destination = descs[Op::destination];
  const Index before = -Index{f.offsetChannel}, count = destination.c;
  // What leads to a channel besides the one in the middle.
  struct Fold {
    Index from, to;
  };
  std::vector<Fold> folds;
  const std::vector<Index> channels = positions(f.edge, f.offsetChannel, gradient.c, count);
  for (Index k = 0; k < gradient.c; ++k) {
    const Index to = channels[static_cast<std::size_t>(k)];
    if (to >= 0 && (k < before || k >= before + count)) folds.push_back({k, to});
  }
  const int threads = threads_for(gradient.count(), engine, 32768);
  const auto body = [=, rows = Readers(f.edge, f.offsetY, gradient.h, op.sourceHeight),
                     columns =
                         Readers(f.edge, f.offsetX, gradient.w, op.sourceWidth)](const Args& args) {
    const auto* from = args.at<const float>(Op::gradient);
    float* to = args.at(Op::destination);
    for_each_row(threads, destination, [&](Index n, Index y) {
      auto* sums = static_cast<double*>(args.scratch) + (n * destination.h + y) * count;
      const Index row = y + op.originY;
      for (Index x = 0; x < destination.w; ++x) {
        const Index column = x + op.originX;
        float* out = pixel(to, destination, n, y, x);
        std::fill_n(sums, count, 0.0);
        if (row >= 0 && row < op.sourceHeight && column >= 0 && column < op.sourceWidth) {
          for (const Index j : rows.of(row)) {
            for (const Index i : columns.of(column)) {
              const float* term = pixel(from, gradient, n, j, i);
#pragma omp simd
              for (Index c = 0; c < count; ++c) sums[c] += double{term[before + c]};
              for (const Fold& fold : folds) sums[fold.to] += double{term[fold.from]};
            }
          }
        }
        for (Index c = 0; c < count; ++c) out[c] = static_cast<float>(sums[c]);
      }
    });
  };
  return make_step(
      descs, "gather", body,
      static_cast<std::size_t>(Index{destination.n} * destination.h * count) * sizeof(double));
}

}  // namespace cermet::cpu
