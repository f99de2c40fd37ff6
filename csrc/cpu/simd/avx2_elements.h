// Operators that work element by element, in AVX2.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <algorithm>
#include <cstring>

#include "avx2.h"

namespace dqt {
namespace {

inline void narrow(const uint8_t* in, uint8_t* out, int64_t count, int n, int s) {
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) save(out + i, narrowed(load(in + i), {n, s}));
    plain_narrow(in, out, i, count, n, s);
}

inline void add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k) {
    const Addition addition(k);
    const Finish finish(k.lo, k.hi, {});
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) save(out + i, with_residual(load(a + i), load(b + i), addition, finish));
    plain_add(a, b, out, i, count, k);
}

inline void quantize(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count,
              const Quantization& q) {
    alignas(32) uint8_t squeeze[32], bytes[32];
    for (int i = 0; i < 32; ++i) squeeze[i] = static_cast<uint8_t>(i % 16 / pixel * 4 + i % 16 % pixel);
    const __m256 offset = _mm256_set1_ps(static_cast<float>(q.zero)), most = _mm256_set1_ps(static_cast<float>(q.highest));
    for (int64_t i = 0; i < count; i += 8) {
        const int some = count - i < 8 ? static_cast<int>(count - i) : 8;
        const __m256i lanes = first_lanes(some);
        __m256i pixels = _mm256_setzero_si256();
        for (int c = 0; c < channels; ++c) {
            __m256 v = _mm256_mul_ps(_mm256_maskload_ps(in + c * plane + i, lanes), _mm256_set1_ps(q.gain[c]));
            v = _mm256_add_ps(v, _mm256_set1_ps(q.bias[c]));
            v = _mm256_add_ps(_mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), offset);
            v = _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), most);
            pixels = _mm256_or_si256(pixels, _mm256_sll_epi32(_mm256_cvtps_epi32(v), _mm_cvtsi32_si128(8 * c)));
        }
        save(bytes, _mm256_shuffle_epi8(pixels, load(squeeze)));  // four pixels to a half
        std::memcpy(out + pixel * i, bytes, pixel * std::min(some, 4));
        if (some > 4) std::memcpy(out + pixel * (i + 4), bytes + 16, pixel * (some - 4));
    }
}

inline void maximum(const MaximumRow& m) {
    const auto greater = [](__m256i a, __m256i b) { return _mm256_max_epu8(a, b); };
    for (int64_t p = 0; p < m.count; ++p) {
        int64_t c = 0;
        for (; c + 32 <= m.channels; c += 32)
            save(m.out + p * m.out_pixel + c,
                 largest(m, m.in + p * m.in_pixel + c, _mm256_setzero_si256(), [](auto at) { return load(at); }, greater));
        plain_maximum(m, p, c);
    }
}

}  // namespace
}  // namespace dqt
