// What the AVX2 kernels share: requantization in 32-bit lanes, packing and storing.
#pragma once

#include <cstdlib>
#include <cstring>

#include "../../arith.h"
#include "avx2_registers.h"
#include "plain.h"

namespace dqt {
namespace {

// x >> count of signed 64-bit numbers: AVX2 has the unsigned shift only.
inline __m256i shifted64(__m256i x, int shift) {
    const __m128i count = _mm_cvtsi32_si128(shift);
    const __m256i sign = _mm256_set1_epi64x(INT64_MIN);
    return _mm256_sub_epi64(_mm256_srl_epi64(_mm256_xor_si256(x, sign), count), _mm256_srl_epi64(sign, count));
}

inline __m256i clamp64(__m256i x, int64_t lo, int64_t hi) {
    const __m256i low = _mm256_set1_epi64x(lo), high = _mm256_set1_epi64x(hi);
    x = _mm256_blendv_epi8(x, low, _mm256_cmpgt_epi64(low, x));
    return _mm256_blendv_epi8(x, high, _mm256_cmpgt_epi64(x, high));
}

// What 8 columns need to be requantized, loaded once for all rows of a block.
struct Factors {
    __m256i even_m, odd_m, even_c, odd_c;
    Factors(const int32_t* m, const int64_t* c) {  // c: even lanes, odd ones 8 further
        even_m = load(m);
        odd_m = _mm256_srli_epi64(even_m, 32);
        even_c = load(c);
        odd_c = load(c + 8);
    }
};

// (acc * m + c) >> shift, lanes 0 2 1 3 of each four; where the shift is not 32, clamped too: it may not fit before.
template <bool HIGH>
inline __m256i scaled(__m256i acc, const Factors& f, const Rounding& r) {
    __m256i even = _mm256_add_epi64(_mm256_mul_epi32(acc, f.even_m), f.even_c);
    __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(acc, 32), f.odd_m), f.odd_c);
    if constexpr (!HIGH) {
        even = _mm256_slli_epi64(clamp64(shifted64(even, r.shift), r.lo, r.hi), 32);
        odd = _mm256_slli_epi64(clamp64(shifted64(odd, r.shift), r.lo, r.hi), 32);
    }
    return _mm256_castps_si256(_mm256_shuffle_ps(_mm256_castsi256_ps(even), _mm256_castsi256_ps(odd), 0xDD));
}

// Bytes of lanes 0 2 1 3 of each four, in their order.
inline __m256i ordered(__m256i bytes) {
    const __m128i order = _mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13, 15);
    return _mm256_shuffle_epi8(bytes, _mm256_broadcastsi128_si256(order));
}

// 32 32-bit numbers as bytes, saturated; in their order where each four of a, b, c, d in turn is four columns.
inline __m256i packed(__m256i a, __m256i b, __m256i c, __m256i d) {
    return _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
}

// Bounds in registers.
struct Finish {
    __m256i lo, half, mask, top;
    bool narrows, bounds;
    explicit Finish(const Bounds& b)
        : lo(same_bytes(b.lo)), half(same_bytes(b.half)), mask(same_bytes(b.mask)), top(same_bytes(b.top)),
          narrows(b.narrows), bounds(b.bounds) {}
    Finish(int lo, int hi, const Narrow& to) : Finish(Bounds(lo, hi, to)) {}
    __m256i operator()(__m256i q) const {
        if (!narrows && !bounds) return q;
        if (bounds) q = _mm256_max_epu8(q, lo);
        if (narrows) q = _mm256_and_si256(_mm256_adds_epu8(q, half), mask);
        return bounds ? _mm256_min_epu8(q, top) : q;
    }
};

// The constants of a residual, split.
struct Addition {
    __m256i low, high, low3, high3;
    __m128i shift;
    const Residual& k;

    explicit Addition(const Residual& k)
        : low(_mm256_set1_epi32(k.low)), high(_mm256_set1_epi32(k.high)), low3(_mm256_set1_epi32(k.low3)),
          high3(_mm256_set1_epi32(k.high3)), shift(_mm_cvtsi32_si128(k.shift - 16)), k(k) {}
};

// (k1*r + k2*b + k3) >> shift of 32-bit lanes that hold r and, 16 bits up, b.
inline __m256i added(__m256i pairs, const Addition& a) {
    const __m256i low = _mm256_add_epi32(_mm256_madd_epi16(pairs, a.low), a.low3);
    const __m256i high = _mm256_add_epi32(_mm256_madd_epi16(pairs, a.high), a.high3);
    return _mm256_sra_epi32(_mm256_add_epi32(high, _mm256_srai_epi32(low, 16)), a.shift);
}

// The same in 64 bits, clamped.
__attribute__((noinline)) inline __m256i added_wide(__m256i pairs, const Residual& k) {
    const __m256i k1 = _mm256_set1_epi64x(k.k1), k2 = _mm256_set1_epi64x(k.k2), k3 = _mm256_set1_epi64x(k.k3);
    const auto half = [&](__m256i rb) {
        const __m256i r = _mm256_and_si256(rb, _mm256_set1_epi64x(0xFF)), b = _mm256_srli_epi32(rb, 16);
        const __m256i sum = _mm256_add_epi64(_mm256_mul_epi32(r, k1), _mm256_mul_epi32(b, k2));
        return clamp64(shifted64(_mm256_add_epi64(sum, k3), k.shift), k.lo, k.hi);
    };
    return _mm256_blend_epi32(half(pairs), _mm256_slli_epi64(half(_mm256_srli_epi64(pairs, 32)), 32), 0xAA);
}

// The residual of 32 bytes r and b.
inline __m256i with_residual(__m256i r, __m256i b, const Addition& a, const Finish& finish) {
    const __m256i zero = _mm256_setzero_si256();
    const __m256i low = _mm256_unpacklo_epi8(r, b), high = _mm256_unpackhi_epi8(r, b);
    __m256i y[4] = {_mm256_unpacklo_epi8(low, zero), _mm256_unpackhi_epi8(low, zero), _mm256_unpacklo_epi8(high, zero),
                    _mm256_unpackhi_epi8(high, zero)};
    if (a.k.split) [[likely]] {
        for (__m256i& lanes : y) lanes = added(lanes, a);
        return finish(packed(y[0], y[1], y[2], y[3]));
    }
    alignas(32) int32_t sums[4][8];  // a copy: what a call gets the address of is not kept in registers
    for (int i = 0; i < 4; ++i) save(sums[i], added_wide(y[i], a.k));
    return finish(packed(load(sums[0]), load(sums[1]), load(sums[2]), load(sums[3])));
}

}  // namespace
}  // namespace dqt
