// Short reductions in AVX-512 without VNNI: the weights of a vector stay in registers while all rows of the block pass, and
// no sum lies in memory before it has been requantized.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include "avx512_products.h"

namespace dqt {
namespace {

constexpr int FEW_STEPS = 16;  // of 4 channels, whose weights of one vector fit the registers
constexpr int FEW_BYTES = 4 * FEW_STEPS;

INLINE bool few_steps(const Block& b) { return steps_of(b) <= FEW_STEPS && !b.wide && b.rounding.shift == 32; }

// Calls run(STEPS) with the least of these constants that is not less than `steps`.
template <class Run>
INLINE void with_steps(int steps, const Run& run) {
    if (steps <= 4) return run(std::integral_constant<int, 4>());
    if (steps <= 6) return run(std::integral_constant<int, 6>());
    if (steps <= 8) return run(std::integral_constant<int, 8>());
    if (steps <= 10) return run(std::integral_constant<int, 10>());
    if (steps <= 12) return run(std::integral_constant<int, 12>());
    run(std::integral_constant<int, FEW_STEPS>());
}

// Weights of one vector, `stride` bytes from step to step; 0 behind the last. They stay where they are.
template <int STEPS>
INLINE void hold(const int8_t* from, int64_t stride, int steps, __m512i (&weights)[STEPS]) {
#pragma GCC unroll 16
    for (int s = 0; s < STEPS; ++s) {
        weights[s] = s < steps ? _mm512_loadu_si512(from + s * stride) : _mm512_setzero_si512();
        keep(weights[s]);
    }
}

// Codes of all rows in the places of one vector, FEW_BYTES from row to row.
template <int STEPS>
INLINE void place(const uint8_t* const* from, const uint8_t* places, int rows, uint8_t* to) {
    if constexpr (STEPS == 4) {
        const __m128i order = _mm_loadu_si128(reinterpret_cast<const __m128i*>(places));
        for (int i = 0; i < rows; ++i, to += FEW_BYTES) {
            const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from[i]));
            _mm_store_si128(reinterpret_cast<__m128i*>(to), _mm_shuffle_epi8(codes, order));
        }
    } else if constexpr (STEPS <= 8) {
        const __m256i order = load(places);
        for (int i = 0; i < rows; ++i, to += FEW_BYTES) save(to, _mm256_shuffle_epi8(load(from[i]), order));
    } else {
        const __m512i order = _mm512_loadu_si512(places);
        for (int i = 0; i < rows; ++i, to += FEW_BYTES)
            _mm512_store_si512(to, _mm512_shuffle_epi8(_mm512_loadu_si512(from[i]), order));
    }
}

// A block in pairs.
template <int V, int STEPS>
__attribute__((noinline)) void few_paired(const Block& b, int rows) {
    alignas(64) uint8_t codes[MAX_ROWS * FEW_BYTES];
    __m512i sums[MAX_ROWS][V], weights[STEPS];
    const PairedPanel& p = *b.paired;
    PairedChunk<V> chunk;
    PairedChunks<V> chunks(b, rows);  // it holds what the chunk points at
    chunks.next(chunk);
    __m512i ones = _mm512_set1_epi16(1);
    keep(ones);
    for (int v = 0; v < V; ++v) {
        place<STEPS>(chunk.from, p.places + int64_t{v} * p.windows * WINDOW, rows, codes);
        hold(p.weights + int64_t{v} * p.windows * 4 * VECTOR_BYTES, VECTOR_BYTES, chunk.steps, weights);
        const Factors<> factors(b.rounding, v * LANES);
        const __m512i start = _mm512_loadu_si512(b.start + v * LANES);
        const uint8_t* four = codes;
        for (int i = 0; i < rows; ++i, four += FEW_BYTES) {
            __m512i acc = start;
#pragma GCC unroll 16
            for (int s = 0; s < STEPS; ++s) acc = plus_pairs(acc, broadcast4(four + 4 * s), weights[s], ones);
            for (int e = p.first[v]; e < p.first[v + 1]; ++e)
                acc = plus_pairs(acc, broadcast4(four + 4 * p.steps[e]),
                                 _mm512_loadu_si512(p.excess + int64_t{e} * VECTOR_BYTES), ones);
            sums[i][v] = scaled<false>(acc, factors, b.rounding);
        }
    }
    store_rows<V>(b, sums, rows);
}

// A block whose codes and weights lack their low bits, and whose whole reduction fits 16 bits; `panel` as short_rows wants
// its weights.
template <int V, int STEPS>
__attribute__((noinline)) void few_short(const Block& b, const Whole& chunk, const int8_t* panel, const Narrowing& n, int rows) {
    __m512i sums[MAX_ROWS][V], weights[STEPS];
    int32_t extra[MAX_ROWS];
    for (int i = 0; i < rows; ++i) extra[i] = extra_of(chunk, i, b);
    const __m512i unit = _mm512_broadcastw_epi16(_mm256_castsi256_si128(n.unit));
    for (int v = 0; v < V; ++v) {
        hold(panel + v * VECTOR_BYTES, V * VECTOR_BYTES, chunk.steps, weights);
        const Factors<> factors(b.rounding, v * LANES);
        const __m512i start = _mm512_loadu_si512(b.start + v * LANES);
        for (int i = 0; i < rows; ++i) {
            __m512i pairs = _mm512_maddubs_epi16(all(chunk.in[i][0]), weights[0]);
#pragma GCC unroll 16
            for (int s = 1; s < STEPS; ++s)
                pairs = _mm512_add_epi16(pairs, _mm512_maddubs_epi16(all(chunk.in[i][s]), weights[s]));
            const __m512i acc = _mm512_add_epi32(_mm512_add_epi32(start, all(extra[i])), _mm512_madd_epi16(pairs, unit));
            sums[i][v] = scaled<false>(acc, factors, b.rounding);
        }
    }
    store_rows<V>(b, sums, rows);
}

// The same for weights of a panel, shortened or not.
template <int V, bool SHORTENED>
INLINE void few_short(const Block& b, const Narrowing& narrowing, int rows) {
    alignas(64) int8_t own[SHORTENED ? 1 : FEW_STEPS * V * VECTOR_BYTES];
    Whole chunk(b.input_shift);
    Chunks(b, rows).next(chunk);
    const int8_t* panel = b.panel;
    if constexpr (!SHORTENED) panel = narrowing.shortened(b, 0, int64_t{chunk.steps} * V * VECTOR_BYTES, panel, own);
    with_steps(chunk.steps, [&](auto steps) { few_short<V, steps>(b, chunk, panel, narrowing, rows); });
}

}  // namespace
}  // namespace dqt
