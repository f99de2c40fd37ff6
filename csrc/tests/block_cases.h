// Random blocks for kernels_test.cc: their numbers, what a kernel gets, what it should give.
#pragma once

#include <cstring>

#include "../cpu/pairs.h"
#include "plain_formulas.h"

namespace dqt {
namespace {

// The shape of one block and its numbers; weights are [tap][depth][column].
struct BlockCase {
    int vectors, rows, tap_count, depth, columns, stored;
    bool wide, with_residual;
    Narrow narrow_out = random_narrow();  // where the kernels narrow what they store
    NarrowWeights narrow;
    int input_shift = static_cast<int>(std::max<int64_t>(0, pick(-7, 7)));
    int ragged = 0;                  // bytes at the end of every segment that are no codes of it: their weights are 0
    std::vector<int64_t> taps;
    std::vector<int32_t> start;
    std::vector<int8_t> weight, panel;
    std::vector<Codes> in, other;
    Scale scale;
    Residual residual = random_residual();

    BlockCase(int vectors, int rows, bool narrowed, int most_taps = 9, int most_weight = 128)
        : vectors(vectors), rows(rows), tap_count(std::min(most_taps, one_of({1, 1, 2, 3, 9}))),
          depth(4 * static_cast<int>(chance(20) ? pick(60, 140) : pick(1, 20))),
          columns(static_cast<int>(chance(50) ? 16 * vectors : pick(1, 16 * vectors))),
          stored(chance(50) ? columns : static_cast<int>(pick(columns, 16 * vectors))), wide(chance(20)),
          with_residual(chance(40)), narrow(narrowed ? static_cast<int>(pick(1, 7)) : 0),
          scale(16 * vectors, int64_t{tap_count} * depth * 255 * 40, wide) {
        const int64_t lanes = 16 * vectors;
        for (int t = 0; t < tap_count; ++t) taps.push_back(int64_t{pick(0, 3)} * depth + pick(0, 7));
        const auto size = static_cast<int>(*std::max_element(taps.begin(), taps.end())) + depth + READ_SLACK;
        for (int64_t i = 0; i < lanes; ++i) start.push_back(static_cast<int32_t>(pick(-1 << 24, 1 << 24)));
        weight = numbers<int8_t>(int64_t{tap_count} * depth * lanes, -most_weight, most_weight - 1);
        for (int i = 0; i < rows; ++i) {
            in.push_back(numbers<uint8_t>(size, 0, 255));
            for (uint8_t& each : in.back()) each = static_cast<uint8_t>(each >> input_shift << input_shift);
            other.push_back(numbers<uint8_t>(columns, 0, 255));
        }
        if (!narrowed && chance(50)) follow(static_cast<int>(pick(1, 3)));
        panel.resize(weight.size());
        for (int64_t k = 0; k < int64_t{tap_count} * depth; ++k)
            for (int v = 0; v < vectors; ++v)
                for (int lane = 0; lane < 16; ++lane) {
                    const int64_t at = ((k / 4 * vectors + v) * 16 + lane) * 4 + k % 4;
                    panel[at] = weight[k * lanes + column(vectors, v, lane)];
                }
    }
    // Has each segment end in bytes of something else, with low bits: the same ones for all, so that no other reads them.
    void follow(int bytes) {
        ragged = bytes;
        std::fill(taps.begin(), taps.end(), taps[0]);
        const int64_t lanes = 16 * vectors;
        for (int k = depth - ragged; k < depth; ++k) {
            for (int t = 0; t < tap_count; ++t)
                std::fill_n(weight.begin() + (int64_t{t} * depth + k) * lanes, lanes, int8_t{0});
            for (Codes& row : in) row[taps[0] + k] = static_cast<uint8_t>(pick(0, 255));
        }
    }
    size_t out_bytes() const { return size_t(16) * vectors * (wide ? 4 : 1) + 2 * GUARD; }

    std::vector<int8_t> narrowed() const {  // the weights
        std::vector<int8_t> result(weight.size());
        const int64_t lanes = 16 * vectors;
        for (int64_t k = 0; k < int64_t{tap_count} * depth; ++k)
            for (int64_t at = k * lanes; at < (k + 1) * lanes; ++at)
                result[at] = static_cast<int8_t>(narrow.of(weight[at], static_cast<int>(k / depth), k % depth % 4));
        return result;
    }
    std::vector<Codes> expected(bool narrows) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED));
        const std::vector<int8_t> weights = narrowed();
        for (int i = 0; i < rows; ++i)
            for (int v = 0; v < vectors; ++v)
                for (int lane = 0; lane < 16; ++lane) {
                    const int j = column(vectors, v, lane);
                    if (j >= stored) continue;
                    int64_t acc = start[v * 16 + lane];
                    const int64_t lanes = 16 * vectors;
                    for (int t = 0; t < tap_count; ++t)
                        acc += sum_of_products(&in[i][taps[t]], &weights[int64_t{t} * depth * lanes + j], lanes, depth);
                    int64_t y = scale(acc, v * 16, lane);
                    if (!wide && with_residual && j < columns) y = residual_of(y, other[i][j], residual);
                    if (!wide && narrows) y = nearest(y, narrow_out.n, narrow_out.s);
                    const auto value = static_cast<int32_t>(j < columns ? y : 0);
                    if (wide) std::memcpy(out[i].data() + GUARD + 4 * j, &value, 4);
                    else out[i][GUARD + j] = static_cast<uint8_t>(value);
                }
        return out;
    }
    std::vector<Codes> got(BlockKernel kernel) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED));
        kernel(filled(out));
        return out;
    }
    // What a second block makes of the weights that the first has kept, in another panel or where it found them.
    std::vector<Codes> got_kept(const Kernels& kernels, bool in_place) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED));
        std::vector<int8_t> copy = panel, kept(panel.size());
        Block b = filled(out);
        b.panel = b.next = copy.data();
        b.kept = in_place ? copy.data() : kept.data();
        kernels.block[vectors / 2][1][rows - 1](b);
        for (Codes& each : out) std::ranges::fill(each, UNTOUCHED);
        b.panel = b.next = b.kept;
        kernels.block[vectors / 2][0][rows - 1](b);
        return out;
    }
    // The same by a panel whose channels stand in pairs.
    std::vector<Codes> got_in_pairs(const Kernels& kernels) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED));
        const int steps = tap_count * depth / 4;
        Pairs pairs;
        choose_pairs(panel.data(), vectors, steps, pairs);
        Bytes scratch(pair_scratch(vectors, steps));
        const PairedPanel made = paired(kernels, pairs, panel.data(), 0, vectors, steps, scratch.data());
        Block b = filled(out);
        b.paired = &made;
        kernels.block[vectors / 2][0][rows - 1](b);
        return out;
    }
    Block filled(std::vector<Codes>& out) const {
        Block b{};
        for (int i = 0; i < rows; ++i) {
            if (i < MAX_ROWS) b.in[i] = in[i].data();
            b.out[i] = out[i].data() + GUARD;
            b.other[i] = other[i].data();
        }
        b.taps = taps.data();
        b.tap_count = tap_count;
        b.depth = depth;
        b.panel = panel.data();
        b.mask = narrow.mask;
        std::copy_n(narrow.middle, 2, b.middle);
        b.start = start.data();
        b.rounding = scale.rounding();
        b.residual = !wide && with_residual ? &residual : nullptr;
        b.columns = columns;
        b.stored = stored;
        b.wide = wide;
        b.input_shift = input_shift;
        b.product_bits = __builtin_popcount(narrow.mask & 0xFF) + 8 - input_shift;
        if (!wide) b.narrow = narrow_out;
        return b;
    }
    std::string name() const {
        char text[240];
        std::snprintf(text, sizeof text,
                      "block of %d vectors, %d rows, %d taps, depth %d, %d columns, %d stored%s%s, shift %d, "
                      "mask %08x, inputs shifted by %d but the last %d of a tap, narrowed to %d bits by %d",
                      vectors, rows, tap_count, depth, columns, stored, wide ? ", wide" : "",
                      with_residual ? ", residual" : "", scale.shift, narrow.mask, input_shift, ragged, narrow_out.n,
                      narrow_out.s);
        return text;
    }
};

// A block of one tap whose panel is cut into slices, as few as its width needs: what lies past them is not there.
struct SlicedCase : BlockCase {
    int bits, slices;
    int64_t slice;
    std::vector<int8_t> cut;
    bool clips = chance(50);

    SlicedCase(int rows, bool narrowed) : BlockCase(4, rows, narrowed, 1) {
        for (Codes& each : in) each.erase(each.begin(), each.begin() + taps[0]);
        taps[0] = 0;
        bits = __builtin_popcount(narrow.mask & 0xFF);
        const bool nearest = clips && chance(50);
        if (clips) narrow.read(integer(0, std::clamp(bits - 2, 0, 2)), nearest);
        slices = (std::min(8, bits + nearest) + 1) / 2;
        const int64_t bytes = (depth + 15) / 16 * 256;
        slice = bytes + 64 * pick(0, 3);
        cut = numbers<int8_t>((slices - 1) * slice + bytes, -128, 127);
        for (int j = 0; j < slices; ++j)
            for (int64_t k = 0; k < depth; ++k)
                for (int at = 0; at < 64; ++at) {  // dwords of the panel
                    const auto w = static_cast<uint8_t>(panel[(k / 4 * 64 + at) * 4 + k % 4]);
                    const int two = w >> (6 - 2 * j) & 3, low = static_cast<int>(k / 4 % 4 * 2);
                    auto& to = cut[j * slice + k / 16 * 256 + at * 4 + k % 4];
                    to = static_cast<int8_t>((to & ~(3 << low)) | two << low);
                }
    }
    const SlicedForms& form(const SlicedKernels& kernels) const { return clips ? kernels.clipping : kernels.plain; }
    std::vector<Codes> got(const SlicedKernels& kernels) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED));
        form(kernels).block[slices - 1][rows - 1](sliced(out));
        return out;
    }
    std::pair<Codes, Codes> unpacked(const SlicedKernels& kernels) const {  // and what is expected
        std::vector<Codes> out(rows, Codes(out_bytes()));
        std::pair<Codes, Codes> result{Codes(panel.size() + GUARD, UNTOUCHED), Codes(panel.size() + GUARD, UNTOUCHED)};
        form(kernels).unpack[slices - 1](sliced(out), reinterpret_cast<int8_t*>(result.first.data()));
        for (size_t i = 0; i < panel.size(); ++i)
            result.second[i] = static_cast<uint8_t>(narrow.of(panel[i], 0, static_cast<int>(i % 4)));
        return result;
    }

  private:
    Block sliced(std::vector<Codes>& out) const {
        Block b = filled(out);
        b.panel = cut.data();
        b.slice = slice;
        b.clip = narrow.clip;
        return b;
    }
};

// One or two panels of 64 columns at the few bits of a lookup; each row reads the records of as many pixels as there are taps.
struct LookupCase {
    int panels, rows, tap_count, depth, n, weight_bits, weight_shift, shift;  // `n`, `shift`: of activations
    bool narrowed, with_residual;
    std::vector<int8_t> weight;                  // [tap][depth][panel][64]
    std::vector<Codes> pixels, other;            // of each row: [tap][depth], [64 * panels]
    std::vector<int> columns, stored;
    std::vector<Scale> scales;
    Narrow narrow_out = random_narrow();
    Residual residual = random_residual();

    LookupCase(const LookupKernel& k, int panels, int rows)
        : panels(panels), rows(rows), tap_count(one_of({1, 1, 2, 9})), depth(4 * static_cast<int>(pick(2, 60))),
          n(one_of({k.activation_bits, 4, 7, 8, 8})), weight_bits(k.weight_bits), weight_shift(integer(0, 8 - weight_bits)),
          shift(n - k.activation_bits), narrowed(chance(50)), with_residual(chance(40)),
          weight(numbers<int8_t>(int64_t{tap_count} * depth * 64 * panels, -low(), low() - 1)) {
        const int most = shift ? 255 : (1 << n) - 1;  // more than n bits are the largest code
        for (int i = 0; i < rows; ++i) {
            pixels.push_back(numbers<uint8_t>(int64_t{tap_count} * depth, 0, most));
            for (uint8_t& each : pixels.back()) each = static_cast<uint8_t>(narrowed ? nearest(each, n, shift) : each);
            other.push_back(numbers<uint8_t>(64 * panels, 0, 255));
        }
        for (int p = 0; p < panels; ++p) {
            columns.push_back(p + 1 < panels || chance(50) ? 64 : static_cast<int>(pick(1, 64)));
            stored.push_back(chance(50) ? columns[p] : static_cast<int>(pick(columns[p], 64)));
            scales.emplace_back(64, int64_t{tap_count} * depth << 8, false);
        }
    }
    int low() const { return 1 << (weight_bits - 1 + weight_shift); }  // of weights, which lie in [-low, low)
    int weight_of(int64_t k, int weight) const {
        const int w = weight >> weight_shift << weight_shift;
        return weight_shift ? w + (1 << (weight_shift - 1)) - static_cast<int>(k % 2) : w;
    }
    std::vector<Codes> expected() const {
        std::vector<Codes> out(rows, Codes(64 * panels + 2 * GUARD, UNTOUCHED));
        const int64_t lanes = 64 * panels, count = int64_t{tap_count} * depth;
        std::vector<int32_t> codes(count), weights(count * lanes);
        for (int64_t k = 0; k < count; ++k)
            for (int64_t at = k * lanes; at < (k + 1) * lanes; ++at) weights[at] = weight_of(k % depth, weight[at]);
        for (int i = 0; i < rows; ++i) {
            for (int64_t k = 0; k < count; ++k) codes[k] = static_cast<int32_t>(nearest(pixels[i][k], n, shift));
            for (int p = 0; p < panels; ++p)
                for (int at = 0; at < 64; ++at) {
                    const int j = column(4, at / 16, at % 16);
                    if (j >= stored[p]) continue;
                    const int64_t acc = sum_of_products(codes.data(), &weights[64 * p + j], lanes, count);
                    int64_t y = scales[p](acc, at / 16 * 16, at % 16);
                    if (with_residual) y = residual_of(y, other[i][64 * p + j], residual);
                    out[i][GUARD + 64 * p + j] = static_cast<uint8_t>(j < columns[p] ? nearest(y, narrow_out.n, narrow_out.s) : 0);
                }
        }
        return out;
    }
    std::vector<Codes> got(const LookupKernel& k) const {
        std::vector<Codes> out(rows, Codes(64 * panels + 2 * GUARD, UNTOUCHED)), records(rows);
        const int record = k.record(depth), middle = weight_shift ? 1 << (weight_shift - 1) : 0;
        std::vector<int64_t> taps;
        for (int t = 0; t < tap_count; ++t) taps.push_back(int64_t{t} * record);
        Codes index(int64_t{tap_count} * k.codes(depth) * 64 * panels);
        LookupBlock b{};
        for (int p = 0; p < panels; ++p) {
            std::vector<int8_t> panel(int64_t{tap_count} * depth * 64);
            for (int64_t i = 0; i < int64_t{tap_count} * depth; ++i)
                for (int at = 0; at < 64; ++at)
                    panel[(i / 4 * 64 + at) * 4 + i % 4] = weight[i * 64 * panels + 64 * p + column(4, at / 16, at % 16)];
            k.index(panel.data(), tap_count, depth, weight_shift, index.data() + 64 * p, 64 * panels);
            b.ends[p].rounding = scales[p].rounding();
            b.ends[p].residual = with_residual ? &residual : nullptr;
            b.ends[p].columns = columns[p];
            b.ends[p].stored = stored[p];
            b.ends[p].narrow = narrow_out;
        }
        for (int i = 0; i < rows; ++i) {
            records[i].resize(int64_t{tap_count} * record);
            k.encode[narrowed](pixels[i].data(), depth, tap_count, depth, n, shift, middle - low(),
                               middle - (weight_shift ? 1 : 0) - low(), records[i].data());
            b.ends[0].in[i] = records[i].data();
            for (int p = 0; p < panels; ++p) {
                b.ends[p].out[i] = out[i].data() + GUARD + 64 * p;
                b.ends[p].other[i] = other[i].data() + 64 * p;
            }
        }
        b.ends[0].taps = taps.data();
        b.ends[0].tap_count = tap_count;
        b.ends[0].depth = k.codes(depth);
        b.ends[0].next = chance(50) ? weight.data() : nullptr;
        b.index = index.data();
        b.shift = weight_shift + shift;
        b.middle_shift = shift;
        k.block(b, panels, rows);
        return out;
    }
};

}  // namespace
}  // namespace dqt
