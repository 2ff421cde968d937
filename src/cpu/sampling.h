#pragma once
// Steps of scaled images: slot 0 is read, slot 1 is written.

#include "cermet/ops/sampling.h"
#include "cpu/engine.h"

namespace cermet::cpu {

/// Each output is what the grid says: `linear` between two pixels along either axis, else the pixel
/// at the position rounded down. A pixel of weight 0 is not read.
StepPtr sampling_step(const SamplingGrid& grid, Descs descs, Engine& engine, bool linear);

/// The adjoint: each pixel of a source of height x width pixels is the sum over the outputs that
/// read it, in order; 0 beyond the source.
StepPtr sampling_gradient_step(const SamplingGrid& grid, std::int64_t height, std::int64_t width,
                               Descs descs, Engine& engine, bool linear);

}  // namespace cermet::cpu
