// Winograd F(2x2, 3x3) in bytes. G' = [2 0 0; 1 1 1; 1 -1 1; 0 0 2] has no halves, so the output is divided by 4,
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

// The sums of the lanes of each of four vectors.
INLINE __m128i sums_of(const __m512i* x) {
    const auto folded = [](__m512i a, __m512i b) {
        return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    };
    const __m512i low = folded(x[0], x[1]), high = folded(x[2], x[3]);
    const __m512i each = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(each), _mm512_extracti64x4_epi64(each, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

void weigh(const uint8_t* pixels, int64_t step, int64_t count, int64_t channels, int n, int s, int even, int odd,
           int32_t* sums) {
    const __m512i h = _mm512_set1_epi32(even | odd << 8 | even << 16 | odd << 24);
    for (int64_t i = 0; i < count; i += 4) {
        const int64_t left = std::min<int64_t>(4, count - i);
        __m512i four[4] = {};
        for (int64_t c = 0; c < channels; c += 64) {
            const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, channels - c)));
#pragma GCC unroll 4
            for (int64_t p = 0; p < 4; ++p)
                four[p] = dot(four[p], code(pixels + (i + std::min(p, left - 1)) * step + c, some, n, s), h);
        }
        _mm_mask_storeu_epi32(sums + i, static_cast<__mmask8>(first(static_cast<int>(left))), sums_of(four));
    }
}

// Rows of G' on three vectors.
template <class Add, class Sub>
INLINE void transformed(__m512i a, __m512i b, __m512i c, __m512i* out, Add add, Sub sub) {
    const __m512i ends = add(a, c);
    out[0] = add(a, a);
    out[1] = add(ends, b);
    out[2] = sub(ends, b);
    out[3] = add(c, c);
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
template <int ROWS, bool ASKS>
void product(const WinogradBlock& b, int position, int32_t* out) {
    __m512i acc[ROWS][4];
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) acc[i][v] = _mm512_loadu_si512(b.offset + position * 64 + v * LANES);
    const uint8_t* in = b.in + position * b.in_stride;
    const int8_t* w = b.weight + position * b.weight_stride;
    const int64_t step = b.tile_stride;
    const int8_t* next = b.next + position * int64_t{b.depth} * 16;
#pragma GCC unroll 2
    for (int k = 0; k < b.depth; k += 4, w += 256, in += 4) {
        if constexpr (ASKS) _mm_prefetch(reinterpret_cast<const char*>(next + 16 * k), _MM_HINT_T1);
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
template <bool ASKS>
constexpr Product PRODUCTS[TILES] = {product<1, ASKS>, product<2, ASKS>, product<3, ASKS>,
                                     product<4, ASKS>, product<5, ASKS>, product<6, ASKS>};

// Rows of A' = [1 1 1 0; 0 1 -1 -1] on four vectors.
INLINE __m512i upper(__m512i m0, __m512i m1, __m512i m2) { return _mm512_add_epi32(_mm512_add_epi32(m0, m1), m2); }
INLINE __m512i lower(__m512i m1, __m512i m2, __m512i m3) { return _mm512_sub_epi32(_mm512_sub_epi32(m1, m2), m3); }

// A quarter of the sums, shifted to the left by 2 + `left`; `ANY`: `left` may be negative.
template <bool ANY>
INLINE __m512i quartered(__m512i sum, int left) {
    if constexpr (ANY)
        if (left < 0) return _mm512_sra_epi32(sum, _mm_cvtsi32_si128(-left));
    return _mm512_sll_epi32(sum, _mm_cvtsi32_si128(left));
}

// One vector of columns of the four outputs of a tile: sums of products at `m`, requantized.
template <bool ANY>
INLINE void outputs(const WinogradBlock& b, const int32_t* m, const int32_t* middle, const Factors<>& factors, __m512i* y) {
    const auto at = [&](int i, int j) { return _mm512_loadu_si512(m + (4 * i + j) * TILES * 64); };
    __m512i a[2][4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
        a[0][j] = upper(at(0, j), at(1, j), at(2, j));
        a[1][j] = lower(at(1, j), at(2, j), at(3, j));
    }
#pragma GCC unroll 2
    for (int i = 0; i < 2; ++i) {
        const __m512i sums[2] = {upper(a[i][0], a[i][1], a[i][2]), lower(a[i][1], a[i][2], a[i][3])};
#pragma GCC unroll 2
        for (int j = 0; j < 2; ++j) {
            const __m512i acc = _mm512_add_epi32(quartered<ANY>(sums[j], b.shift - 2), _mm512_set1_epi32(middle[2 * i + j]));
            y[2 * i + j] = scaled<ANY>(acc, factors, b.rounding);
        }
    }
}

// The four outputs of each tile, as bytes. What is the same for all pixels goes into the constant of requantization.
template <bool ANY>
void output(const WinogradBlock& b, const int32_t* m, const Finish& finish, __m512i* bytes) {
    __m512i y[TILES][4][4];  // [tile][output][vector]
    for (int v = 0; v < 4; ++v) {
        Factors<> factors(b.rounding, v * LANES);
        factors.start_from(_mm512_loadu_si512(b.start + v * LANES));
        for (int tile = 0; tile < b.tiles; ++tile) {
            __m512i four[4];
            outputs<ANY>(b, m + tile * 64 + v * LANES, b.places[tile].middle, factors, four);
            for (int o = 0; o < 4; ++o) y[tile][o][v] = four[o];
        }
    }
    for (int tile = 0; tile < b.tiles; ++tile)
#pragma GCC unroll 4
        for (int o = 0; o < 4; ++o) bytes[4 * tile + o] = finish(packed<4>(y[tile][o]));
}

void block(const WinogradBlock& b) {
    alignas(64) int32_t m[POSITIONS * TILES * 64];
    const Product one = (b.next ? PRODUCTS<true> : PRODUCTS<false>)[b.tiles - 1];
    for (int p = 0; p < POSITIONS; ++p) one(b, p, m + p * TILES * 64);
    __m512i bytes[4 * TILES];
    const Finish finish(b.rounding.lo, b.rounding.hi, b.residual ? Narrow() : b.narrow);
    (b.rounding.shift == 32 && b.shift >= 2 ? output<false> : output<true>)(b, m, finish, bytes);
    if (b.residual) return store_added<4>(b, bytes, 4 * b.tiles);
    const Lanes lanes(b.columns, b.stored);
    for (int i = 0; i < 4 * b.tiles; ++i)
        if (uint8_t* const out = out_of(b, i)) lanes.store(out, bytes[i]);
}

}  // namespace

const WinogradKernels winograd_avx512 = {
    {0.0001453, 0.01142, 0.04814, 0.001262, 0.004138, 0.03296, 1.245, 0.02583}, input, weigh, weights, block};

}  // namespace dqt
#endif
