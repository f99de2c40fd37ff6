// Every kernel set that runs here against plain formulas: equality, on random and extreme numbers.
//
//   kernels_test [cases [set...]]
//
// Besides them, on x86, the AVX-VNNI set in the encoding of AVX-512, and the AMX set with plain loops for its instructions.
//
// Prints one line for each set of kernels.inc; the exit status is 1 after the first difference. Inputs lie in
// allocations of exactly their size, so that a sanitizer sees every read too far; around outputs lie guard bytes.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <string>

#include "block_cases.h"
#include "row_cases.h"
#include "tile_cases.h"

namespace dqt {
#if defined(__x86_64__)
extern const Kernels kernels_avxvnni_evex;
extern const TileKernels tiles_amx_plain;
const Kernels kernels_avx512amx_plain = with_tiles("avx512amx-plain", kernels_avx512vnni.usable, tiles_amx_plain);
#endif
namespace {

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
                    if (!narrowed || !k.keeps) continue;
                    const auto again = each.got_kept(k, chance(50));
                    for (int i = 0; i < rows; ++i)
                        equal(k, "kept, " + each.name() + ", row " + std::to_string(i), again[i], expected[i]);
                }
}

void test_tiles(const Kernels& k, int cases) {
    for (int kind = 0; k.tiles && kind < 3; ++kind)
        for (const bool narrowed : {false, true})
            for (int tiles = 1; tiles <= MAX_OUTPUTS / TILE_ROWS; ++tiles)
                for (int rows = 1; rows <= TILE_ROWS; ++rows)
                    for (int n = 0; n < cases; ++n) {
                        const TileCase each(1 << kind, tiles, rows, narrowed);
                        const auto expected = each.expected(k.narrows), got = each.got(*k.tiles);
                        for (int i = 0; i < each.rows; ++i)
                            equal(k, each.name() + ", row " + std::to_string(i), got[i], expected[i]);
                    }
}

// Weights that need no excess, some, and much of it.
void test_pairs(const Kernels& k, int cases) {
    for (int kind = 0; k.pair && kind < 3; ++kind)
        for (int rows = 1; rows <= k.most_rows[kind]; ++rows)
            for (int n = 0; n < cases; ++n) {
                const BlockCase each(1 << kind, rows, false, 9, one_of({64, 80, 96, 128}));
                const auto expected = each.expected(k.narrows), got = each.got_in_pairs(k);
                for (int i = 0; i < rows; ++i)
                    equal(k, "pairs, " + each.name() + ", row " + std::to_string(i), got[i], expected[i]);
            }
}

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

void test_lookup(const Kernels& k, const LookupKernel& lookup, int cases) {
    for (int panels = 1; panels <= lookup.panels; ++panels)
        for (int rows = 1; rows <= lookup.rows[panels - 1]; ++rows)
            for (int i = 0; i < cases * 4; ++i) {
                const LookupCase each(lookup, panels, rows);
                char name[160];
                std::snprintf(name, sizeof name, "lookup of %d by %d bits of %d, %d panels, %d rows, %d taps, depth %d",
                              lookup.weight_bits, lookup.activation_bits, each.n, panels, rows, each.tap_count, each.depth);
                const auto expected = each.expected(), got = each.got(lookup);
                for (int r = 0; r < rows; ++r) equal(k, name + (", row " + std::to_string(r)), got[r], expected[r]);
            }
}

void test_depthwise(const Kernels& k, int cases) {
    for (int n = 0; n < cases * 10; ++n) {
        const int height = one_of({3, 3, 5, integer(1, 9)}), width = chance(70) ? std::min(height, 7) : integer(1, 7);
        const int channels = integer(1, 150), pixel = (channels + 3) / 4 * 4, count = integer(1, 13);
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
                       scale.rounding(), random_narrow()};
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
                if (k.narrows) y = nearest(y, d.narrow.n, d.narrow.s);
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
                for (int64_t i = 0; i < count; ++i) in[i] = static_cast<uint8_t>(i);  // more than n bits are the largest code
                const auto expected = [&](int64_t i) { return nearest(in[i], n, s); };
                const std::string what = "narrow " + std::to_string(n) + " bits by " + std::to_string(s);
                test_codes(k, what, count, [&](uint8_t* out) { k.narrow(in.data(), out, count, n, s); }, expected);
                test_codes(k, what + " in place", count, [&](uint8_t* out) {
                    std::copy(in.begin(), in.end(), out);
                    k.narrow(out, out, count, n, s);
                }, expected);
            }
}

// Of signed and of unsigned bytes.
template <class T>
void test_clip(const Kernels& k, void (*kernel)(const T*, T*, int64_t, const Clip&), int cases) {
    constexpr int LEAST = std::numeric_limits<T>::min(), MOST = std::numeric_limits<T>::max();
    for (int n = 0; n < cases * 10; ++n) {
        const int64_t count = pick(0, 300);
        const auto in = numbers<T>(count, LEAST, MOST);
        const int lo = integer(LEAST, MOST), mask = 0xFF << integer(0, 7) & 0xFF;
        const Clip c{lo, integer(lo, MOST), integer(-128, 128), mask};
        test_codes(k, "clip", count, [&](uint8_t* out) { kernel(in.data(), reinterpret_cast<T*>(out), count, c); },
                   [&](int64_t i) { return (std::clamp<int>(in[i], c.lo, c.hi) + c.add) & c.mask; });
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
        const int channels = integer(1, 4), pixel = one_of({4, channels});
        const int zero = chance(50) ? integer(0, 255) : integer(-32768, 32768);
        const int highest = one_of({255, 15, 3});
        const int64_t plane = count + pick(0, 5);
        float gain[4], bias[4];
        for (int c = 0; c < channels; ++c) {
            gain[c] = one_of({1.0f, 0.5f, 37.25f, -1e-3f, 3e38f});
            bias[c] = one_of({0.0f, 0.5f, -0.1f, 77.7f, 1e30f});
        }
        std::vector<float> x(plane * channels);
        for (float& each : x) {  // values between, ties, and what lies beyond every code
            each = static_cast<float>(pick(-1000000, 1000000)) / 3000.0f;
            if (chance(40)) each = static_cast<float>(pick(-600, 600)) / 2;
            if (chance(10)) each = one_of({-3e38f, 3e38f, -0.0f, 1e-40f, 8388609.0f});
        }
        const auto quantized = [&](int64_t i) {
            if (i % pixel >= channels) return 0.0;
            const auto c = static_cast<int>(i % pixel);
            const float product = x[c * plane + i / pixel] * gain[c], sum = product + bias[c];
            return std::clamp(std::nearbyint(double{sum}) + zero, 0.0, static_cast<double>(highest));
        };
        test_codes(k, "quantize", pixel * count, [&](uint8_t* out) {
            k.quantize(x.data(), plane, channels, out, pixel, count, {gain, bias, zero, highest});
        }, quantized);
    }
}

void test_maximum(const Kernels& k, int cases) {
    for (int n = 0; n < cases * 10; ++n) {
        const int rows = integer(1, 4), columns = integer(1, 4), channels = integer(1, 150), count = integer(1, 9);
        const int64_t column = channels + pick(0, 5), pixel = column * pick(1, 3), out_pixel = channels + pick(0, 3);
        const int64_t row = (count - 1) * pixel + columns * column + pick(0, 9);
        const Codes in = numbers<uint8_t>((rows - 1) * row + (count - 1) * pixel + (columns - 1) * column + channels, 0, 255);
        Codes got(count * out_pixel + 2 * GUARD, UNTOUCHED), expected = got;
        k.maximum({in.data(), row, column, pixel, rows, columns, got.data() + GUARD, out_pixel, channels, count});
        for (int p = 0; p < count; ++p)
            for (int c = 0; c < channels; ++c) {
                uint8_t& most = expected[GUARD + p * out_pixel + c] = 0;
                for (int i = 0; i < rows * columns; ++i)
                    most = std::max(most, in[p * pixel + i / columns * row + i % columns * column + c]);
            }
        equal(k, "maximum over " + std::to_string(rows) + "x" + std::to_string(columns), got, expected);
    }
}

// clamp((product + c) >> shift), of numbers that a proof has bounded.
template <class Out>
void test_integers(const Kernels& k, const std::string& what, int64_t count, const auto& kernel, const auto& f) {
    std::vector<Out> got(static_cast<size_t>(count + 2 * GUARD), Out{UNTOUCHED}), expected = got;
    kernel(got.data() + GUARD);
    for (int64_t i = 0; i < count; ++i) expected[static_cast<size_t>(GUARD + i)] = static_cast<Out>(f(i));
    if (got == expected) return;
    std::printf("%s: %s differs\n", k.name, what.c_str());
    std::exit(1);
}

template <class A, class B, class Out>
void test_integers(const Kernels& k) {
    constexpr int64_t MOST = std::numeric_limits<int32_t>::max();
    const auto some = [](auto zero, int64_t count) {
        using T = decltype(zero);
        return numbers<T>(count, sizeof(T) == 1 ? 0 : -MOST, sizeof(T) == 1 ? 255 : MOST);
    };
    const int64_t count = pick(0, 100);
    const auto a = some(A{}, count);
    const auto b = some(B{}, count);
    const bool bytes = sizeof(Out) == 1;
    Residual r;
    r.k1 = pick(-MOST / 2, MOST / 2), r.k2 = pick(-MOST / 2, MOST / 2), r.k3 = pick(-MOST, MOST) << 29;
    r.shift = integer(1, 32);
    r.lo = bytes ? integer(0, 9) : static_cast<int32_t>(pick(-MOST, 0));
    r.hi = bytes ? integer(9, 255) : static_cast<int32_t>(pick(0, MOST));
    test_integers<Out>(k, "add of integers", count, [&](void* out) {
        k.integers.add[sizeof(A) > 1][sizeof(B) > 1][sizeof(Out) > 1](a.data(), b.data(), out, count, r);
    }, [&](int64_t i) { return std::clamp<int64_t>((r.k1 * a[i] + r.k2 * b[i] + r.k3) >> r.shift, r.lo, r.hi); });
    const auto m = numbers<int32_t>(count + 1, static_cast<int32_t>(-MOST), static_cast<int32_t>(MOST));
    std::vector<int64_t> c(static_cast<size_t>(count + 1));
    for (int64_t& each : c) each = pick(-MOST, MOST) << 29;
    for (const bool single : {false, true})
        test_integers<Out>(k, "rescaling of integers", count, [&](void* out) {
            const Rounding rounding{m.data(), c.data(), r.shift, r.lo, r.hi};
            k.integers.rescale[sizeof(A) > 1][sizeof(Out) > 1](a.data(), out, count, rounding, single);
        }, [&](int64_t i) {
            const int64_t at = single ? 0 : i;
            return std::clamp<int64_t>((int64_t{m[at]} * a[i] + c[at]) >> r.shift, r.lo, r.hi);
        });
}

template <class A, class B>
void test_integers(const Kernels& k) {
    test_integers<A, B, uint8_t>(k);
    test_integers<A, B, int32_t>(k);
}

void test_integers(const Kernels& k, int cases) {
    for (int n = 0; n < cases * 10; ++n) {
        test_integers<uint8_t, uint8_t>(k);
        test_integers<uint8_t, int32_t>(k);
        test_integers<int32_t, uint8_t>(k);
        test_integers<int32_t, int32_t>(k);
    }
}

void test_products(const Kernels& k, int cases) {
    for (const ProductForm& form : k.rows.products)
        for (int n = 0; n < cases * 20; ++n) {
            const ProductCase each(form);
            if (each.got() == each.expected()) continue;
            std::printf("%s: %s differ\n", k.name, each.name().c_str());
            std::exit(1);
        }
}

void test(const Kernels& k, int cases) {
    if (!k.usable()) {
        std::printf("%s: cannot run here\n", k.name);
        return;
    }
    drawn = 1;
    test_list(k);
    test_blocks(k, cases);
    test_tiles(k, cases);
    test_pairs(k, cases);
    test_sliced(k, cases);
    for (const LookupKernel& lookup : k.lookups) test_lookup(k, lookup, cases);
    test_depthwise(k, cases);
    test_narrow(k);
    test_clip(k, k.clips.weights, cases);
    test_clip(k, k.clips.codes, cases);
    test_elements(k, cases);
    test_maximum(k, cases);
    test_integers(k, cases);
    test_products(k, cases);
    std::printf("%s: equal\n", k.name);
}

}  // namespace
}  // namespace dqt

int main(int argc, char** argv) {
    const int cases = argc > 1 ? std::atoi(argv[1]) : 20;
    const auto wanted = [&](const char* name) {
        return argc <= 2 || std::find(argv + 2, argv + argc, std::string(name)) != argv + argc;
    };
#define DQT_KERNELS(each) \
    if (wanted(dqt::kernels_##each.name)) dqt::test(dqt::kernels_##each, cases);
#if defined(__x86_64__)
    DQT_KERNELS(avxvnni_evex)
    DQT_KERNELS(avx512amx_plain)
#endif
#include "../cpu/kernels.inc"
#undef DQT_KERNELS
    return 0;
}
