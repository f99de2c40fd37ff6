// Operators that work element by element, in AVX-512.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <algorithm>

#include "avx512.h"

namespace dqt {
namespace {

inline void narrow(const uint8_t* in, uint8_t* out, int64_t count, int n, int s) {
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, count - i)));
        store64(out + i, some, narrowed(load64(in + i, some), {n, s}));
    }
}

inline void add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k) {
    const Addition addition(k);
    const Finish finish(k.lo, k.hi, {});
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, count - i)));
        const __m512i x = load64(a + i, some), y = load64(b + i, some);
        store64(out + i, some, with_residual<4>(x, y, addition, finish));
    }
}

inline void maximum(const MaximumRow& m) {
    const auto greater = [](__m512i a, __m512i b) { return _mm512_max_epu8(a, b); };
    for (int64_t p = 0; p < m.count; ++p)
        for (int64_t c = 0; c < m.channels; c += 64) {
            const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, m.channels - c)));
            const auto load = [&](const uint8_t* at) { return load64(at, some); };
            store64(m.out + p * m.out_pixel + c, some,
                    largest(m, m.in + p * m.in_pixel + c, _mm512_setzero_si512(), load, greater));
        }
}

}  // namespace
}  // namespace dqt
