#pragma once
// A step made of steps that pass tensors on in scratch.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "cermet/core/step.h"

namespace cermet::cpu {

/// Where a stage finds one of its tensors: in a slot of the whole step or in its scratch.
struct Place {
  enum class Kind : std::uint8_t { absent, slot, scratch };
  Kind kind = Kind::absent;
  std::size_t at = 0;  // slot, or bytes into the scratch

  [[nodiscard]] static Place slot(std::size_t index) { return {Kind::slot, index}; }
};

class Sequence {
 public:
  [[nodiscard]] Place reserve(std::size_t bytes) {
    const Place place{Place::Kind::scratch, reserved_};
    reserved_ += aligned(bytes);
    return place;
  }
  /// `places` are those of the step's slots, in order.
  void add(StepPtr step, std::vector<Place> places) {
    stages_.push_back({std::move(step), std::move(places)});
  }
  /// `slots` are those of the whole step, with the storage that each needs.
  [[nodiscard]] StepPtr finish(std::vector<TensorDesc> slots, std::vector<std::size_t> bytes) && {
    auto step = std::make_shared<Whole>();
    for (const Stage& stage : stages_) {
      if (!step->implementation.empty()) step->implementation += " + ";
      step->implementation += stage.step->implementation;
      step->scratch_bytes = std::max(step->scratch_bytes, stage.step->scratch_bytes);
    }
    step->scratch_bytes += reserved_;
    step->own_scratch = reserved_;
    step->slots = std::move(slots);
    step->bytes = std::move(bytes);
    step->stages = std::move(stages_);
    return step;
  }

 private:
  struct Stage {
    StepPtr step;
    std::vector<Place> places;
  };
  struct Whole final : Step {
    std::vector<Stage> stages;
    std::size_t own_scratch = 0;  // offset of the scratch that a stage needs while it runs
    [[nodiscard]] std::unique_ptr<BoundStep> bind() const override {
      return std::make_unique<Bound>(this);
    }
  };
  struct Bound final : BoundStep {
    explicit Bound(const Whole* what) : step(what) {
      for (const Stage& stage : step->stages) stages.push_back(stage.step->bind());
    }
    void run(Stream& stream) noexcept override {
      for (const auto& stage : stages) stage->run(stream);
    }
    void rebind(const Slots& slots, void* scratch, const void* scalars) override {
      auto* base = static_cast<std::byte*>(scratch);
      for (std::size_t i = 0; i < stages.size(); ++i) {
        Slots inside{};
        const std::vector<Place>& places = step->stages[i].places;
        for (std::size_t slot = 0; slot < places.size(); ++slot) {
          const Place& place = places[slot];
          if (place.kind == Place::Kind::slot) inside[slot] = slots[place.at];
          if (place.kind == Place::Kind::scratch) inside[slot] = base + place.at;
        }
        stages[i]->rebind(inside, base + step->own_scratch, scalars);
      }
    }
    const Whole* step;
    std::vector<std::unique_ptr<BoundStep>> stages;
  };

  static constexpr std::size_t aligned(std::size_t bytes) { return (bytes + 63) / 64 * 64; }
  std::vector<Stage> stages_;
  std::size_t reserved_ = 0;
};

}  // namespace cermet::cpu
