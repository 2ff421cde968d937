#include "rnn/stack.h"

#include <algorithm>

#include "core/state_impl.h"

namespace cermet::detail {
namespace {

Buffer buffer_of(const Device& device, const std::vector<float>& values) {
  return values.empty() ? Buffer()
                        : device.makeBuffer(values.data(), values.size() * sizeof(float));
}

}  // namespace

TensorDesc packed_desc(const Cell& cell, CellPart part) {
  const bool is_row = part == CellPart::bias || (part == CellPart::memory && cell.diagonal);
  const auto channels = static_cast<std::int32_t>(cell.gate_channels());
  if (is_row) return flat_desc(channels);
  const auto columns =
      static_cast<std::int32_t>(part == CellPart::input ? cell.inputs : cell.outputs);
  const bool is_gru_memory = part == CellPart::memory && cell.kind == CellKind::gru;
  return dense_desc(1, is_gru_memory ? columns : channels, 1, columns);
}

TensorView packed_part(const TensorView& all, const Cell& cell, const CellMatrix& matrix) {
  const std::size_t first = matrix.gate * cell.outputs;
  if (matrix.rows == 1 && all.desc.h == 1) return channels_of(all, first, matrix.columns);
  if (matrix.part == CellPart::memory && cell.kind == CellKind::gru) return all;
  return rows_of(all, static_cast<std::int32_t>(first), static_cast<std::int32_t>(matrix.rows));
}

// ---- layers -------------------------------------------------------------------------------------

void RecurrentLayer::move_to(const Device& device) {
  slopes = buffer_of(device, cell.slopes);
  if (values.empty()) return;
  std::array<std::vector<float>, 4> packed;
  const std::vector<CellMatrix> matrices = cell.matrices();
  for (std::size_t i = 0; i < matrices.size(); ++i) {
    const CellMatrix& matrix = matrices[i];
    std::vector<float>& all = packed[static_cast<std::size_t>(matrix.part)];
    const TensorDesc desc = packed_desc(cell, matrix.part);
    all.resize(static_cast<std::size_t>(desc.count()));
    const bool is_gru_memory = matrix.part == CellPart::memory && cell.kind == CellKind::gru;
    const std::size_t first = is_gru_memory ? 0 : matrix.gate * matrix.rows * matrix.columns;
    std::copy(values[i].begin(), values[i].end(), all.begin() + static_cast<std::ptrdiff_t>(first));
  }
  input = buffer_of(device, packed[static_cast<std::size_t>(CellPart::input)]);
  recurrent = buffer_of(device, packed[static_cast<std::size_t>(CellPart::recurrent)]);
  memory = buffer_of(device, packed[static_cast<std::size_t>(CellPart::memory)]);
  bias = buffer_of(device, packed[static_cast<std::size_t>(CellPart::bias)]);
}

TensorView RecurrentLayer::view_of_slopes(Recording& recording) const {
  return view_of(recording, slopes, packed_desc(cell, CellPart::bias));
}

PackedWeights RecurrentLayer::weights(Recording& recording) const {
  const auto view = [&](const Buffer& buffer, CellPart part) {
    return view_of(recording, buffer, packed_desc(cell, part));
  };
  PackedWeights weights{view(input, CellPart::input),
                        view(recurrent, CellPart::recurrent),
                        view(memory, CellPart::memory),
                        view(bias, CellPart::bias),
                        {view_of_slopes(recording), {}}};
  if (cell.diagonal) std::swap(weights.memory, weights.vectors.peepholes);
  return weights;
}

std::shared_ptr<const RecurrentStack> RecurrentStack::of(
    std::span<const std::shared_ptr<RNNDescriptor>> descriptors, const Kernel& kernel,
    bool can_round) {
  const auto refuse = [&](std::string_view argument, std::string got, std::string needed) {
    fail({kernel.class_name(), kernel.label(), argument, std::move(got), std::move(needed), ""});
  };
  if (descriptors.empty()) refuse("rnnDescriptors", "empty", "a descriptor for each layer");
  auto stack = std::make_shared<RecurrentStack>();
  for (const auto& descriptor : descriptors) {
    if (!descriptor) refuse("rnnDescriptor", "null", "a descriptor");
    DescribedCell described(*descriptor, kernel);
    RecurrentLayer layer;
    const bool rounds =
        can_round && half_weights_when_unspecified() && !descriptor->useFloat32Weights();
    layer.values = load_matrices(described, kernel, rounds);
    layer.cell = std::move(described.cell);
    layer.move_to(kernel.device());
    stack->layers.push_back(std::move(layer));
  }
  return stack;
}

std::shared_ptr<const RecurrentStack> RecurrentStack::code(
    Coder& coder, const std::shared_ptr<const RecurrentStack>& stack, bool with_values) {
  const std::size_t count = code_layer_count(coder, stack ? stack->layers.size() : 0);
  auto read = std::make_shared<RecurrentStack>();
  for (std::size_t k = 0; k < count; ++k) {
    Coder place = coder.at("layer" + std::to_string(k));
    RecurrentLayer layer = stack ? stack->layers[k] : RecurrentLayer();
    layer.cell.code(place);
    const std::vector<CellMatrix> matrices = layer.cell.matrices();
    if (with_values) layer.values.resize(matrices.size());
    for (std::size_t i = 0; i < layer.values.size(); ++i) {
      place.tensor(name_of(matrices[i].id), layer.values[i],
                   std::array{matrices[i].rows, matrices[i].columns});
    }
    read->layers.push_back(std::move(layer));
  }
  return coder.is_reading() ? read : stack;
}

std::shared_ptr<const RecurrentStack> RecurrentStack::on(const Device& device) const {
  auto stack = std::make_shared<RecurrentStack>(*this);
  for (RecurrentLayer& layer : stack->layers) layer.move_to(device);
  return stack;
}

}  // namespace cermet::detail
