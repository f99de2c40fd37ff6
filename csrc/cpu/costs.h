// What each count of choice.cc costs, in nanoseconds where bench/kernels.py fitted them: their ratios choose the kernel.
#pragma once

#include <array>

namespace dqt {

constexpr int COUNTS = 8;

// In the order of the counts of that kind of kernel.
using Costs = std::array<double, COUNTS>;

// Whether this processor computes 512 bits in two turns: Zen 4. A product then takes twice as long, and what surrounds
// products does not, so that other kernels are the fastest ones.
bool splits_vectors();

struct CoreCosts {
    Costs split, whole;

    const Costs& here() const { return splits_vectors() ? split : whole; }
};

// Of kernels that compute no 512 bits.
constexpr CoreCosts on_every_core(const Costs& costs) { return {costs, costs}; }

}  // namespace dqt
