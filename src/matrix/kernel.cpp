#include "cermet/matrix/kernel.h"

#include "cermet/core/error.h"

namespace cermet {
namespace detail {

void code_origin(Coder& coder, std::string_view key, Origin& origin) {
  const Coder place = coder.at(key);
  place("x", origin.x);
  place("y", origin.y);
  place("z", origin.z);
}

namespace {

constexpr std::size_t largest = std::numeric_limits<std::int32_t>::max();
bool is_size(std::size_t size) { return size >= 1 && size <= largest; }
std::string sizes_allowed() { return "1 to " + std::to_string(largest); }

}  // namespace

void code_size(Coder& coder, std::string_view key, std::size_t& size) {
  coder(key, size);
  if (!is_size(size)) coder.refuse(key, std::to_string(size), sizes_allowed());
}
void check_size(const Kernel& kernel, std::string_view argument, std::size_t size) {
  if (is_size(size)) return;
  fail({kernel.class_name(), kernel.label(), argument, std::to_string(size), sizes_allowed(), ""});
}

void check_neuron(const Kernel& kernel, CNNNeuronType type, std::string_view remedy) {
  const bool known = type >= CNNNeuronType::None && type < CNNNeuronType::Count;
  if (known && type != CNNNeuronType::PReLU) return;
  fail({kernel.class_name(), kernel.label(), "neuronType",
        known ? "PReLU" : std::to_string(static_cast<int>(type)),
        known ? "a neuron without slopes" : "a type from 0 to 15",
        known ? std::string(remedy) : std::string()});
}

}  // namespace detail

void MatrixKernel::code(Coder& coder) {
  Kernel::code(coder);
  detail::code_origin(coder, "resultMatrixOrigin", result_);
  coder("batchStart", batch_start_);
  coder("batchSize", batch_size_);
}

void MatrixUnaryKernel::code(Coder& coder) {
  MatrixKernel::code(coder);
  detail::code_origin(coder, "sourceMatrixOrigin", source_);
}

void MatrixBinaryKernel::code(Coder& coder) {
  MatrixKernel::code(coder);
  detail::code_origin(coder, "primarySourceMatrixOrigin", primary_);
  detail::code_origin(coder, "secondarySourceMatrixOrigin", secondary_);
}

}  // namespace cermet
