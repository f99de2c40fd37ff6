// Products of 8-bit weights added two at a time in 16 bits, exactly, on processors whose byte product saturates there.
//
// 255 * w1 + 255 * w2 fits 16 bits where |w1 + w2| <= 128. Which two input channels make a pair is free: it is chosen when
// the weights are loaded, for each window of 16 channels and each vector of 16 columns, so that all 16 pairs of weights
// fit. Where no such choice is found, what is too much is cut off, kept apart and multiplied once more: the excess.
#pragma once

#include <optional>

#include "window.h"

namespace dqt {

constexpr int WINDOW_STEPS = WINDOW / 4;

// Chooses pairs for one panel of so many steps of 4 channels, and appends them.
void choose_pairs(const int8_t* panel, int vectors, int steps, Pairs& pairs);
// For every panel of a layer that is made of panels, of 8 bits; none at all where too much excess would be left.
void choose_pairs(PackedLayer& layer);

// A panel with its pairs, made in `scratch`, pair_scratch(vectors, steps) bytes; `first`: its first vector of the layer's.
PairedPanel paired(const Kernels& kernels, const Pairs& pairs, const int8_t* panel, int first, int vectors, int steps,
                   uint8_t* scratch);
int64_t pair_scratch(int vectors, int steps);

// The same for one thread of a run, in the arena's scratch; none where the layer has no pairs at these widths, or too few
// pixels to earn what making them costs.
std::optional<PairedPanel> paired(const Context& run, const LayerRun& layer, const Panel& panel, int64_t pixels, int thread);
int64_t pair_scratch(const std::vector<PackedLayer>& layers, int threads);

}  // namespace dqt
