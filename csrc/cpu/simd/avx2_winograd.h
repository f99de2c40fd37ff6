// Winograd's F(2x2, 3x3) and F(4x4, 3x3) in AVX2, in 16-bit numbers, for all widths: 4/9 and 1/4 of the products.
//
// Transformed 8-bit codes lie in [-510, 1020] or [-12750, 17340], transformed weights in [-1152, 1152] or [-6272, 6272]:
// vpmaddwd adds pairs of their products in 32 bits. Sums may wrap around: what they stand for, 4 or 576 times an
// accumulator, is divided modulo 2^32 by the odd factor, which is exact, and then by the power of two, which is exact where
// that many times the accumulator fits 32 bits (WinogradKernel::power).
//
// Channels are stored in pairs (0, 2) and (1, 3) of each four, since these are cheap to widen: of up to 32 channels first
// all the pairs (0, 2), then all the pairs (1, 3).
#pragma once

#include <algorithm>

#include "avx2_winograd_forms.h"

namespace dqt {
namespace {

// Codes of 16 channels in 16 bits: those of the pairs (0, 2), then of the pairs (1, 3).
inline __m256i wino_sixteen(const uint8_t* from, int n, int s) {
    const __m256i both = _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
    const __m256i order = _mm256_setr_epi8(0, -1, 2, -1, 4, -1, 6, -1, 8, -1, 10, -1, 12, -1, 14, -1, 1, -1, 3, -1, 5, -1,
                                           7, -1, 9, -1, 11, -1, 13, -1, 15, -1);
    return _mm256_shuffle_epi8(wino_codes(both, n, s), order);
}

template <class F>
void wino_inputs(const uint8_t* const* pixels, int64_t channels, int n, int s, uint8_t* out, int64_t stride) {
    constexpr int POSITIONS = F::IN * F::IN;
    __m256i q[POSITIONS];
    const auto transform = [&](auto codes, auto put) {
        both_dimensions<F::IN, F::IN, F::IN, F::IN, F::input, F::input>(
            [&](int i, int j) { return codes(q[F::IN * i + j]); },
            [&](int i, int j, __m256i numbers) { put((F::IN * i + j) * stride, numbers); });
    };
    for (int64_t c = 0; c < channels; c += 32) {
        const int steps = static_cast<int>(std::min<int64_t>(32, channels - c)) / 4;
        uint8_t* const even = out + 2 * c;
        if (steps == 4) {  // both pairs of 16 channels fit one vector
            for (int p = 0; p < POSITIONS; ++p) q[p] = wino_sixteen(pixels[p] + c, n, s);
            transform([](__m256i x) { return x; }, [&](int64_t at, __m256i numbers) { save(even + at, numbers); });
            continue;
        }
        const __m256i kept = first_lanes(steps);
        for (int p = 0; p < POSITIONS; ++p)
            q[p] = wino_codes(steps == 8 ? load(pixels[p] + c) : load_fours(pixels[p] + c, steps), n, s);
        const auto half = [&](auto codes, uint8_t* to) {
            transform(codes, [&](int64_t at, __m256i numbers) {
                if (steps == 8) return save(to + at, numbers);
                _mm256_maskstore_epi32(reinterpret_cast<int*>(to + at), kept, numbers);
            });
        };
        half([](__m256i x) { return even_codes(x); }, even);
        half([](__m256i x) { return odd_codes(x); }, even + 4 * steps);
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

// Transformed: [position][pair of channels][vector][16][2]; there are no offsets.
template <class F>
void wino_panel(const int8_t* panel, int64_t tap, int vectors, int depth, int s, int8_t* out, int64_t stride,
                int32_t* offset) {
    const int step = vectors * VECTOR_BYTES;  // bytes of 4 channels; or of 2 as 16-bit numbers
    const __m128i right = _mm_cvtsi32_si128(s);
    for (int k = 0; k < depth / 4; ++k) {
        const int together = std::min(8, depth / 4 - k / 8 * 8);  // steps whose pairs (0, 2) come first
        int8_t* even = out + int64_t{2 * (k / 8 * 8) + k % 8} * step;
        for (int at = 0; at < step; at += 32) {
            __m256i low[9], high[9];
            for (int t = 0; t < 9; ++t) {
                const __m256i w = load(panel + t * tap + int64_t{k} * step + at);
                low[t] = _mm256_sra_epi16(even_weights(w), right);
                high[t] = _mm256_sra_epi16(odd_weights(w), right);
            }
            int8_t *to = even + at, *second = to + int64_t{together} * step;
            const auto half = [&](const __m256i* taps, int8_t* first) {
                const auto put = [&](int i, int j, __m256i u) { save(first + (F::IN * i + j) * stride, u); };
                both_dimensions<3, F::IN, 3, F::IN, F::weights, F::weights>(
                    [&](int i, int j) { return taps[3 * i + j]; }, put);
            };
            half(low, to);
            half(high, second);
        }
    }
    std::memset(offset, 0, F::IN * F::IN * 64 * sizeof(int32_t));
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
    const int64_t step = b.tile_stride, next = b.vectors * VECTOR_BYTES;
    for (const uint8_t* end = in + 2 * b.depth; in < end; in += 4, w += next) {
        __m256i w0 = load(w), w1 = load(w + 32);
        keep(w0);
        keep(w1);
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) {
            int32_t pair;
            std::memcpy(&pair, in + i * step, sizeof pair);
            const __m256i codes = _mm256_set1_epi32(pair);
            add32(acc[i][0], _mm256_madd_epi16(codes, w0));
            add32(acc[i][1], _mm256_madd_epi16(codes, w1));
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(out + i * 64 + 8 * h, acc[i][h]);
}

template <int R>
__attribute__((noinline)) void wino_products(const WinogradBlock& b, int position) {
    for (int v = 0; v < b.vectors; ++v) wino_product<R>(b, position, v);
}

inline void wino_all_products(const WinogradBlock& b, int position) {
    static constexpr void (*EACH[TILES])(const WinogradBlock&, int) = {wino_products<1>, wino_products<2>, wino_products<3>,
                                                                       wino_products<4>, wino_products<5>, wino_products<6>};
    for (int64_t line = 0; b.next && line < b.depth / 4; ++line) _mm_prefetch(b.next + 64 * line, _MM_HINT_T1);
    EACH[b.tiles - 1](b, position);
}

template <class F>
constexpr WinogradKernel wino_kernel(Kernel name, const Costs& costs) {
    WinogradKernel k{name, F::OUT, F::OUT, 8, 8, on_every_core(costs), wino_inputs<F>, wino_panel<F>, wino_all_products, wino_all_outputs<F>};
    k.bytes = 2;
    k.power = 2 * F::POWER;
    return k;
}

}  // namespace
}  // namespace dqt
