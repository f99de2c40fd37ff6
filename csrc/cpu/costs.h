// What each count of choice.cc costs, in nanoseconds where bench/kernels.py fitted them: their ratios choose the kernel.
#pragma once

#include <array>

namespace dqt {

constexpr int COUNTS = 8;

// In the order of the counts of that kind of kernel.
using Costs = std::array<double, COUNTS>;

// Kinds of cores with 512 bits, of which each has other kernels that are the fastest: those that compute them in two turns
// (Zen 4), so that products take twice as long and what surrounds them does not; those that compute them at once (Zen 5);
// Intel's, of which one of two units multiplies and one moves bytes.
enum class Core { split, whole, intel };
Core this_core();

struct CoreCosts {
    Costs split, whole, intel;

    const Costs& here() const {
        const Core core = this_core();
        return core == Core::split ? split : core == Core::whole ? whole : intel;
    }
};

// Of kernels that compute no 512 bits, and of those that one kind of core has.
constexpr CoreCosts on_every_core(const Costs& costs) { return {costs, costs, costs}; }

}  // namespace dqt
