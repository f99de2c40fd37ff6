// Linear layers whose weights are cut into slices, so that few rows at few bits read few bytes: the same integers.
#pragma once

#include "executor.h"

namespace dqt {

// What one layer at one pair of widths needs: rows of `in`, narrowed already, to rows of `out`.
struct SlicedRun {
    const PackedLayer& layer;
    Tensor in, out;
    int weight;                      // width
    const int32_t* start;
    int row;                         // of the requantization constants
    Narrow narrow;                   // of the output
};

// Whether there are kernels for the layer's slices and its weights are many enough to come from memory; or forced.
bool takes_slices(const Linear& op, const Kernels& kernels, Kernel forced);

// Every sample of `run.arena.order`.
void run_sliced(const Context& run, const SlicedRun& s);

}  // namespace dqt
