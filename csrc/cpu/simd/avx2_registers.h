// Registers of 256 bits: loads and stores, and bytes as 16-bit numbers. For AVX2, and for what AVX-512 does by halves.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <immintrin.h>

#include "../kernels.h"

namespace dqt {
namespace {

constexpr int VECTOR_BYTES = 64;  // weights of one step and one vector: two registers

inline __m256i load(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline void save(void* p, __m256i v) { _mm256_storeu_si256(static_cast<__m256i*>(p), v); }

// gcc neither moves the work on x across this nor joins it with other sums: moved, it would cost registers.
__attribute__((always_inline)) inline void keep(__m256i& x) { asm volatile("" : "+x"(x) : : "memory"); }

// sum += x, where the sum lies: gcc would add elsewhere and copy it back.
inline void add32(__m256i& sum, __m256i x) { asm("vpaddd %1, %0, %0" : "+x"(sum) : "x"(x)); }

inline void add16(__m256i& sum, __m256i x) { asm("vpaddw %1, %0, %0" : "+x"(sum) : "x"(x)); }

// The mask of the first `count` <= 8 dwords.
inline __m256i first_lanes(int count) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(count), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

// `count` <= 8 fours of bytes, and zeros.
inline __m256i load_fours(const uint8_t* p, int count) {
    return _mm256_maskload_epi32(reinterpret_cast<const int*>(p), first_lanes(count));
}

// Bytes 0 and 2, or 1 and 3, of each dword as 16-bit numbers.
inline __m256i even_codes(__m256i a) { return _mm256_and_si256(a, _mm256_set1_epi16(0xFF)); }
inline __m256i odd_codes(__m256i a) { return _mm256_srli_epi16(a, 8); }
inline __m256i even_weights(__m256i w) { return _mm256_maddubs_epi16(_mm256_set1_epi16(1), w); }
inline __m256i odd_weights(__m256i w) { return _mm256_srai_epi16(w, 8); }

inline __m256i same_bytes(int value) { return _mm256_set1_epi8(static_cast<char>(value)); }

// Saturating addition of the half bin, then the low bits are cleared: min((q + half) >> s, top) << s.
inline __m256i narrowed(__m256i q, const Narrow& to) {
    const __m256i half = same_bytes((1 << to.s) >> 1), keep = same_bytes(0xFF << to.s);
    return _mm256_min_epu8(_mm256_and_si256(_mm256_adds_epu8(q, half), keep),
                           same_bytes(((1 << to.n) - 1) >> to.s << to.s));
}

}  // namespace
}  // namespace dqt
