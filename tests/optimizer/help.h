#pragma once
// What the tests of optimizers share: a device, values to compare, vectors and matrices with
// padding that must stay.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cermet/core/matrix.h"
#include "cermet/nn/optimizer.h"
#include "harness/device.h"

namespace cermet::optimizer_test {

using Sgd = NNOptimizerStochasticGradientDescent;
using Floats = std::vector<float>;
using Doubles = std::vector<double>;

inline const Floats example_w{0.5F, -1.5F, 2, 0}, example_g{0.1F, -4, 0.25F, 1},
    example_g2{-0.2F, 1, 0.25F, 0};

inline const Device& device() {
  static const Device one = test::device_under_test(2);
  return one;
}
inline CommandBuffer command_buffer() {
  static const CommandQueue queue = device().makeCommandQueue();
  return queue.makeCommandBuffer();
}
inline void finish(CommandBuffer& commands) {
  commands.commit();
  commands.waitUntilCompleted();
  EXPECT_EQ(commands.status(), CommandBufferStatus::Completed);
}
inline void run(const std::function<void(const CommandBuffer&)>& encode) {
  CommandBuffer commands = command_buffer();
  encode(commands);
  finish(commands);
}

template <class Call>
std::string text_of(Call&& call) {
  try {
    call();
  } catch (const InvalidArgument& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was thrown";
  return {};
}

/// `ulp` units in the last place for each step, measured at the element or at `scale`.
inline void expect_close(const Floats& got, const Doubles& wanted, int steps = 1, double scale = 0,
                         const std::string& what = "", double ulp = 2) {
  ASSERT_EQ(got.size(), wanted.size()) << what;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double unit = 0x1p-23 * std::max(std::abs(wanted[i]), scale);
    const double error = std::abs(double{got[i]} - wanted[i]);
    if (error <= ulp * steps * unit) continue;
    ADD_FAILURE() << what << " [" << i << "] is " << got[i] << ", wanted " << wanted[i] << ": "
                  << error / unit << " ulp in " << steps << " steps";
  }
}
inline Doubles doubles(const Floats& values) { return {values.begin(), values.end()}; }

// ---- vectors and matrices with values ----------------------------------------------------------

inline void store(std::byte* to, DataType type, float value) {
  if (type == DataType::Float32) {
    std::memcpy(to, &value, sizeof value);
  } else {
    const std::uint16_t half = half_from_float(value);
    std::memcpy(to, &half, sizeof half);
  }
}
inline float load(const std::byte* from, DataType type) {
  float value = 0;
  std::uint16_t half = 0;
  if (type == DataType::Float32) {
    std::memcpy(&value, from, sizeof value);
    return value;
  }
  std::memcpy(&half, from, sizeof half);
  return float_from_half(half);
}
/// visit(address of an element) in order.
template <class Visit>
void for_each_element(const Vector& v, Visit&& visit) {
  auto* base = static_cast<std::byte*>(v.data().contents()) + v.offset();
  for (std::size_t k = 0; k < v.vectors(); ++k) {
    for (std::size_t i = 0; i < v.length(); ++i) {
      visit(base + k * v.vectorBytes() + i * SizeofDataType(v.dataType()));
    }
  }
}
template <class Visit>
void for_each_element(const Matrix& m, Visit&& visit) {
  auto* base = static_cast<std::byte*>(m.data().contents()) + m.offset();
  for (std::size_t k = 0; k < m.matrices(); ++k) {
    for (std::size_t i = 0; i < m.rows(); ++i) {
      for (std::size_t j = 0; j < m.columns(); ++j) {
        visit(base + k * m.matrixBytes() + i * m.rowBytes() + j * SizeofDataType(m.dataType()));
      }
    }
  }
}
template <class Array>
void write(const Array& array, const Floats& values) {
  std::size_t next = 0;
  for_each_element(array, [&](std::byte* at) { store(at, array.dataType(), values.at(next++)); });
  ASSERT_EQ(next, values.size());
}
template <class Array>
Floats read(const Array& array) {
  Floats values;
  for_each_element(array, [&](std::byte* at) { values.push_back(load(at, array.dataType())); });
  return values;
}

inline Vector vector_of(const Floats& values, DataType type = DataType::Float32) {
  const Vector vector(device(), VectorDescriptor::vectorDescriptor(values.size(), type));
  write(vector, values);
  return vector;
}
inline Vector zeros(std::size_t length) { return vector_of(Floats(length, 0)); }

/// Every byte outside the elements holds this.
constexpr std::byte padding{0x7F};

/// An array over a buffer of its own whose other bytes are `padding`.
template <class Array, class Descriptor>
Array padded(const Descriptor& descriptor, std::size_t bytes, std::size_t offset,
             const Floats& values) {
  const Buffer buffer = device().makeBuffer(bytes);
  std::memset(buffer.contents(), static_cast<int>(padding), bytes);
  const Array array(buffer, offset, descriptor);
  write(array, values);
  return array;
}
template <class Array>
void expect_padding_untouched(const Array& array) {
  const Buffer copy = device().makeBuffer(array.data().contents(), array.data().length());
  const std::size_t element = SizeofDataType(array.dataType());
  auto* const base = static_cast<std::byte*>(array.data().contents());
  auto* const copied = static_cast<std::byte*>(copy.contents());
  for_each_element(array, [&](const std::byte* at) {
    std::memset(copied + (at - base), static_cast<int>(padding), element);
  });
  for (std::size_t i = 0; i < copy.length(); ++i) ASSERT_EQ(copied[i], padding) << "byte " << i;
}

inline Matrix matrix_2x2(std::size_t row_bytes, const Floats& values,
                         DataType type = DataType::Float32) {
  return padded<Matrix>(MatrixDescriptor::matrixDescriptor(2, 2, row_bytes, type),
                        2 * row_bytes + 16, 8, values);
}

}  // namespace cermet::optimizer_test
