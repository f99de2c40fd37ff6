// Winograd F(2x2, 3x3) in bytes. G' = [1 0 0; 1 1 1; 1 -1 1; 0 0 1] has no halves, so the output is divided by 4,
// exactly. With weights in [-8, 7] the transformed weight lies in [-72, 72]; with activations in [0, 63] the transformed
// input in [-126, 126], at position (1, 1) in [0, 252]. Signed positions are stored with 128 added.
#if defined(__x86_64__)
#include <algorithm>

#include "avx512.h"

namespace dqt {
namespace {

constexpr int POSITIONS = 16, UNSIGNED = 5;  // position (1, 1)

INLINE __m512i shifted(__m512i x, int s) {  // unsigned bytes
    return _mm512_and_si512(_mm512_srl_epi16(x, _mm_cvtsi32_si128(s)), _mm512_set1_epi8(static_cast<char>(0xFF >> s)));
}

INLINE __m512i shifted_signed(__m512i x, int s) {
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80 >> s));
    return _mm512_sub_epi8(_mm512_xor_si512(shifted(x, s), sign), sign);
}

INLINE __m512i code(const uint8_t* p, __mmask64 some, int n, int s) {
    const __m512i half = _mm512_set1_epi8(static_cast<char>((1 << s) >> 1));
    const __m512i top = _mm512_set1_epi8(static_cast<char>((1 << (n - s)) - 1));
    return _mm512_min_epu8(shifted(_mm512_adds_epu8(_mm512_maskz_loadu_epi8(some, p), half), s), top);
}

void input(const uint8_t* const* pixels, int64_t channels, int n, int s, uint8_t* out, int64_t stride) {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
    for (int64_t c = 0; c < channels; c += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, channels - c)));
        __m512i t[4][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            const __m512i d0 = code(pixels[j] + c, some, n, s), d1 = code(pixels[4 + j] + c, some, n, s);
            const __m512i d2 = code(pixels[8 + j] + c, some, n, s), d3 = code(pixels[12 + j] + c, some, n, s);
            t[0][j] = _mm512_sub_epi8(d0, d2);
            t[1][j] = _mm512_add_epi8(d1, d2);
            t[2][j] = _mm512_sub_epi8(d2, d1);
            t[3][j] = _mm512_sub_epi8(d1, d3);
        }
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            const __m512i r[4] = {_mm512_sub_epi8(t[i][0], t[i][2]), _mm512_add_epi8(t[i][1], t[i][2]),
                                  _mm512_sub_epi8(t[i][2], t[i][1]), _mm512_sub_epi8(t[i][1], t[i][3])};
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j)
                _mm512_mask_storeu_epi8(out + (4 * i + j) * stride + c, some,
                                        4 * i + j == UNSIGNED ? r[j] : _mm512_xor_si512(r[j], offset));
        }
    }
}

int32_t weigh(const uint8_t* pixel, int64_t channels, int n, int s, int even, int odd) {
    const __m512i h = _mm512_set1_epi32(even | odd << 8 | even << 16 | odd << 24);
    __m512i sum = _mm512_setzero_si512();
    for (int64_t c = 0; c < channels; c += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, channels - c)));
        sum = _mm512_dpbusd_epi32(sum, code(pixel + c, some, n, s), h);
    }
    return _mm512_reduce_add_epi32(sum);
}

// Rows of G' on three vectors.
template <class Add, class Sub>
INLINE void transformed(__m512i a, __m512i b, __m512i c, __m512i* out, Add add, Sub sub) {
    const __m512i ends = add(a, c);
    out[0] = a;
    out[1] = add(ends, b);
    out[2] = sub(ends, b);
    out[3] = c;
}

// The sum of a transform is the transform of the sum: nine sums of taps give the sixteen offsets.
INLINE void offsets(const __m512i* sums, int32_t* out) {
    const auto add = [](__m512i x, __m512i y) { return _mm512_add_epi32(x, y); };
    const auto sub = [](__m512i x, __m512i y) { return _mm512_sub_epi32(x, y); };
    __m512i t[3][4], u[4];
    for (int j = 0; j < 3; ++j) transformed(sums[j], sums[3 + j], sums[6 + j], t[j], add, sub);
    for (int i = 0; i < 4; ++i) {
        transformed(t[0][i], t[1][i], t[2][i], u, add, sub);
        for (int j = 0; j < 4; ++j)
            _mm512_storeu_si512(out + (4 * i + j) * 64, 4 * i + j == UNSIGNED ? _mm512_setzero_si512()
                                                                             : _mm512_sub_epi32(_mm512_setzero_si512(), u[j]));
    }
}

void weights(const int8_t* panel, int depth, int s, int8_t* out, int64_t stride, int32_t* offset) {
    const auto add = [](__m512i x, __m512i y) { return _mm512_add_epi8(x, y); };
    const auto sub = [](__m512i x, __m512i y) { return _mm512_sub_epi8(x, y); };
    const __m512i all = _mm512_set1_epi8(static_cast<char>(0x80));  // 128, unsigned
    const int64_t tap = int64_t{depth} * 64;
    __m512i sums[4][9];
    for (auto& some : sums)
        for (auto& sum : some) sum = _mm512_setzero_si512();
    for (int64_t at = 0; at < tap; at += 64) {  // in the order of memory: sixteen streams are written
        __m512i g[9], t[3][4], u[4], *sum = sums[at / 64 % 4];
#pragma GCC unroll 9
        for (int i = 0; i < 9; ++i) {
            g[i] = shifted_signed(_mm512_loadu_si512(panel + i * tap + at), s);
            sum[i] = _mm512_dpbusd_epi32(sum[i], all, g[i]);
        }
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) transformed(g[j], g[3 + j], g[6 + j], t[j], add, sub);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
            transformed(t[0][i], t[1][i], t[2][i], u, add, sub);
#pragma GCC unroll 4
            for (int j = 0; j < 4; ++j) _mm512_storeu_si512(out + (4 * i + j) * stride + at, u[j]);
        }
    }
    for (int v = 0; v < 4; ++v) offsets(sums[v], offset + v * LANES);
}

// One position of `ROWS` tiles: int32 [tile][64] at `out`.
template <int ROWS>
void product(const WinogradBlock& b, int position, int32_t* out) {
    __m512i acc[ROWS][4];
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) acc[i][v] = _mm512_loadu_si512(b.offset + position * 64 + v * LANES);
    const uint8_t* in = b.in + position * b.in_stride;
    const int8_t* w = b.weight + position * b.weight_stride;
    const int64_t step = b.tile_stride;
#pragma GCC unroll 2
    for (int k = 0; k < b.depth; k += 4, w += 256, in += 4) {
        __m512i weight[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) weight[v] = _mm512_loadu_si512(w + 64 * v);
#pragma GCC unroll 6
        for (int i = 0; i < ROWS; ++i) {
            const __m512i x = broadcast4(in + i * step);
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) acc[i][v] = dot(acc[i][v], x, weight[v]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) _mm512_storeu_si512(out + i * 64 + v * LANES, acc[i][v]);
}

using Product = void (*)(const WinogradBlock&, int, int32_t*);
constexpr Product PRODUCTS[TILES] = {product<1>, product<2>, product<3>, product<4>, product<5>, product<6>};

// The four outputs of one tile, requantized, as bytes.
template <bool ANY>
void output(const WinogradBlock& b, int tile, const int32_t* m, __m512i* bytes, const Finish& finish) {
    constexpr int64_t STEP = TILES * 64;
    const __m128i shift = _mm_cvtsi32_si128(b.shift);
    __m512i y[4][4];  // [output][vector]
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
        const int32_t* at = m + tile * 64 + v * LANES;
        __m512i a[2][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            const __m512i m0 = _mm512_loadu_si512(at + j * STEP), m1 = _mm512_loadu_si512(at + (4 + j) * STEP);
            const __m512i m2 = _mm512_loadu_si512(at + (8 + j) * STEP), m3 = _mm512_loadu_si512(at + (12 + j) * STEP);
            a[0][j] = _mm512_add_epi32(_mm512_add_epi32(m0, m0), _mm512_add_epi32(m1, m2));
            a[1][j] = _mm512_sub_epi32(_mm512_sub_epi32(m1, m2), _mm512_add_epi32(m3, m3));
        }
        const __m512i start = _mm512_loadu_si512(b.start + v * LANES);
        const Factors<> factors(b.rounding, v * LANES);
#pragma GCC unroll 4
        for (int o = 0; o < 4; ++o) {
            const __m512i* r = a[o / 2];
            const __m512i sum = o % 2 == 0
                                    ? _mm512_add_epi32(_mm512_add_epi32(r[0], r[0]), _mm512_add_epi32(r[1], r[2]))
                                    : _mm512_sub_epi32(_mm512_sub_epi32(r[1], r[2]), _mm512_add_epi32(r[3], r[3]));
            const __m512i added = _mm512_add_epi32(start, _mm512_set1_epi32(b.middle[4 * tile + o]));
            const __m512i acc = _mm512_add_epi32(_mm512_sll_epi32(_mm512_srai_epi32(sum, 2), shift), added);
            y[o][v] = scaled<ANY>(acc, factors, b.rounding);
        }
    }
#pragma GCC unroll 4
    for (int o = 0; o < 4; ++o)
        bytes[4 * tile + o] = finish(packed<4>(y[o]));
}

void block(const WinogradBlock& b) {
    alignas(64) int32_t m[POSITIONS * TILES * 64];
    for (int p = 0; p < POSITIONS; ++p) PRODUCTS[b.tiles - 1](b, p, m + p * TILES * 64);
    __m512i bytes[4 * TILES];
    const Finish finish(b.rounding.lo, b.rounding.hi, b.residual ? Narrow() : b.narrow);
    auto* const each = b.rounding.shift == 32 ? output<false> : output<true>;
    for (int tile = 0; tile < b.tiles; ++tile) each(b, tile, m, bytes, finish);
    if (b.residual) return store_added<4>(b, bytes, 4 * b.tiles);
    const Lanes lanes(b.columns, b.stored);
    for (int i = 0; i < 4 * b.tiles; ++i)
        if (b.out[i]) lanes.store(b.out[i], bytes[i]);
}

}  // namespace

const WinogradKernels winograd_avx512 = {input, weigh, weights, block};

}  // namespace dqt
#endif
