// Which kernel runs a convolution or a linear layer: of those that are exact at its widths the one that costs least by a model of counts.
#pragma once

#include "executor.h"

namespace dqt {

struct Choice {
    Kernel kernel = Kernel::block;
    const WinogradKernel* winograd = nullptr;  // of that name
    const LookupKernel* lookup = nullptr;
};

// For the samples of `run.arena.order`. Forced: that kernel wherever it is exact, whatever it costs.
// `conv`: the instruction, or null of a linear layer. `estimates` (or null): what was chosen among is added there.
Choice kernel_for(const Context& run, const Conv* conv, const Tensor& in, const Tensor& out, const PackedLayer& layer,
                  int weight, int activation, std::vector<Estimate>* estimates);

}  // namespace dqt
