// What the AVX-512 kernels share: narrowing at the load, requantization in 32-bit lanes, packing and storing.
#pragma once

#include <immintrin.h>

#include <cmath>
#include <cstring>

#include "../arith.h"
#include "../kernels.h"

namespace dqt {
namespace {

#define INLINE __attribute__((always_inline)) inline

constexpr int NARROW = 0xEA;  // (a & b) | c

INLINE __m512i dot(__m512i acc, __m512i a, __m512i w) { return _mm512_dpbusd_epi32(acc, a, w); }

INLINE __m512i broadcast4(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}

// What one vector of columns needs to be requantized, loaded once for all rows of a block.
struct Factors {
    __m512i even_m, odd_m, even_c, odd_c;
    Factors(const Rounding& r, int at) {
        even_m = _mm512_loadu_si512(r.m + at);
        odd_m = _mm512_srli_epi64(even_m, 32);
        even_c = _mm512_loadu_si512(r.c + at);
        odd_c = _mm512_loadu_si512(r.c + at + 8);
    }
};

// (acc * m + c) >> shift in 32-bit lanes; where the shift is not 32, clamped too: it may not fit before.
INLINE __m512i scaled(__m512i acc, const Factors& f, const Rounding& r) {
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(acc, f.even_m), f.even_c);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(acc, 32), f.odd_m), f.odd_c);
    if (r.shift == 32) [[likely]]
        return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    const __m512i lo = _mm512_set1_epi64(r.lo), hi = _mm512_set1_epi64(r.hi);
    const __m128i count = _mm_cvtsi32_si128(r.shift);
    even = _mm512_min_epi64(_mm512_max_epi64(_mm512_sra_epi64(even, count), lo), hi);
    odd = _mm512_min_epi64(_mm512_max_epi64(_mm512_sra_epi64(odd, count), lo), hi);
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

// The constants of a residual. With |k1|, |k2| < 2^31 and a verified k3 the sum may reach 63 bits; where the shift leaves
// more than 32 of what k1, k2 and k3 can make, it is clamped in 64 bits.
struct Addition {
    __m512i k1, k2, k3, lo, hi;
    __m128i right, left;
    bool wide;
    explicit Addition(const Residual& k)
        : k1(_mm512_set1_epi64(k.k1)), k2(_mm512_set1_epi64(k.k2)), k3(_mm512_set1_epi64(k.k3)),
          lo(_mm512_set1_epi64(k.lo)), hi(_mm512_set1_epi64(k.hi)), right(_mm_cvtsi32_si128(k.shift)),
          left(_mm_cvtsi32_si128(32 - k.shift)), wide(!fits(k)) {}
    static bool fits(const Residual& k) {
        const double most = 255.0 * (std::abs(double(k.k1)) + std::abs(double(k.k2))) + std::abs(double(k.k3));
        return most < std::ldexp(1.0, k.shift + 30);
    }
};

// (k1*r + k2*b + k3) >> shift of codes in 32-bit lanes, not yet clamped.
INLINE __m512i added(__m512i r, __m512i b, const Addition& k) {
    const __m512i r1 = _mm512_srli_epi64(r, 32), b1 = _mm512_srli_epi64(b, 32);
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(r, k.k1), _mm512_mul_epi32(b, k.k2));
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(r1, k.k1), _mm512_mul_epi32(b1, k.k2));
    even = _mm512_add_epi64(even, k.k3);
    odd = _mm512_add_epi64(odd, k.k3);
    if (k.wide) [[unlikely]] {
        even = _mm512_min_epi64(_mm512_max_epi64(_mm512_sra_epi64(even, k.right), k.lo), k.hi);
        odd = _mm512_min_epi64(_mm512_max_epi64(_mm512_sra_epi64(odd, k.right), k.lo), k.hi);
        return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
    }
    return _mm512_mask_blend_epi32(0xAAAA, _mm512_srl_epi64(even, k.right), _mm512_sll_epi64(odd, k.left));
}

INLINE __m512i clamp_bytes(__m512i y, int lo, int hi) {
    return _mm512_min_epu8(_mm512_max_epu8(y, _mm512_set1_epi8(static_cast<char>(lo))),
                           _mm512_set1_epi8(static_cast<char>(hi)));
}

// T_b of bytes: saturating addition of half a bin, cut to the largest code, low bits cleared.
INLINE __m512i narrowed(__m512i q, const Narrow& to) {
    const int top = ((1 << to.n) - 1) >> to.s << to.s;
    q = _mm512_adds_epu8(q, _mm512_set1_epi8(static_cast<char>((1 << to.s) >> 1)));
    q = _mm512_and_si512(q, _mm512_set1_epi8(static_cast<char>(0xFF << to.s)));
    return _mm512_min_epu8(q, _mm512_set1_epi8(static_cast<char>(top)));
}

// V vectors of 32-bit results as bytes, in natural order, saturated.
template <int V>
INLINE __m512i packed(const __m512i* y) {
    if constexpr (V == 4) {
        return _mm512_packus_epi16(_mm512_packs_epi32(y[0], y[1]), _mm512_packs_epi32(y[2], y[3]));
    } else if constexpr (V == 2) {
        const __m512i words = _mm512_max_epi16(_mm512_packs_epi32(y[0], y[1]), _mm512_setzero_si512());
        return _mm512_castsi256_si512(_mm512_cvtusepi16_epi8(words));
    } else {
        return _mm512_castsi128_si512(_mm512_cvtusepi32_epi8(_mm512_max_epi32(y[0], _mm512_setzero_si512())));
    }
}

template <int V>
INLINE __mmask64 first(int count) {
    return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}

// 16 * V bytes as 32-bit lanes, in the order of a panel's columns.
template <int V>
INLINE void spread(__m512i bytes, __m512i* out) {
    const __m512i zero = _mm512_setzero_si512();
    if constexpr (V == 4) {
        const __m512i low = _mm512_unpacklo_epi8(bytes, zero), high = _mm512_unpackhi_epi8(bytes, zero);
        out[0] = _mm512_unpacklo_epi16(low, zero);
        out[1] = _mm512_unpackhi_epi16(low, zero);
        out[2] = _mm512_unpacklo_epi16(high, zero);
        out[3] = _mm512_unpackhi_epi16(high, zero);
    } else if constexpr (V == 2) {
        const __m512i words = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(bytes));
        out[0] = _mm512_unpacklo_epi16(words, zero);
        out[1] = _mm512_unpackhi_epi16(words, zero);
    } else {
        out[0] = _mm512_cvtepu8_epi32(_mm512_castsi512_si128(bytes));
    }
}

// Adds the residual to the results of one output pixel, as bytes.
template <int V>
INLINE __m512i with_residual(const __m512i* y, const uint8_t* from, int columns, const Rounding& r, const Residual& k) {
    const Addition addition(k);
    const __m512i lo = _mm512_set1_epi32(r.lo), hi = _mm512_set1_epi32(r.hi);
    __m512i other[V];
    spread<V>(_mm512_maskz_loadu_epi8(first<V>(columns), from), other);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
        other[v] = added(_mm512_min_epi32(_mm512_max_epi32(y[v], lo), hi), other[v], addition);
    return clamp_bytes(packed<V>(other), k.lo, k.hi);
}

// Clamps, packs and stores the results of one output pixel. `to` is a Block or a WinogradBlock, `i` its output.
template <int V, class To>
INLINE void store(const To& to, int i, const __m512i* y) {
    __m512i bytes = to.residual ? with_residual<V>(y, to.other[i], to.columns, to.rounding, *to.residual)
                                : clamp_bytes(packed<V>(y), to.rounding.lo, to.rounding.hi);
    if (to.narrow.s) bytes = narrowed(bytes, to.narrow);
    bytes = _mm512_maskz_mov_epi8(first<V>(to.columns), bytes);
    _mm512_mask_storeu_epi8(to.out[i], first<V>(to.stored), bytes);
}

}  // namespace
}  // namespace dqt
