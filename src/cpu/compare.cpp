// Compare: destination = 1 where a comparison holds, else 0 (cnn/compare.h). Own code: no library
// has a threshold, and the rules for infinities and NaN.

#include "cermet/cnn/compare.h"

#include <cmath>

#include "cpu/broadcast.h"

namespace cermet::cpu {
namespace {

template <NNComparisonType type>
bool holds(float x, float y, float threshold) {
  using enum NNComparisonType;
  const float distance = x == y ? 0.0F : std::fabs(x - y);  // of two infinities x - y is NaN
  const bool equal = distance <= threshold;
  if constexpr (type == Equal) return equal;
  if constexpr (type == NotEqual) return !equal;
  if constexpr (type == Less) return x < y;
  if constexpr (type == LessOrEqual) return (x < y) | equal;
  if constexpr (type == Greater) return x > y;
  if constexpr (type == GreaterOrEqual) return (x > y) | equal;
}

template <NNComparisonType type>
void compare_run(const Run& run, float threshold) {
  combine(run, run.z,
          [threshold](float x, float y) { return holds<type>(x, y, threshold) ? 1.0F : 0.0F; });
}

using CompareRun = void (*)(const Run&, float);
CompareRun compare_of(NNComparisonType type) {
  using enum NNComparisonType;
  switch (type) {
    case Equal:
      return &compare_run<Equal>;
    case NotEqual:
      return &compare_run<NotEqual>;
    case Less:
      return &compare_run<Less>;
    case LessOrEqual:
      return &compare_run<LessOrEqual>;
    case Greater:
      return &compare_run<Greater>;
    case GreaterOrEqual:
      break;
  }
  return &compare_run<GreaterOrEqual>;
}

}  // namespace

StepPtr prepare(const Compare& op, Descs descs, Engine& engine) {
  const TensorDesc destination = descs[Compare::destination];
  const Runs runs(descs[Compare::primary], descs[Compare::secondary], destination, {});
  const CompareRun compare = compare_of(op.comparisonType);
  const int threads = threads_for(destination.count(), engine);
  return make_step(descs, runs.name(), [=](const Args& args) {
    runs.for_each(threads, args.at<const float>(Compare::primary),
                  args.at<const float>(Compare::secondary), args.at(Compare::destination), nullptr,
                  [&](const Run& run) { compare(run, op.threshold); });
  });
}

}  // namespace cermet::cpu
