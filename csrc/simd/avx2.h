// What the AVX2 kernels share: bytes as 16-bit numbers, requantization in 32-bit lanes, packing.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "../arith.h"
#include "../kernels.h"

namespace dqt {
namespace {

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void save(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

inline __m256i broadcast4(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm256_set1_epi32(four);
}

// Bytes 0 and 2, or 1 and 3, of each dword as 16-bit numbers.
inline __m256i even_codes(__m256i a) { return _mm256_and_si256(a, _mm256_set1_epi16(0xFF)); }
inline __m256i odd_codes(__m256i a) { return _mm256_srli_epi16(a, 8); }
inline __m256i even_weights(__m256i w) { return _mm256_srai_epi16(_mm256_slli_epi16(w, 8), 8); }
inline __m256i odd_weights(__m256i w) { return _mm256_srai_epi16(w, 8); }

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

// The low dwords of even and odd lanes, back in their order.
inline __m256i merged(__m256i even, __m256i odd) { return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA); }

// (acc * m + c) >> shift in 32-bit lanes, not yet clamped where the shift is 32; c: even lanes, odd ones 8 further.
inline __m256i scaled(__m256i acc, const int32_t* m, const int64_t* c, const Rounding& r) {
    const __m256i factor = load(m);
    __m256i even = _mm256_mul_epi32(acc, factor);
    __m256i odd = _mm256_mul_epi32(_mm256_srli_epi64(acc, 32), _mm256_srli_epi64(factor, 32));
    even = _mm256_add_epi64(even, load(c));
    odd = _mm256_add_epi64(odd, load(c + 8));
    if (r.shift == 32) return _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
    return merged(clamp64(shifted64(even, r.shift), r.lo, r.hi), clamp64(shifted64(odd, r.shift), r.lo, r.hi));
}

// clamp((k1*r + k2*b + k3) >> shift, lo, hi) of 8 codes in 32-bit lanes.
inline __m256i residual8(__m256i r, __m256i b, const Residual& k) {
    const __m256i k1 = _mm256_set1_epi64x(k.k1), k2 = _mm256_set1_epi64x(k.k2), k3 = _mm256_set1_epi64x(k.k3);
    const auto half = [&](__m256i p, __m256i q) {
        const __m256i sum = _mm256_add_epi64(_mm256_mul_epi32(p, k1), _mm256_mul_epi32(q, k2));
        return clamp64(shifted64(_mm256_add_epi64(sum, k3), k.shift), k.lo, k.hi);
    };
    return merged(half(r, b), half(_mm256_srli_epi64(r, 32), _mm256_srli_epi64(b, 32)));
}

// 32 32-bit numbers as bytes in their order, saturated.
inline __m256i bytes_of(__m256i a, __m256i b, __m256i c, __m256i d) {
    const __m256i mixed = _mm256_packus_epi16(_mm256_packs_epi32(a, b), _mm256_packs_epi32(c, d));
    return _mm256_permutevar8x32_epi32(mixed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

inline __m256i codes8(const uint8_t* p) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p)));
}

inline __m256i clamp_bytes(__m256i y, int lo, int hi) {
    return _mm256_min_epu8(_mm256_max_epu8(y, _mm256_set1_epi8(static_cast<char>(lo))),
                           _mm256_set1_epi8(static_cast<char>(hi)));
}

// Saturating addition of the half bin, then the low bits are cleared: min((q + half) >> s, top) << s.
inline __m256i narrowed(__m256i q, const Narrow& to) {
    const __m256i half = _mm256_set1_epi8(static_cast<char>((1 << to.s) >> 1));
    const __m256i most = _mm256_set1_epi8(static_cast<char>(((1 << to.n) - 1) >> to.s << to.s));
    const __m256i keep = _mm256_set1_epi8(static_cast<char>(0xFF << to.s));
    return _mm256_min_epu8(_mm256_and_si256(_mm256_adds_epu8(q, half), keep), most);
}

}  // namespace
}  // namespace dqt
