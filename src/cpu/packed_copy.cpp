#include "cpu/packed_copy.h"

#include <stdexcept>

#include "cpu/onednn.h"

namespace cermet::cpu {
namespace {

/// Plain weights of several groups have a dimension more than a plain tensor: the packed side
/// knows.
onednn::Desc desc_beside(const TensorDesc& tensor, const TensorDesc& other) {
  if (tensor.layout != plain || other.layout == plain) return onednn::desc_of(tensor);
  return onednn::plain_desc_like(tensor, onednn::interned(other.layout));
}

}  // namespace

StepPtr prepare_reorder(const TensorDesc& from, const TensorDesc& to, Engine& engine) {
  const onednn::ThreadScope threads(threads_for(from.count(), engine));
  auto made = onednn::reorder(desc_beside(from, to), desc_beside(to, from));
  if (!made) throw std::logic_error("oneDNN has no reorder for " + describe(from));
  return onednn::make_step(std::move(*made), {from, to});
}

}  // namespace cermet::cpu
