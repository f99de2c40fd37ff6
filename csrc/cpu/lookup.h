// Convolutions and linear layers of few bits through a table of products: the same integers.
#pragma once

#include "window.h"

namespace dqt {

// Whether the kernel holds the layer: its shape, its sums.
bool lookup_fits(const PackedLayer& layer, const LookupKernel& kernel);

// Bytes of scratch that the program's layers need at most, with `threads`.
int64_t lookup_scratch(const Program& program, const std::vector<PackedLayer>& layers, const Kernels& kernels,
                       int threads);

// Every sample of `run.arena.order`; the layer's window reads master codes, or narrowed ones. `conv`: null of a linear layer.
void run_lookup(const Context& run, const Conv* conv, const LayerRun& layer, const LookupKernel& kernel);

}  // namespace dqt
