// Whole 8-bit codes by 8-bit weights in AVX2: vpmaddubsw on pairs of channels that fit 16 bits, as PairedPanel has them.
#pragma once

#include <array>
#include <utility>

#include "avx2_end.h"
#include "avx2_paired_panels.h"
#include "avx2_products.h"

namespace dqt {
namespace {

// Codes of R rows in the places of one vector, CHUNK_ROW from row to row.
template <int R>
__attribute__((always_inline)) inline void exchange(const uint8_t* const* from, int windows, const uint8_t* places,
                                                    int32_t* to) {
    for (int k = 0; k < windows; k += 2) {
        const __m256i order = load(places + 16 * k);
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            save(to + i * CHUNK_ROW + 4 * k, _mm256_shuffle_epi8(load(from[i] + 16 * k), order));
    }
}

// Codes of R rows by the weights of 16 columns, [step][16][4], added to the sums.
template <int R>
__attribute__((always_inline)) inline void add_step(const int32_t* codes, const int8_t* weight, __m256i& ones,
                                                    __m256i (&acc)[R][2]) {
    __m256i w0 = load(weight), w1 = load(weight + 32);
    keep(w0);
    keep(w1);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
        const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
        add32(acc[i][0], _mm256_madd_epi16(_mm256_maddubs_epi16(code, w0), ones));
        add32(acc[i][1], _mm256_madd_epi16(_mm256_maddubs_epi16(code, w1), ones));
    }
}

// R rows of a chunk, from the row `row` on, by all vectors. WHOLE: the chunk is the whole reduction, which stays in
// registers from its start to 16-bit results, requantized by a shift of 32; otherwise sums lie in memory. `to`: of that row.
template <int R, int V, bool WHOLE, class To>
__attribute__((noinline)) void paired_rows(const Block& b, const PairedChunk<V>& chunk,
                                           const std::array<VectorFactors, V>& factors, int row, To (*to)[V * LANES]) {
    alignas(32) int32_t placed[R * CHUNK_ROW];
    const PairedPanel& p = *b.paired;
    const int steps = chunk.steps, windows = (steps + 3) / 4;
    const int64_t next_places = p.windows * 16, next_weights = int64_t{p.windows} * 4 * VECTOR_BYTES;
    const uint8_t* places = p.places + chunk.first * 4;
    const int8_t* weights = p.weights + int64_t{chunk.first} * VECTOR_BYTES;
    const int32_t* start = b.start;
    __m256i ones = _mm256_set1_epi16(1);
    keep(ones);
    for (int v = 0; v < V; ++v, places += next_places, weights += next_weights) {
        exchange<R>(chunk.from + row, windows, places, placed);
        __m256i acc[R][2];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            for (int h = 0; h < 2; ++h)
                acc[i][h] = WHOLE ? load(start + v * LANES + 8 * h) : load(to[i] + v * LANES + 8 * h);
        const int8_t* weight = weights;
        for (const int32_t *codes = placed, *end = placed + steps; codes < end; ++codes, weight += VECTOR_BYTES)
            add_step<R>(codes, weight, ones, acc);
        for (int e = chunk.excess[v], end = chunk.end[v]; e < end; ++e)
            add_step<R>(placed + (p.steps[e] - chunk.first), p.excess + int64_t{e} * VECTOR_BYTES, ones, acc);
        if constexpr (WHOLE) {
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i) save(to[i] + v * LANES, words_of<true>(acc[i][0], acc[i][1], factors[v], b.rounding));
        } else {
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i)
                for (int h = 0; h < 2; ++h) save(to[i] + v * LANES + 8 * h, acc[i][h]);
        }
    }
}

template <int... VECTORS>
inline std::array<VectorFactors, sizeof...(VECTORS)> factors_of(const Rounding& r, std::integer_sequence<int, VECTORS...>) {
    return {VectorFactors(r.m + VECTORS * LANES, r.c + VECTORS * LANES)...};
}

// The sums of a block; or WHOLE, its results in 16 bits.
template <int V, bool WHOLE, class To>
inline void paired_sums(const Block& b, int rows, To (*to)[V * LANES]) {
    PairedChunks<V> chunks(b, rows);
    PairedChunk<V> chunk;
    const auto factors = factors_of(b.rounding, std::make_integer_sequence<int, V>());
    while (chunks.next(chunk)) {
        for (int s = chunk.first; !WHOLE && b.next != b.panel && s < chunk.first + chunk.steps; ++s)
            _mm_prefetch(b.next + int64_t{VECTOR_BYTES} * s, _MM_HINT_T1);
        by_rows<4>(rows, [&](auto count, int i) { paired_rows<count, V, WHOLE>(b, chunk, factors, i, to + i); });
    }
}

}  // namespace
}  // namespace dqt
