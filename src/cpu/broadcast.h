#pragma once
// Two operands at the positions of a destination, broadcast along the axes where their extent is 1.

#include "cpu/engine.h"

namespace cermet::cpu {

/// A tensor read at the positions of a larger one: stride 0 along the axes of extent 1.
struct Broadcast {
  std::int64_t n, h, w, c;

  Broadcast(const TensorDesc& desc, const TensorDesc& larger)
      : n(desc.n < larger.n ? 0 : desc.stride_n),
        h(desc.h < larger.h ? 0 : desc.stride_h),
        w(desc.w < larger.w ? 0 : desc.stride_w),
        c(desc.c < larger.c ? 0 : 1) {}
  [[nodiscard]] std::int64_t at(std::int64_t image, std::int64_t y, std::int64_t x) const {
    return image * n + y * h + x * w;
  }
  /// A row of `larger` may be taken as one run: adjacent pixels, or one value for all.
  [[nodiscard]] bool is_row(const TensorDesc& larger) const {
    return larger.w == 1 || (c == 1 ? w == larger.c : w == 0);
  }
};

/// Adjacent destination values and their operands, which step by 0 or 1.
struct Run {
  const float *x, *y;
  std::int64_t x_step, y_step;
  float* z;
  std::uint8_t* mask;  // may be null
  std::int64_t count;
};

/// to[i] = of(x[i], y[i]) for the values of a run. Every way to step has a loop of its own, which
/// vectorises. `of` is a copy: stores cannot change it.
template <class T, class Of>
void combine(const Run& run, T* to, Of of) {
  const auto loop = [&](auto x_moves, auto y_moves) {
    const float *x = run.x, *y = run.y;
    const float x0 = x[0], y0 = y[0];
    const Of own = of;
#pragma omp simd
    for (std::int64_t i = 0; i < run.count; ++i)
      to[i] = static_cast<T>(own(x_moves.value ? x[i] : x0, y_moves.value ? y[i] : y0));
  };
  if (run.x_step != 0 && run.y_step != 0) return loop(std::true_type(), std::true_type());
  if (run.x_step != 0) return loop(std::true_type(), std::false_type());
  if (run.y_step != 0) return loop(std::false_type(), std::true_type());
  loop(std::false_type(), std::false_type());
}

/// The runs that a destination is made of: rows where the layouts allow it, else pixels.
class Runs {
 public:
  /// `mask` may be absent.
  Runs(const TensorDesc& primary, const TensorDesc& secondary, const TensorDesc& destination,
       const TensorDesc& mask)
      : x_(primary, destination),
        y_(secondary, destination),
        destination_(destination),
        mask_(mask),
        rows_(x_.is_row(destination) && y_.is_row(destination) &&
              Broadcast(destination, destination).is_row(destination) &&
              (!mask.present() || Broadcast(mask, destination).is_row(destination))) {}

  [[nodiscard]] const char* name() const { return rows_ ? "rows" : "pixels"; }

  /// use(run) for each; `mask` is read where it is present alone.
  template <class Use>
  void for_each(int threads, const float* primary, const float* secondary, float* destination,
                std::uint8_t* mask, Use&& use) const {
    const std::int64_t columns = rows_ ? 1 : destination_.w;
    const std::int64_t count =
        rows_ ? std::int64_t{destination_.w} * destination_.c : destination_.c;
    for_each_row(threads, destination_, [&](std::int64_t n, std::int64_t j) {
      for (std::int64_t i = 0; i < columns; ++i) {
        use(Run{primary + x_.at(n, j, i), secondary + y_.at(n, j, i), x_.c, y_.c,
                pixel(destination, destination_, n, j, i),
                mask_.present() ? pixel(mask, mask_, n, j, i) : nullptr, count});
      }
    });
  }

 private:
  Broadcast x_, y_;
  TensorDesc destination_, mask_;
  bool rows_;
};

}  // namespace cermet::cpu
