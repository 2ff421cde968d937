// Copy: conversion between element types, any strides. Fill.

#include "cuda/tensor.cuh"

namespace cermet::cuda {
namespace {

__global__ void copy(Tensor source, Tensor destination) {
  begin_kernel();
  for (const Index at : elements(destination)) store(destination, at, load(source, at));
}

__global__ void fill(Tensor destination, float value) {
  begin_kernel();
  for (const Index at : elements(destination)) store(destination, at, value);
}

}  // namespace

StepPtr prepare(const Copy&, Descs slots, Engine&) {
  const TensorDesc from = slots[Copy::source], to = slots[Copy::destination];
  if (from.dense() && to.dense() && from.type == to.type) {
    const std::size_t bytes = static_cast<std::size_t>(to.count()) * size_of(to.type);
    return make_step(slots, "cuda copy", [bytes](const Args& args) {
      args.stream->note(
          cudaMemcpyAsync(args.at<void>(Copy::destination), args.at<void>(Copy::source), bytes,
                          cudaMemcpyDeviceToDevice, args.stream->get()),
          "a copy");
    });
  }
  return make_step(slots, "cuda convert", [from, to](const Args& args) {
    const Tensor destination{to, args.slots[Copy::destination]};
    launch(args, destination.count(), copy, Tensor{from, args.slots[Copy::source]}, destination);
  });
}

StepPtr prepare(const Fill& op, Descs slots, Engine&) {
  const TensorDesc to = slots[Fill::destination];
  return make_step(slots, "cuda fill", [to, value = op.value](const Args& args) {
    const Tensor destination{to, args.slots[Fill::destination]};
    launch(args, destination.count(), fill, destination, value);
  });
}

}  // namespace cermet::cuda
