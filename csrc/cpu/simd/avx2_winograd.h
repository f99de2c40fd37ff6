// Winograd's F(2x2, 3x3) in AVX2, in 16-bit numbers: 8-bit weights and codes, 4/9 of the products.
//
// Transformed codes lie in [-510, 1020], transformed weights, four times too large, in [-1152, 1152]: vpmaddwd adds pairs
// of their products in 32 bits. Sums may wrap around; four times an accumulator fits, and so its division is exact.
//
// Channels are stored in pairs (0, 2) and (1, 3) of each four, since these are cheap to widen: of up to 32 channels first
// all the pairs (0, 2), then all the pairs (1, 3).
#pragma once

#include <algorithm>

#include "avx2_end.h"

namespace dqt {
namespace {

// One dimension of the transforms, which winograd_forms.h derives: B = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1].
inline void wino_input(const __m256i* d, __m256i* r) {
    r[0] = _mm256_sub_epi16(d[0], d[2]);
    r[1] = _mm256_add_epi16(d[1], d[2]);
    r[2] = _mm256_sub_epi16(d[2], d[1]);
    r[3] = _mm256_sub_epi16(d[1], d[3]);
}
// G' = [2 0 0; 1 1 1; 1 -1 1; 0 0 2].
inline void wino_weights(const __m256i* g, __m256i* u) {
    const __m256i ends = _mm256_add_epi16(g[0], g[2]);
    u[0] = _mm256_add_epi16(g[0], g[0]);
    u[1] = _mm256_add_epi16(ends, g[1]);
    u[2] = _mm256_sub_epi16(ends, g[1]);
    u[3] = _mm256_add_epi16(g[2], g[2]);
}
// A' = [1 1 1 0; 0 1 -1 -1].
inline void wino_output(const __m256i* m, __m256i* y) {
    y[0] = _mm256_add_epi32(_mm256_add_epi32(m[0], m[1]), m[2]);
    y[1] = _mm256_sub_epi32(_mm256_sub_epi32(m[1], m[2]), m[3]);
}

constexpr int WINO_IN = 4, WINO_POSITIONS = 16, WINO_POWER = 2;  // inputs down or across; 2^2 is the divisor

inline __m256i wino_codes(__m256i q, int n, int s) {  // without their low bits, narrowed where they are not yet
    if (s == 0) return q;
    q = _mm256_srl_epi16(narrowed(q, {n, s}), _mm_cvtsi32_si128(s));
    return _mm256_and_si256(q, same_bytes(0xFF >> s));
}

// The transform of 16 numbers of a tile's positions; position p goes to out + p * stride, `bytes` of it.
inline void wino_tile(const __m256i (&d)[WINO_POSITIONS], uint8_t* out, int64_t stride, __m256i kept, bool all) {
    __m256i t[WINO_POSITIONS];
#pragma GCC unroll 4
    for (int j = 0; j < WINO_IN; ++j) {
        const __m256i column[4] = {d[j], d[4 + j], d[8 + j], d[12 + j]};
        __m256i r[4];
        wino_input(column, r);
#pragma GCC unroll 4
        for (int i = 0; i < WINO_IN; ++i) t[4 * i + j] = r[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < WINO_IN; ++i) {
        __m256i r[4];
        wino_input(t + 4 * i, r);
#pragma GCC unroll 4
        for (int j = 0; j < WINO_IN; ++j) {
            uint8_t* to = out + (4 * i + j) * stride;
            if (all)
                save(to, r[j]);
            else
                _mm256_maskstore_epi32(reinterpret_cast<int*>(to), kept, r[j]);
        }
    }
}

inline void wino_inputs(const uint8_t* const* pixels, int64_t channels, int n, int s, uint8_t* out, int64_t stride) {
    for (int64_t c = 0; c < channels; c += 32) {
        const int steps = static_cast<int>(std::min<int64_t>(32, channels - c)) / 4;
        __m256i q[WINO_POSITIONS], d[WINO_POSITIONS];
        for (int p = 0; p < WINO_POSITIONS; ++p) {
            q[p] = wino_codes(steps == 8 ? load(pixels[p] + c) : load_fours(pixels[p] + c, steps), n, s);
            d[p] = even_codes(q[p]);
        }
        wino_tile(d, out + 2 * c, stride, first_lanes(steps), steps == 8);
        for (int p = 0; p < WINO_POSITIONS; ++p) d[p] = odd_codes(q[p]);
        wino_tile(d, out + 2 * c + 4 * steps, stride, first_lanes(steps), steps == 8);
    }
}

inline void wino_weigh(const uint8_t* pixels, int64_t step, int64_t count, int64_t channels, int n, int s, int even, int odd,
                       int32_t* sums) {
    const __m256i h = _mm256_set1_epi16(static_cast<int16_t>((even & 0xFF) | (odd & 0xFF) << 8));
    for (int64_t i = 0; i < count; ++i, pixels += step) {
        __m256i sum = _mm256_setzero_si256();
        for (int64_t c = 0; c < channels; c += 32) {
            const int steps = static_cast<int>(std::min<int64_t>(32, channels - c)) / 4;
            const __m256i q = wino_codes(load_fours(pixels + c, steps), n, s);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(q, h), _mm256_set1_epi16(1)));
        }
        alignas(32) int32_t lanes[8];
        save(lanes, sum);
        sums[i] = 0;
        for (const int32_t lane : lanes) sums[i] += lane;
    }
}

// Weights of 8 columns and half the channels of a step: all positions.
inline void wino_step(const __m256i (&g)[9], int8_t* out, int64_t stride) {
    __m256i t[4][3];
#pragma GCC unroll 3
    for (int j = 0; j < 3; ++j) {
        const __m256i column[3] = {g[j], g[3 + j], g[6 + j]};
        __m256i u[4];
        wino_weights(column, u);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) t[i][j] = u[i];
    }
#pragma GCC unroll 4
    for (int i = 0; i < 4; ++i) {
        __m256i u[4];
        wino_weights(t[i], u);
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) save(out + (4 * i + j) * stride, u[j]);
    }
}

// Transformed: [position][pair of channels][4][16][2]; there are no offsets.
inline void wino_panel(const int8_t* panel, int64_t tap, int depth, int s, int8_t* out, int64_t stride, int32_t* offset) {
    constexpr int STEP = 256;  // bytes of 64 columns, 4 channels; or 2 as 16-bit numbers
    const __m128i right = _mm_cvtsi32_si128(s);
    for (int k = 0; k < depth / 4; ++k) {
        const int together = std::min(8, depth / 4 - k / 8 * 8);  // steps whose pairs (0, 2) come first
        int8_t* even = out + int64_t{2 * (k / 8 * 8) + k % 8} * STEP;
        for (int at = 0; at < STEP; at += 32) {
            __m256i low[9], high[9];
            for (int t = 0; t < 9; ++t) {
                const __m256i w = load(panel + t * tap + int64_t{k} * STEP + at);
                low[t] = _mm256_sra_epi16(even_weights(w), right);
                high[t] = _mm256_sra_epi16(odd_weights(w), right);
            }
            wino_step(low, even + at, stride);
            wino_step(high, even + int64_t{together} * STEP + at, stride);
        }
    }
    std::memset(offset, 0, WINO_POSITIONS * 64 * sizeof(int32_t));
}

// One position of R tiles and one vector of columns.
template <int R>
inline void wino_product(const WinogradBlock& b, int position, int v) {
    int32_t* const out = b.sums + position * TILES * 64 + v * LANES;
    __m256i acc[R][2];
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) acc[i][h] = b.begins ? _mm256_setzero_si256() : load(out + i * 64 + 8 * h);
    const uint8_t* in = b.in + position * b.in_stride;
    const int8_t* w = b.weight + position * b.weight_stride + v * VECTOR_BYTES;
    const int64_t step = b.tile_stride;
    for (const uint8_t* end = in + 2 * b.depth; in < end; in += 4, w += 4 * VECTOR_BYTES) {
        __m256i w0 = load(w), w1 = load(w + 32);
        keep(w0);
        keep(w1);
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) {
            int32_t pair;
            std::memcpy(&pair, in + i * step, sizeof pair);
            const __m256i codes = _mm256_set1_epi32(pair);
            acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(codes, w0));
            keep(acc[i][0]);
            acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(codes, w1));
            keep(acc[i][1]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(out + i * 64 + 8 * h, acc[i][h]);
}

template <int R>
__attribute__((noinline)) void wino_products(const WinogradBlock& b, int position) {
    for (int v = 0; v < MAX_VECTORS; ++v) wino_product<R>(b, position, v);
}

inline void wino_all_products(const WinogradBlock& b, int position) {
    static constexpr void (*EACH[TILES])(const WinogradBlock&, int) = {wino_products<1>, wino_products<2>, wino_products<3>,
                                                                       wino_products<4>, wino_products<5>, wino_products<6>};
    for (int64_t line = 0; b.next && line < b.depth / 4; ++line) _mm_prefetch(b.next + 64 * line, _MM_HINT_T1);
    EACH[b.tiles - 1](b, position);
}

// The four outputs of a tile, to rows of accumulators `acc` of 64 columns.
inline void wino_outputs_of(const WinogradBlock& b, int tile, int32_t (*acc)[64]) {
    const int32_t* sums = b.sums + tile * 64;
    const int left = b.shift - WINO_POWER;
    const __m128i count = _mm_cvtsi32_si128(left < 0 ? -left : left);
    for (int at = 0; at < 64; at += 8) {
        __m256i a[2][4];
#pragma GCC unroll 4
        for (int j = 0; j < 4; ++j) {
            __m256i column[4], y[2];
#pragma GCC unroll 4
            for (int i = 0; i < 4; ++i) column[i] = load(sums + (4 * i + j) * TILES * 64 + at);
            wino_output(column, y);
            a[0][j] = y[0];
            a[1][j] = y[1];
        }
#pragma GCC unroll 2
        for (int i = 0; i < 2; ++i) {
            __m256i y[2];
            wino_output(a[i], y);
#pragma GCC unroll 2
            for (int j = 0; j < 2; ++j) {
                const __m256i sum = left < 0 ? _mm256_sra_epi32(y[j], count) : _mm256_sll_epi32(y[j], count);
                const __m256i extra = _mm256_add_epi32(load(b.start + at), _mm256_set1_epi32(b.places[tile].middle[2 * i + j]));
                save(acc[2 * i + j] + at, _mm256_add_epi32(sum, extra));
            }
        }
    }
}

inline void wino_outputs(const WinogradBlock& b) {
    alignas(32) int32_t acc[MAX_ROWS][64], four[4][64];
    Block to{};
    to.rounding = b.rounding;
    to.residual = b.residual;
    to.columns = b.columns;
    to.stored = b.stored;
    to.narrow = b.narrow;
    int rows = 0;
    for (int tile = 0; tile < b.tiles; ++tile) {
        const WinogradTile& place = b.places[tile];
        wino_outputs_of(b, tile, four);
        for (int i = 0; i < place.height; ++i)
            for (int j = 0; j < place.width; ++j, ++rows) {
                to.out[rows] = place.out + b.channel + i * b.out_row + j * b.out_pixel;
                to.other[rows] = place.other + b.channel + i * b.other_row + j * b.other_pixel;
                std::memcpy(acc[rows], four[2 * i + j], sizeof four[0]);
            }
        if (rows + 4 <= MAX_ROWS && tile + 1 < b.tiles) continue;
        end<4>(to, rows, acc, nullptr);
        rows = 0;
    }
}

}  // namespace
}  // namespace dqt
