#include "cermet/core/step.h"

#include "cermet/core/tensor_desc.h"

namespace cermet {

void Step::run(const Slots& addresses, void* scratch, const void* scalars, Stream& stream) const {
  auto& bound = lent_[stream.index];
  if (!bound) bound = bind();
  bound->rebind(addresses, scratch, scalars);
  bound->run(stream);
}

void Stream::run(std::span<const StepRun> runs) {
  for (const StepRun& run : runs) run.step->run(run.slots, run.scratch, run.scalars.data(), *this);
}

std::string describe(const TensorDesc& desc) {
  if (!desc.present()) return "absent";
  std::string text = std::to_string(desc.n) + "x" + std::to_string(desc.h) + "x" +
                     std::to_string(desc.w) + "x" + std::to_string(desc.c) + " ";
  return text.append(name_of(desc.type));
}

}  // namespace cermet
