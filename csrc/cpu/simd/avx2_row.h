// One row by a panel in AVX2, at every width: its weights are read once, in order, and come from memory.
#pragma once

#include "avx2_end.h"
#include "avx2_products.h"

namespace dqt {
namespace {

constexpr int64_t ROW_AHEAD = 2048;  // bytes to the weights that are asked for

// A block of one tap whose panel holds whole bytes: products of 16 bits, narrowed where the weights are loaded.
template <int V, bool NARROWED>
__attribute__((noinline)) void run_row(const Block& b) {
    __m256i acc[2 * V];
#pragma GCC unroll 8
    for (int k = 0; k < 2 * V; ++k) acc[k] = load(b.start + 8 * k);
    const __m256i mask = _mm256_set1_epi32(static_cast<int>(b.mask)), middle = _mm256_set1_epi32(static_cast<int>(b.middle[0]));
    const int8_t* from = b.panel;
    Widened chunk;
    for (Chunks chunks(b, 1); chunks.next(chunk);)
        for (int s = 0; s < chunk.steps; ++s, from += V * VECTOR_BYTES) {
            const __m256i even = _mm256_set1_epi32(chunk.even[0][s]), odd = _mm256_set1_epi32(chunk.odd[0][s]);
#pragma GCC unroll 8
            for (int k = 0; k < 2 * V; ++k) {
                if (k % 2 == 0) _mm_prefetch(from + ROW_AHEAD + 32 * k, _MM_HINT_T0);
                __m256i w = load(from + 32 * k);
                if constexpr (NARROWED) w = _mm256_or_si256(_mm256_and_si256(w, mask), middle);
                add32(acc[k], _mm256_madd_epi16(even, even_weights(w)));
                add32(acc[k], _mm256_madd_epi16(odd, odd_weights(w)));
            }
        }
    alignas(32) int32_t sums[1][V * LANES];
#pragma GCC unroll 8
    for (int k = 0; k < 2 * V; ++k) save(sums[0] + 8 * k, acc[k]);
    end<V>(b, 1, sums, nullptr);
}

}  // namespace
}  // namespace dqt
