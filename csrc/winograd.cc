#include "winograd.h"

#include <algorithm>

#include "arith.h"

namespace dqt {
namespace {

constexpr int64_t POSITIONS = 16, COLUMNS = 64, MOST_TILES = 64;
// Fewer channels or tiles do not repay the transforms of input and weights.
constexpr int LEAST_CHANNELS = 32, LEAST_TILES = 32, WEIGHT_BITS = 4, ACTIVATION_BITS = 6;

// Where everything lies in the scratch: transformed input of a chunk of samples, sums of pixels, and of each thread its
// transformed weights and their offsets. No stride is a power of two.
struct Layout {
    int64_t across, down, tiles, chunk;      // tiles of a row, a column, an image; samples at once
    int64_t depth, in_stride, sums, weight_stride, weights, per_thread, bytes;

    Layout(int64_t height, int64_t width, int64_t in_pixels, int64_t depth, int threads) : depth(depth) {
        across = (width + 1) / 2;
        down = (height + 1) / 2;
        tiles = across * down;
        chunk = std::max<int64_t>(1, MOST_TILES / tiles);
        in_stride = round_up(chunk * tiles * depth, LINE) + LINE;
        sums = round_up(POSITIONS * in_stride, LINE);
        weights = sums + round_up(in_pixels * 4, LINE) * chunk;
        weight_stride = depth * COLUMNS + LINE;
        per_thread = round_up(POSITIONS * weight_stride, LINE) + POSITIONS * COLUMNS * 4 + LINE;
        bytes = weights + threads * per_thread;
    }
};

Layout layout_of(const Tensor& in, const Tensor& out, int depth, int threads) {
    return Layout(out.height, out.width, in.rows() * in.columns(), depth, threads);
}

class Winograd {
  public:
    Winograd(const Context& run, const WinogradRun& w)
        : run_(run), w_(w), kernels_(*run.kernels.winograd), threads_(run.arena.threads.count()),
          at_(layout_of(w.in, w.out, w.layer.depth, threads_)), base_(run.arena.winograd.data()),
          down_(run.program.space.master - w.weight), shift_(run.program.space.master - w.activation) {}

    void all() {
        const auto& order = run_.arena.order;
        for (size_t first = 0; first < order.size(); first += at_.chunk) {
            const int64_t count = std::min<int64_t>(at_.chunk, static_cast<int64_t>(order.size() - first));
            run_.arena.threads.each([&](int t) { transform(order.data() + first, count, t); });
            run_.arena.threads.each([&](int t) { products(order.data() + first, count, t); });
        }
    }

  private:
    int32_t* sums(int64_t k) const {
        return reinterpret_cast<int32_t*>(base_ + at_.sums + k * round_up(w_.in.rows() * w_.in.columns() * 4, LINE));
    }

    // The input of this thread's tiles, and what the midpoints make of this thread's pixels.
    void transform(const int32_t* samples, int64_t count, int t) {
        const int master = run_.program.space.master;
        const int64_t last_row = w_.in.height + w_.in.bottom - 1, last_column = w_.in.width + w_.in.right - 1;
        const Range tiles = split(count * at_.tiles, t, threads_);
        for (int64_t i = tiles.first; i < tiles.last; ++i) {
            const int64_t n = samples[i / at_.tiles], tile = i % at_.tiles;
            const int64_t y = tile / at_.across * 2 - w_.top, x = tile % at_.across * 2 - w_.left;
            const uint8_t* pixels[16];
            for (int p = 0; p < 16; ++p)  // what lies past the border feeds outputs past the edge alone
                pixels[p] = w_.in.at(n, std::min(y + p / 4, last_row), std::min(x + p % 4, last_column));
            kernels_.input(pixels, at_.depth, master, shift_, base_ + i * at_.depth, at_.in_stride);
        }
        const Range pixels = split(count * w_.in.rows(), t, threads_);
        const int even = dqt_midpoint(down_, 0), odd = dqt_midpoint(down_, 1);
        for (int64_t i = pixels.first; i < pixels.last; ++i) {
            const int64_t y = i % w_.in.rows();
            const uint8_t* in = w_.in.data + samples[i / w_.in.rows()] * w_.in.image + y * w_.in.row;
            int32_t* to = sums(i / w_.in.rows()) + y * w_.in.columns();
            for (int64_t x = 0; x < w_.in.columns(); ++x, in += w_.in.pixel)
                to[x] = down_ ? kernels_.weigh(in, at_.depth, master, shift_, even, odd) : 0;
        }
    }

    // Threads share the panels, or where there are too few, each panel's tiles.
    void products(const int32_t* samples, int64_t count, int t) {
        const auto panels = static_cast<int64_t>(w_.layer.panels.size());
        const int64_t tiles = count * at_.tiles;
        const bool by_panel = panels >= threads_;
        const Range those = by_panel ? split(panels, t, threads_) : Range{0, panels};
        const Range some = by_panel ? Range{0, tiles} : split(tiles, t, threads_);
        auto* weights = reinterpret_cast<int8_t*>(base_ + at_.weights + t * at_.per_thread);
        auto* offset = reinterpret_cast<int32_t*>(weights + round_up(POSITIONS * at_.weight_stride, LINE));
        for (int64_t p = those.first; p < those.last && some.first < some.last; ++p) {
            const Panel& panel = w_.layer.panels[p];
            const auto* packed = reinterpret_cast<const int8_t*>(w_.layer.weight.data()) + panel.weight;
            kernels_.weights(packed, w_.layer.depth, down_, weights, at_.weight_stride, offset);
            WinogradBlock block{};
            block.tile_stride = at_.depth;
            block.in_stride = at_.in_stride;
            block.depth = w_.layer.depth;
            block.weight = weights;
            block.weight_stride = at_.weight_stride;
            block.offset = offset;
            block.start = w_.start + panel.at;
            block.shift = down_ + shift_;
            block.rounding = w_.layer.rounding(w_.row, panel.at);
            block.residual = w_.residual;
            block.columns = panel.columns;
            block.narrow = w_.narrow;
            block.stored = stored_columns(w_.layer, panel, w_.out);
            const int64_t total = some.last - some.first, blocks = (total + TILES - 1) / TILES;
            for (int64_t k = 0; k < blocks; ++k) {
                const int64_t first = some.first + total * k / blocks, end = some.first + total * (k + 1) / blocks;
                block.tiles = static_cast<int>(end - first);
                block.in = base_ + first * at_.depth;
                for (int64_t i = first; i < end; ++i) place(block, samples, i, static_cast<int>(i - first), panel.first);
                kernels_.block(block);
            }
        }
    }

    // Addresses and midpoint terms of one tile's four outputs.
    void place(WinogradBlock& block, const int32_t* samples, int64_t i, int k, int channel) {
        const int64_t n = samples[i / at_.tiles], tile = i % at_.tiles;
        const int32_t* map = sums(i / at_.tiles);
        for (int o = 0; o < 4; ++o) {
            const int64_t y = tile / at_.across * 2 + o / 2, x = tile % at_.across * 2 + o % 2;
            const bool inside = y < w_.out.height && x < w_.out.width;
            block.out[4 * k + o] = inside ? w_.out.at(n, y, x) + channel : nullptr;
            if (!inside) continue;
            if (w_.residual) block.other[4 * k + o] = w_.other.at(n, y, x) + channel;
            const int32_t* corner = map + (y - w_.top + w_.in.top) * w_.in.columns() + x - w_.left + w_.in.left;
            int32_t sum = 0;
            for (int j = 0; j < 3; ++j)
                sum += corner[j] + corner[w_.in.columns() + j] + corner[2 * w_.in.columns() + j];
            block.middle[4 * k + o] = static_cast<int32_t>(static_cast<uint32_t>(sum) << shift_);
        }
    }

    const Context& run_;
    const WinogradRun& w_;
    const WinogradKernels& kernels_;
    int threads_;
    Layout at_;
    uint8_t* base_;
    int down_, shift_;               // shifts of the weights and of the activations
};

bool shape_fits(const Conv& op, const PackedLayer& layer) {
    const bool plain = op.groups == 1 && layer.kernel_height == 3 && layer.kernel_width == 3 && op.stride[0] == 1 &&
                       op.stride[1] == 1 && op.dilation[0] == 1 && op.dilation[1] == 1;
    return plain && layer.depth >= LEAST_CHANNELS &&
           std::all_of(layer.panels.begin(), layer.panels.end(), [](const Panel& p) { return p.vectors == MAX_VECTORS; });
}

}  // namespace

bool winograd_pays(const Context& run, const Conv& op, const PackedLayer& layer, int weight, int activation) {
    if (!run.kernels.winograd || weight > WEIGHT_BITS || activation > ACTIVATION_BITS || !shape_fits(op, layer))
        return false;
    const Tensor& out = run.arena.values[op.out];
    const int64_t tiles = (out.height + 1) / 2 * ((out.width + 1) / 2);
    return static_cast<int64_t>(run.arena.order.size()) * tiles >= LEAST_TILES;
}

int64_t winograd_scratch(const Program& program, const MemoryPlan& plan, const std::vector<PackedLayer>& layers,
                         const Kernels& kernels, int threads) {
    int64_t most = 0;
    if (!kernels.winograd || program.space.widths.front() > WEIGHT_BITS) return 0;
    for (size_t i = 0; i < program.ops.size(); ++i)
        if (const auto* op = std::get_if<Conv>(&program.ops[i]); op && shape_fits(*op, layers[i]))
            most = std::max(most, layout_of(plan.values[op->x], plan.values[op->out], layers[i].depth, threads).bytes);
    return most;
}

void run_winograd(const Context& run, const WinogradRun& w) { Winograd(run, w).all(); }

}  // namespace dqt
