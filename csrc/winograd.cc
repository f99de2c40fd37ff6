#include "winograd.h"

#include <algorithm>
#include <cmath>

#include "arith.h"

namespace dqt {
namespace {

constexpr int64_t POSITIONS = 16, COLUMNS = 64, MOST_TILES = 64;
constexpr int WEIGHT_BITS = 4, ACTIVATION_BITS = 6;
constexpr int MOST_CHANNELS = 4096;  // up to here sums fit 32 bits without what they start from, too

// Transformed weights of all panels that are no larger than this stay in the cache: then each thread takes its tiles in
// strips, whose transformed input stays there too. Otherwise panel after panel reads the transformed input of them all.
constexpr int64_t CACHED = 160 << 10, STRIP = 4 * TILES;

// Where everything lies in the scratch: sums of pixels, transformed weights and their offsets (of all panels, or of one
// for each thread), transformed input (of each thread's strip, or of a chunk of samples). No stride is a power of two.
struct Layout {
    int64_t across, down, tiles, chunk;      // tiles of a row, a column, an image; samples at once
    int64_t depth, weight_stride, panel;     // bytes of a panel's transformed weights and offsets
    bool strips;
    int64_t in_stride, one_sum, weights, inputs, one_input, places, one_places, bytes;

    Layout(const Tensor& in, const Tensor& out, int depth, int64_t panels, int threads) : depth(depth) {
        across = (out.width + 1) / 2;
        down = (out.height + 1) / 2;
        tiles = across * down;
        chunk = std::max<int64_t>(1, MOST_TILES / tiles);
        weight_stride = depth * COLUMNS + LINE;
        panel = round_up(POSITIONS * weight_stride, LINE) + POSITIONS * COLUMNS * 4 + LINE;
        strips = panels * panel <= CACHED;
        const int64_t together = strips ? STRIP : chunk * tiles;
        in_stride = round_up(together * depth, LINE) + LINE;
        one_sum = round_up(in.rows() * in.columns() * 4, LINE);
        weights = chunk * one_sum;
        inputs = weights + (strips ? panels : threads) * panel;
        one_input = round_up(POSITIONS * in_stride, LINE);
        places = inputs + (strips ? threads : 1) * one_input;
        one_places = round_up(together * static_cast<int64_t>(sizeof(WinogradTile)), LINE);
        bytes = places + threads * one_places;
    }
};

// A tile, counted over some samples; row and column are those of its image's tiles.
struct Tile {
    int64_t sample, row, column;
    Tile(const Layout& at, int64_t i) : sample(i / at.tiles), row(i % at.tiles / at.across), column(i % at.across) {}
    void next(const Layout& at) {
        if (++column < at.across) return;
        column = 0;
        if (++row == at.down) row = 0, ++sample;
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
            if (down_)
                kernels_.weigh(in, w_.in.pixel, w_.in.columns(), at_.depth, master, shift_, even, odd, to);
            else
                std::fill_n(to, w_.in.columns(), 0);
        }
    }

    // The input of some tiles; tile `origin` goes to `to`.
    void transform(Range tiles, int64_t origin, uint8_t* to) {
        const int master = run_.program.space.master;
        const int64_t last_row = w_.in.height + w_.in.bottom - 1, last_column = w_.in.width + w_.in.right - 1;
        Tile tile(at_, tiles.first);
        for (int64_t i = tiles.first; i < tiles.last; ++i, tile.next(at_)) {
            const int64_t y = 2 * tile.row - w_.top, x = 2 * tile.column - w_.left;
            const uint8_t* pixels[16];
            for (int p = 0; p < 16; ++p)  // what lies past the border feeds outputs past the edge alone
                pixels[p] = w_.in.at(samples_[tile.sample], std::min(y + p / 4, last_row), std::min(x + p % 4, last_column));
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
            place(some, t);
            for (int64_t p = 0; p < panels_; ++p) panel(p, p, some, in, t);
        }
    }

    // Threads share the panels, or where there are too few, each panel's tiles.
    void products(int64_t count, int t) {
        const Part part(panels_ >= threads_, panels_, count * at_.tiles, t, threads_);
        const Range tiles = part.rows;
        if (tiles.first >= tiles.last) return;
        place(tiles, t);
        for (int64_t p = part.panels.first; p < part.panels.last; ++p) {
            weights(p, t);
            panel(p, t, tiles, base_ + at_.inputs + tiles.first * at_.depth, t);
        }
    }

    WinogradTile* places_of(int t) const {
        return reinterpret_cast<WinogradTile*>(base_ + at_.places + t * at_.one_places);
    }

    // One panel of channels of some tiles, the first of which has its transformed input at `in`; thread t placed them.
    void panel(int64_t p, int64_t slot, Range tiles, const uint8_t* in, int t) {
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
        block.channel = panel.first;
        block.columns = panel.columns;
        block.narrow = w_.narrow;
        block.stored = stored_columns(w_.layer, panel, w_.out);
        const int64_t total = tiles.last - tiles.first, blocks = (total + TILES - 1) / TILES;
        const int64_t asked = POSITIONS / 4 * LINE * at_.depth, all = 9 * COLUMNS * at_.depth;  // bytes: in a block, of a panel
        const auto* packed = reinterpret_cast<const int8_t*>(w_.layer.weight.data());
        const int8_t* next = at_.strips || p + 1 == panels_ ? nullptr : packed + w_.layer.panels[p + 1].weight;
        for (int64_t k = 0; k < blocks; ++k) {
            block.next = next && k * asked < all ? next + k * asked : nullptr;
            const int64_t first = total * k / blocks, end = total * (k + 1) / blocks;
            block.tiles = static_cast<int>(end - first);
            block.in = in + first * at_.depth;
            block.places = places_of(t) + first;
            kernels_.block(block);
        }
    }

    // Addresses and midpoint terms of some tiles, for all panels of thread t.
    void place(Range tiles, int t) {
        WinogradTile* to = places_of(t);
        Tile tile(at_, tiles.first);
        for (int64_t i = tiles.first; i < tiles.last; ++i, ++to, tile.next(at_)) {
            const int64_t n = samples_[tile.sample], y = 2 * tile.row, x = 2 * tile.column;
            const int64_t line = w_.in.columns();
            const int32_t* corner = sums(tile.sample) + (y - w_.top + w_.in.top) * line + x - w_.left + w_.in.left;
            for (int o = 0; o < 4; ++o) {
                const int64_t down = o / 2, right = o % 2;
                const bool inside = y + down < w_.out.height && x + right < w_.out.width;
                to->out[o] = inside ? w_.out.at(n, y + down, x + right) : nullptr;
                if (!inside) continue;
                if (w_.residual) to->other[o] = w_.other.at(n, y + down, x + right);
                const int32_t* from = corner + down * line + right;
                int32_t sum = 0;
                for (int j = 0; j < 3; ++j) sum += from[j] + from[line + j] + from[2 * line + j];
                to->middle[o] = static_cast<int32_t>(static_cast<uint32_t>(sum) << shift_);
            }
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

// Whether the transform takes less time than the block kernel, for so many samples.
bool is_cheaper(const WinogradCosts& cost, const Tensor& out, const PackedLayer& layer, double samples) {
    const double columns = static_cast<double>(layer.panels.size()) * COLUMNS, weights = columns * layer.depth;
    const double pixels = samples * static_cast<double>(out.height * out.width);
    const double tiles = samples * static_cast<double>((out.height + 1) / 2 * ((out.width + 1) / 2));
    const double block = 9 * weights * (pixels * cost.block_product + std::ceil(pixels / BLOCK_ROWS) * cost.block_pass) +
                         pixels * columns * cost.block_output;
    const double winograd = POSITIONS * weights * (tiles * cost.product + std::ceil(tiles / TILES) * cost.pass) +
                            POSITIONS * tiles * layer.depth * cost.input + tiles * columns * cost.output +
                            9 * weights * cost.weight;
    return winograd < block;
}

bool shape_fits(const Conv& op, const PackedLayer& layer) {
    const bool plain = op.groups == 1 && layer.kernel_height == 3 && layer.kernel_width == 3 && op.stride[0] == 1 &&
                       op.stride[1] == 1 && op.dilation[0] == 1 && op.dilation[1] == 1;
    return plain && layer.depth <= MOST_CHANNELS &&
           std::all_of(layer.panels.begin(), layer.panels.end(), [](const Panel& p) { return p.vectors == MAX_VECTORS; });
}

}  // namespace

bool takes_winograd(const Context& run, const Conv& op, const PackedLayer& layer, int weight, int activation) {
    if (!run.kernels.winograd || weight > WEIGHT_BITS || activation > ACTIVATION_BITS || !shape_fits(op, layer))
        return false;
    if (run.forced != Forced::none) return run.forced == Forced::winograd;
    return is_cheaper(run.kernels.winograd->costs, run.arena.values[op.out], layer, run.arena.order.size());
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
