// Weights of two bits by activations of two or three from a table of products in AVX2: `vpshufb` looks up 32 sums of two
// products at once.
#pragma once

#include "avx2.h"
#include "avx2_lookup_codes.h"

namespace dqt {
namespace {

// Sums of 64 columns of `ROWS` rows: accumulators as of a Block, and what the records add to them.
template <int A, int ROWS>
inline void look_up(const LookupBlock& b, int first, int32_t (*acc)[64], int32_t* middle) {
    constexpr int SUMMED = Form<A>::SUMMED;
    const Block& from = b.ends[0];
    const __m256i zero = _mm256_setzero_si256();
    __m256i words[ROWS][2], odd[ROWS][2];
    for (int i = 0; i < ROWS; ++i)
        for (int h = 0; h < 2; ++h) words[i][h] = odd[i][h] = zero;
    const uint8_t* index = b.index;
    for (int t = 0; t < from.tap_count; ++t) {
        const uint8_t* rows[ROWS];
        for (int i = 0; i < ROWS; ++i) rows[i] = from.in[first + i] + from.taps[t];
        for (int k = 0; k < from.depth; k += SUMMED) {
            const int end = k + SUMMED < from.depth ? k + SUMMED : from.depth;
            __m256i bytes[ROWS][2];
            for (int i = 0; i < ROWS; ++i) bytes[i][0] = bytes[i][1] = zero;
#pragma GCC unroll 4
            for (int c = k; c < end; ++c, index += 64) {
                const __m256i at[2] = {load(index), load(index + 32)};
#pragma GCC unroll 2
                for (int i = 0; i < ROWS; ++i) {
                    const auto* entry =
                        reinterpret_cast<const __m128i*>(Form<A>::TABLE.bytes.data() + Form<A>::SCALE * rows[i][c]);
                    const __m256i both = _mm256_broadcastsi128_si256(_mm_load_si128(entry));
#pragma GCC unroll 2
                    for (int h = 0; h < 2; ++h)
                        bytes[i][h] = _mm256_add_epi8(bytes[i][h], _mm256_shuffle_epi8(both, at[h]));
                }
            }
#pragma GCC unroll 2
            for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
                for (int h = 0; h < 2; ++h) {
                    words[i][h] = _mm256_add_epi16(words[i][h], bytes[i][h]);
                    odd[i][h] = _mm256_add_epi16(odd[i][h], _mm256_srli_epi16(bytes[i][h], 8));
                }
        }
        for (int i = 0; i < ROWS; ++i) {
            int32_t sum;
            std::memcpy(&sum, rows[i] + from.depth, 4);
            middle[first + i] += sum;
        }
    }
    const __m256i low = _mm256_set1_epi32(0xFFFF);
    const __m128i shift = _mm_cvtsi32_si128(b.shift);
    for (int i = 0; i < ROWS; ++i)
        for (int h = 0; h < 2; ++h) {
            const __m256i even = _mm256_sub_epi16(words[i][h], _mm256_slli_epi16(odd[i][h], 8));
            const __m256i each[4] = {_mm256_and_si256(even, low), _mm256_and_si256(odd[i][h], low),
                                     _mm256_srli_epi32(even, 16), _mm256_srli_epi32(odd[i][h], 16)};
            for (int v = 0; v < 4; ++v) save(acc[first + i] + 16 * v + 8 * h, _mm256_sll_epi32(each[v], shift));
        }
}

}  // namespace
}  // namespace dqt
