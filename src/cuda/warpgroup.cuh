#pragma once
// Instructions of sm_90 that a warpgroup, 128 threads, gives together: asynchronous products of
// TF32 matrices in shared memory, and the barriers and copies that feed them.

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace cermet::cuda {

#if defined(__CUDA_ARCH_FEAT_SM90_ALL)

/// Where a matrix lies in shared memory: eight rows of 16 bytes are adjacent. `low`: the address
/// and the distance from four columns to the next four; `down`: from eight rows to the next eight;
/// all in 16 bytes.
__device__ inline std::uint64_t matrix_at(unsigned low, int down) {
  return static_cast<std::uint64_t>(down) << 32 | low;
}
__device__ inline unsigned low_of(unsigned address, int across) {
  return address >> 4 | static_cast<unsigned>(across) << 16;
}

// The sums of a thread, 28, 32, 56 or 64 of them: their places in the text of an instruction, and
// what stands there.
#define CERMET_PLACES_28                                                             \
  "%0, %1, %2, %3, %4, %5, %6, %7, %8, %9, %10, %11, %12, %13, %14, %15, %16, %17, " \
  "%18, %19, %20, %21, %22, %23, %24, %25, %26, %27"
#define CERMET_PLACES_32 \
  CERMET_PLACES_28       \
  ", %28, %29, %30, %31"
#define CERMET_PLACES_56                                                               \
  CERMET_PLACES_32                                                                     \
  ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47, " \
  "%48, %49, %50, %51, %52, %53, %54, %55"
#define CERMET_PLACES_64 \
  CERMET_PLACES_56       \
  ", %56, %57, %58, %59, %60, %61, %62, %63"
#define CERMET_SUMS(i) "+f"(sums[i]), "+f"(sums[(i) + 1]), "+f"(sums[(i) + 2]), "+f"(sums[(i) + 3])
#define CERMET_SUMS_28                                                              \
  CERMET_SUMS(0), CERMET_SUMS(4), CERMET_SUMS(8), CERMET_SUMS(12), CERMET_SUMS(16), \
      CERMET_SUMS(20), CERMET_SUMS(24)
#define CERMET_SUMS_32 CERMET_SUMS_28, CERMET_SUMS(28)
#define CERMET_SUMS_56                                                                \
  CERMET_SUMS_32, CERMET_SUMS(32), CERMET_SUMS(36), CERMET_SUMS(40), CERMET_SUMS(44), \
      CERMET_SUMS(48), CERMET_SUMS(52)
#define CERMET_SUMS_64 CERMET_SUMS_56, CERMET_SUMS(56), CERMET_SUMS(60)
// The instruction for `columns`, which adds to the sums unless place `more` is 0.
#define CERMET_PRODUCT(columns, count, left, right, more)                                         \
  "{\n\t.reg .pred p;\n\tsetp.ne.u32 p, %" #more                                                  \
  ", 0;\n\twgmma.mma_async.sync.aligned.m64n" #columns "k8.f32.tf32.tf32 {" CERMET_PLACES_##count \
      "}, " left ", %" #right ", p, 1, 1;\n\t}"

/// sums += a * b, or = a * b where `more` is 0: 64 rows, `columns` columns, 8 deep. A thread has of
/// each eight columns rows 16 warp + lane / 4 and eight further down, and columns 2 (lane % 4) and
/// the next.
template <int columns>
struct Product;
#define CERMET_DEFINE_PRODUCT(columns, count, left, right, number_of_more)             \
  template <>                                                                          \
  struct Product<columns> {                                                            \
    static __device__ void add(float (&sums)[count], std::uint64_t a, std::uint64_t b, \
                               unsigned more) {                                        \
      asm volatile(CERMET_PRODUCT(columns, count, "%" #left, right, number_of_more)    \
                   : CERMET_SUMS_##count                                               \
                   : "l"(a), "l"(b), "r"(more));                                       \
    }                                                                                  \
  };
CERMET_DEFINE_PRODUCT(56, 28, 28, 29, 30)
CERMET_DEFINE_PRODUCT(64, 32, 32, 33, 34)
CERMET_DEFINE_PRODUCT(112, 56, 56, 57, 58)
CERMET_DEFINE_PRODUCT(128, 64, 64, 65, 66)

/// The same for 64 columns with the left factor in registers: rows 16 warp + lane / 4 and eight
/// further down of column lane % 4, then of column lane % 4 + 4.
struct ProductOfRegisters {
  static __device__ void add(float (&sums)[32], const float (&a)[4], std::uint64_t b,
                             unsigned more) {
    asm volatile(CERMET_PRODUCT(64, 32, "{%32, %33, %34, %35}", 36, 37)
                 : CERMET_SUMS_32
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])),
                   "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])), "l"(b), "r"(more));
  }
};

#undef CERMET_DEFINE_PRODUCT
#undef CERMET_PRODUCT
#undef CERMET_SUMS_64
#undef CERMET_SUMS_56
#undef CERMET_SUMS_32
#undef CERMET_SUMS_28
#undef CERMET_SUMS
#undef CERMET_PLACES_64
#undef CERMET_PLACES_56
#undef CERMET_PLACES_32
#undef CERMET_PLACES_28

__device__ inline void begin_products() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void commit_products() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
/// Waits until at most `pending` groups of products are under way.
template <int pending>
__device__ inline void wait_for_products() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(pending) : "memory");
}

/// Gives registers back, or takes what others gave (`more`): each warp of a warpgroup must call.
template <int registers, bool more>
__device__ inline void limit_registers() {
  if constexpr (more) {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(registers));
  } else {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(registers));
  }
}

/// A barrier in shared memory, by address.
__device__ inline void set_up(unsigned barrier, unsigned arrivals) {
  asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(barrier), "r"(arrivals) : "memory");
}
/// Once for each thread that is `chosen`.
__device__ inline void arrive(unsigned barrier, bool chosen = true) {
  asm volatile(
      "{\n\t.reg .pred chosen;\n\t"
      "setp.ne.u32 chosen, %1, 0;\n\t"
      "@chosen mbarrier.arrive.shared::cta.b64 _, [%0];\n\t}" ::"r"(barrier),
      "r"(static_cast<unsigned>(chosen))
      : "memory");
}
__device__ inline void wait(unsigned barrier, unsigned phase) {
  asm volatile(
      "{\n\t.reg .pred done;\n\t"
      "again:\n\t"
      "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n\t"
      "@!done bra again;\n\t}" ::"r"(barrier),
      "r"(phase)
      : "memory");
}
/// Copies `bytes` to shared memory; `barrier` completes with it.
__device__ inline void copy_bulk(unsigned to, const float* from, unsigned bytes, unsigned barrier) {
  asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(barrier), "r"(bytes)
               : "memory");
  asm volatile(
      "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1], %2, [%3];" ::
          "r"(to),
      "l"(from), "r"(bytes), "r"(barrier)
      : "memory");
}
/// Four floats, or zeros where not `valid`. Without `aligned` to 16 bytes, one by one.
template <bool aligned>
__device__ inline float4 load_four_if(bool valid, const float* from) {
  float4 four;
  if constexpr (aligned) {  // a branch for each load would take longer than the load
    asm volatile(
        "{\n\t.reg .pred valid;\n\tsetp.ne.u32 valid, %5, 0;\n\t"
        "mov.f32 %0, 0f00000000;\n\tmov.f32 %1, 0f00000000;\n\t"
        "mov.f32 %2, 0f00000000;\n\tmov.f32 %3, 0f00000000;\n\t"
        "@valid ld.global.v4.f32 {%0, %1, %2, %3}, [%4];\n\t}"
        : "=&f"(four.x), "=&f"(four.y), "=&f"(four.z), "=&f"(four.w)
        : "l"(from), "r"(static_cast<unsigned>(valid)));
  } else {
    four = valid ? float4{from[0], from[1], from[2], from[3]} : float4{};
  }
  return four;
}
/// The same for four bytes, aligned.
__device__ inline uchar4 load_bytes_if(bool valid, const unsigned char* from) {
  unsigned four;
  asm volatile(
      "{\n\t.reg .pred valid;\n\tsetp.ne.u32 valid, %2, 0;\n\t"
      "mov.u32 %0, 0;\n\t@valid ld.global.u32 %0, [%1];\n\t}"
      : "=&r"(four)
      : "l"(from), "r"(static_cast<unsigned>(valid)));
  return {static_cast<unsigned char>(four), static_cast<unsigned char>(four >> 8),
          static_cast<unsigned char>(four >> 16), static_cast<unsigned char>(four >> 24)};
}

/// What a block has of it.
__device__ inline std::byte* shared_memory() {
  extern __shared__ __align__(128) std::byte memory[];
  return memory;
}
/// What this thread stored in shared memory can be seen by products and copies.
__device__ inline void publish() { asm volatile("fence.proxy.async.shared::cta;" ::: "memory"); }

#endif

}  // namespace cermet::cuda
