#include "cermet/rnn/recurrent_state.h"

#include "cnn/encoding.h"
#include "core/image_impl.h"
#include "core/state_impl.h"

namespace cermet {

RNNRecurrentState::RNNRecurrentState(const detail::StateOrigin& origin, std::size_t rows,
                                     std::vector<Layer> layers)
    : State(origin, StateResourceList()), rows_(rows), layers_(std::move(layers)) {
  for (const Layer& layer : layers_) {
    for (int part = 0; part < (layer.has_cell ? 2 : 1); ++part) {
      const std::size_t bytes = rows * layer.channels * sizeof(float), index = resourceCount();
      add_buffer(bytes);
      set_buffer(index, origin.make_buffer(bytes, false));
    }
  }
}

std::size_t RNNRecurrentState::index_of(std::size_t layer, bool of_cell) const {
  std::size_t index = of_cell ? 1 : 0;
  for (std::size_t before = 0; before < layer; ++before)
    index += layers_[before].has_cell ? 2U : 1U;
  return index;
}

Buffer RNNRecurrentState::part(std::size_t layer, bool of_cell) {
  if (layer >= layers_.size() || (of_cell && !layers_[layer].has_cell)) return {};
  return buffer(index_of(layer, of_cell));
}

TensorView RNNRecurrentState::view(detail::Recording& recording, std::size_t layer, bool of_cell) {
  return detail::view_of(recording, part(layer, of_cell),
                         dense_desc(1, static_cast<std::int32_t>(rows_), 1,
                                    static_cast<std::int32_t>(layers_[layer].channels)));
}

Matrix RNNRecurrentMatrixState::matrix(std::size_t layer, bool of_cell) {
  const Buffer elements = part(layer, of_cell);
  if (!elements) return {};
  const std::size_t channels = layers()[layer].channels;
  return {elements, MatrixDescriptor::matrixDescriptor(rows(), channels, channels * sizeof(float),
                                                       DataType::Float32)};
}

Image RNNRecurrentImageState::image(std::size_t layer, bool of_cell) {
  const Buffer elements = part(layer, of_cell);
  if (!elements) return {};
  auto record = detail::ImageRecord::make(
      device(),
      ImageDescriptor::imageDescriptor(ImageFeatureChannelFormat::Float32, extents_.width,
                                       extents_.height, layers()[layer].channels, extents_.images),
      1, nullptr);
  record->memory = detail::BufferImpl::of(elements)->memory;
  record->byte_offset = detail::BufferImpl::of(elements)->offset;
  return detail::ImageRecord::image(std::move(record), 0);
}

RNNMatrixTrainingState::RNNMatrixTrainingState(const detail::StateOrigin& origin, std::size_t rows,
                                               std::vector<Buffer> buffers)
    : State(origin, StateResourceList()), rows_(rows) {
  for (std::size_t part = 0; part < parts; ++part) {
    index_[part] = none;
    if (!buffers[part]) continue;
    index_[part] = resourceCount();
    add_buffer(buffers[part].length());
    set_buffer(index_[part], std::move(buffers[part]));
  }
}

}  // namespace cermet
