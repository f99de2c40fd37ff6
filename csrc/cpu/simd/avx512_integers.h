// Outputs of a block that are not codes, by AVX-512.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <immintrin.h>

#include "../kernels.h"

namespace dqt {
namespace {

// Stores row i of integers, clamped: the columns of a panel's vectors are interleaved by four, see column().
template <int V>
__attribute__((always_inline)) inline void store_wide(const Block& b, int i, const __m512i* y) {
    const __m512i lo = _mm512_set1_epi32(b.rounding.lo), hi = _mm512_set1_epi32(b.rounding.hi);
    const auto clamped = [&](int v) { return _mm512_min_epi32(_mm512_max_epi32(y[v], lo), hi); };
    __m512i rows[V];
    if constexpr (V == 1) {
        rows[0] = clamped(0);
    } else if constexpr (V == 2) {
        const __m512i first = _mm512_shuffle_i32x4(clamped(0), clamped(1), 0x44);
        const __m512i second = _mm512_shuffle_i32x4(clamped(0), clamped(1), 0xEE);
        rows[0] = _mm512_shuffle_i32x4(first, first, 0xD8);
        rows[1] = _mm512_shuffle_i32x4(second, second, 0xD8);
    } else {
        const __m512i even = _mm512_shuffle_i32x4(clamped(0), clamped(1), 0x44);
        const __m512i odd = _mm512_shuffle_i32x4(clamped(2), clamped(3), 0x44);
        const __m512i later = _mm512_shuffle_i32x4(clamped(0), clamped(1), 0xEE);
        const __m512i last = _mm512_shuffle_i32x4(clamped(2), clamped(3), 0xEE);
        rows[0] = _mm512_shuffle_i32x4(even, odd, 0x88);
        rows[1] = _mm512_shuffle_i32x4(even, odd, 0xDD);
        rows[2] = _mm512_shuffle_i32x4(later, last, 0x88);
        rows[3] = _mm512_shuffle_i32x4(later, last, 0xDD);
    }
    auto* out = reinterpret_cast<int32_t*>(b.out[i]);
    const auto some = [](int columns, int v) {  // of them in vector v
        const int left = columns - v * LANES;
        return static_cast<__mmask16>(left >= LANES ? 0xFFFF : left <= 0 ? 0 : (1 << left) - 1);
    };
    for (int v = 0; v < V; ++v)
        _mm512_mask_storeu_epi32(out + v * LANES, some(b.stored, v), _mm512_maskz_mov_epi32(some(b.columns, v), rows[v]));
}

}  // namespace
}  // namespace dqt
