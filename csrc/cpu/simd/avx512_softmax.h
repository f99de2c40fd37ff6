// Softmax in AVX-512.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include "avx512.h"
#include "softmax.h"

namespace dqt {
namespace {

// Sixteen integers of a row.
struct Lanes16 {
    static constexpr int LANES = 16;
    __m512i v;
    static Lanes16 load(const int32_t* p) { return {_mm512_loadu_si512(p)}; }
    static Lanes16 set(int32_t number) { return {_mm512_set1_epi32(number)}; }
    static Lanes16 gather(const int32_t* table, Lanes16 at) { return {_mm512_i32gather_epi32(at.v, table, 4)}; }
    void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
    void store_bytes(uint8_t* p) const { _mm_storeu_si128(reinterpret_cast<__m128i*>(p), _mm512_cvtepi32_epi8(v)); }
    Lanes16 max(Lanes16 b) const { return {_mm512_max_epi32(v, b.v)}; }
    Lanes16 smaller(Lanes16 b) const { return {_mm512_min_epu32(v, b.v)}; }
    Lanes16 plus(Lanes16 b) const { return {_mm512_add_epi32(v, b.v)}; }
    Lanes16 minus(Lanes16 b) const { return {_mm512_sub_epi32(v, b.v)}; }
    Lanes16 both(Lanes16 b) const { return {_mm512_and_si512(v, b.v)}; }
    Lanes16 left(Lanes16 by) const { return {_mm512_sllv_epi32(v, by.v)}; }
    Lanes16 right(Lanes16 by) const { return {_mm512_srlv_epi32(v, by.v)}; }
    Lanes16 right(int by) const { return {_mm512_srl_epi32(v, _mm_cvtsi32_si128(by))}; }
    // The first lanes, and others behind them.
    Lanes16 where(int count, Lanes16 others) const {
        return {_mm512_mask_blend_epi32(static_cast<__mmask16>((1 << count) - 1), others.v, v)};
    }
    // (v * m + added) >> shift, unsigned, of products that fit 64 bits and results that fit 32.
    Lanes16 scaled(Lanes16 m, int64_t added, int shift) const {
        const __m512i more = _mm512_set1_epi64(added);
        const __m128i by = _mm_cvtsi32_si128(shift);
        const __m512i even = _mm512_srl_epi64(_mm512_add_epi64(_mm512_mul_epu32(v, m.v), more), by);
        const __m512i odd = _mm512_srl_epi64(_mm512_add_epi64(_mm512_mul_epu32(_mm512_srli_epi64(v, 32), m.v), more), by);
        return {_mm512_or_si512(even, _mm512_slli_epi64(odd, 32))};
    }
    int32_t largest() const { return _mm512_reduce_max_epi32(v); }
    int32_t sum() const { return _mm512_reduce_add_epi32(v); }
};

}  // namespace
}  // namespace dqt
