#include "layer.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>

#include "../arith.h"

namespace dqt {
namespace {

constexpr int64_t SLICE_GAP = 1024;            // no two slices a power of two apart

int vectors_for(int columns) { return columns > 32 ? 4 : columns > 16 ? 2 : 1; }

// The panels of every group, largest first.
void lay_out(PackedLayer& layer, Slab& slab) {
    const int taps = layer.kernel_height * layer.kernel_width, of_group = layer.out_channels / layer.groups;
    int64_t bytes = 0;
    for (int group = 0; group < layer.groups; ++group)
        for (int first = 0; first < of_group; first += 64) {
            const int columns = std::min(64, of_group - first), vectors = vectors_for(columns);
            layer.panels.push_back({group, group * of_group + first, columns, vectors, bytes, layer.lanes});
            bytes += int64_t{taps} * layer.depth * vectors * LANES + 64;  // no two panels a power of two apart
            layer.lanes += vectors * LANES;
        }
    layer.weight = slab.take(bytes);
}

// Sixteen weights, or those that are left, as four bytes of each slice: byte i has two bits of weights i, i + 4, i + 8, i + 12.
void cut_slices(const int8_t* weights, int left, uint8_t* to, int64_t slice) {
    uint32_t four[SLICED_DEPTH / 4] = {};
    std::memcpy(four, weights, std::min(left, SLICED_DEPTH));
    for (int s = 0; s < SLICES; ++s, to += slice) {
        uint32_t cut = 0;
        for (int i = 0; i < SLICED_DEPTH / 4; ++i) cut |= (four[i] >> (6 - 2 * s) & 0x03030303u) << 2 * i;
        std::memcpy(to, &cut, sizeof cut);
    }
}

// Panels of 64 columns, each slice of all of them contiguous: see SlicedKernels.
void pack_sliced(PackedLayer& layer, const int8_t* weight, int inputs, Slab& slab) {
    const int64_t bytes = int64_t{layer.depth + SLICED_DEPTH - 1} / SLICED_DEPTH * 256;
    for (int first = 0; first < layer.out_channels; first += 64, layer.lanes += 64)
        layer.panels.push_back({0, first, std::min(64, layer.out_channels - first), 4, first / 64 * bytes, layer.lanes});
    layer.slice = static_cast<int64_t>(layer.panels.size()) * bytes + SLICE_GAP;
    layer.weight = slab.take(SLICES * layer.slice);
    for (const Panel& panel : layer.panels)
        for (int lane = 0; lane < 64; ++lane) {
            const int j = column(4, lane / LANES, lane % LANES);
            if (j >= panel.columns) continue;
            const int8_t* from = weight + int64_t{panel.first + j} * inputs;
            uint8_t* to = layer.weight.data() + panel.weight + lane * 4;
            for (int i = 0; i < inputs; i += SLICED_DEPTH, to += 256) cut_slices(from + i, inputs - i, to, layer.slice);
        }
}

// Per-channel numbers in the order of the panels' lanes.
template <class T, class F>
Constants<T> by_lane(const PackedLayer& layer, bool halves, const F& of_channel) {
    Constants<T> result(layer.lanes);
    for (const Panel& panel : layer.panels)
        for (int v = 0; v < panel.vectors; ++v)
            for (int lane = 0; lane < LANES; ++lane) {
                const int j = column(panel.vectors, v, lane);
                const int at = halves ? (lane & 1) * 8 + lane / 2 : lane;
                if (j < panel.columns) result[panel.at + v * LANES + at] = of_channel(panel.first + j);
            }
    return result;
}

// What columns of a panel have weights: the rows of a vector's lanes, null where there is no column.
using Rows = std::array<const int8_t*, LANES>;

// Four channels of every lane and tap, [tap][lane][4]: `count` real channels from `channel` on.
void gather(const Rows& rows, int64_t channel, int count, int taps, uint8_t* to) {
    for (int lane = 0; lane < LANES; ++lane) {
        if (!rows[lane]) continue;
        const int8_t* from = rows[lane] + channel * taps;
        __builtin_prefetch(from + 4 * LINE);
        for (int t = 0; t < taps; ++t)
            for (int i = 0; i < count; ++i) to[(t * LANES + lane) * 4 + i] = static_cast<uint8_t>(from[i * taps + t]);
    }
}

// Layers of one tap: a lane's four channels lie together. Cache line by cache line of each row, because rows are often a
// power of two apart, where the first-level cache keeps only eight of them.
void pack_points(const Rows& rows, int64_t steps, int64_t stride, uint8_t* to) {
    constexpr int64_t BLOCK = LINE / 4, AHEAD = 4;
    for (int64_t first = 0; first < steps; first += BLOCK) {
        const int64_t end = std::min(steps, first + BLOCK);
        for (int lane = 0; lane < LANES; ++lane) {
            if (!rows[lane]) continue;
            __builtin_prefetch(rows[lane] + 4 * (first + AHEAD * BLOCK));
            for (int64_t k = first; k < end; ++k) std::memcpy(to + k * stride + lane * 4, rows[lane] + 4 * k, 4);
        }
    }
}

// [tap][step of four channels][vector][lane][4]. Each row of weights is read once from its start to its end, and each line
// of the panel is written once.
void pack_vector(const Rows& rows, int inputs, int taps, int vectors, uint8_t* to) {
    const int64_t steps = split_up(inputs, 4), whole = inputs / 4, stride = int64_t{vectors} * LANES * 4;
    const bool points = taps == 1;
    if (points) pack_points(rows, whole, stride, to);
    std::vector<uint8_t> lines(size_t(taps) * LANES * 4);
    for (int64_t k = points ? whole : 0; k < steps; ++k) {
        if (k == whole) std::ranges::fill(lines, uint8_t{0});
        if (k < whole && taps == 9)
            gather(rows, 4 * k, 4, 9, lines.data());  // constants: the loops vanish
        else
            gather(rows, 4 * k, k < whole ? 4 : inputs % 4, taps, lines.data());
        for (int t = 0; t < taps; ++t) std::memcpy(to + (t * steps + k) * stride, &lines[size_t(t) * LANES * 4], LANES * 4);
    }
}

void pack_panels(PackedLayer& layer, const int8_t* weight, int inputs) {
    const int taps = layer.kernel_height * layer.kernel_width;
    for (const Panel& panel : layer.panels)
        for (int v = 0; v < panel.vectors; ++v) {
            Rows rows;
            for (int lane = 0; lane < LANES; ++lane) {
                const int j = column(panel.vectors, v, lane);
                rows[lane] = j < panel.columns ? weight + int64_t{panel.first + j} * inputs * taps : nullptr;
            }
            uint8_t* const to = layer.weight.data() + panel.weight + int64_t{v} * LANES * 4;
            pack_vector(rows, inputs, taps, panel.vectors, to);
        }
}

// A row of taps as one tap of so many channels: [O, C, KH, KW] -> [O, KW * C, KH].
void pack_rows(PackedLayer& layer, const int8_t* weight, int inputs, Slab& slab) {
    const int height = layer.kernel_height, width = layer.kernel_width, row = width * inputs;
    std::vector<int8_t> rows(size_t(layer.out_channels) * row * height);
    for (int o = 0; o < layer.out_channels; ++o)
        for (int c = 0; c < inputs; ++c)
            for (int y = 0; y < height; ++y)
                for (int x = 0; x < width; ++x)
                    rows[(int64_t{o} * row + x * inputs + c) * height + y] = *weight++;
    layer.row_taps = width;
    layer.row_channels = inputs;
    layer.kernel_width = 1;
    layer.inputs = row;
    layer.depth = static_cast<int>(round_up(row, 4));
    lay_out(layer, slab);
    pack_panels(layer, rows.data(), row);
}

// What narrowing makes of each byte, less its midpoint.
std::array<uint8_t, 256> cuts(const PackedLayer& layer, int width) {
    const int e = layer.weight_exponent[width];
    std::array<uint8_t, 256> cut;
    for (int q = 0; q < 256; ++q)
        cut[q] = static_cast<uint8_t>(
            dqt_narrow_weight(static_cast<int8_t>(q), layer.master, width, e, layer.nearest, 0));
    if (!layer.nearest)
        for (uint8_t& each : cut) each &= dqt_weight_mask(layer.weight_shift(width));
    return cut;
}

// Sums of each channel's narrowed weights, each a cut and a midpoint.
Constants<int32_t> weight_sums(const PackedLayer& layer, const int8_t* weight, int count, int taps, int width) {
    const auto cut = cuts(layer, width);
    const auto mask = static_cast<int8_t>(dqt_weight_mask(layer.weight_shift(width)));
    const bool plain = !layer.nearest && layer.weight_exponent[width] == 0;
    int64_t midpoints = 0;
    for (int i = 0; i < count; ++i) midpoints += layer.midpoint(width, layer.by_tap ? i : i / taps);
    return by_lane<int32_t>(layer, false, [&](int o) {
        const int8_t* row = weight + int64_t{o} * count;
        int32_t sum = 0;  // it fits: the proof that an accumulator does holds for larger codes
        if (plain)
            for (int i = 0; i < count; ++i) sum += static_cast<int8_t>(row[i] & mask);
        else
            for (int i = 0; i < count; ++i) sum += static_cast<int8_t>(cut[static_cast<uint8_t>(row[i])]);
        return static_cast<int32_t>(sum + midpoints);
    });
}

// What accumulators start from at one width of the weights, to each exponent of the input that there is.
void append_starts(PackedLayer& layer, const int8_t* weight, int count, int taps, int width) {
    Constants<int32_t> sums(layer.lanes);
    if (layer.zero != 0) sums = weight_sums(layer, weight, count, taps, width);
    for (size_t e = 0; e < layer.start.size(); ++e) {
        Constants<int32_t>& to = layer.start[e].emplace_back(layer.lanes);
        const int64_t zero = layer.zero >> e;
        for (int64_t i = 0; i < layer.lanes; ++i) to[i] = static_cast<int32_t>(-zero * sums[i]);
    }
}

// [block][column][quad of rows][vector][16][4], see DepthwiseRow.
void pack_depthwise(PackedLayer& layer, const int8_t* weight) {
    const int height = layer.kernel_height, width = layer.kernel_width, quads = (height + 3) / 4;
    const int blocks = (layer.out_channels + 63) / 64;
    for (int b = 0; b < blocks; ++b)
        layer.panels.push_back({0, b * 64, std::min(64, layer.out_channels - b * 64), 4, 0, b * 64});
    layer.lanes = int64_t{blocks} * 64;
    layer.weight = Bytes(size_t(blocks) * 64 * width * quads * 4);
    auto* data = reinterpret_cast<int8_t*>(layer.weight.data());
    for (int b = 0; b < blocks; ++b)
        for (int v = 0; v < 4; ++v)
            for (int lane = 0; lane < LANES; ++lane) {
                const int channel = b * 64 + column(4, v, lane);
                if (channel >= layer.out_channels) continue;
                for (int i = 0; i < height; ++i)
                    for (int j = 0; j < width; ++j)
                        data[((((int64_t{b} * width + j) * quads + i / 4) * 4 + v) * LANES + lane) * 4 + i % 4] =
                            weight[(int64_t{channel} * height + i) * width + j];
            }
}

// The largest sum of the positive weights of an output, or of its negative ones. In parts that fit 16 bits, which compilers
// turn into vectors of eight.
int64_t most_sum(const int8_t* weight, int outputs, int count) {
    constexpr int PART = 128;
    int64_t most = 0;
    for (int o = 0; o < outputs; ++o, weight += count) {
        int64_t sum = 0, size = 0;
        for (int first = 0; first < count; first += PART) {
            const int end = std::min(count, first + PART);
            int16_t part = 0;
            uint16_t reach = 0;
            for (int i = first; i < end; ++i) {
                part = static_cast<int16_t>(part + weight[i]);
                reach = static_cast<uint16_t>(reach + std::abs(weight[i]));
            }
            sum += part, size += reach;
        }
        most = std::max(most, (size + std::abs(sum)) / 2);
    }
    return most;
}

}  // namespace

InputRange PackedLayer::input(int width) const {
    const int e = input_exponent[width];
    return {{master - e, input_shift(width)}, zero - (zero >> e), e > 0};
}

// Of the midpoint rule, saturation alone: kernels cut low bits off. The nearest rule rounds, and ends at its last code.
Clip PackedLayer::clip(int width) const {
    const int s = weight_shift(width), half = 1 << (master - 1 - weight_exponent[width]);
    if (!nearest) return {-half, half - 1, 0, 0xFF};
    return {-half, ((1 << (width - 1)) - 1) << s, (1 << s) >> 1, dqt_weight_mask(s)};
}

Narrowing PackedLayer::narrowing(int width) const {
    if (aside(width)) return {~0u, {0, 0}, false};
    const int s = weight_shift(width);
    const uint32_t mask = dqt_weight_mask(s) * 0x01010101u;
    const uint32_t even = midpoint(width, 0), odd = midpoint(width, 1);
    if (depthwise && kernel_width % 2) {  // the tap's parity is that of its row plus its column
        const uint32_t rows = even | odd << 8 | even << 16 | odd << 24;
        return {mask, {rows, odd | even << 8 | odd << 16 | even << 24}, s > 0};
    }
    if (by_tap) return {mask, {even * 0x01010101u, odd * 0x01010101u}, s > 0};
    const uint32_t lanes = even | odd << 8 | even << 16 | odd << 24;
    return {mask, {lanes, lanes}, s > 0};
}

// Saturated and cut, byte by byte; then midpoints, which depend on the place: 0 where there is no weight.
void PackedLayer::narrow_aside(int width, const Panel& panel, const Kernels& kernels, uint8_t* out) const {
    const std::array<uint8_t, 256> cut = cuts(*this, width);
    const int lanes = panel.vectors * LANES;
    uint8_t* to = out + panel.weight;
    kernels.table(weight.data() + panel.weight, to, panel_bytes(panel), cut.data());
    if (nearest || weight_shift(width) == 0) return;
    for (int t = 0; t < kernel_height; ++t)
        for (int k = 0; k < depth / 4; ++k) {
            uint32_t middle = 0;
            for (int i = 4 * k; i < std::min(4 * k + 4, inputs); ++i) {
                const int index = by_tap ? t * row_taps + i : i % row_channels;
                middle |= static_cast<uint32_t>(midpoint(width, index)) << 8 * (i - 4 * k);
            }
            for (int lane = 0; lane < lanes; ++lane, to += 4) {
                uint32_t four;
                std::memcpy(&four, to, 4);
                four |= middle;
                std::memcpy(to, &four, 4);
            }
        }
}

Rounding PackedLayer::rounding(int row, int64_t at) const {
    const size_t k = m.size() == 1 ? 0 : row;
    return {m[k].data() + at, c[k].data() + at, shift, lo, hi};
}

PackedLayer pack(const Packed& op, int groups, Packing packing, int zero, const Space& space, Slab& slab) {
    const Array<int8_t>& weight = op.weight;
    const Requant& requant = op.requant;
    const bool linear = weight.shape.size() == 2;
    PackedLayer layer;
    layer.out_channels = static_cast<int>(weight.shape[0]);
    const int inputs = static_cast<int>(weight.shape[1]);
    layer.kernel_height = linear ? 1 : static_cast<int>(weight.shape[2]);
    layer.kernel_width = linear ? 1 : static_cast<int>(weight.shape[3]);
    layer.inputs = inputs;
    layer.depth = static_cast<int>(round_up(inputs, 4));
    layer.groups = groups;
    layer.depthwise = packing == Packing::depthwise;
    layer.master = space.master;
    layer.zero = zero;
    layer.by_tap = inputs == 1 && !linear;
    layer.nearest = op.nearest;
    for (size_t i = 0; i < space.widths.size(); ++i) {
        const int width = space.widths[i];
        if (!op.weight_exponents.empty()) layer.weight_exponent[width] = static_cast<uint8_t>(op.weight_exponents[i]);
        if (!op.input_exponents.empty()) layer.input_exponent[width] = static_cast<uint8_t>(op.input_exponents[i]);
    }
    layer.shift = requant.shift;
    layer.lo = requant.lo;
    layer.hi = requant.hi;
    const int taps = layer.kernel_height * layer.kernel_width;
    switch (packing) {
        case Packing::panels: lay_out(layer, slab); pack_panels(layer, weight.data.data(), inputs); break;
        case Packing::rows: pack_rows(layer, weight.data.data(), inputs, slab); break;
        case Packing::depthwise: pack_depthwise(layer, weight.data.data()); break;
        case Packing::slices: pack_sliced(layer, weight.data.data(), inputs, slab); break;
    }
    if (layer.kernel_height == 3 && layer.kernel_width == 3 && !layer.depthwise)
        layer.most_sum = most_sum(weight.data.data(), layer.out_channels, inputs * taps);
    layer.start.resize(zero == 0 ? 1 : 1 + *std::ranges::max_element(layer.input_exponent));
    for (const int width : space.widths) append_starts(layer, weight.data.data(), inputs * taps, taps, width);
    for (int64_t row = 0; row < requant.m.shape[0]; ++row) {
        const int64_t at = row * layer.out_channels;
        layer.m.push_back(by_lane<int32_t>(layer, false, [&](int o) { return requant.m.data[at + o]; }));
        layer.c.push_back(by_lane<int64_t>(layer, true, [&](int o) { return requant.c.data[at + o]; }));
    }
    return layer;
}

}  // namespace dqt
