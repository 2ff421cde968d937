#pragma once
// How a check fails: one line with kernel, row, what was done, the error and where, and the command
// that reruns it.

#include <gtest/gtest.h>

#include <cerrno>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "compare.h"
#include "images.h"

namespace cermet::test {

/// The command that runs the present test again.
inline std::string repro() {
  const auto* info = testing::UnitTest::GetInstance()->current_test_info();
  return std::string("repro: ") + program_invocation_name + " --gtest_filter='" +
         info->test_suite_name() + "." + info->name() + "'";
}

class Report {
 public:
  Report(std::string kernel, std::string row) : kernel_(std::move(kernel)), row_(std::move(row)) {}

  void fail(std::string_view what, std::string_view error) {
    if (++failures_ > most) return;
    ADD_FAILURE() << "FAIL " << kernel_ << " " << row_ << " [" << what << "] " << error << "\n"
                  << repro();
  }
  /// `got` against the oracle.
  void expect(std::string_view what, std::span<const float> got, std::span<const double> wanted,
              const Extents& extents, const Tolerance& tolerance) {
    const auto result = compare(got, wanted, extents, tolerance);
    if (!result.ok) fail(what, result.text);
  }
  void expect(std::string_view what, std::span<const float> got, const oracle::Tensor& wanted,
              const Tolerance& tolerance) {
    expect(what, got, wanted.v, {wanted.n, wanted.h, wanted.w, wanted.c}, tolerance);
  }
  /// Bit for bit, or within the tolerance.
  void expect_same(std::string_view what, std::span<const float> got, std::span<const float> wanted,
                   const Extents& extents, bool may_differ, const Tolerance& tolerance) {
    if (same_bits(got, wanted)) return;
    const auto result =
        compare(got, std::vector<double>(wanted.begin(), wanted.end()), extents, tolerance);
    if (!result.ok || !may_differ) fail(what, "other bits: " + result.text);
  }
  void expect_true(std::string_view what, bool holds, std::string_view error) {
    if (!holds) fail(what, error);
  }

 private:
  static constexpr int most = 8;  // lines for one row
  std::string kernel_, row_;
  int failures_ = 0;
};

}  // namespace cermet::test
