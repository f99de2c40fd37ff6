#include "layer.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <cstring>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "../arith.h"

namespace dqt {
namespace {

constexpr size_t SLACK = 4096 + 256;           // kernels prefetch a page ahead and read whole vectors
constexpr size_t HUGE_PAGE = size_t{2} << 20;  // weights that stream from memory come a tenth faster from huge pages
constexpr int64_t SLICE_GAP = 1024;            // no two slices a power of two apart

int vectors_for(int columns) { return columns > 32 ? 4 : columns > 16 ? 2 : 1; }

// The panels of every group, largest first.
void lay_out(PackedLayer& layer) {
    const int taps = layer.kernel_height * layer.kernel_width, of_group = layer.out_channels / layer.groups;
    int64_t bytes = 0;
    for (int group = 0; group < layer.groups; ++group)
        for (int first = 0; first < of_group; first += 64) {
            const int columns = std::min(64, of_group - first), vectors = vectors_for(columns);
            layer.panels.push_back({group, group * of_group + first, columns, vectors, bytes, layer.lanes});
            bytes += int64_t{taps} * layer.depth * vectors * LANES + 64;  // no two panels a power of two apart
            layer.lanes += vectors * LANES;
        }
    layer.weight = Bytes(bytes, true);
}

// Panels of 64 columns, each slice of all of them contiguous: see SlicedKernels.
void pack_sliced(PackedLayer& layer, const int8_t* weight, int inputs) {
    const int64_t bytes = int64_t{layer.depth + SLICED_DEPTH - 1} / SLICED_DEPTH * 256;
    for (int first = 0; first < layer.out_channels; first += 64, layer.lanes += 64)
        layer.panels.push_back({0, first, std::min(64, layer.out_channels - first), 4, first / 64 * bytes, layer.lanes});
    layer.slice = static_cast<int64_t>(layer.panels.size()) * bytes + SLICE_GAP;
    layer.weight = Bytes(SLICES * layer.slice, true);
    for (const Panel& panel : layer.panels)
        for (int lane = 0; lane < 64; ++lane) {
            const int j = column(4, lane / LANES, lane % LANES);
            if (j >= panel.columns) continue;
            const int8_t* from = weight + int64_t{panel.first + j} * inputs;
            for (int i = 0; i < inputs; ++i) {
                uint8_t* to = layer.weight.data() + panel.weight + i / 16 * 256 + lane * 4 + i % 4;
                const auto w = static_cast<uint8_t>(from[i]);
                for (int s = 0; s < SLICES; ++s, to += layer.slice)
                    *to = static_cast<uint8_t>(*to | (w >> (6 - 2 * s) & 3) << i / 4 % 4 * 2);
            }
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

// [tap][step of four channels][vector][lane][4], a row of weights read once.
void pack_panels(PackedLayer& layer, const int8_t* weight, int inputs) {
    const int taps = layer.kernel_height * layer.kernel_width, steps = layer.depth / 4;
    for (const Panel& panel : layer.panels)
        for (int step = 0; step < steps; ++step)
            for (int v = 0; v < panel.vectors; ++v)
                for (int lane = 0; lane < LANES; ++lane) {
                    const int j = column(panel.vectors, v, lane), count = std::min(4, inputs - 4 * step);
                    if (j >= panel.columns) continue;
                    const int8_t* from = weight + (int64_t{panel.first + j} * inputs + 4 * step) * taps;
                    uint8_t* to = layer.weight.data() + panel.weight +
                                  ((int64_t{step} * panel.vectors + v) * LANES + lane) * 4;
                    for (int t = 0; t < taps; ++t, to += int64_t{steps} * panel.vectors * LANES * 4)
                        for (int i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(from[i * taps + t]);
                }
}

// A row of taps as one tap of so many channels: [O, C, KH, KW] -> [O, KW * C, KH].
void pack_rows(PackedLayer& layer, const int8_t* weight, int inputs) {
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
    lay_out(layer);
    pack_panels(layer, rows.data(), row);
}

// What an accumulator starts from: -zero times the sum of a channel's narrowed weights, each a cut and a midpoint.
Constants<int32_t> starts(const PackedLayer& layer, const int8_t* weight, int count, int taps, int width, int zero) {
    if (zero == 0) return Constants<int32_t>(layer.lanes);
    const int s = layer.master - width - layer.weight_exponent[width];
    const auto cut = layer.cuts(width);
    const auto mask = static_cast<int8_t>(dqt_weight_mask(s));
    int64_t midpoints = 0;
    for (int i = 0; i < count && !layer.nearest; ++i) midpoints += dqt_midpoint(s, layer.by_tap ? i : i / taps);
    return by_lane<int32_t>(layer, false, [&](int o) {
        const int8_t* row = weight + int64_t{o} * count;
        int32_t sum = 0;  // it fits: the proof that an accumulator does holds for larger codes
        if (layer.plain_weights(width))
            for (int i = 0; i < count; ++i) sum += static_cast<int8_t>(row[i] & mask);
        else
            for (int i = 0; i < count; ++i) sum += static_cast<int8_t>(cut[static_cast<uint8_t>(row[i])]);
        return static_cast<int32_t>(-zero * (sum + midpoints));
    });
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

}  // namespace

Bytes::Bytes(size_t size, bool streamed) : size_(round_up(size + SLACK, LINE)) {
    const size_t unit = streamed && size_ >= HUGE_PAGE ? HUGE_PAGE : LINE;
    void* p = nullptr;  // aligned_alloc would round the size up to whole units: resident, and nobody's
    if (posix_memalign(&p, unit, size_) != 0) throw std::bad_alloc();
    data_.reset(static_cast<uint8_t*>(p));
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    if (unit == HUGE_PAGE) madvise(data_.get(), size_ / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE);  // a wish: it may fail
#endif
    std::memset(data_.get(), 0, size_);
}

bool Bytes::holds(size_t size) const { return size_ >= static_cast<size_t>(round_up(size + SLACK, LINE)); }

void Bytes::Free::operator()(uint8_t* p) const { std::free(p); }

Narrowing PackedLayer::narrowing(int width) const {
    if (aside(width)) return {~0u, {0, 0}, false};
    const int s = master - width;
    const uint32_t mask = dqt_weight_mask(s) * 0x01010101u;
    const uint32_t even = dqt_midpoint(s, 0), odd = dqt_midpoint(s, 1);
    if (depthwise && kernel_width % 2) {  // the tap's parity is that of its row plus its column
        const uint32_t rows = even | odd << 8 | even << 16 | odd << 24;
        return {mask, {rows, odd | even << 8 | odd << 16 | even << 24}, s > 0};
    }
    if (by_tap) return {mask, {even * 0x01010101u, odd * 0x01010101u}, s > 0};
    const uint32_t lanes = even | odd << 8 | even << 16 | odd << 24;
    return {mask, {lanes, lanes}, s > 0};
}

std::array<uint8_t, 256> PackedLayer::cuts(int width) const {
    const int e = weight_exponent[width];
    std::array<uint8_t, 256> cut;
    for (int q = 0; q < 256; ++q)
        cut[q] = static_cast<uint8_t>(dqt_narrow_weight(static_cast<int8_t>(q), master, width, e, nearest, 0));
    if (!nearest)
        for (uint8_t& each : cut) each &= dqt_weight_mask(master - width - e);
    return cut;
}

// Saturated and cut, byte by byte; then midpoints, which depend on the place: 0 where there is no weight.
void PackedLayer::narrow_aside(int width, const Panel& panel, const Kernels& kernels, uint8_t* out) const {
    const int s = master - width - weight_exponent[width];
    const std::array<uint8_t, 256> cut = cuts(width);
    // Steps of four channels, or for depthwise layers of four rows of a column: [taps or columns][steps][lanes][4].
    const int quads = (kernel_height + 3) / 4, lanes = panel.vectors * LANES;
    const int outer = depthwise ? kernel_width : kernel_height * kernel_width, inner = depthwise ? quads : depth / 4;
    const int64_t first = depthwise ? panel.at * kernel_width * quads * 4 : panel.weight;
    kernels.table(weight.data() + first, out + first, int64_t{outer} * inner * lanes * 4, cut.data());
    if (nearest || s == 0) return;
    const auto index = [&](int t, int i) {  // of the midpoint
        if (depthwise) return i * kernel_width + t;
        if (row_taps) return by_tap ? t * row_taps + i : i % row_channels;
        return by_tap ? t : i;
    };
    uint8_t* to = out + first;
    for (int t = 0; t < outer; ++t)
        for (int k = 0; k < inner; ++k) {
            uint32_t middle = 0;
            for (int i = 4 * k; i < std::min(4 * k + 4, depthwise ? kernel_height : inputs); ++i)
                middle |= uint32_t{dqt_midpoint(s, index(t, i))} << 8 * (i - 4 * k);
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

bool Packed::plain() const {
    return !nearest && std::ranges::all_of(weight_exponents, [](int64_t e) { return e == 0; });
}

PackedLayer pack(const Packed& op, int groups, Packing packing, int zero, const Space& space) {
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
        case Packing::panels: lay_out(layer); pack_panels(layer, weight.data.data(), inputs); break;
        case Packing::rows: pack_rows(layer, weight.data.data(), inputs); break;
        case Packing::depthwise: pack_depthwise(layer, weight.data.data()); break;
        case Packing::slices: pack_sliced(layer, weight.data.data(), inputs); break;
    }
    for (const int width : space.widths)
        layer.start.push_back(starts(layer, weight.data.data(), inputs * taps, taps, width, zero));
    for (int64_t row = 0; row < requant.m.shape[0]; ++row) {
        const int64_t at = row * layer.out_channels;
        layer.m.push_back(by_lane<int32_t>(layer, false, [&](int o) { return requant.m.data[at + o]; }));
        layer.c.push_back(by_lane<int64_t>(layer, true, [&](int o) { return requant.c.data[at + o]; }));
    }
    return layer;
}

}  // namespace dqt
