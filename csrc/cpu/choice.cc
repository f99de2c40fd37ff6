#include "choice.h"

#include <cmath>
#include <limits>
#include <numeric>

#include "lookup.h"
#include "tiles.h"
#include "winograd.h"

namespace dqt {
namespace {

constexpr double COLUMNS = 64;       // of a panel
constexpr size_t STREAMED = size_t{1} << 20;  // more packed weights stay in no second-level cache from run to run

// What a layer has to do for some samples.
struct Work {
    double pixels, columns, depth, weights, inputs, streamed;  // output pixels, padded columns; bytes of input

    Work(const Tensor& in, const Tensor& out, const PackedLayer& layer, double samples)
        : pixels(samples * static_cast<double>(out.height * out.width)),
          columns(static_cast<double>(layer.lanes)), depth(layer.depth),
          weights(layer.kernel_height * layer.kernel_width * columns * depth),
          inputs(samples * static_cast<double>(in.rows() * in.columns()) * depth),
          streamed(layer.weight.size() > STREAMED ? weights : 0) {}
};

// Counts of each kind of kernel. A pass is one weight on its way through a block of pixels or tiles; the last count is the
// call itself.
Estimate block_estimate(const Costs& costs, const Work& n) {
    return {Kernel::block,
            {n.weights * n.pixels, n.weights * std::ceil(n.pixels / BLOCK_ROWS), n.pixels * n.columns, n.streamed, 1},
            costs};
}

// Of tiles: products of all their rows; weights on their way through each tile; outputs; weights that are narrowed.
Estimate tiles_estimate(const Costs& costs, const Work& n, const TileRuns& runs) {
    const auto tiles = static_cast<double>(runs.tiles), rows = static_cast<double>(runs.rows);
    return {Kernel::block, {n.weights * tiles * rows, n.weights * tiles, n.pixels * n.columns, n.weights, n.streamed, 1}, costs};
}

// Of transformed numbers; transformed bytes; channels of tiles; weights that are transformed.
Estimate winograd_estimate(const WinogradKernel& kernel, const Tensor& out, const Work& n, double samples, double passes) {
    const double positions = kernel.positions(), weights = positions * n.columns * n.depth;
    const int64_t one = split_up(out.height, kernel.down) * split_up(out.width, kernel.across);
    const double tiles = samples * static_cast<double>(one);
    return {kernel.kernel,
            {weights * tiles, weights * std::ceil(tiles / TILES), positions * tiles * n.depth, tiles * n.columns,
             passes * n.weights, passes * n.streamed, 1},
            kernel.costs.here()};
}

// Products of two panels at once, and of one alone; passes, bytes that are encoded, outputs, weights that become indices.
Estimate lookup_estimate(const LookupKernel& kernel, const Work& n) {
    const double unit = kernel.panels * COLUMNS;
    const double pairs = kernel.panels > 1 ? std::floor(n.columns / unit) * unit / n.columns : 0;
    const double codes = kernel.codes(static_cast<int>(n.depth)) * kernel.channels / n.depth;  // with what pads them
    const double products = n.weights * n.pixels * codes, passes = std::ceil(n.pixels / kernel.rows[kernel.panels - 1]);
    return {Kernel::lookup,
            {pairs * products, (1 - pairs) * products, n.weights * passes, n.inputs, n.pixels * n.columns, n.weights,
             n.streamed, 1},
            kernel.costs.here()};
}

// Every kernel that is exact for the layer at these widths, and that the run may take, with its estimate.
template <class Take>
void each_kernel(const Context& run, const Conv* conv, const Tensor& in, const Tensor& out, const PackedLayer& layer,
                 int weight, int activation, Take take) {
    if (layer.slice || layer.depthwise) return;  // they have a kernel of their own
    const auto count = static_cast<int64_t>(run.arena.order.size());
    const auto samples = static_cast<double>(count);
    const Work work(in, out, layer, samples);
    const bool whole = layer.product_bits(weight, activation) == 16;
    const Costs& costs = (whole ? run.kernels.whole_costs : run.kernels.costs).here();
    const TileRuns runs(run, in, out, conv ? conv->stride[0] : 1, conv ? conv->stride[1] : 1);
    take(Choice{}, run.kernels.tiles ? tiles_estimate(costs, work, runs) : block_estimate(costs, work));
    if (conv && out.coded && winograd_fits(*conv, layer, run.kernels))
        for (const WinogradKernel& kernel : run.kernels.winograd->kinds) {
            if (!winograd_fits(layer, kernel, weight, activation)) continue;
            const int64_t passes = winograd_passes(kernel, in, out, layer, count, run.arena.threads.count());
            take(Choice{kernel.kernel, &kernel, nullptr},
                 winograd_estimate(kernel, out, work, samples, static_cast<double>(passes)));
        }
    for (const LookupKernel& kernel : run.kernels.lookups)
        if (weight == kernel.weight_bits && activation == kernel.activation_bits && lookup_fits(layer, kernel))
            take(Choice{Kernel::lookup, nullptr, &kernel}, lookup_estimate(kernel, work));
}

// Of several slices of a batch, which are equal in all but their number of samples.
void add(std::vector<Estimate>& to, const Estimate& one) {
    for (Estimate& before : to)
        if (before.kernel == one.kernel) {
            for (int i = 0; i < COUNTS; ++i) before.counts[i] += one.counts[i];
            return;
        }
    to.push_back(one);
}

}  // namespace

double Estimate::nanoseconds() const { return std::inner_product(counts.begin(), counts.end(), costs.begin(), 0.0); }

Choice kernel_for(const Context& run, const Conv* conv, const Tensor& in, const Tensor& out, const PackedLayer& layer,
                  int weight, int activation, std::vector<Estimate>* estimates) {
    Choice best;
    double least = std::numeric_limits<double>::infinity();
    each_kernel(run, conv, in, out, layer, weight, activation, [&](const Choice& choice, const Estimate& estimate) {
        if (estimates) add(*estimates, estimate);
        const bool wanted = run.forced == Kernel::cheapest || run.forced == choice.kernel;
        const double cost = wanted ? estimate.nanoseconds() : std::numeric_limits<double>::max();
        if (cost < least) least = cost, best = choice;
    });
    return best;
}

}  // namespace dqt
