// Weights of two bits by activations of two or three from a table of products in AVX-512 without VBMI: `vpshufb` looks up
// 64 sums of two products at once.
#pragma once

#include "avx2_lookup_codes.h"
#include "avx512.h"

namespace dqt {
namespace {

// Sums of products of 64 columns while they are collected: of bytes, which hold SUMMED codes; of both bytes of each word;
// of the upper one.
struct Looked {
    __m512i bytes, words, odd;
};

// Sums of 64 columns of ROWS rows, [row][vector], as of a Block.
template <int A, int ROWS>
inline void look_up(const LookupBlock& b, int first, __m512i (*acc)[4]) {
    constexpr int SUMMED = Form<A>::SUMMED;
    const Block& from = b.ends[0];
    const __m512i zero = _mm512_setzero_si512();
    Looked sums[ROWS];
    int32_t middle[ROWS] = {};
    for (Looked& each : sums) each.words = each.odd = zero;
    const uint8_t* index = b.index;
    for (int t = 0; t < from.tap_count; ++t) {
        const uint8_t* rows[ROWS];
        for (int i = 0; i < ROWS; ++i) rows[i] = from.in[first + i] + from.taps[t];
        for (int k = 0; k < from.depth; k += SUMMED) {
            const int end = k + SUMMED < from.depth ? k + SUMMED : from.depth;
            for (Looked& each : sums) each.bytes = zero;
#pragma GCC unroll 4
            for (int c = k; c < end; ++c, index += 64) {
                const __m512i at = _mm512_loadu_si512(index);
#pragma GCC unroll 4
                for (int i = 0; i < ROWS; ++i) {
                    const auto* entry =
                        reinterpret_cast<const __m128i*>(Form<A>::TABLE.bytes.data() + Form<A>::SCALE * rows[i][c]);
                    const __m512i all = _mm512_broadcast_i32x4(_mm_load_si128(entry));
                    sums[i].bytes = _mm512_add_epi8(sums[i].bytes, _mm512_shuffle_epi8(all, at));
                }
            }
            for (Looked& each : sums) {
                each.words = _mm512_add_epi16(each.words, each.bytes);
                each.odd = _mm512_add_epi16(each.odd, _mm512_srli_epi16(each.bytes, 8));
            }
        }
        for (int i = 0; i < ROWS; ++i) {
            int32_t sum;
            std::memcpy(&sum, rows[i] + from.depth, 4);
            middle[i] += sum;
        }
    }
    const __m512i low = _mm512_set1_epi32(0xFFFF);
    const __m128i shift = _mm_cvtsi32_si128(b.shift);
    for (int i = 0; i < ROWS; ++i) {
        const __m512i extra = _mm512_set1_epi32(static_cast<int>(static_cast<uint32_t>(middle[i]) << b.middle_shift));
        const __m512i odd = sums[i].odd, even = _mm512_sub_epi16(sums[i].words, _mm512_slli_epi16(odd, 8));
        const __m512i each[4] = {_mm512_and_si512(even, low), _mm512_and_si512(odd, low), _mm512_srli_epi32(even, 16),
                                 _mm512_srli_epi32(odd, 16)};
        for (int v = 0; v < 4; ++v) acc[first + i][v] = _mm512_add_epi32(_mm512_sll_epi32(each[v], shift), extra);
    }
}

template <int A>
void look_up_block(const LookupBlock& b, int, int rows) {
    __m512i acc[LOOKUP_ROWS][4];
    int i = 0;
    for (; i + 4 <= rows; i += 4) look_up<A, 4>(b, i, acc);
    for (; i < rows; ++i) look_up<A, 1>(b, i, acc);
    finish_rarely<4>(b.ends[0], acc, rows);
}

}  // namespace
}  // namespace dqt
