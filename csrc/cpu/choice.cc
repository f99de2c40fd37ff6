#include "choice.h"

#include <cmath>
#include <limits>

#include "lookup.h"
#include "winograd.h"

namespace dqt {
namespace {

constexpr double COLUMNS = 64;       // of a panel

// What a layer has to do for some samples.
struct Counts {
    double pixels, columns, depth, weights, inputs;  // output pixels, padded columns; bytes of input

    Counts(const Tensor& in, const Tensor& out, const PackedLayer& layer, double samples)
        : pixels(samples * static_cast<double>(out.height * out.width)),
          columns(static_cast<double>(layer.panels.size()) * COLUMNS), depth(layer.depth),
          weights(layer.kernel_height * layer.kernel_width * columns * depth),
          inputs(samples * static_cast<double>(in.rows() * in.columns()) * depth) {}
};

// Nanoseconds by the model.
double block_cost(const BlockCosts& cost, const Counts& n) {
    return n.weights * (n.pixels * cost.product + std::ceil(n.pixels / BLOCK_ROWS) * cost.pass) +
           n.pixels * n.columns * cost.output;
}

double winograd_cost(const WinogradKernel& kernel, const Tensor& out, const Counts& n, double samples, double passes) {
    const WinogradCosts& cost = kernel.costs;
    const double positions = kernel.positions(), weights = n.columns * n.depth;
    const int64_t one = split_up(out.height, kernel.down) * split_up(out.width, kernel.across);
    const double tiles = samples * static_cast<double>(one);
    return positions * weights * (tiles * cost.product + std::ceil(tiles / TILES) * cost.pass) +
           positions * tiles * n.depth * cost.input + tiles * n.columns * cost.output + passes * n.weights * cost.weight;
}

double lookup_cost(const LookupKernel& kernel, const Counts& n) {
    const LookupCosts& cost = kernel.costs;
    const double unit = kernel.panels * COLUMNS;
    const double pairs = kernel.panels > 1 ? std::floor(n.columns / unit) * unit / n.columns : 0;
    const double product = pairs * cost.product + (1 - pairs) * cost.single;
    const double codes = kernel.codes(static_cast<int>(n.depth)) * kernel.channels / n.depth;  // with what pads them
    const double passes = std::ceil(n.pixels / kernel.rows[kernel.panels - 1]);
    return n.weights * (n.pixels * product * codes + passes * cost.pass + cost.weight) +
           n.pixels * n.columns * cost.output + n.inputs * cost.input;
}

}  // namespace

Choice kernel_for(const Context& run, const Conv* conv, const Tensor& in, const Tensor& out, const PackedLayer& layer,
                  int weight, int activation) {
    Choice best;
    if (layer.slice || !layer.plain(weight, activation)) return best;
    const bool free = run.forced == Kernel::cheapest;
    const auto count = static_cast<int64_t>(run.arena.order.size());
    const auto samples = static_cast<double>(count);
    const Counts counts(in, out, layer, samples);
    const bool whole = layer.product_bits(weight, activation) == 16;
    const BlockCosts& block = whole ? run.kernels.whole_costs : run.kernels.costs;
    double least = free ? block_cost(block, counts) : std::numeric_limits<double>::infinity();
    const auto take = [&](const Choice& choice, double cost) {
        if ((free || run.forced == choice.kernel) && cost < least) least = cost, best = choice;
    };
    if (conv && out.coded && winograd_fits(*conv, layer, run.kernels))
        for (const WinogradKernel& kernel : run.kernels.winograd->kinds) {
            if (weight > kernel.weight_bits || activation > kernel.activation_bits) continue;
            if (layer.depth > kernel.most_channels || (free && weight + activation < kernel.least_bits)) continue;
            const int64_t passes = winograd_passes(kernel, in, out, layer, count, run.arena.threads.count());
            take({kernel.kernel, &kernel, nullptr}, winograd_cost(kernel, out, counts, samples, static_cast<double>(passes)));
        }
    for (const LookupKernel& kernel : run.kernels.lookups)
        if (weight == kernel.weight_bits && activation == kernel.activation_bits && lookup_fits(layer, kernel))
            take({Kernel::lookup, nullptr, &kernel}, lookup_cost(kernel, counts));
    return best;
}

}  // namespace dqt
