#include "winograd.h"

#include <algorithm>

#include "../arith.h"

namespace dqt {
namespace {

constexpr int TAPS = 9;
constexpr int64_t COLUMNS = 64;  // of a panel, at most
// Of the samples of a chunk, or one sample; the second where transformed numbers have two bytes, for weights then take long.
constexpr int64_t MOST_PIXELS[] = {256, 1024};

// Transformed weights of all panels that are no larger than this, times the bytes of a number, stay in the cache: then each
// thread takes its tiles in strips, whose transformed input stays there too. Otherwise panel after panel reads the transformed input of them all.
constexpr int64_t CACHED = 160 << 10, STRIP_PIXELS = 192;

// A position's weights go through so many blocks, whose sums wait. Where a panel's transformed weights are more than can
// stay in the cache, they are made and used part by part of the depth, anew for the next such blocks: with more blocks weights
// of two bytes may be more.
constexpr int64_t MOST_WAITING = 3, WAITING = 192 << 10, MOST_WEIGHTS = 800 << 10, PART_WEIGHTS = 320 << 10;
constexpr int64_t PART_CHANNELS = 32;  // a part is a multiple of these: kernels may order channels within them

// Where everything lies in the scratch: sums of pixels, transformed weights and their offsets (of all panels, or of a part
// of one for each thread), transformed input (of each thread's strip, or of a chunk of samples), places of tiles, sums of
// products; weights of a part of their range, clipped, of each thread. No stride is a power of two.
struct Layout {
    int64_t across, down, tiles, chunk;      // tiles of a row, a column, an image; samples at once
    int64_t depth, part, one_tile;           // channels; those of a part; bytes of a tile's input at one position
    int64_t waiting, one_block;              // blocks whose sums wait; bytes of a block's sums
    int64_t made;                            // how often a run makes the transformed weights
    int64_t weight_stride, panel;            // bytes of a panel's transformed weights and offsets
    bool strips;
    int64_t strip;                           // tiles
    int64_t in_stride, one_sum, weights, inputs, one_input, places, one_places, sums, one_sums, clipped,
        one_clipped, bytes;

    Layout(const WinogradKernel& kernel, const Tensor& in, const Tensor& out, const PackedLayer& layer, int64_t samples,
           int threads)
        : depth(layer.depth) {
        const auto panels = static_cast<int64_t>(layer.panels.size());
        const int64_t columns = layer.panels[0].vectors * LANES;  // the first is the largest
        across = split_up(out.width, kernel.across);
        down = split_up(out.height, kernel.down);
        tiles = across * down;
        const int64_t positions = kernel.positions(), outputs = int64_t{kernel.down} * kernel.across;
        chunk = std::clamp<int64_t>(MOST_PIXELS[kernel.bytes - 1] / (tiles * outputs), 1, samples);
        one_block = positions * TILES * COLUMNS * 4;
        waiting = std::clamp<int64_t>(WAITING / one_block, 1, MOST_WAITING);
        const int64_t groups = split_up(chunk * tiles, TILES * waiting);
        const int64_t all = positions * depth * columns * kernel.bytes, most = MOST_WEIGHTS * (groups > 1 ? kernel.bytes : 1);
        part = round_up(split_up(depth, all <= most ? 1 : split_up(all, PART_WEIGHTS)), PART_CHANNELS);
        weight_stride = part * columns * kernel.bytes + LINE;
        one_tile = depth * kernel.bytes;
        panel = round_up(positions * weight_stride, LINE) + positions * COLUMNS * 4 + LINE;
        strips = part >= depth && panels * panel <= CACHED * kernel.bytes;
        made = strips ? 1 : split_up(samples, chunk) * (part < depth ? groups : 1);
        strip = std::max<int64_t>(1, STRIP_PIXELS / (outputs * TILES)) * TILES;
        const int64_t together = strips ? strip : chunk * tiles;
        in_stride = round_up(together * one_tile, LINE) + LINE;
        one_sum = round_up(in.rows() * in.columns() * 4, LINE);
        weights = chunk * one_sum + round_up(kernel.down * in.columns() * 4, LINE);  // tiles reach past the last row
        inputs = weights + (strips ? panels : threads) * panel;
        one_input = round_up(positions * in_stride, LINE);
        places = inputs + (strips ? threads : 1) * one_input;
        one_places = round_up(together * static_cast<int64_t>(sizeof(WinogradTile)), LINE);
        sums = places + threads * one_places;
        one_sums = waiting * one_block;
        clipped = sums + threads * one_sums;
        one_clipped = TAPS * part * columns + LINE;
        bytes = clipped + threads * one_clipped;
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
        : run_(run), w_(w), kernel_(w.kernel), threads_(run.arena.threads.count()),
          panels_(static_cast<int64_t>(w.layer.panels.size())),
          at_(w.kernel, w.in, w.out, w.layer, static_cast<int64_t>(run.arena.order.size()), threads_),
          base_(run.arena.scratch.data()), range_(w.layer.input(w.activation).narrow),
          down_(w.layer.weight_shift(w.weight)), shift_(range_.s) {}

    void all() {
        const auto& order = run_.arena.order;
        for (size_t first = 0; first < order.size(); first += at_.chunk) {
            samples_ = order.data() + first;
            const int64_t count = std::min<int64_t>(at_.chunk, static_cast<int64_t>(order.size() - first));
            run_.arena.threads.each([&](int t) {
                weigh(split(count * w_.in.rows(), t, threads_));
                if (!at_.strips) return transform(split(count * at_.tiles, t, threads_), 0, base_ + at_.inputs);
                for (int64_t p = t; first == 0 && p < panels_; p += threads_) weights(p, p, t);
            });
            run_.arena.threads.each([&](int t) { at_.strips ? strips(count, t) : products(count, t); });
        }
    }

  private:
    int32_t* sums(int64_t k) const { return reinterpret_cast<int32_t*>(base_ + k * at_.one_sum); }

    // What the midpoints of the weights make of pixels, by rows.
    void weigh(Range rows) {
        const int even = w_.layer.midpoint(w_.weight, 0), odd = w_.layer.midpoint(w_.weight, 1);
        for (int64_t i = rows.first; i < rows.last; ++i) {
            const int64_t y = i % w_.in.rows();
            const uint8_t* in = w_.in.data + samples_[i / w_.in.rows()] * w_.in.image + y * w_.in.row;
            int32_t* to = sums(i / w_.in.rows()) + y * w_.in.columns();
            if (even)
                run_.kernels.winograd->weigh(in, w_.in.pixel, w_.in.columns(), at_.depth, range_.n, shift_, even, odd, to);
            else
                std::fill_n(to, w_.in.columns(), 0);
        }
    }

    // The input of some tiles; tile `origin` goes to `to`.
    void transform(Range tiles, int64_t origin, uint8_t* to) {
        const int height = kernel_.height(), width = kernel_.width();
        const int64_t last_row = w_.in.height + w_.in.bottom - 1, last_column = w_.in.width + w_.in.right - 1;
        Tile tile(at_, tiles.first);
        for (int64_t i = tiles.first; i < tiles.last; ++i, tile.next(at_)) {
            const int64_t y = tile.row * kernel_.down - w_.top, x = tile.column * kernel_.across - w_.left;
            const uint8_t* pixels[MOST_POSITIONS];
            const uint8_t** pixel = pixels;
            int64_t columns[MOST_POSITIONS];
            for (int q = 0; q < width; ++q) columns[q] = std::min(x + q, last_column) * w_.in.pixel;
            for (int p = 0; p < height; ++p) {  // what lies past the border feeds outputs past the edge alone
                const uint8_t* row = w_.in.at(samples_[tile.sample], std::min(y + p, last_row), 0);
                for (int q = 0; q < width; ++q) *pixel++ = row + columns[q];
            }
            kernel_.input(pixels, at_.depth, range_.n, shift_, to + (i - origin) * at_.one_tile, at_.in_stride);
        }
    }

    int8_t* weights_at(int64_t slot) const {
        return reinterpret_cast<int8_t*>(base_ + at_.weights + slot * at_.panel);
    }
    int32_t* offset_at(int64_t slot) const {
        return reinterpret_cast<int32_t*>(weights_at(slot) + round_up(kernel_.positions() * at_.weight_stride, LINE));
    }

    const int8_t* packed(int64_t p) const {
        return reinterpret_cast<const int8_t*>(w_.layer.weight.data()) + w_.layer.panels[p].weight;
    }

    // Transforms the weights of panel `p`, of the part from channel `first` on, in thread `t`.
    void weights(int64_t p, int64_t slot, int t, int64_t first = 0) {
        const auto depth = static_cast<int>(std::min(at_.part, at_.depth - first));
        const int vectors = w_.layer.panels[p].vectors;
        const int8_t* from = packed(p) + first * vectors * LANES;
        int64_t tap = at_.depth * vectors * LANES;
        if (w_.layer.clips(w_.weight)) {
            auto* to = reinterpret_cast<int8_t*>(base_ + at_.clipped + t * at_.one_clipped);
            const int64_t bytes = int64_t{depth} * vectors * LANES;
            const Clip clip = w_.layer.clip(w_.weight);
            for (int i = 0; i < TAPS; ++i) run_.kernels.clips.weights(from + i * tap, to + i * bytes, bytes, clip);
            from = to;
            tap = bytes;
        }
        kernel_.weights(from, tap, vectors, depth, down_, weights_at(slot), at_.weight_stride, offset_at(slot));
    }

    // This thread's tiles, strip by strip.
    void strips(int64_t count, int t) {
        const Range mine = split(count * at_.tiles, t, threads_);
        uint8_t* in = base_ + at_.inputs + t * at_.one_input;
        for (int64_t first = mine.first; first < mine.last; first += at_.strip) {
            const Range some{first, std::min(first + at_.strip, mine.last)};
            transform(some, first, in);
            place(some, t);
            for (int64_t p = 0; p < panels_; ++p) panel(p, some, in, t);
        }
    }

    // Threads share the panels, or where there are too few, each panel's tiles.
    void products(int64_t count, int t) {
        const Part part(panels_ >= threads_, panels_, count * at_.tiles, t, threads_);
        const Range tiles = part.rows;
        if (tiles.first >= tiles.last) return;
        place(tiles, t);
        for (int64_t p = part.panels.first; p < part.panels.last; ++p)
            panel(p, tiles, base_ + at_.inputs + tiles.first * at_.one_tile, t);
    }

    WinogradTile* places_of(int t) const {
        return reinterpret_cast<WinogradTile*>(base_ + at_.places + t * at_.one_places);
    }

    // One panel of channels of some tiles, the first of which has its transformed input at `in`; thread t placed them.
    void panel(int64_t p, Range tiles, const uint8_t* in, int t) {
        const int64_t slot = at_.strips ? p : t, total = tiles.last - tiles.first, blocks = split_up(total, TILES);
        const bool asks = !at_.strips && p + 1 < panels_;
        const int8_t* next = asks ? packed(p + 1) : nullptr;  // a line at each step, as long as there are lines
        const int8_t* end = asks ? next + w_.layer.panel_bytes(w_.layer.panels[p + 1]) : nullptr;
        const WinogradBlock common = block_of(w_.layer.panels[p], slot);
        WinogradBlock group[MOST_WAITING];
        for (int64_t begin = 0, made = -1; begin < blocks; begin += at_.waiting) {
            const int64_t count = std::min(at_.waiting, blocks - begin);
            for (int64_t k = 0; k < count; ++k) {
                const int64_t first = total * (begin + k) / blocks, last = total * (begin + k + 1) / blocks;
                group[k] = common;
                group[k].tiles = static_cast<int>(last - first);
                group[k].in = in + first * at_.one_tile;
                group[k].places = places_of(t) + first;
                group[k].sums = sums_of(t, k);
            }
            for (int64_t channel = 0; channel < at_.depth; channel += at_.part) {
                if (!at_.strips && made != channel) weights(p, slot, t, channel), made = channel;
                for (int64_t k = 0; k < count; ++k) {
                    group[k].depth = static_cast<int>(std::min(at_.part, at_.depth - channel));
                    group[k].begins = channel == 0;
                }
                for (int position = 0; position < kernel_.positions(); ++position)
                    for (int64_t k = 0; k < count; ++k) {
                        group[k].next = next < end ? next : nullptr;
                        kernel_.products(group[k], position);
                        next += asks ? LINE / 4 * group[k].depth : 0;
                    }
                for (int64_t k = 0; k < count; ++k) group[k].in += group[k].depth * kernel_.bytes;
            }
            for (int64_t k = 0; k < count; ++k) kernel_.outputs(group[k]);
        }
    }

    // What the blocks of a panel have in common.
    WinogradBlock block_of(const Panel& panel, int64_t slot) const {
        WinogradBlock block{};
        block.vectors = panel.vectors;
        block.tile_stride = at_.one_tile;
        block.in_stride = at_.in_stride;
        block.weight = weights_at(slot);
        block.weight_stride = at_.weight_stride;
        block.offset = offset_at(slot);
        block.start = w_.start + panel.at;
        block.shift = down_ + shift_;
        block.rounding = w_.layer.rounding(w_.row, panel.at);
        block.residual = w_.residual;
        block.channel = panel.first;
        block.columns = panel.columns;
        block.out_row = w_.out.row;
        block.out_pixel = w_.out.pixel;
        block.other_row = w_.other.row;
        block.other_pixel = w_.other.pixel;
        block.narrow = w_.narrow;
        block.stored = stored_columns(w_.layer, panel, w_.out);
        return block;
    }

    int32_t* sums_of(int t, int64_t block) const {
        return reinterpret_cast<int32_t*>(base_ + at_.sums + t * at_.one_sums + block * at_.one_block);
    }

    // Addresses and midpoint terms of some tiles, for all panels of thread t.
    void place(Range tiles, int t) {
        WinogradTile* to = places_of(t);
        Tile tile(at_, tiles.first);
        for (int64_t i = tiles.first; i < tiles.last; ++i, ++to, tile.next(at_)) {
            const int64_t n = samples_[tile.sample], y = tile.row * kernel_.down, x = tile.column * kernel_.across;
            const int64_t line = w_.in.columns();
            const int32_t* corner = sums(tile.sample) + (y - w_.top + w_.in.top) * line + x - w_.left + w_.in.left;
            to->out = w_.out.at(n, y, x);
            to->other = w_.other.at(n, y, x);
            to->height = static_cast<int32_t>(std::min<int64_t>(kernel_.down, w_.out.height - y));
            to->width = static_cast<int32_t>(std::min<int64_t>(kernel_.across, w_.out.width - x));
            int32_t* middle = to->middle;
            for (int i = 0; i < kernel_.down; ++i, corner += line) {  // past the edge, too: the scratch is larger
                uint32_t column[MOST_POSITIONS];
                for (int k = 0; k < kernel_.width(); ++k)
                    column[k] = static_cast<uint32_t>(corner[k] + corner[line + k] + corner[2 * line + k]);
                for (int j = 0; j < kernel_.across; ++j)
                    *middle++ = static_cast<int32_t>((column[j] + column[j + 1] + column[j + 2]) << shift_);
            }
        }
    }

    const Context& run_;
    const WinogradRun& w_;
    const WinogradKernel& kernel_;
    int threads_;
    int64_t panels_;
    Layout at_;
    uint8_t* base_;
    const int32_t* samples_ = nullptr;
    Narrow range_;                   // of the activations
    int down_, shift_;               // shifts of the weights and of the activations
};

}  // namespace

// 2^power times the largest sum of products fits 32 bits. It is that of an output's weights of one sign and codes that are all
// the largest; w >> s is rounded, so that it is up to 1 larger in size than a part of w.
bool winograd_fits(const PackedLayer& layer, const WinogradKernel& kernel, int weight, int activation) {
    if (weight > kernel.weight_bits || activation > kernel.activation_bits) return false;
    const int s = layer.weight_shift(weight);
    const int64_t inputs = int64_t{layer.inputs} * layer.kernel_height * layer.kernel_width;
    const int64_t sum = s == 0 ? layer.most_sum : (layer.most_sum >> s) + inputs + 1;
    return sum * ((1 << activation) - 1) <= INT32_MAX >> kernel.power;
}

// Midpoints are added as one sum over channels that all taps share, so they may not go by tap.
bool winograd_fits(const Conv& op, const PackedLayer& layer, const Kernels& kernels) {
    const bool plain = op.groups == 1 && !layer.by_tap && layer.kernel_height == 3 && layer.kernel_width == 3 &&
                       op.stride[0] == 1 && op.stride[1] == 1 && op.dilation[0] == 1 && op.dilation[1] == 1;
    return kernels.winograd && plain &&
           std::ranges::all_of(layer.panels, [&](const Panel& p) { return p.vectors >= kernels.winograd->least_vectors; });
}

int64_t winograd_passes(const WinogradKernel& kernel, const Tensor& in, const Tensor& out, const PackedLayer& layer,
                        int64_t samples, int threads) {
    return Layout(kernel, in, out, layer, samples, threads).made;
}

int64_t winograd_scratch(const Program& program, const MemoryPlan& plan, const std::vector<PackedLayer>& layers,
                         const Kernels& kernels, int threads) {
    int64_t most = 0;
    for (size_t i = 0; i < program.ops.size(); ++i) {
        const auto* op = std::get_if<Conv>(&program.ops[i]);
        if (!op || !winograd_fits(*op, layers[i], kernels)) continue;
        for (const WinogradKernel& kernel : kernels.winograd->kinds)
            if (program.space.widths.front() <= kernel.weight_bits)
                most = std::max(most, Layout(kernel, plan.values[op->x], plan.values[op->out], layers[i],
                                             MOST_PIXELS[1], threads).bytes);
    }
    return most;
}

void run_winograd(const Context& run, const WinogradRun& w) { Winograd(run, w).all(); }

}  // namespace dqt
