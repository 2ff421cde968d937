// Copy: conversion between element types, any strides. Fill.
// Unorm stores clamp to [0, 1] and round to nearest even, NaN becomes 0; uint8 holds plain
// integers. Own code: these only move memory. A conversion goes through float32 in pieces that stay
// in cache, float16 by F16C. Plain layout alone.

#include <immintrin.h>

#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "cpu/engine.h"
#include "cpu/packed_copy.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t piece = 1024;  // elements converted at a time: 4 KiB of float32 on the stack

using ReadRun = void (*)(const void* from, float* to, std::int64_t count);
using WriteRun = void (*)(const float* from, void* to, std::int64_t count);

void read_float16(const void* from, float* to, std::int64_t count) {
  const auto* bits = static_cast<const std::uint16_t*>(from);
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm_loadu_si128(reinterpret_cast<const __m128i*>(bits + i));
    _mm256_storeu_ps(to + i, _mm256_cvtph_ps(halves));
  }
  for (; i < count; ++i) to[i] = _cvtsh_ss(bits[i]);
}

void write_float16(const float* from, void* to, std::int64_t count) {
  auto* bits = static_cast<std::uint16_t*>(to);
  std::int64_t i = 0;
  for (; i + 8 <= count; i += 8) {
    const __m128i halves = _mm256_cvtps_ph(_mm256_loadu_ps(from + i), _MM_FROUND_TO_NEAREST_INT);
    _mm_storeu_si128(reinterpret_cast<__m128i*>(bits + i), halves);
  }
  for (; i < count; ++i) bits[i] = _cvtss_sh(from[i], _MM_FROUND_TO_NEAREST_INT);
}

void read_bfloat16(const void* from, float* to, std::int64_t count) {
  const auto* bits = static_cast<const std::uint16_t*>(from);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = std::bit_cast<float>(static_cast<std::uint32_t>(bits[i]) << 16);
  }
}

void write_bfloat16(const float* from, void* to, std::int64_t count) {
  auto* out = static_cast<std::uint16_t*>(to);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const auto bits = std::bit_cast<std::uint32_t>(from[i]);
    const std::uint32_t even = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    const std::uint32_t quiet = (bits >> 16) | 0x40u;
    out[i] = static_cast<std::uint16_t>((bits & 0x7FFFFFFFu) > 0x7F800000u ? quiet : even);
  }
}

/// Integers of type T that stand for value * 1/scale.
template <class T, int scale>
void read_integer(const void* from, float* to, std::int64_t count) {
  const auto* in = static_cast<const T*>(from);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<float>(in[i]) / static_cast<float>(scale);
  }
}

template <class T, int scale>
void write_integer(const float* from, void* to, std::int64_t count) {
  constexpr float largest = sizeof(T) == 1 ? 255.0F : 65535.0F;
  auto* out = static_cast<T*>(to);
#pragma omp simd
  for (std::int64_t i = 0; i < count; ++i) {
    const float scaled = from[i] * static_cast<float>(scale);
    const float positive = scaled > 0.0F ? scaled : 0.0F;  // NaN too becomes 0
    const float inside = positive < largest ? positive : largest;
    out[i] = static_cast<T>(static_cast<std::int32_t>(std::rint(inside)));
  }
}

/// Null: the type is float32 already.
ReadRun reader(ElementType type) {
  switch (type) {
    case ElementType::float32:
      break;
    case ElementType::float16:
      return &read_float16;
    case ElementType::bfloat16:
      return &read_bfloat16;
    case ElementType::unorm8:
      return &read_integer<std::uint8_t, 255>;
    case ElementType::unorm16:
      return &read_integer<std::uint16_t, 65535>;
    case ElementType::uint8:
      return &read_integer<std::uint8_t, 1>;
  }
  return nullptr;
}

WriteRun writer(ElementType type) {
  switch (type) {
    case ElementType::float32:
      break;
    case ElementType::float16:
      return &write_float16;
    case ElementType::bfloat16:
      return &write_bfloat16;
    case ElementType::unorm8:
      return &write_integer<std::uint8_t, 255>;
    case ElementType::unorm16:
      return &write_integer<std::uint16_t, 65535>;
    case ElementType::uint8:
      return &write_integer<std::uint8_t, 1>;
  }
  return nullptr;
}

/// Copies runs of adjacent elements; both functions null: the types are equal.
struct Converter {
  ReadRun read = nullptr;
  WriteRun write = nullptr;
  std::int64_t source_bytes = 0, destination_bytes = 0;  // of one element

  Converter(ElementType source, ElementType destination)
      : source_bytes(static_cast<std::int64_t>(size_of(source))),
        destination_bytes(static_cast<std::int64_t>(size_of(destination))) {
    if (source == destination) return;
    read = reader(source);
    write = writer(destination);
  }
  void operator()(const std::byte* from, std::byte* to, std::int64_t count) const {
    if (read == nullptr && write == nullptr) {
      std::memcpy(to, from, static_cast<std::size_t>(count * source_bytes));
    } else if (write == nullptr) {
      read(from, reinterpret_cast<float*>(to), count);
    } else if (read == nullptr) {
      write(reinterpret_cast<const float*>(from), to, count);
    } else {
      alignas(64) std::array<float, piece> values;
      for (std::int64_t done = 0; done < count; done += piece) {
        const std::int64_t now = std::min(piece, count - done);
        read(from + done * source_bytes, values.data(), now);
        write(values.data(), to + done * destination_bytes, now);
      }
    }
  }
};

StepPtr copy_flat(Descs descs, Converter convert, int threads) {
  return make_step(descs, "flat", [convert, threads, total = descs[0].count()](const Args& args) {
    const auto* from = args.at<const std::byte>(Copy::source);
    auto* to = args.at<std::byte>(Copy::destination);
    constexpr std::int64_t block = 16 * piece;  // large enough for memcpy to stream
    parallel(threads, (total + block - 1) / block, [&](std::int64_t begin, std::int64_t end) {
      const std::int64_t first = begin * block, last = std::min(end * block, total);
      convert(from + first * convert.source_bytes, to + first * convert.destination_bytes,
              last - first);
    });
  });
}

}  // namespace

StepPtr prepare(const Copy&, Descs descs, Engine& engine) {
  const TensorDesc source = descs[Copy::source], destination = descs[Copy::destination];
  if (source.layout != plain || destination.layout != plain)
    return prepare_reorder(source, destination, engine);
  const Converter convert(source.type, destination.type);
  const int threads = threads_for(source.count(), engine);
  if (source.dense() && destination.dense()) return copy_flat(descs, convert, threads);

  const bool rows = source.stride_w == source.c && destination.stride_w == destination.c;
  return make_step(descs, rows ? "rows" : "pixels", [=](const Args& args) {
    const auto* from = args.at<const std::byte>(Copy::source);
    auto* to = args.at<std::byte>(Copy::destination);
    const std::int64_t columns = rows ? 1 : source.w;
    const std::int64_t length = rows ? std::int64_t{source.w} * source.c : source.c;
    for_each_row(threads, source, [&](std::int64_t n, std::int64_t y) {
      const std::int64_t in = n * source.stride_n + y * source.stride_h;
      const std::int64_t out = n * destination.stride_n + y * destination.stride_h;
      for (std::int64_t x = 0; x < columns; ++x) {
        convert(from + (in + x * source.stride_w) * convert.source_bytes,
                to + (out + x * destination.stride_w) * convert.destination_bytes, length);
      }
    });
  });
}

namespace {

template <class T>
StepPtr fill(T value, Descs descs, int threads) {
  const TensorDesc to = descs[Fill::destination];
  const bool rows = to.stride_w == to.c;
  return make_step(descs, "rows", [=](const Args& args) {
    T* out = args.at<T>(Fill::destination);
    const std::int64_t columns = rows ? 1 : to.w, length = rows ? std::int64_t{to.w} * to.c : to.c;
    for_each_row(threads, to, [&](std::int64_t n, std::int64_t y) {
      for (std::int64_t x = 0; x < columns; ++x) {
        std::fill_n(pixel(out, to, n, y, x), length, value);
      }
    });
  });
}

}  // namespace

StepPtr prepare(const Fill& op, Descs descs, Engine& engine) {
  const TensorDesc& to = descs[Fill::destination];
  const int threads = threads_for(to.count(), engine);
  if (to.type == ElementType::uint8) {
    return fill(static_cast<std::uint8_t>(std::clamp(op.value, 0.0F, 255.0F)), descs, threads);
  }
  return fill(op.value, descs, threads);
}

}  // namespace cermet::cpu
