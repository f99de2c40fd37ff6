// What a table of products is asked with, by `vpshufb`: records of codes, and the indices of weights.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <cstring>

#include "avx2_registers.h"
#include "products_table.h"

namespace dqt {
namespace {

constexpr int CHANNELS = 2;           // activations of a code

// Activations of A bits. A code is a byte from which a scaled address finds its entry.
template <int A>
struct Form {
    static constexpr ProductsTable<2, A, CHANNELS> TABLE{};
    static_assert(TABLE.ENTRY == 16);
    static constexpr int SUMMED = UINT8_MAX / TABLE.MOST / 2 * 2;  // codes whose sum fits a byte
    static constexpr int LEFT = 8 - 2 * A, SCALE = 1 << (4 - LEFT);
};

// A vector of 32 codes of few bits; T of some that have been narrowed is the same.
inline __m256i fields(__m256i q, int n, int s) {
    q = _mm256_srl_epi16(narrowed(q, {n, s}), _mm_cvtsi32_si128(s));
    return _mm256_and_si256(q, same_bytes(0xFF >> s));
}

template <int A>
inline void encode(const uint8_t* pixels, int64_t step, int64_t count, int depth, int n, int s, int even, int odd,
                   uint8_t* records) {
    const int codes = lookup_codes(CHANNELS, depth);
    const __m256i h = _mm256_set1_epi16(static_cast<int16_t>((even & 0xFF) | (odd & 0xFF) << 8));
    for (int64_t i = 0; i < count; ++i, pixels += step, records += codes + 4) {
        __m256i sums = _mm256_setzero_si256();
        for (int k = 0; k < codes; k += 32) {
            const int left = codes - k < 32 ? codes - k : 32, rest = depth - codes - k < left ? depth - codes - k : left;
            const __m256i a = fields(load_fours(pixels + k, left / 4), n, s);
            const __m256i b = fields(load_fours(pixels + codes + k, rest / 4), n, s);
            const __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(a, h), _mm256_maddubs_epi16(b, h));
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
            const __m256i both = _mm256_slli_epi16(_mm256_or_si256(a, _mm256_slli_epi16(b, A)), Form<A>::LEFT);
            _mm256_maskstore_epi32(reinterpret_cast<int*>(records + k), first_lanes(left / 4), both);
        }
        const __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
        const __m128i pair = _mm_add_epi32(half, _mm_unpackhi_epi64(half, half));
        const int32_t sum = _mm_cvtsi128_si32(pair) + _mm_extract_epi32(pair, 1);
        std::memcpy(records + codes, &sum, 4);
    }
}

// The bytes of each dword of four vectors, transposed: out[j] has byte j of each of the four.
inline void transposed(const __m256i* x, __m256i* out) {
    const __m256i even = _mm256_set1_epi32(0x00FF00FF), low = _mm256_set1_epi32(0xFFFF);
    const auto bytes = [&](__m256i a, __m256i b, bool high) {
        if (high) return _mm256_or_si256(_mm256_srli_epi16(a, 8), _mm256_andnot_si256(even, b));
        return _mm256_or_si256(_mm256_and_si256(a, even), _mm256_slli_epi16(b, 8));
    };
    for (int j = 0; j < 2; ++j) {
        const __m256i a = bytes(x[0], x[1], j), b = bytes(x[2], x[3], j);
        out[j] = _mm256_or_si256(_mm256_and_si256(a, low), _mm256_slli_epi32(b, 16));
        out[2 + j] = _mm256_or_si256(_mm256_srli_epi32(a, 16), _mm256_andnot_si256(low, b));
    }
}

inline void index(const int8_t* panel, int taps, int depth, int s, uint8_t* out, int64_t stride) {
    const int groups = lookup_codes(CHANNELS, depth) / 4, quads = depth / 4;
    const __m256i field = same_bytes(3);
    const __m128i right = _mm_cvtsi32_si128(s);
    const auto taken = [&](const int8_t* p) { return _mm256_and_si256(_mm256_srl_epi16(load(p), right), field); };
    for (int t = 0; t < taps; ++t, panel += int64_t{quads} * 256)
        for (int g = 0; g < groups; ++g, out += 4 * stride)
            for (int half = 0; half < 64; half += 32) {
                const int second = g + groups < quads ? g + groups : quads - 1;  // past it activations are 0
                __m256i x[4], each[4];
                for (int v = 0; v < 4; ++v) {
                    const __m256i low = taken(panel + int64_t{g} * 256 + 64 * v + half);
                    const __m256i high = taken(panel + int64_t{second} * 256 + 64 * v + half);
                    x[v] = _mm256_or_si256(low, _mm256_slli_epi16(high, 2));
                }
                transposed(x, each);
                for (int j = 0; j < 4; ++j) save(out + j * stride + half, each[j]);
            }
}

template <int A>
constexpr LookupKernel lookup(void (*block)(const LookupBlock& b, int panels, int rows), const Costs& costs) {
    return {2, A, CHANNELS, 1, 1, {LOOKUP_ROWS}, 0, on_every_core(costs), {encode<A>, encode<A>}, index, block};
}

}  // namespace
}  // namespace dqt
