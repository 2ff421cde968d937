// Shift: a window moved over an image, with zeros or the nearest edge pixel outside; and its
// adjoint, for convolutions. Own code: this only moves memory.

#include "cpu/shift.h"

#include <algorithm>
#include <cstring>

namespace cermet::cpu {
namespace {

using Index = std::int64_t;

std::size_t bytes_of(Index floats) { return static_cast<std::size_t>(floats) * sizeof(float); }

void copy_pixels(const float* from, Index from_step, float* to, Index to_step, Index count,
                 Index channels) {
  if (from_step == channels && to_step == channels) {
    std::memcpy(to, from, bytes_of(count * channels));
    return;
  }
  for (Index i = 0; i < count; ++i) {
    std::memcpy(to + i * to_step, from + i * from_step, bytes_of(channels));
  }
}

void zero_pixels(float* to, Index step, Index count, Index channels) {
  for (Index i = 0; i < count; ++i) std::memset(to + i * step, 0, bytes_of(channels));
}

/// Row `row` of image `n` of a window.
void gather_row(const Shift& by, const TensorDesc& source, const float* from,
                const TensorDesc& window, float* to, Index n, Index row) {
  float* out = pixel(to, window, n, row, 0);
  const bool clamps = by.clampEdges != 0;
  const Index y = row + by.offsetY;
  if (!clamps && (y < 0 || y >= source.h)) {
    zero_pixels(out, window.stride_w, window.w, window.c);
    return;
  }
  const float* in = pixel(from, source, n, std::clamp<Index>(y, 0, source.h - 1), 0);
  const Index left = std::clamp<Index>(-Index{by.offsetX}, 0, window.w);
  const Index right = std::clamp<Index>(Index{source.w} - by.offsetX, left, window.w);
  float* tail = out + right * window.stride_w;
  if (clamps) {
    copy_pixels(in, 0, out, window.stride_w, left, window.c);
    copy_pixels(in + (source.w - 1) * source.stride_w, 0, tail, window.stride_w, window.w - right,
                window.c);
  } else {
    zero_pixels(out, window.stride_w, left, window.c);
    zero_pixels(tail, window.stride_w, window.w - right, window.c);
  }
  copy_pixels(in + (left + by.offsetX) * source.stride_w, source.stride_w,
              out + left * window.stride_w, window.stride_w, right - left, window.c);
}

/// The window positions [first, last] of one axis that read source position `at`.
struct Range {
  Index first, last;
};
Range readers(Index at, Index origin, Index window, Index source, bool clamp) {
  Range range{at - origin, at - origin};
  if (clamp && at == 0) range.first = 0;
  if (clamp && at == source - 1) range.last = window - 1;
  return {std::max<Index>(range.first, 0), std::min(range.last, window - 1)};
}

/// Row `y` of image `n` of the destination.
void fold_row(const Shift& by, const TensorDesc& window, const float* from,
              const TensorDesc& destination, float* to, Index n, Index y) {
  const bool clamps = by.clampEdges != 0;
  float* out = pixel(to, destination, n, y, 0);
  zero_pixels(out, destination.stride_w, destination.w, destination.c);
  const Range rows = readers(y, by.offsetY, window.h, destination.h, clamps);
  for (Index row = rows.first; row <= rows.last; ++row) {
    const float* in = pixel(from, window, n, row, 0);
    for (Index x = 0; x < destination.w; ++x) {
      const Range columns = readers(x, by.offsetX, window.w, destination.w, clamps);
      for (Index column = columns.first; column <= columns.last; ++column) {
        const float* term = in + column * window.stride_w;
        float* sum = out + x * destination.stride_w;
        for (Index c = 0; c < destination.c; ++c) sum[c] += term[c];
      }
    }
  }
}

}  // namespace

void gather_window(const Shift& by, const TensorDesc& source, const float* from,
                   const TensorDesc& window, float* to, int threads) {
  for_each_row(threads, window,
               [&](Index n, Index row) { gather_row(by, source, from, window, to, n, row); });
}

StepPtr fold_window(const Shift& by, const TensorDesc& window, const TensorDesc& destination,
                    const Engine& engine) {
  const int threads = threads_for(window.count(), engine);
  const TensorDesc slots[] = {window, destination};
  return make_step(slots, "own window fold", [=](const Args& args) {
    for_each_row(threads, destination, [&](Index n, Index y) {
      fold_row(by, window, args.at(0), destination, args.at(1), n, y);
    });
  });
}

StepPtr prepare(const Shift& shift, Descs descs, Engine& engine) {
  const TensorDesc source = descs[Shift::source], destination = descs[Shift::destination];
  const int threads = threads_for(destination.count(), engine);
  return make_step(descs, "rows", [=](const Args& args) {
    gather_window(shift, source, args.at<const float>(Shift::source), destination,
                  args.at(Shift::destination), threads);
  });
}

}  // namespace cermet::cpu
