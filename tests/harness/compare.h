#pragma once
// Comparison of float results with double references. An error is measured against the largest
// element of the reference, so that cancellation in small elements does not count as a fault.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <sstream>
#include <string>

namespace cermet::test {

struct Extents {
  int n = 1, h = 1, w = 1, c = 1;
};

/// `ok` when every |got - wanted| <= relative * max(largest finite |wanted|, floor).
struct Tolerance {
  double relative = 1e-5;
  double floor = 0;  // for tensors that should be 0 but for rounding
};

struct Comparison {
  double worst = 0;    // largest |got - wanted| / scale; infinity for a wrong kind or length
  std::size_t at = 0;  // its index
  bool ok = true;
  std::string text;  // one line; with the first worst element, also when ok
};

namespace detail {

enum class Kind { finite, nan, plus_infinity, minus_infinity };
/// What a double becomes as a float: beyond float's range it is infinite.
inline Kind kind_of(double value) {
  constexpr double largest = std::numeric_limits<float>::max();
  if (std::isnan(value)) return Kind::nan;
  if (value > largest) return Kind::plus_infinity;
  return value < -largest ? Kind::minus_infinity : Kind::finite;
}

inline std::string place(std::size_t index, const Extents& extents) {
  const auto c = static_cast<std::size_t>(std::max(extents.c, 1));
  const auto w = static_cast<std::size_t>(std::max(extents.w, 1));
  const auto h = static_cast<std::size_t>(std::max(extents.h, 1));
  std::ostringstream out;
  out << "(n" << index / c / w / h << ",y" << index / c / w % h << ",x" << index / c % w << ",c"
      << index % c << ")";
  return out.str();
}

}  // namespace detail

/// NaN equals NaN and an infinity the same infinity; nothing else equals them.
inline Comparison compare(std::span<const float> got, std::span<const double> wanted,
                          const Extents& extents, const Tolerance& tolerance = {}) {
  Comparison result;
  std::ostringstream text;
  if (got.size() != wanted.size()) {
    text << "got " << got.size() << " elements, wanted " << wanted.size();
    return {std::numeric_limits<double>::infinity(), 0, false, text.str()};
  }
  double scale = tolerance.floor;
  for (const double value : wanted)
    if (detail::kind_of(value) == detail::Kind::finite) scale = std::max(scale, std::abs(value));

  std::size_t wrong = 0;
  for (std::size_t i = 0; i < got.size(); ++i) {
    const auto kind = detail::kind_of(wanted[i]);
    double error = 0;
    if (kind != detail::kind_of(double{got[i]}))
      error = std::numeric_limits<double>::infinity();
    else if (kind == detail::Kind::finite && double{got[i]} != wanted[i])
      error = std::abs(double{got[i]} - wanted[i]) / scale;
    if (error > result.worst) {
      result.worst = error;
      result.at = i;
    }
    if (!(error <= tolerance.relative)) ++wrong;
  }
  result.ok = wrong == 0;
  if (got.empty()) return result;
  text.precision(9);
  text << "at " << detail::place(result.at, extents) << " got " << got[result.at] << ", wanted "
       << wanted[result.at] << ", error " << std::abs(double{got[result.at]} - wanted[result.at])
       << ", tolerance " << tolerance.relative * scale << " (" << tolerance.relative << " of "
       << scale << "); " << wrong << " of " << got.size() << " elements wrong";
  result.text = text.str();
  return result;
}

/// The reference is a tensor with extents n, h, w, c and values v.
template <class Tensor>
requires requires(const Tensor& t) { std::span<const double>(t.v), t.n, t.h, t.w, t.c; }
Comparison compare(std::span<const float> got, const Tensor& wanted,
                   const Tolerance& tolerance = {}) {
  return compare(got, wanted.v, {wanted.n, wanted.h, wanted.w, wanted.c}, tolerance);
}

}  // namespace cermet::test
