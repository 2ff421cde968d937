// Parameter updates: stochastic gradient descent, RMSProp, Adam and AMSGrad (spec: optimizer 4, 5,
// 7). g = clip(raw) * rescale + (L2: scale*w | L1: scale*sign(w)). One pass over memory, float32,
// square roots correctly rounded. Every element is read before it is written, so `result` may be
// the values or the gradient. Own code: no library has these rules. Products that meet in a sum are
// fused by name, so that a number never depends on how the compiler or the threads cut the loop.

#include <cmath>
#include <limits>

#include "cpu/engine.h"

namespace cermet::cpu {
namespace {

constexpr std::int64_t block = 4096;  // elements: parts begin at whole blocks

/// The scalars of a gradient's preparation; without clipping the bounds are infinite.
struct Preparation {
  GradientScalars scalars;

  Preparation(const GradientPreparation& op, const GradientScalars& given) : scalars(given) {
    if (op.clip != 0) return;
    scalars.clipMin = -std::numeric_limits<float>::infinity();
    scalars.clipMax = std::numeric_limits<float>::infinity();
  }
  template <NNRegularizationType regularization>
  [[nodiscard]] float gradient(float raw, float w) const {
    const float above = raw < scalars.clipMin ? scalars.clipMin : raw;  // NaN passes
    const float scaled = (above > scalars.clipMax ? scalars.clipMax : above) * scalars.rescale;
    if constexpr (regularization == NNRegularizationType::L2) {
      return std::fma(scalars.regularizationScale, w, scaled);
    }
    if constexpr (regularization == NNRegularizationType::L1) {
      const float sign = w > 0.0F ? 1.0F : (w < 0.0F ? -1.0F : 0.0F);
      return std::fma(scalars.regularizationScale, sign, scaled);
    }
    return scaled;
  }
};

/// body.template operator()<regularization>()
template <class Body>
void with_regularization(const GradientPreparation& op, Body&& body) {
  switch (static_cast<NNRegularizationType>(op.regularization)) {
    case NNRegularizationType::L1:
      return body.template operator()<NNRegularizationType::L1>();
    case NNRegularizationType::L2:
      return body.template operator()<NNRegularizationType::L2>();
    case NNRegularizationType::None:
      break;
  }
  body.template operator()<NNRegularizationType::None>();
}

/// update(i) for every element.
template <class Update>
void for_each_element(int threads, std::int64_t count, Update&& update) {
  parallel(threads, (count + block - 1) / block, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t last = std::min(end * block, count);
    const Update own = update;  // a copy of the addresses: stores cannot change it
#pragma omp simd
    for (std::int64_t i = begin * block; i < last; ++i) own(i);
  });
}

}  // namespace

StepPtr prepare(const StochasticGradientDescent& op, Descs descs, Engine& engine) {
  using Op = StochasticGradientDescent;
  const std::int64_t count = descs[Op::values].count();
  const bool has_momentum = descs[Op::momentum].present();
  const int threads = threads_for(count, engine);
  return make_step(descs, "fused loop", [=](const Args& args) {
    const auto& scalars = args.scalars_as<Op::Scalars>();
    const Preparation prepared(op.preparation, scalars.gradient);
    const float rate = scalars.learningRate, mu = scalars.momentumScale;
    const auto* g = args.at<const float>(Op::gradient);
    const auto* w = args.at<const float>(Op::values);
    float *m = args.at(Op::momentum), *result = args.at(Op::result);
    with_regularization(op.preparation, [&]<NNRegularizationType kind>() {
      if (!has_momentum) {
        for_each_element(threads, count, [=](std::int64_t i) {
          result[i] = std::fma(-rate, prepared.gradient<kind>(g[i], w[i]), w[i]);
        });
      } else if (op.nesterov != 0) {
        for_each_element(threads, count, [=](std::int64_t i) {
          const float gradient = prepared.gradient<kind>(g[i], w[i]);
          const float momentum = std::fma(mu, m[i], gradient);
          m[i] = momentum;
          result[i] = std::fma(-rate, std::fma(mu, momentum, gradient), w[i]);
        });
      } else {
        for_each_element(threads, count, [=](std::int64_t i) {
          const float gradient = prepared.gradient<kind>(g[i], w[i]);
          const float momentum = std::fma(mu, m[i], rate * gradient);
          m[i] = momentum;
          result[i] = w[i] - momentum;
        });
      }
    });
  });
}

StepPtr prepare(const RMSProp& op, Descs descs, Engine& engine) {
  const std::int64_t count = descs[RMSProp::values].count();
  const int threads = threads_for(count, engine);
  return make_step(descs, "fused loop", [=](const Args& args) {
    const auto scalars = args.scalars_as<RMSProp::Scalars>();
    const Preparation prepared(op.preparation, scalars.gradient);
    const auto* g = args.at<const float>(RMSProp::gradient);
    const auto* w = args.at<const float>(RMSProp::values);
    float *squares = args.at(RMSProp::sumOfSquares), *result = args.at(RMSProp::result);
    with_regularization(op.preparation, [&]<NNRegularizationType kind>() {
      for_each_element(threads, count, [=](std::int64_t i) {
        const float gradient = prepared.gradient<kind>(g[i], w[i]);
        const float square = scalars.oneMinusDecay * gradient * gradient;
        const float sum = std::fma(scalars.decay, squares[i], square);
        squares[i] = sum;
        const float step = scalars.learningRate * gradient / (std::sqrt(sum) + scalars.epsilon);
        result[i] = w[i] - step;
      });
    });
  });
}

namespace {

/// Addresses and scalars of an Adam update; `maximum` is null without AMSGrad.
struct AdamUpdate {
  Adam::Scalars scalars;
  Preparation prepared;
  const float *g, *w;
  float *m, *v, *maximum, *result;

  template <NNRegularizationType kind, bool amsgrad>
  void update(std::int64_t i) const {
    const float gradient = prepared.gradient<kind>(g[i], w[i]);
    const float momentum = std::fma(scalars.beta1, m[i], scalars.oneMinusBeta1 * gradient);
    const float square = scalars.oneMinusBeta2 * gradient * gradient;
    const float velocity = std::fma(scalars.beta2, v[i], square);
    m[i] = momentum;
    v[i] = velocity;
    float divisor = velocity;
    if constexpr (amsgrad) {
      divisor = velocity <= maximum[i] ? maximum[i] : velocity;  // NaN replaces the maximum
      maximum[i] = divisor;
    }
    const float step = scalars.stepLearningRate * momentum / (std::sqrt(divisor) + scalars.epsilon);
    result[i] = w[i] - step;
  }
};

}  // namespace

StepPtr prepare(const Adam& op, Descs descs, Engine& engine) {
  const std::int64_t count = descs[Adam::values].count();
  const bool amsgrad = descs[Adam::maximumVelocity].present();
  const int threads = threads_for(count, engine);
  return make_step(descs, "fused loop", [=](const Args& args) {
    const auto& scalars = args.scalars_as<Adam::Scalars>();
    const AdamUpdate adam{scalars,
                          Preparation(op.preparation, scalars.gradient),
                          args.at<const float>(Adam::gradient),
                          args.at<const float>(Adam::values),
                          args.at(Adam::momentum),
                          args.at(Adam::velocity),
                          args.at(Adam::maximumVelocity),
                          args.at(Adam::result)};
    with_regularization(op.preparation, [&]<NNRegularizationType kind>() {
      if (amsgrad) {
        for_each_element(threads, count, [adam](std::int64_t i) { adam.update<kind, true>(i); });
      } else {
        for_each_element(threads, count, [adam](std::int64_t i) { adam.update<kind, false>(i); });
      }
    });
  });
}

}  // namespace cermet::cpu
