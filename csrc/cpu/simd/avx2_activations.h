// Products of activations in AVX2.
//
// Codes of ba and bb bits, without their low bits, b less half of its range: pairs of their products have ba + bb <= 15
// bits, so that vpmaddubsw is exact, and 2^(15 - ba - bb) pairs are added in 16 bits.
#pragma once

#include "avx2.h"
#include "products.h"
#include "softmax.h"

namespace dqt {
namespace {

// Eight sums of products of pairs of 16-bit numbers.
struct Eight {
    static constexpr int LANES = 8;
    __m256i v;
    static Eight load(const void* p) { return {_mm256_loadu_si256(static_cast<const __m256i*>(p))}; }
    static Eight both(int32_t pair) { return {_mm256_set1_epi32(pair)}; }
    static Eight add_products(Eight acc, Eight a, Eight b) { return {_mm256_add_epi32(acc.v, _mm256_madd_epi16(a.v, b.v))}; }
    Eight plus(int32_t extra) const { return {_mm256_add_epi32(v, _mm256_set1_epi32(extra))}; }
    void store(int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
};

// A block of R rows and V vectors of 8 columns; pairs of `joined` units are added in 16 bits.
template <int R, int V>
inline void code_block(const Products& p, int64_t r, int64_t j, int64_t joined) {
    const __m256i unit = _mm256_set1_epi16(static_cast<int16_t>(1 << p.shift));
    __m256i acc[R][V];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int v = 0; v < V; ++v) {
            acc[i][v] = load(p.start + j + 8 * v);
            if (p.extra) acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_set1_epi32(p.extra[r + i]));
        }
    const uint8_t *a = p.a + r * p.a_row, *from = p.b + 4 * j;
    for (int64_t k = 0; k < p.units;) {
        __m256i pairs[R][V];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            for (int v = 0; v < V; ++v) pairs[i][v] = _mm256_setzero_si256();
        const int64_t last = joined < p.units - k ? k + joined : p.units;
        for (; k < last; ++k, a += 4, from += 4 * p.columns) {
            __m256i b[V];
#pragma GCC unroll 2
            for (int v = 0; v < V; ++v) b[v] = load(from + 32 * v);
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i) {
                const __m256i both = _mm256_set1_epi32(four_bytes(a + i * p.a_row));
                for (int v = 0; v < V; ++v) pairs[i][v] = _mm256_add_epi16(pairs[i][v], _mm256_maddubs_epi16(both, b[v]));
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            for (int v = 0; v < V; ++v) acc[i][v] = _mm256_add_epi32(acc[i][v], _mm256_madd_epi16(pairs[i][v], unit));
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int v = 0; v < V; ++v) save(p.out + (r + i) * p.columns + j + 8 * v, acc[i][v]);
}

template <int R>
inline void code_rows(const Products& p, int64_t r, int64_t joined) {
    for (int64_t j = 0; j < p.columns; j += Products::COLUMNS) code_block<R, 2>(p, r, j, joined);
}

inline void code_products(const Products& p) {
    const int64_t joined = int64_t{1} << (15 - p.bits);
    int64_t r = 0;
    for (; r + 4 <= p.rows; r += 4) code_rows<4>(p, r, joined);
    for (; r < p.rows; ++r) code_rows<1>(p, r, joined);
}

// Eight integers of a row.
struct Lanes8 {
    static constexpr int LANES = 8;
    __m256i v;
    static Lanes8 load(const int32_t* p) { return {dqt::load(p)}; }
    static Lanes8 set(int32_t number) { return {_mm256_set1_epi32(number)}; }
    static Lanes8 gather(const int32_t* table, Lanes8 at) { return {_mm256_i32gather_epi32(table, at.v, 4)}; }
    void store(int32_t* p) const { save(p, v); }
    void store_bytes(uint8_t* p) const {  // of numbers below 256
        const __m128i words = _mm_packus_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packus_epi16(words, words));
    }
    Lanes8 max(Lanes8 b) const { return {_mm256_max_epi32(v, b.v)}; }
    Lanes8 smaller(Lanes8 b) const { return {_mm256_min_epu32(v, b.v)}; }
    Lanes8 plus(Lanes8 b) const { return {_mm256_add_epi32(v, b.v)}; }
    Lanes8 minus(Lanes8 b) const { return {_mm256_sub_epi32(v, b.v)}; }
    Lanes8 both(Lanes8 b) const { return {_mm256_and_si256(v, b.v)}; }
    Lanes8 left(Lanes8 by) const { return {_mm256_sllv_epi32(v, by.v)}; }
    Lanes8 right(Lanes8 by) const { return {_mm256_srlv_epi32(v, by.v)}; }
    Lanes8 right(int by) const { return {_mm256_srl_epi32(v, _mm_cvtsi32_si128(by))}; }
    // The first lanes, and others behind them.
    Lanes8 where(int count, Lanes8 others) const { return {_mm256_blendv_epi8(others.v, v, first_lanes(count))}; }
    // (v * m + added) >> shift, unsigned, of products that fit 64 bits and results that fit 32.
    Lanes8 scaled(Lanes8 m, int64_t added, int shift) const {
        const __m256i more = _mm256_set1_epi64x(added);
        const __m128i by = _mm_cvtsi32_si128(shift);
        const __m256i even = _mm256_srl_epi64(_mm256_add_epi64(_mm256_mul_epu32(v, m.v), more), by);
        const __m256i odd = _mm256_srl_epi64(_mm256_add_epi64(_mm256_mul_epu32(_mm256_srli_epi64(v, 32), m.v), more), by);
        return {_mm256_or_si256(even, _mm256_slli_epi64(odd, 32))};
    }
    int32_t largest() const {
        __m128i most = _mm_max_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        most = _mm_max_epi32(most, _mm_shuffle_epi32(most, 0x4E));
        return _mm_cvtsi128_si32(_mm_max_epi32(most, _mm_shuffle_epi32(most, 0xB1)));
    }
    int32_t sum() const {
        __m128i all = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        all = _mm_add_epi32(all, _mm_shuffle_epi32(all, 0x4E));
        return _mm_cvtsi128_si32(_mm_add_epi32(all, _mm_shuffle_epi32(all, 0xB1)));
    }
};

// With 14 or 15 bits so few pairs are added in 16 bits that differences are faster.
constexpr ProductForm PRODUCTS[] = {{13, true, true, code_products}, {16, false, false, products<Eight, 4, 2>}};

}  // namespace
}  // namespace dqt
