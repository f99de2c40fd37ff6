// 3x3 convolutions at few bits, by Winograd's transform: the same integers with fewer products.
#pragma once

#include "executor.h"

namespace dqt {

// What one layer at one pair of widths needs. `other` and `residual` go together.
struct WinogradRun {
    const WinogradKernel& kernel;
    const PackedLayer& layer;
    const Tensor &in, &out, &other;  // `in`: master codes
    const Residual* residual;
    int top, left;                   // padding
    int weight, activation;          // widths
    const int32_t* start;
    int row;                         // of the requantization constants
    Narrow narrow;                   // of the output
};

// Whether there are transforms that hold the layer: its shape, its sums.
bool winograd_fits(const Conv& op, const PackedLayer& layer, const Kernels& kernels);
// Whether one of them is exact at these widths, too.
bool winograd_fits(const PackedLayer& layer, const WinogradKernel& kernel, int weight, int activation);

// How often such a run transforms the layer's weights: samples go through in chunks.
int64_t winograd_passes(const WinogradKernel& kernel, const Tensor& in, const Tensor& out, const PackedLayer& layer,
                        int64_t samples, int threads);

// Bytes of scratch that the program's layers need at most, with `threads`; every plan lays the values out alike.
int64_t winograd_scratch(const Program& program, const MemoryPlan& plan, const std::vector<PackedLayer>& layers,
                         const Kernels& kernels, int threads);

// Every sample of `run.arena.order`.
void run_winograd(const Context& run, const WinogradRun& w);

}  // namespace dqt
