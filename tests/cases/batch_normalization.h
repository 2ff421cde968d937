#pragma once
// Batch normalisation: sizes, parts of a batch, fused neurons, given statistics.

#include "../harness/batch_normalization.h"

namespace cermet::test {

inline const std::vector<BatchNormalizationRow> batch_normalization_rows{
    {.name = "plain", .quick = true},
    {.name = "one_channel", .source = {7, 5, 1}},
    {.name = "many_channels", .source = {5, 4, 40}},
    {.name = "parts", .why = "sub-batches of 2 and 1", .parts = 2, .quick = true},
    {.name = "one_image_a_part", .batch = 4, .parts = 4},
    {.name = "no_scale", .scaled = false},
    {.name = "far_from_0",
     .why = "the variance does not cancel",
     .source = {9, 9, 4},
     .low = 100,
     .high = 101,
     .tolerance = 2e-4},
    {.name = "large_image", .source = {64, 48, 5}, .batch = 2, .parts = 2},
    {.name = "given_statistics",
     .why = "no statistics were computed: those of the data source",
     .statistics = false,
     .quick = true},
    {.name = "fused_relu", .neuron = {CNNNeuronType::ReLU, 0.1F}, .quick = true},
    {.name = "fused_sigmoid_parts", .parts = 3, .neuron = {CNNNeuronType::Sigmoid}},
    {.name = "fused_prelu", .neuron = {CNNNeuronType::PReLU}, .slopes = {0.1F, 0.5F, -0.25F}},
    {.name = "fused_tanh_given_statistics",
     .statistics = false,
     .neuron = {CNNNeuronType::TanH, 1, 1}},
    {.name = "epsilon", .epsilon = 0.5F},
};

}  // namespace cermet::test
