// Rewrites of a program. Each looks for operators that hand a whole temporary tensor to one another
// and to nobody else, asks the backend for the fused operator, and leaves all as it is if there is
// none.

#include <algorithm>
#include <optional>

#include "cermet/ops/fusion.h"
#include "nn/program.h"

namespace cermet::detail {
namespace {

struct Use {
  std::size_t operation, slot;
};

class Rewriter {
 public:
  explicit Rewriter(Lowered& program) : program_(program) { find_uses(); }

  void run() {
    for (std::size_t i = 0; i < program_.operations.size(); ++i) fuse_pooling(i);
    std::erase_if(program_.operations, [this](const Operation& operation) {
      return removed_[static_cast<std::size_t>(&operation - program_.operations.data())];
    });
  }

 private:
  [[nodiscard]] Operation& operation(std::size_t index) { return program_.operations[index]; }

  void find_uses() {
    uses_.assign(program_.block_bytes.size(), {});
    removed_.resize(program_.operations.size());
    for (std::size_t i = 0; i < program_.operations.size(); ++i) {
      if (removed_[i]) continue;
      const auto& locations = operation(i).locations;
      for (std::size_t slot = 0; slot < locations.size(); ++slot) {
        if (locations[slot].block != Location::real && operation(i).desc(slot).present())
          uses_[locations[slot].block].push_back({i, slot});
      }
    }
  }

  /// The uses of a tensor that is a temporary block as a whole in float32; none for any other.
  [[nodiscard]] std::vector<Use> uses_of_whole(const Operation& user, std::size_t slot) const {
    const Location& at = user.locations[slot];
    const TensorDesc& desc = user.desc(slot);
    if (at.block == Location::real || !program_.block_is_temporary[at.block] || at.offset != 0 ||
        desc.type != ElementType::float32 || desc.layout != plain || !desc.dense()) {
      return {};
    }
    for (const Use& use : uses_[at.block]) {
      if (!(program_.operations[use.operation].desc(use.slot) == desc)) return {};
    }
    return uses_[at.block];
  }

  /// The only use of operator `Op`'s slot `slot` among `uses`; taken out of them.
  template <class Op>
  [[nodiscard]] std::optional<std::size_t> take(std::vector<Use>& uses, std::size_t slot) const {
    const auto is_it = [&](const Use& use) {
      return use.slot == slot && program_.operations[use.operation].what.template as<Op>();
    };
    const auto found = std::find_if(uses.begin(), uses.end(), is_it);
    if (found == uses.end()) return std::nullopt;
    const std::size_t index = found->operation;
    uses.erase(found);
    return index;
  }

  /// `like` with another operator on these slots; null step: the backend has none.
  template <class Op>
  [[nodiscard]] Operation make(const Op& op, std::vector<std::pair<TensorDesc, Location>> slots) {
    Operation made;
    made.what.set_op(view_of(op));
    made.what.slot_count = slots.size();
    for (std::size_t i = 0; i < slots.size(); ++i) {
      made.what.descs[i] = slots[i].first;
      made.locations.push_back(slots[i].second);
    }
    made.step = program_.engine.prepare(made.what.view(),
                                        std::span(made.what.descs.data(), made.what.slot_count));
    return made;
  }
  [[nodiscard]] static std::pair<TensorDesc, Location> slot_of(const Operation& from,
                                                               std::size_t slot) {
    return {from.desc(slot), from.locations[slot]};
  }

  /// neuron -> max pooling ... max-pooling gradient -> neuron gradient -> convolution gradients:
  /// forward in one pass, and nothing of the two gradients but which taps they go to.
  void fuse_pooling(std::size_t pooling_index) {
    const auto* pooling = operation(pooling_index).what.as<PoolingMax>();
    if (pooling == nullptr) return;
    auto activated = uses_of_whole(operation(pooling_index), PoolingMax::source);
    const auto neuron_index = take<Neuron>(activated, Neuron::destination);
    if (!neuron_index || !take<PoolingMax>(activated, PoolingMax::source)) return;
    const auto pooling_gradient = take<PoolingMaxGradient>(activated, PoolingMaxGradient::source);
    if (!activated.empty()) return;
    const Operation& neuron = operation(*neuron_index);
    auto sources = uses_of_whole(neuron, Neuron::source);
    if (!take<Neuron>(sources, Neuron::source)) return;
    const Activation activation = neuron.what.as<Neuron>()->activation;

    std::vector<std::size_t> gradients;  // of the convolution
    std::optional<std::size_t> neuron_gradient;
    if (pooling_gradient) {
      const Operation& scatter = operation(*pooling_gradient);
      const auto& op = *scatter.what.as<PoolingMaxGradient>();
      auto scattered = uses_of_whole(scatter, PoolingMaxGradient::destination);
      neuron_gradient = take<NeuronGradient>(scattered, NeuronGradient::gradient);
      const bool simple = op.originX == 0 && op.originY == 0 &&
                          op.forward.window == pooling->window &&
                          take<PoolingMaxGradient>(scattered, PoolingMaxGradient::destination) &&
                          scattered.empty() && neuron_gradient;
      if (!simple) return;
      const Operation& slope = operation(*neuron_gradient);
      const auto of_source = take<NeuronGradient>(sources, NeuronGradient::source);
      if (of_source != neuron_gradient ||
          !(slope.what.as<NeuronGradient>()->forward.activation == activation))
        return;
      auto passed = uses_of_whole(slope, NeuronGradient::destination);
      if (!take<NeuronGradient>(passed, NeuronGradient::destination)) return;
      while (const auto index =
                 take<ConvolutionGradientData>(passed, ConvolutionGradientData::gradient))
        gradients.push_back(*index);
      while (const auto index =
                 take<ConvolutionGradientWeights>(passed, ConvolutionGradientWeights::gradient))
        gradients.push_back(*index);
      if (!passed.empty() || gradients.empty()) return;
    }
    if (sources.size() > 1) return;  // more than its producer

    // Everything fits: ask for the operators.
    auto source = slot_of(neuron, Neuron::source);
    const auto pooled = slot_of(operation(pooling_index), PoolingMax::destination);
    std::pair<TensorDesc, Location> winners;
    if (pooling_gradient) {
      const TensorDesc& like = pooled.first;
      winners.first = dense_desc(like.n, like.h, like.w, like.c, ElementType::uint8);
      winners.second.block = program_.block_bytes.size();  // made once it is needed
    }
    const NeuronPoolingMax op{activation, *pooling};
    Operation forward = make(op, {source, pooled, winners});
    if (!forward.step) return;
    std::vector<Operation> backward;
    for (const std::size_t index : gradients) {
      backward.push_back(pooled_gradient(operation(index), *pooling_gradient, winners));
      if (!backward.back().step) return;
    }
    if (pooling_gradient) {
      static_cast<void>(program_.new_block(static_cast<std::size_t>(winners.first.count())));
    }
    for (std::size_t i = 0; i < gradients.size(); ++i) operation(gradients[i]) = backward[i];
    if (sources.size() == 1 && pool_convolution(sources[0].operation, op, forward)) {
      removed_[pooling_index] = true;
    } else {
      if (sources.size() == 1) block_convolution(sources[0].operation, op, forward);
      operation(pooling_index) = std::move(forward);
    }
    removed_[*neuron_index] = true;
    if (pooling_gradient) removed_[*pooling_gradient] = removed_[*neuron_gradient] = true;
    find_uses();
  }

  [[nodiscard]] Operation pooled_gradient(const Operation& gradient, std::size_t pooling_gradient,
                                          const std::pair<TensorDesc, Location>& winners) {
    const auto incoming = slot_of(operation(pooling_gradient), PoolingMaxGradient::gradient);
    if (const auto* data = gradient.what.as<ConvolutionGradientData>()) {
      using Slot = ConvolutionGradientData::Slot;
      Operation made = make(PooledConvolutionGradientData{data->forward},
                            {incoming, winners, slot_of(gradient, Slot::weights),
                             slot_of(gradient, Slot::destination)});
      made.what.late = gradient.what.late;
      made.what.late.slot = PooledConvolutionGradientData::weights;
      return made;
    }
    using Slot = ConvolutionGradientWeights::Slot;
    const auto& weights = *gradient.what.as<ConvolutionGradientWeights>();
    return make(PooledConvolutionGradientWeights{weights.forward, weights.accumulate},
                {incoming, winners, slot_of(gradient, Slot::source),
                 slot_of(gradient, Slot::weightGradient), slot_of(gradient, Slot::biasGradient)});
  }

  /// Puts convolution, neuron and pooling in the place of the convolution.
  [[nodiscard]] bool pool_convolution(std::size_t producer, const NeuronPoolingMax& op,
                                      const Operation& pooled) {
    const Operation& from = operation(producer);
    const auto* convolution = from.what.as<Convolution>();
    if (convolution == nullptr || convolution->activation.type != CNNNeuronType::None) return false;
    Operation made =
        make(PooledConvolution{*convolution, op.activation, op.pooling},
             {slot_of(from, Convolution::source), slot_of(from, Convolution::weights),
              slot_of(from, Convolution::biases), slot_of(pooled, NeuronPoolingMax::destination),
              slot_of(pooled, NeuronPoolingMax::winners)});
    if (!made.step) return false;
    made.what.late = from.what.late;
    made.what.late.slot = PooledConvolution::weights;
    operation(producer) = std::move(made);
    return true;
  }

  /// Lets the convolution write in the layout that it likes best, if `reader` can read it.
  void block_convolution(std::size_t producer, const NeuronPoolingMax& op, Operation& reader) {
    Operation& convolution = operation(producer);
    if (convolution.what.as<Convolution>() == nullptr) return;
    Recorded wanted = convolution.what;
    wanted.descs[Convolution::destination].layout = any;
    const StepPtr step =
        program_.engine.prepare(wanted.view(), std::span(wanted.descs.data(), wanted.slot_count));
    const TensorDesc chosen = step->slots[Convolution::destination];
    if (chosen.layout == plain) return;
    std::vector<std::pair<TensorDesc, Location>> slots;
    for (std::size_t i = 0; i < reader.locations.size(); ++i) slots.push_back(slot_of(reader, i));
    slots[NeuronPoolingMax::source].first = chosen;
    Operation blocked = make(op, slots);
    if (!blocked.step) return;
    convolution.what.descs[Convolution::destination] = chosen;
    convolution.step = step;
    reader = std::move(blocked);
  }

  Lowered& program_;
  std::vector<std::vector<Use>> uses_;  // by block
  std::vector<bool> removed_;
};

}  // namespace

void fuse(Lowered& program) { Rewriter(program).run(); }

}  // namespace cermet::detail
