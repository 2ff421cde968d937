#pragma once
// The CPU backend: one `prepare` per operator, a worker stream, and helpers to write a step.
//
// What `prepare` may assume: slots are float32 (uint8 for masks) and plain, with any strides;
// arguments were checked by the kernel class. The engine wraps steps on other element types with
// conversions, so an operator is written once.

#include <omp.h>

#include <algorithm>
#include <memory>
#include <span>
#include <utility>

#include "backend/engine_of.h"
#include "catalog/operators.h"
#include "cermet/core/engine.h"

namespace cermet::cpu {

class Engine;

/// Declares `StepPtr prepare(const Op&, Descs, Engine&)` of this namespace for an operator of the
/// catalog; the table finds it because the engine inherits from this.
template <class Op>
struct Declared {
  friend StepPtr prepare(const Op& op, Descs descs, Engine& engine);
};

class Engine final : public backend::EngineOf<Engine, Declared, Catalog, Fusions> {
 public:
  explicit Engine(int threads);
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine() override;

  [[nodiscard]] void* allocate(std::size_t bytes) override;
  void release(void* memory, std::size_t bytes) noexcept override;
  void fill_zero(void* memory, std::size_t bytes) override;
  [[nodiscard]] std::unique_ptr<Stream> make_stream() override;
  [[nodiscard]] std::string name() const override;
  [[nodiscard]] int threads() const override { return threads_; }

 private:
  StepPtr make(const OpView& op, Descs descs, Entry entry) override;
  int threads_;
};

/// Addresses of one run.
struct Args {
  Slots slots{};
  void* scratch = nullptr;
  const void* scalars = nullptr;

  template <class T = float>
  [[nodiscard]] T* at(std::size_t slot) const {
    return static_cast<T*>(slots[slot]);
  }
  template <class T>
  [[nodiscard]] const T& scalars_as() const {
    return *static_cast<const T*>(scalars);
  }
};

/// Threads worth waking for `elements` of cheap work. A region costs a microsecond while its
/// threads spin and fifty once they sleep, as they do between the steps of a small network: each
/// thread should have some twenty microseconds to do.
[[nodiscard]] inline int threads_for(std::int64_t elements, const Engine& engine,
                                     std::int64_t elements_per_thread = 65536) {
  return static_cast<int>(
      std::clamp<std::int64_t>(elements / elements_per_thread, 1, std::int64_t{engine.threads()}));
}

/// Calls body(begin, end) on `threads` contiguous parts of [0, count). With one thread there is no
/// parallel region. Results must not depend on the partition.
template <class Body>
void parallel(int threads, std::int64_t count, Body&& body) {
  if (threads <= 1 || count <= 1) {
    body(std::int64_t{0}, count);
    return;
  }
#pragma omp parallel num_threads(threads)
  {
    const std::int64_t parts = omp_get_num_threads(), part = omp_get_thread_num();
    body(count * part / parts, count * (part + 1) / parts);
  }
}

/// body(n, y) for every row.
template <class Body>
void for_each_row(int threads, const TensorDesc& desc, Body&& body) {
  const std::int64_t h = desc.h;
  parallel(threads, desc.n * h, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) body(row / h, row % h);
  });
}

/// body(n, y, x) for every pixel.
template <class Body>
void for_each_pixel(int threads, const TensorDesc& desc, Body&& body) {
  const std::int64_t h = desc.h, w = desc.w;
  parallel(threads, desc.pixels(), [&](std::int64_t begin, std::int64_t end) {
    std::int64_t n = begin / (h * w), y = begin / w % h, x = begin % w;
    for (std::int64_t at = begin; at < end; ++at) {
      body(n, y, x);
      if (++x < w) continue;
      x = 0;
      if (++y < h) continue;
      y = 0;
      ++n;
    }
  });
}

/// A step whose run is `body(const Args&)`; the body captures what it needs by value.
template <class Body>
StepPtr make_step(Descs slots, std::string implementation, Body body,
                  std::size_t scratch_bytes = 0) {
  struct Bound final : BoundStep {
    explicit Bound(const Body* what) : body(what) {}
    void run(Stream&) noexcept override { (*body)(args); }
    void rebind(const Slots& slots, void* scratch, const void* scalars) override {
      args = {slots, scratch, scalars};
    }
    const Body* body;
    Args args;
  };
  struct Own final : Step {
    explicit Own(Body what) : body(std::move(what)) {}
    [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
      return std::make_unique<Bound>(&body);
    }
    Body body;
  };
  auto step = std::make_shared<Own>(std::move(body));
  step->slots.assign(slots.begin(), slots.end());
  for (const TensorDesc& desc : slots) {
    step->bytes.push_back(static_cast<std::size_t>(desc.count()) * size_of(desc.type));
  }
  step->scratch_bytes = scratch_bytes;
  step->implementation = std::move(implementation);
  return step;
}

/// Address of element (n, y, x, 0) of a plain tensor.
template <class T>
[[nodiscard]] inline T* pixel(T* base, const TensorDesc& desc, std::int64_t n, std::int64_t y,
                              std::int64_t x) {
  return base + n * desc.stride_n + y * desc.stride_h + x * desc.stride_w;
}

}  // namespace cermet::cpu
