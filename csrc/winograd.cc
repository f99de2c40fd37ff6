#include "winograd.h"

#include <algorithm>

#include "arith.h"

namespace dqt {
namespace {

constexpr int64_t POSITIONS = 16, COLUMNS = 64, MOST_TILES = 64;
// Fewer channels or tiles do not repay the transforms of input and weights.
constexpr int LEAST_CHANNELS = 32, LEAST_TILES = 32, WEIGHT_BITS = 4, ACTIVATION_BITS = 6;

// Transformed weights of all panels that are no larger than this stay in the cache: then each thread takes its tiles in
// strips, whose transformed input stays there too. Otherwise panel after panel reads the transformed input of them all.
constexpr int64_t CACHED = 160 << 10, STRIP = 4 * TILES;

// Where everything lies in the scratch: sums of pixels, transformed weights and their offsets (of all panels, or of one
// for each thread), transformed input (of each thread's strip, or of a chunk of samples). No stride is a power of two.
struct Layout {
    int64_t across, down, tiles, chunk;      // tiles of a row, a column, an image; samples at once
    int64_t depth, weight_stride, panel;     // bytes of a panel's transformed weights and offsets
    bool strips;
    int64_t in_stride, one_sum, weights, inputs, one_input, bytes;

    Layout(const Tensor& in, const Tensor& out, int depth, int64_t panels, int threads) : depth(depth) {
        across = (out.width + 1) / 2;
        down = (out.height + 1) / 2;
        tiles = across * down;
        chunk = std::max<int64_t>(1, MOST_TILES / tiles);
        weight_stride = depth * COLUMNS + LINE;
        panel = round_up(POSITIONS * weight_stride, LINE) + POSITIONS * COLUMNS * 4 + LINE;
        strips = panels * panel <= CACHED;
        in_stride = round_up((strips ? STRIP : chunk * tiles) * depth, LINE) + LINE;
        one_sum = round_up(in.rows() * in.columns() * 4, LINE);
        weights = chunk * one_sum;
        inputs = weights + (strips ? panels : threads) * panel;
        one_input = round_up(POSITIONS * in_stride, LINE);
        bytes = inputs + (strips ? threads : 1) * one_input;
    }
};

class Winograd {
  public:
    Winograd(const Context& run, const WinogradRun& w)
        : run_(run), w_(w), kernels_(*run.kernels.winograd), threads_(run.arena.threads.count()),
          panels_(static_cast<int64_t>(w.layer.panels.size())), at_(w.in, w.out, w.layer.depth, panels_, threads_),
          base_(run.arena.winograd.data()), down_(run.program.space.master - w.weight),
          shift_(run.program.space.master - w.activation) {}

    void all() {
        const auto& order = run_.arena.order;
        for (size_t first = 0; first < order.size(); first += at_.chunk) {
            samples_ = order.data() + first;
            const int64_t count = std::min<int64_t>(at_.chunk, static_cast<int64_t>(order.size() - first));
            run_.arena.threads.each([&](int t) {
                weigh(split(count * w_.in.rows(), t, threads_));
                if (!at_.strips) return transform(split(count * at_.tiles, t, threads_), 0, base_ + at_.inputs);
                for (int64_t p = t; first == 0 && p < panels_; p += threads_) weights(p, p);
            });
            run_.arena.threads.each([&](int t) { at_.strips ? strips(count, t) : products(count, t); });
        }
    }

  private:
    int32_t* sums(int64_t k) const { return reinterpret_cast<int32_t*>(base_ + k * at_.one_sum); }

    // What the midpoints of the weights make of pixels, by rows.
    void weigh(Range rows) {
        const int master = run_.program.space.master, even = dqt_midpoint(down_, 0), odd = dqt_midpoint(down_, 1);
        for (int64_t i = rows.first; i < rows.last; ++i) {
            const int64_t y = i % w_.in.rows();
            const uint8_t* in = w_.in.data + samples_[i / w_.in.rows()] * w_.in.image + y * w_.in.row;
            int32_t* to = sums(i / w_.in.rows()) + y * w_.in.columns();
            for (int64_t x = 0; x < w_.in.columns(); ++x, in += w_.in.pixel)
                to[x] = down_ ? kernels_.weigh(in, at_.depth, master, shift_, even, odd) : 0;
        }
    }

    // The input of some tiles; tile `origin` goes to `to`.
    void transform(Range tiles, int64_t origin, uint8_t* to) {
        const int master = run_.program.space.master;
        const int64_t last_row = w_.in.height + w_.in.bottom - 1, last_column = w_.in.width + w_.in.right - 1;
        for (int64_t i = tiles.first; i < tiles.last; ++i) {
            const int64_t n = samples_[i / at_.tiles], tile = i % at_.tiles;
            const int64_t y = tile / at_.across * 2 - w_.top, x = tile % at_.across * 2 - w_.left;
            const uint8_t* pixels[16];
            for (int p = 0; p < 16; ++p)  // what lies past the border feeds outputs past the edge alone
                pixels[p] = w_.in.at(n, std::min(y + p / 4, last_row), std::min(x + p % 4, last_column));
            kernels_.input(pixels, at_.depth, master, shift_, to + (i - origin) * at_.depth, at_.in_stride);
        }
    }

    int8_t* weights_at(int64_t slot) const {
        return reinterpret_cast<int8_t*>(base_ + at_.weights + slot * at_.panel);
    }
    int32_t* offset_at(int64_t slot) const {
        return reinterpret_cast<int32_t*>(weights_at(slot) + round_up(POSITIONS * at_.weight_stride, LINE));
    }

    // Transforms the weights of panel `p`.
    void weights(int64_t p, int64_t slot) {
        const auto* packed = reinterpret_cast<const int8_t*>(w_.layer.weight.data()) + w_.layer.panels[p].weight;
        kernels_.weights(packed, w_.layer.depth, down_, weights_at(slot), at_.weight_stride, offset_at(slot));
    }

    // This thread's tiles, strip by strip.
    void strips(int64_t count, int t) {
        const Range mine = split(count * at_.tiles, t, threads_);
        uint8_t* in = base_ + at_.inputs + t * at_.one_input;
        for (int64_t first = mine.first; first < mine.last; first += STRIP) {
            const Range some{first, std::min(first + STRIP, mine.last)};
            transform(some, first, in);
            for (int64_t p = 0; p < panels_; ++p) panel(p, p, some, in);
        }
    }

    // Threads share the panels, or where there are too few, each panel's tiles.
    void products(int64_t count, int t) {
        const Part part(panels_ >= threads_, panels_, count * at_.tiles, t, threads_);
        const Range tiles = part.rows;
        for (int64_t p = part.panels.first; p < part.panels.last && tiles.first < tiles.last; ++p) {
            weights(p, t);
            panel(p, t, tiles, base_ + at_.inputs + tiles.first * at_.depth);
        }
    }

    // One panel of channels of some tiles, the first of which has its transformed input at `in`.
    void panel(int64_t p, int64_t slot, Range tiles, const uint8_t* in) {
        const Panel& panel = w_.layer.panels[p];
        WinogradBlock block{};
        block.tile_stride = at_.depth;
        block.in_stride = at_.in_stride;
        block.depth = w_.layer.depth;
        block.weight = weights_at(slot);
        block.weight_stride = at_.weight_stride;
        block.offset = offset_at(slot);
        block.start = w_.start + panel.at;
        block.shift = down_ + shift_;
        block.rounding = w_.layer.rounding(w_.row, panel.at);
        block.residual = w_.residual;
        block.columns = panel.columns;
        block.narrow = w_.narrow;
        block.stored = stored_columns(w_.layer, panel, w_.out);
        const int64_t total = tiles.last - tiles.first, blocks = (total + TILES - 1) / TILES;
        for (int64_t k = 0; k < blocks; ++k) {
            const int64_t first = total * k / blocks, end = total * (k + 1) / blocks;
            block.tiles = static_cast<int>(end - first);
            block.in = in + first * at_.depth;
            for (int64_t i = first; i < end; ++i) place(block, tiles.first + i, static_cast<int>(i - first), panel.first);
            kernels_.block(block);
        }
    }

    // Addresses and midpoint terms of one tile's four outputs.
    void place(WinogradBlock& block, int64_t i, int k, int channel) {
        const int64_t n = samples_[i / at_.tiles], tile = i % at_.tiles;
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
    int64_t panels_;
    Layout at_;
    uint8_t* base_;
    const int32_t* samples_ = nullptr;
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
            most = std::max(most, Layout(plan.values[op->x], plan.values[op->out], layers[i].depth,
                                         static_cast<int64_t>(layers[i].panels.size()), threads).bytes);
    return most;
}

void run_winograd(const Context& run, const WinogradRun& w) { Winograd(run, w).all(); }

}  // namespace dqt
