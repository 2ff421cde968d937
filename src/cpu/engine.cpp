#include "cpu/engine.h"

#include <cpuid.h>

#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include "cermet/core/error.h"

namespace cermet::cpu {
namespace {

constexpr std::size_t alignment = 64;

class CpuStream final : public Stream {
 public:
  explicit CpuStream(int threads) {
    omp_set_dynamic(0);
    omp_set_num_threads(threads);
  }
};

/// oneDNN divides its work when a primitive is made, by the thread count of the calling thread.
class ThreadCount {
 public:
  explicit ThreadCount(int threads) : before_(omp_get_max_threads()) {
    omp_set_num_threads(threads);
  }
  ~ThreadCount() { omp_set_num_threads(before_); }
  ThreadCount(const ThreadCount&) = delete;
  ThreadCount& operator=(const ThreadCount&) = delete;

 private:
  int before_;
};

bool is_mask_or_float(ElementType type) {
  return type == ElementType::float32 || type == ElementType::uint8;
}

/// Runs a float32 step between conversions: reads are widened into scratch before it, writes
/// rounded out of it once.
class ConvertingStep final : public Step {
 public:
  struct Part {
    StepPtr in, out;         // null: no conversion in that direction
    std::size_t offset = 0;  // in scratch
    bool converted = false;
  };
  StepPtr inner;
  std::vector<Part> parts;
  std::size_t inner_scratch = 0;  // offset

  struct Bound final : BoundStep {
    explicit Bound(const ConvertingStep* what) : step(what), inner(what->inner->bind()) {
      for (const Part& part : step->parts) {
        in.push_back(part.in ? part.in->bind() : nullptr);
        out.push_back(part.out ? part.out->bind() : nullptr);
      }
    }
    void run(Stream& stream) noexcept override {
      for (auto& convert : in) {
        if (convert) convert->run(stream);
      }
      inner->run(stream);
      for (auto& convert : out) {
        if (convert) convert->run(stream);
      }
    }
    void rebind(const Slots& slots, void* scratch, const void* scalars) override {
      auto* base = static_cast<std::byte*>(scratch);
      Slots inside = slots;
      for (std::size_t i = 0; i < step->parts.size(); ++i) {
        const Part& part = step->parts[i];
        if (!part.converted) continue;
        inside[i] = base + part.offset;
        if (in[i]) in[i]->rebind({slots[i], inside[i]}, nullptr, nullptr);
        if (out[i]) out[i]->rebind({inside[i], slots[i]}, nullptr, nullptr);
      }
      inner->rebind(inside, base + step->inner_scratch, scalars);
    }
    const ConvertingStep* step;
    std::unique_ptr<BoundStep> inner;
    std::vector<std::unique_ptr<BoundStep>> in, out;
  };
  [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
    return std::make_unique<Bound>(this);
  }
};

/// Asked of the processor: clang 14 has no word for it in __builtin_cpu_supports.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace

// Never more than OpenMP gives (OMP_THREAD_LIMIT, OMP_DYNAMIC): oneDNN plans its sums for a number
// of threads, and leaves some out when fewer come.
Engine::Engine(int threads)
    : threads_(std::min(threads > 0 ? threads : std::max(1, omp_get_num_procs()),
                        omp_get_thread_limit())) {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) {
    throw DeviceError(CommandBufferError::NotPermitted,
                      "The CPU device needs a processor with AVX2, FMA and F16C (Intel Haswell, "
                      "AMD Zen or newer).");
  }
}
Engine::~Engine() = default;

void* Engine::allocate(std::size_t bytes) {
  void* memory = std::aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
  if (memory == nullptr) {
    throw DeviceError(CommandBufferError::OutOfMemory,
                      "The CPU device has no " + std::to_string(bytes) +
                          " bytes left. Use a smaller batch or release images and buffers first.");
  }
  return memory;
}
void Engine::release(void* memory, std::size_t) noexcept { std::free(memory); }
void Engine::fill_zero(void* memory, std::size_t bytes) { std::memset(memory, 0, bytes); }
std::unique_ptr<Stream> Engine::make_stream() { return std::make_unique<CpuStream>(threads_); }
std::string Engine::name() const {
  const char* level = __builtin_cpu_supports("avx512f") ? "AVX-512" : "AVX2";
  return "CPU (" + std::string(level) + ", " + std::to_string(threads_) +
         (threads_ == 1 ? " thread)" : " threads)");
}

StepPtr Engine::make(const OpView& op, Descs descs, Entry entry) {
  const ThreadCount scope(threads_);
  const bool direct = op.id == op_id(Copy::name) ||
                      std::all_of(descs.begin(), descs.end(), [](const TensorDesc& desc) {
                        return !desc.present() || is_mask_or_float(desc.type);
                      });
  if (direct) return entry(op.data, descs, *this);

  auto step = std::make_shared<ConvertingStep>();
  step->parts.resize(descs.size());
  std::vector<TensorDesc> inside(descs.begin(), descs.end());
  std::size_t offset = 0;
  for (std::size_t i = 0; i < descs.size(); ++i) {
    if (!descs[i].present() || is_mask_or_float(descs[i].type)) continue;
    const TensorDesc& outer = descs[i];
    inside[i] = dense_desc(outer.n, outer.h, outer.w, outer.c);
    auto& part = step->parts[i];
    part.converted = true;
    part.offset = offset;
    offset += (static_cast<std::size_t>(inside[i].count()) * sizeof(float) + alignment - 1) /
              alignment * alignment;
    const TensorDesc into[] = {outer, inside[i]}, out_of[] = {inside[i], outer};
    if (op.access[i] != Access::write) part.in = backend::prepare_by_overload(Copy{}, into, *this);
    if (op.access[i] != Access::read)
      part.out = backend::prepare_by_overload(Copy{}, out_of, *this);
  }
  step->inner = entry(op.data, inside, *this);
  if (!step->inner) return nullptr;
  step->inner_scratch = offset;
  step->scratch_bytes = offset + step->inner->scratch_bytes;
  step->slots.assign(descs.begin(), descs.end());
  for (std::size_t i = 0; i < descs.size(); ++i) {
    if (!step->parts[i].converted) step->slots[i] = step->inner->slots[i];
    step->bytes.push_back(step->parts[i].converted
                              ? static_cast<std::size_t>(descs[i].count()) * size_of(descs[i].type)
                              : step->inner->bytes[i]);
  }
  step->implementation = step->inner->implementation + " + conversion";
  return step;
}

}  // namespace cermet::cpu

namespace cermet {

std::shared_ptr<Engine> make_cpu_engine(int threads) {
  return std::make_shared<cpu::Engine>(threads);
}

}  // namespace cermet
