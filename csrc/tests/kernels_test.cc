// Every kernel set that runs here against formulas written plainly below: equality, on random and extreme numbers.
//
//   kernels_test [cases [set...]]
//
// Prints one line for each set of kernels.inc; the exit status is 1 after the first difference. Inputs lie in
// allocations of exactly their size, so that a sanitizer sees every read too far; around outputs lie guard bytes.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <vector>

#include "../kernels.h"

namespace {

using namespace dqt;
using Codes = std::vector<uint8_t>;

constexpr int GUARD = 64;
constexpr uint8_t UNTOUCHED = 0xA5;

std::mt19937_64 generator(1);

int64_t pick(int64_t lo, int64_t hi) { return std::uniform_int_distribution<int64_t>(lo, hi)(generator); }
int integer(int lo, int hi) { return static_cast<int>(pick(lo, hi)); }
bool chance(int percent) { return pick(1, 100) <= percent; }
template <class T>
T one_of(std::initializer_list<T> values) {
    return values.begin()[pick(0, static_cast<int64_t>(values.size()) - 1)];
}

// Random numbers, or extremes that saturate whatever can saturate.
template <class T>
std::vector<T> numbers(int64_t count, int lo, int hi) {
    std::vector<T> result(count);
    const int style = static_cast<int>(pick(0, 4));
    for (T& each : result) {
        each = static_cast<T>(style == 0 ? hi : style == 1 ? lo : pick(lo, hi));
        if (style == 2 && chance(90)) each = static_cast<T>(chance(50) ? lo : hi);
    }
    return result;
}

int64_t clamp(__int128 v, int64_t lo, int64_t hi) { return static_cast<int64_t>(v < lo ? lo : v > hi ? hi : v); }

// The nearest multiple of 2^s that n bits hold, ties upwards.
int64_t nearest(int64_t q, int n, int s) {
    const auto code = static_cast<int64_t>(std::floor(std::ldexp(static_cast<double>(q), -s) + (s ? 0.5 : 0.0)));
    return std::min<int64_t>(code, (1 << (n - s)) - 1) << s;
}

int64_t rounded(int64_t acc, int64_t m, int64_t c, int shift, int64_t lo, int64_t hi) {
    return clamp((static_cast<__int128>(acc) * m + c) >> shift, lo, hi);
}

[[noreturn]] void fail(const Kernels& k, const std::string& what, int64_t at, int64_t got, int64_t expected) {
    std::printf("%s: %s: element %lld is %lld, expected %lld\n", k.name, what.c_str(), static_cast<long long>(at),
                static_cast<long long>(got), static_cast<long long>(expected));
    std::exit(1);
}

void equal(const Kernels& k, const std::string& what, const Codes& got, const Codes& expected) {
    for (size_t i = 0; i < got.size(); ++i)
        if (got[i] != expected[i]) fail(k, what, static_cast<int64_t>(i), got[i], expected[i]);
}

// How weights are narrowed: mask, the two middles, and T_b of lane l at a tap of either parity.
struct NarrowWeights {
    uint32_t mask = 0xFFFFFFFF, middle[2] = {};

    explicit NarrowWeights(int s) {
        if (s == 0) return;
        const uint32_t even = 1u << (s - 1), odd = even - 1, style = static_cast<uint32_t>(pick(0, 2));
        mask = (0xFFu << s & 0xFF) * 0x01010101u;
        const uint32_t rows = even | odd << 8 | even << 16 | odd << 24;
        const uint32_t others = odd | even << 8 | odd << 16 | even << 24;
        middle[0] = style == 2 ? even * 0x01010101u : rows;
        middle[1] = style == 2 ? odd * 0x01010101u : style == 1 ? others : rows;
    }
    int of(int8_t w, int parity, int lane) const {
        const uint32_t bits = (static_cast<uint8_t>(w) & (mask & 0xFF)) | (middle[parity & 1] >> 8 * lane & 0xFF);
        return static_cast<int8_t>(bits);
    }
};

// m, c, shift and limits for `lanes` accumulators up to `most`.
struct Scale {
    std::vector<int32_t> m;
    std::vector<int64_t> c;
    int shift, lo, hi;

    Scale(int64_t lanes, int64_t most, bool wide) : m(lanes), c(lanes) {
        shift = chance(50) ? 32 : static_cast<int>(pick(1, 32));  // what the verifier lets pass
        const bool tame = chance(75);
        const double unit = std::ldexp(1.0, shift) * (wide ? 1e8 : 400.0) / static_cast<double>(most);
        for (int64_t i = 0; i < lanes; ++i) {
            const double factor = static_cast<double>(pick(-1000, 1000)) / 1000 * unit;
            const auto least = static_cast<int64_t>(INT32_MIN), largest = static_cast<int64_t>(INT32_MAX);
            m[i] = static_cast<int32_t>(tame ? std::clamp(factor, -2147483648.0, 2147483647.0) : pick(least, largest));
            const int64_t range = tame ? int64_t{512} << shift : int64_t{1} << 61;
            c[i] = pick(-range, range);
        }
        lo = static_cast<int>(wide ? (chance(50) ? INT32_MIN : pick(-100000, 0)) : one_of({0, 0, 3, 128}));
        hi = static_cast<int>(wide ? (chance(50) ? INT32_MAX : pick(0, 100000)) : one_of({255, 255, 15, 200, 128}));
        hi = std::max(lo, hi);
    }
    Rounding rounding() const { return {m.data(), c.data(), shift, lo, hi}; }
    // Of lane `lane` of the 16 from `at` on.
    int64_t operator()(int64_t acc, int64_t at, int lane) const {
        return rounded(acc, m[at + lane], c[at + lane % 2 * 8 + lane / 2], shift, lo, hi);
    }
};

Residual random_residual() {
    const auto shift = static_cast<int32_t>(pick(chance(50) ? 16 : 1, 32));
    const int64_t most = chance(75) ? std::min<int64_t>(int64_t{1} << shift, INT32_MAX) : INT32_MAX;
    const int64_t k1 = pick(-most, most), k2 = pick(-most, most);
    const int64_t k3 = pick(-(int64_t{256} << shift), int64_t{256} << shift);
    const int lo = one_of({0, 0, 5}), hi = one_of({255, 255, 15, 100});
    return {k1, k2, k3, shift, lo, hi};
}

int64_t residual_of(int64_t r, int64_t b, const Residual& k) {
    return clamp((static_cast<__int128>(k.k1) * r + static_cast<__int128>(k.k2) * b + k.k3) >> k.shift, k.lo, k.hi);
}

// The shape of one block and its numbers; weights are [tap][depth][column].
struct BlockCase {
    int vectors, rows, tap_count, depth, columns, stored;
    bool wide, with_residual;
    int narrow_out = static_cast<int>(std::max<int64_t>(0, pick(-7, 7)));  // where the kernels narrow what they store
    NarrowWeights narrow;
    std::vector<int32_t> taps, start;
    std::vector<int8_t> weight, panel;
    std::vector<Codes> in, other;
    Scale scale;
    Residual residual = random_residual();

    BlockCase(int vectors, int rows, bool narrowed, int most_taps = 9)
        : vectors(vectors), rows(rows), tap_count(std::min(most_taps, one_of({1, 1, 2, 3, 9}))),
          depth(4 * static_cast<int>(chance(20) ? pick(60, 140) : pick(1, 20))),
          columns(static_cast<int>(chance(50) ? 16 * vectors : pick(1, 16 * vectors))),
          stored(chance(50) ? columns : static_cast<int>(pick(columns, 16 * vectors))), wide(chance(20)),
          with_residual(chance(40)), narrow(narrowed ? static_cast<int>(pick(1, 7)) : 0),
          scale(16 * vectors, int64_t{tap_count} * depth * 255 * 40, wide) {
        const int64_t lanes = 16 * vectors;
        for (int t = 0; t < tap_count; ++t) taps.push_back(static_cast<int32_t>(pick(0, 3) * depth + pick(0, 7)));
        const int size = *std::max_element(taps.begin(), taps.end()) + depth;
        for (int64_t i = 0; i < lanes; ++i) start.push_back(static_cast<int32_t>(pick(-1 << 24, 1 << 24)));
        weight = numbers<int8_t>(int64_t{tap_count} * depth * lanes, -128, 127);
        for (int i = 0; i < rows; ++i) {
            in.push_back(numbers<uint8_t>(size, 0, 255));
            other.push_back(numbers<uint8_t>(columns, 0, 255));
        }
        panel.resize(weight.size());
        for (int64_t k = 0; k < int64_t{tap_count} * depth; ++k)
            for (int v = 0; v < vectors; ++v)
                for (int lane = 0; lane < 16; ++lane) {
                    const int64_t at = ((k / 4 * vectors + v) * 16 + lane) * 4 + k % 4;
                    panel[at] = weight[k * lanes + column(vectors, v, lane)];
                }
    }
    size_t out_bytes() const { return size_t(16) * vectors * (wide ? 4 : 1) + 2 * GUARD; }

    std::vector<Codes> expected(bool narrows) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED));
        for (int i = 0; i < rows; ++i)
            for (int v = 0; v < vectors; ++v)
                for (int lane = 0; lane < 16; ++lane) {
                    const int j = column(vectors, v, lane);
                    if (j >= stored) continue;
                    int64_t acc = start[v * 16 + lane];
                    for (int t = 0; t < tap_count; ++t)
                        for (int k = 0; k < depth; ++k)
                            acc += in[i][taps[t] + k] *
                                   narrow.of(weight[(int64_t{t} * depth + k) * 16 * vectors + j], t, k % 4);
                    int64_t y = scale(acc, v * 16, lane);
                    if (!wide && with_residual && j < columns) y = residual_of(y, other[i][j], residual);
                    if (!wide && narrows) y = nearest(y, 8, narrow_out);
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
    Block filled(std::vector<Codes>& out) const {
        Block b{};
        for (int i = 0; i < rows; ++i) {
            b.in[i] = in[i].data();
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
        if (!wide) b.narrow = {8, narrow_out};
        return b;
    }
    std::string name() const {
        char text[240];
        std::snprintf(text, sizeof text,
                      "block of %d vectors, %d rows, %d taps, depth %d, %d columns, %d stored%s%s, shift %d, "
                      "mask %08x, narrowed by %d",
                      vectors, rows, tap_count, depth, columns, stored, wide ? ", wide" : "",
                      with_residual ? ", residual" : "", scale.shift, narrow.mask, narrow_out);
        return text;
    }
};

// A set has the blocks of up to `most_rows` rows, and no others.
void test_list(const Kernels& k) {
    for (int kind = 0; kind < 3; ++kind)
        for (const bool narrowed : {false, true})
            for (int rows = 1; rows <= MAX_ROWS; ++rows)
                if ((k.block[kind][narrowed][rows - 1] != nullptr) != (rows <= k.most_rows[kind])) {
                    std::printf("%s: block of kind %d, %d rows: most_rows says otherwise\n", k.name, kind, rows);
                    std::exit(1);
                }
}

void test_blocks(const Kernels& k, int cases) {
    for (int kind = 0; kind < 3; ++kind)
        for (const bool narrowed : {false, true})
            for (int rows = 1; rows <= k.most_rows[kind]; ++rows)
                for (int n = 0; n < cases; ++n) {
                    const BlockCase each(1 << kind, rows, narrowed);
                    const auto expected = each.expected(k.narrows), got = each.got(k.block[kind][narrowed][rows - 1]);
                    for (int i = 0; i < rows; ++i)
                        equal(k, each.name() + ", row " + std::to_string(i), got[i], expected[i]);
                }
}

// A block of one tap whose panel is cut into slices, as few as its width needs: what lies past them is not there.
struct SlicedCase : BlockCase {
    int bits, slices;
    int64_t slice;
    std::vector<int8_t> cut;

    SlicedCase(int rows, bool narrowed) : BlockCase(4, rows, narrowed, 1) {
        for (Codes& each : in) each.erase(each.begin(), each.begin() + taps[0]);
        taps[0] = 0;
        bits = __builtin_popcount(narrow.mask & 0xFF);
        slices = (bits + 1) / 2;
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
    std::vector<Codes> got(const SlicedKernels& kernels) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED));
        kernels.block[slices - 1][rows - 1](sliced(out));
        return out;
    }
    std::pair<Codes, Codes> unpacked(const SlicedKernels& kernels) const {  // and what is expected
        std::vector<Codes> out(rows, Codes(out_bytes()));
        std::pair<Codes, Codes> result{Codes(panel.size() + GUARD, UNTOUCHED), Codes(panel.size() + GUARD, UNTOUCHED)};
        kernels.unpack[slices - 1](sliced(out), reinterpret_cast<int8_t*>(result.first.data()));
        for (size_t i = 0; i < panel.size(); ++i)
            result.second[i] = static_cast<uint8_t>(narrow.of(panel[i], 0, static_cast<int>(i % 4)));
        return result;
    }

  private:
    Block sliced(std::vector<Codes>& out) const {
        Block b = filled(out);
        b.panel = cut.data();
        b.slice = slice;
        return b;
    }
};

void test_sliced(const Kernels& k, int cases) {
    for (int rows = 1; k.sliced && rows <= SLICED_ROWS; ++rows)
        for (int n = 0; n < cases * 10; ++n) {
            const SlicedCase each(rows, chance(90));
            const std::string name = "sliced " + each.name();
            const auto expected = each.expected(k.narrows), got = each.got(*k.sliced);
            for (int i = 0; i < rows; ++i) equal(k, name + ", row " + std::to_string(i), got[i], expected[i]);
            const auto [panel, whole] = each.unpacked(*k.sliced);
            equal(k, name + ", unpacked", panel, whole);
        }
}

// One or two panels of 64 columns, two bits by two; each row reads the records of as many pixels as there are taps.
struct LookupCase {
    int panels, rows, tap_count, depth, n, s;
    bool narrowed, with_residual;
    std::vector<int8_t> weight;                  // [tap][depth][panel][64]
    std::vector<Codes> pixels, other;            // of each row: [tap][depth], [64 * panels]
    std::vector<int> columns, stored;
    std::vector<Scale> scales;
    int narrow_out = static_cast<int>(std::max<int64_t>(0, pick(-7, 7)));
    Residual residual = random_residual();

    LookupCase(int panels, int rows)
        : panels(panels), rows(rows), tap_count(one_of({1, 1, 2, 9})), depth(4 * static_cast<int>(pick(2, 60))),
          n(one_of({2, 4, 8, 8})), s(n - 2), narrowed(chance(50)), with_residual(chance(40)),
          weight(numbers<int8_t>(int64_t{tap_count} * depth * 64 * panels, -1 << (n - 1), (1 << (n - 1)) - 1)) {
        for (int i = 0; i < rows; ++i) {
            pixels.push_back(numbers<uint8_t>(int64_t{tap_count} * depth, 0, (1 << n) - 1));
            for (uint8_t& each : pixels.back()) each = static_cast<uint8_t>(narrowed ? nearest(each, n, s) : each);
            other.push_back(numbers<uint8_t>(64 * panels, 0, 255));
        }
        for (int p = 0; p < panels; ++p) {
            columns.push_back(p + 1 < panels || chance(50) ? 64 : static_cast<int>(pick(1, 64)));
            stored.push_back(chance(50) ? columns[p] : static_cast<int>(pick(columns[p], 64)));
            scales.emplace_back(64, int64_t{tap_count} * depth << n, false);
        }
    }
    int64_t weight_of(int t, int k, int j) const {
        const int w = weight[(int64_t{t} * depth + k) * 64 * panels + j] >> s << s;
        return s ? w + (1 << (s - 1)) - k % 2 : w;
    }
    std::vector<Codes> expected() const {
        std::vector<Codes> out(rows, Codes(64 * panels + 2 * GUARD, UNTOUCHED));
        for (int i = 0; i < rows; ++i)
            for (int p = 0; p < panels; ++p)
                for (int at = 0; at < 64; ++at) {
                    const int j = column(4, at / 16, at % 16);
                    if (j >= stored[p]) continue;
                    int64_t acc = 0;
                    for (int t = 0; t < tap_count; ++t)
                        for (int k = 0; k < depth; ++k)
                            acc += nearest(pixels[i][t * depth + k], n, s) * weight_of(t, k, 64 * p + j);
                    int64_t y = scales[p](acc, at / 16 * 16, at % 16);
                    if (with_residual) y = residual_of(y, other[i][64 * p + j], residual);
                    out[i][GUARD + 64 * p + j] = static_cast<uint8_t>(j < columns[p] ? nearest(y, 8, narrow_out) : 0);
                }
        return out;
    }
    std::vector<Codes> got(const LookupKernels& k) const {
        std::vector<Codes> out(rows, Codes(64 * panels + 2 * GUARD, UNTOUCHED)), records(rows);
        const int record = k.record(depth), middle = s ? 1 << (s - 1) : 0, low = 2 << s;
        std::vector<int32_t> taps;
        for (int t = 0; t < tap_count; ++t) taps.push_back(t * record);
        Codes index(int64_t{tap_count} * k.codes(depth) * 64 * panels);
        LookupBlock b{};
        for (int p = 0; p < panels; ++p) {
            std::vector<int8_t> panel(int64_t{tap_count} * depth * 64);
            for (int64_t i = 0; i < int64_t{tap_count} * depth; ++i)
                for (int at = 0; at < 64; ++at)
                    panel[(i / 4 * 64 + at) * 4 + i % 4] = weight[i * 64 * panels + 64 * p + column(4, at / 16, at % 16)];
            k.index(panel.data(), tap_count, depth, s, index.data() + 64 * p, 64 * panels);
            b.ends[p].rounding = scales[p].rounding();
            b.ends[p].residual = with_residual ? &residual : nullptr;
            b.ends[p].columns = columns[p];
            b.ends[p].stored = stored[p];
            b.ends[p].narrow = {8, narrow_out};
        }
        for (int i = 0; i < rows; ++i) {
            records[i].resize(int64_t{tap_count} * record);
            k.encode[narrowed](pixels[i].data(), depth, tap_count, depth, n, s, middle - low, middle - (s ? 1 : 0) - low,
                               records[i].data());
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
        b.shift = 2 * s;
        b.middle_shift = s;
        k.block(b, panels, rows);
        return out;
    }
};

void test_lookup(const Kernels& k, int cases) {
    for (int panels = 1; k.lookup && panels <= k.lookup->panels; ++panels)
        for (int rows = 1; rows <= k.lookup->rows[panels - 1]; ++rows)
            for (int i = 0; i < cases * 4; ++i) {
                const LookupCase each(panels, rows);
                char name[120];
                std::snprintf(name, sizeof name, "lookup of %d panels, %d rows, %d taps, depth %d, %d bits", panels, rows,
                              each.tap_count, each.depth, each.n);
                const auto expected = each.expected(), got = each.got(*k.lookup);
                for (int r = 0; r < rows; ++r) equal(k, name + (", row " + std::to_string(r)), got[r], expected[r]);
            }
}

void test_depthwise(const Kernels& k, int cases) {
    for (int n = 0; n < cases * 10; ++n) {
        const int height = chance(50) ? 3 : integer(1, 9), width = chance(50) ? 3 : integer(1, 7);
        const int channels = integer(1, 150), pixel = (channels + 3) / 4 * 4, count = integer(1, 9);
        const int stride = one_of({1, 1, 2}), dilation = one_of({1, 1, 2}), quads = (height + 3) / 4;
        const int blocks = (channels + 63) / 64, columns = (count - 1) * stride + (width - 1) * dilation + 1;
        const int64_t in_row = int64_t{columns} * pixel;
        const NarrowWeights narrow(static_cast<int>(pick(0, 7)));
        const Scale scale(blocks * 64, int64_t{height} * width * 255 * 40, false);
        const Codes in = numbers<uint8_t>(in_row * height, 0, 255);
        const auto weight = numbers<int8_t>(int64_t{blocks} * width * quads * 256, -128, 127);
        std::vector<int32_t> start(blocks * 64);
        for (int32_t& each : start) each = static_cast<int32_t>(pick(-1 << 20, 1 << 20));
        Codes got(count * pixel + 2 * GUARD, UNTOUCHED), expected = got;
        DepthwiseRow d{in.data(), got.data() + GUARD, in_row, dilation * pixel, stride * pixel, pixel, channels, count,
                       height, width, weight.data(), narrow.mask, {narrow.middle[0], narrow.middle[1]}, start.data(),
                       scale.rounding(), {8, static_cast<int>(std::max<int64_t>(0, pick(-7, 7)))}};
        k.depthwise(d);
        for (int p = 0; p < count; ++p)
            for (int at = 0; at < blocks * 64; ++at) {
                const int block = at / 64, v = at / 16 % 4, lane = at % 16, channel = block * 64 + column(4, v, lane);
                if (channel >= pixel) continue;
                int64_t acc = start[at];
                for (int j = 0; j < width; ++j)
                    for (int i = 0; i < height; ++i) {
                        const int64_t quad = (int64_t{block} * width + j) * quads + i / 4;
                        const int w = narrow.of(weight[((quad * 4 + v) * 16 + lane) * 4 + i % 4], j, i % 4);
                        acc += w * in[i * in_row + (p * stride + j * dilation) * pixel + channel];
                    }
                int64_t y = channel < channels ? scale(acc, at / 16 * 16, lane) : 0;
                if (k.narrows) y = nearest(y, 8, d.narrow.s);
                expected[GUARD + p * pixel + channel] = static_cast<uint8_t>(y);
            }
        equal(k, "depthwise " + std::to_string(height) + "x" + std::to_string(width) + ", " + std::to_string(channels) +
                     " channels, stride " + std::to_string(stride) + ", mask " + std::to_string(narrow.mask & 0xFF),
              got, expected);
    }
}

// out = f(0), f(1), ... between its guards, of elements of `each` bytes.
template <class Kernel, class F>
void test_codes(const Kernels& k, const std::string& what, int64_t count, const Kernel& kernel, const F& f) {
    Codes got(count + 2 * GUARD, UNTOUCHED), expected = got;
    kernel(got.data() + GUARD);
    for (int64_t i = 0; i < count; ++i) expected[GUARD + i] = static_cast<uint8_t>(f(i));
    equal(k, what, got, expected);
}

void test_narrow(const Kernels& k) {
    for (int n = 1; n <= 8; ++n)
        for (int s = 0; s < n; ++s)
            for (const int64_t count : {int64_t{0}, pick(1, 63), int64_t{64}, pick(65, 400)}) {
                Codes in(count);
                for (int64_t i = 0; i < count; ++i) in[i] = static_cast<uint8_t>(i & ((1 << n) - 1));
                const auto expected = [&](int64_t i) { return nearest(in[i], n, s); };
                const std::string what = "narrow " + std::to_string(n) + " bits by " + std::to_string(s);
                test_codes(k, what, count, [&](uint8_t* out) { k.narrow(in.data(), out, count, n, s); }, expected);
                test_codes(k, what + " in place", count, [&](uint8_t* out) {
                    std::copy(in.begin(), in.end(), out);
                    k.narrow(out, out, count, n, s);
                }, expected);
            }
}

void test_elements(const Kernels& k, int cases) {
    for (int n = 0; n < cases * 10; ++n) {
        const int64_t count = pick(0, 200);
        const Codes a = numbers<uint8_t>(count, 0, 255), b = numbers<uint8_t>(count, 0, 255);
        const Codes t = numbers<uint8_t>(256, 0, 255);
        const Residual r = random_residual();
        test_codes(k, "add", count, [&](uint8_t* out) { k.add(a.data(), b.data(), out, count, r); },
                   [&](int64_t i) { return residual_of(a[i], b[i], r); });
        test_codes(k, "table", count, [&](uint8_t* out) { k.table(a.data(), out, count, t.data()); },
                   [&](int64_t i) { return t[a[i]]; });
        test_codes(k, "maximum", count, [&](uint8_t* out) {
            const uint8_t* rows[] = {a.data(), b.data()};
            k.maximum(rows, 2, out, count);
        }, [&](int64_t i) { return std::max(a[i], b[i]); });
        test_codes(k, "maximum in place", count, [&](uint8_t* out) {
            std::copy(a.begin(), a.end(), out);
            const uint8_t* rows[] = {out, b.data()};
            k.maximum(rows, 2, out, count);
        }, [&](int64_t i) { return std::max(a[i], b[i]); });
        const int channels = integer(1, 4), pixel = one_of({4, channels}), zero = integer(0, 255);
        const int highest = one_of({255, 15, 3});
        const int64_t plane = count + pick(0, 5);
        const float inverse = one_of({1.0f, 0.5f, 37.25f, 1e-3f, 3e38f});
        std::vector<float> x(plane * channels);
        for (float& each : x) {  // values between, ties, and what lies beyond every code
            each = static_cast<float>(pick(-1000000, 1000000)) / 3000.0f;
            if (chance(40)) each = static_cast<float>(pick(-600, 600)) / 2;
            if (chance(10)) each = one_of({-3e38f, 3e38f, -0.0f, 1e-40f, 8388609.0f});
        }
        const auto quantized = [&](int64_t i) {
            if (i % pixel >= channels) return 0.0;
            const double product = x[i % pixel * plane + i / pixel] * inverse;  // rounded to float, then as it is
            return std::clamp(std::nearbyint(product) + zero, 0.0, static_cast<double>(highest));
        };
        test_codes(k, "quantize", pixel * count, [&](uint8_t* out) {
            k.quantize(x.data(), plane, channels, out, pixel, count, inverse, zero, highest);
        }, quantized);
    }
}

void test(const Kernels& k, int cases) {
    if (!k.usable()) {
        std::printf("%s: cannot run here\n", k.name);
        return;
    }
    generator.seed(1);
    test_list(k);
    test_blocks(k, cases);
    test_sliced(k, cases);
    test_lookup(k, cases);
    test_depthwise(k, cases);
    test_narrow(k);
    test_elements(k, cases);
    std::printf("%s: equal\n", k.name);
}

}  // namespace

int main(int argc, char** argv) {
    const int cases = argc > 1 ? std::atoi(argv[1]) : 20;
    const auto wanted = [&](const char* name) {
        return argc <= 2 || std::find(argv + 2, argv + argc, std::string(name)) != argv + argc;
    };
#define DQT_KERNELS(each) \
    if (wanted(kernels_##each.name)) test(kernels_##each, cases);
#include "../kernels.inc"
#undef DQT_KERNELS
    return 0;
}
