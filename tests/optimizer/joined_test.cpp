// Updates of many tensors in one command buffer that comes again and again give the bits of updates
// one by one: a backend may join them.

#include <memory>

#include "harness/random.h"
#include "optimizer/forms.h"

namespace cermet::optimizer_test {
namespace {

enum class Rule { descent, momentum, nesterov, rms_prop, adam, ams_grad };
constexpr Rule rules[] = {Rule::descent,  Rule::momentum, Rule::nesterov,
                          Rule::rms_prop, Rule::adam,     Rule::ams_grad};

/// One tensor, what is kept of it, and its optimizer: number `i` of several that all differ.
class Parameter {
 public:
  Parameter(Rule rule, std::size_t i) : rule_(rule) {
    // One element, few, those of a block of threads and around it, those of many.
    constexpr std::size_t lengths[] = {10, 1, 4, 1000, 1024, 1028, 1025, 4099, 70000};
    const std::size_t length = lengths[i % std::size(lengths)];
    std::uint64_t seed = 10 * i;
    for (Vector* vector : {&gradient_, &values_, &states_[0], &states_[1], &states_[2]}) {
      // Some do not begin where four floats do.
      const std::size_t offset = i % 4 == 3 ? sizeof(float) : 0;
      const auto descriptor = VectorDescriptor::vectorDescriptor(length, DataType::Float32);
      *vector = Vector(device().makeBuffer(offset + descriptor.vectorBytes()), offset, descriptor);
      const bool given = vector == &gradient_ || vector == &values_;
      write(*vector, given ? test::floats(length, ++seed) : Floats(length, 0));
    }
    const float rate = 0.01F * static_cast<float>(i + 1);
    const NNOptimizerDescriptor settings =
        i % 2 == 0
            ? with_rate(rate)
            : NNOptimizerDescriptor(rate, 0.5F, true, 0.75F, -0.5F, NNRegularizationType::L2, 0.1F);
    descent_ = std::make_unique<Sgd>(device(), 0.9F, rule == Rule::nesterov, settings);
    rms_prop_ = std::make_unique<NNOptimizerRMSProp>(device(), 0.9, 1e-8F, settings);
    adam_ = std::make_unique<NNOptimizerAdam>(device(), 0.9, 0.99, 1e-8F, i, settings);
  }

  void update(const CommandBuffer& commands) {
    switch (rule_) {
      case Rule::descent:
        return descent_->encode(commands, gradient_, values_, Vector(), values_);
      case Rule::momentum:
      case Rule::nesterov:
        return descent_->encode(commands, gradient_, values_, states_[0], values_);
      case Rule::rms_prop:
        return rms_prop_->encode(commands, gradient_, values_, states_[0], values_);
      case Rule::adam:
        return adam_->encode(commands, gradient_, values_, states_[0], states_[1], values_);
      case Rule::ams_grad:
        return adam_->encode(commands, gradient_, values_, states_[0], states_[1], states_[2],
                             values_);
    }
  }
  [[nodiscard]] std::vector<Floats> contents() const {
    return {read(values_), read(states_[0]), read(states_[1]), read(states_[2])};
  }

 private:
  Rule rule_;
  Vector gradient_, values_, states_[3];
  std::unique_ptr<Sgd> descent_;
  std::unique_ptr<NNOptimizerRMSProp> rms_prop_;
  std::unique_ptr<NNOptimizerAdam> adam_;
};

void expect_bits_of_single_updates(const std::function<Rule(std::size_t)>& rule_of) {
  constexpr std::size_t count = 30;  // more than one launch takes
  std::vector<Parameter> together, alone;
  for (std::size_t i = 0; i < count; ++i) {
    together.emplace_back(rule_of(i), i);
    alone.emplace_back(rule_of(i), i);
  }
  for (int step = 0; step < 5; ++step) {
    run([&](const CommandBuffer& commands) {
      for (Parameter& parameter : together) parameter.update(commands);
    });
    for (Parameter& parameter : alone)
      run([&](const CommandBuffer& commands) { parameter.update(commands); });
    for (std::size_t i = 0; i < count; ++i)
      ASSERT_TRUE(together[i].contents() == alone[i].contents()) << i << ", step " << step;
  }
}

TEST(JoinedUpdates, OfOneRule) {
  for (const Rule rule : rules) {
    SCOPED_TRACE(static_cast<int>(rule));
    expect_bits_of_single_updates([&](std::size_t) { return rule; });
  }
}

TEST(JoinedUpdates, OfAllRules) {
  expect_bits_of_single_updates([](std::size_t i) { return rules[i % std::size(rules)]; });
}

}  // namespace
}  // namespace cermet::optimizer_test
