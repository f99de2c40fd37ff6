// Linear layers whose weights are cut into slices, so that few rows at few bits read few bytes: the same integers.
#pragma once

#include "window.h"

namespace dqt {

// Whether there are kernels for the slices of a layer with such an input and its weights are many enough to come from
// memory; or forced.
bool takes_slices(const Linear& op, const Shape& input, const Kernels& kernels, Kernel forced);

// Every sample of `run.arena.order`, whose codes have been narrowed.
void run_sliced(const Context& run, const LayerRun& s);

}  // namespace dqt
