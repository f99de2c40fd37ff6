// What the AVX-512 kernels share: narrowing at the load, requantization in 32-bit lanes, packing and storing.
#pragma once

#include <immintrin.h>

#include <cstdlib>
#include <cstring>

#include "../../arith.h"
#include "../kernels.h"
#include "avx512_integers.h"
#include "plain.h"

namespace dqt {
namespace {

#define INLINE __attribute__((always_inline)) inline

constexpr int NARROW = 0xEA;  // (a & b) | c

// acc + the products of four unsigned bytes by four signed ones; of two pairs of 16-bit numbers, modulo 2^32.
#if defined(__AVX512VNNI__)
INLINE __m512i dot(__m512i acc, __m512i a, __m512i w) { return _mm512_dpbusd_epi32(acc, a, w); }
INLINE __m512i dot_words(__m512i acc, __m512i a, __m512i w) { return _mm512_dpwssd_epi32(acc, a, w); }
#else
INLINE __m512i dot_words(__m512i acc, __m512i a, __m512i w) { return _mm512_add_epi32(acc, _mm512_madd_epi16(a, w)); }
#endif

INLINE __m512i broadcast4(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, 4);
    return _mm512_set1_epi32(four);
}

// A vector whose first 64 / TIMES bytes are at `p`, as often as they fit.
template <int TIMES>
INLINE __m512i spread(const void* p) {
    if constexpr (TIMES == 1) return _mm512_loadu_si512(p);
    if constexpr (TIMES == 2) return _mm512_broadcast_i64x4(_mm256_loadu_si256(static_cast<const __m256i*>(p)));
    if constexpr (TIMES == 4) return _mm512_broadcast_i32x4(_mm_loadu_si128(static_cast<const __m128i*>(p)));
}

// The sums of the lanes of each of four vectors.
INLINE __m128i sums_of(const __m512i* x) {
    const auto folded = [](__m512i a, __m512i b) {
        return _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    };
    const __m512i low = folded(x[0], x[1]), high = folded(x[2], x[3]);
    const __m512i each = _mm512_add_epi32(_mm512_unpacklo_epi64(low, high), _mm512_unpackhi_epi64(low, high));
    const __m256i half = _mm256_add_epi32(_mm512_castsi512_si256(each), _mm512_extracti64x4_epi64(each, 1));
    return _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1));
}

// What one vector of columns needs to be requantized, loaded once for all rows of a block; its first columns TIMES times.
template <int TIMES = 1>
struct Factors {
    __m512i even_m, odd_m, even_c, odd_c;
    Factors(const Rounding& r, int at) {
        even_m = spread<TIMES>(r.m + at);
        odd_m = _mm512_srli_epi64(even_m, 32);
        even_c = spread<TIMES>(r.c + at);
        odd_c = spread<TIMES>(r.c + at + 8);
    }
    // Takes what sums start from into the constants: (acc + start) * m + c = acc * m + (c + start * m).
    INLINE void start_from(__m512i start) {
        even_c = _mm512_add_epi64(even_c, _mm512_mul_epi32(start, even_m));
        odd_c = _mm512_add_epi64(odd_c, _mm512_mul_epi32(_mm512_srli_epi64(start, 32), odd_m));
    }
};

// (acc * m + c) >> shift in 32-bit lanes. Where the shift is not 32 (`ANY`), clamped too: it may not fit before.
template <bool ANY, int TIMES>
INLINE __m512i scaled(__m512i acc, const Factors<TIMES>& f, const Rounding& r) {
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(acc, f.even_m), f.even_c);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(acc, 32), f.odd_m), f.odd_c);
    if constexpr (!ANY) return _mm512_mask_shuffle_epi32(odd, 0x5555, even, _MM_PERM_DDBB);
    const __m512i lo = _mm512_set1_epi64(r.lo), hi = _mm512_set1_epi64(r.hi);
    const __m128i count = _mm_cvtsi32_si128(r.shift);
    even = _mm512_min_epi64(_mm512_max_epi64(_mm512_sra_epi64(even, count), lo), hi);
    odd = _mm512_min_epi64(_mm512_max_epi64(_mm512_sra_epi64(odd, count), lo), hi);
    return _mm512_mask_blend_epi32(0xAAAA, even, _mm512_slli_epi64(odd, 32));
}

// The constants of a residual, split.
struct Addition {
    __m512i low, high, low3, high3, shift;
    const Residual& k;

    explicit Addition(const Residual& k)
        : low(_mm512_set1_epi32(k.low)), high(_mm512_set1_epi32(k.high)), low3(_mm512_set1_epi32(k.low3)),
          high3(_mm512_set1_epi32(k.high3)), shift(_mm512_set1_epi32(k.shift - 16)), k(k) {}
};

// (k1*r + k2*b + k3) >> shift of 32-bit lanes that hold r and, 16 bits up, b; not clamped, but for the 64-bit way.
INLINE __m512i added(__m512i pairs, const Addition& a) {
    if (a.k.split) [[likely]] {
        const __m512i low = dot_words(a.low3, pairs, a.low), high = dot_words(a.high3, pairs, a.high);
        return _mm512_srav_epi32(_mm512_add_epi32(high, _mm512_srai_epi32(low, 16)), a.shift);
    }
    const __m512i k1 = _mm512_set1_epi64(a.k.k1), k2 = _mm512_set1_epi64(a.k.k2), k3 = _mm512_set1_epi64(a.k.k3);
    const __m512i lo = _mm512_set1_epi64(a.k.lo), hi = _mm512_set1_epi64(a.k.hi), byte = _mm512_set1_epi64(0xFF);
    const __m128i right = _mm_cvtsi32_si128(a.k.shift);
    const auto half = [&](int from) {
        const __m512i r = _mm512_and_si512(_mm512_srl_epi64(pairs, _mm_cvtsi32_si128(from)), byte);
        const __m512i b = _mm512_and_si512(_mm512_srl_epi64(pairs, _mm_cvtsi32_si128(from + 16)), byte);
        const __m512i sum = _mm512_add_epi64(_mm512_add_epi64(_mm512_mul_epi32(r, k1), _mm512_mul_epi32(b, k2)), k3);
        return _mm512_min_epi64(_mm512_max_epi64(_mm512_sra_epi64(sum, right), lo), hi);
    };
    return _mm512_mask_blend_epi32(0xAAAA, half(0), _mm512_slli_epi64(half(32), 32));
}

// Bounds in registers.
struct Finish {
    __m512i lo, half, mask, top;
    bool narrows, bounds;
    explicit Finish(const Bounds& b)
        : lo(bytes(b.lo)), half(bytes(b.half)), mask(bytes(b.mask)), top(bytes(b.top)), narrows(b.narrows),
          bounds(b.bounds) {}
    Finish(int lo, int hi, const Narrow& to) : Finish(Bounds(lo, hi, to)) {}
    INLINE __m512i operator()(__m512i q) const {
        if (!narrows && !bounds) return q;
        if (bounds) q = _mm512_max_epu8(q, lo);
        if (narrows) q = narrowed(q);
        return bounds ? _mm512_min_epu8(q, top) : q;
    }
    INLINE __m512i narrowed(__m512i q) const { return _mm512_and_si512(_mm512_adds_epu8(q, half), mask); }

  private:
    static __m512i bytes(int value) { return _mm512_set1_epi8(static_cast<char>(value)); }
};

// T_b of bytes: saturating addition of half a bin, cut to the largest code, low bits cleared.
INLINE __m512i narrowed(__m512i q, const Narrow& to) {
    const int top = ((1 << to.n) - 1) >> to.s << to.s;
    q = _mm512_adds_epu8(q, _mm512_set1_epi8(static_cast<char>((1 << to.s) >> 1)));
    q = _mm512_and_si512(q, _mm512_set1_epi8(static_cast<char>(0xFF << to.s)));
    return _mm512_min_epu8(q, _mm512_set1_epi8(static_cast<char>(top)));
}

// The mask of the first `count` bytes.
INLINE __mmask64 first(int count) {
    return count >= 64 ? ~__mmask64{0} : (__mmask64{1} << count) - 1;
}

// Some of the first 64, 32 or 16 bytes at `p`; all of them by a plain access. A masked one, even of a whole vector, makes
// Zen 5 wait for what is not in the cache: a pass over values from memory takes several times as long.
INLINE __m512i load64(const void* p, __mmask64 some) {
    if (some == ~__mmask64{0}) [[likely]] return _mm512_loadu_si512(p);
    return _mm512_maskz_loadu_epi8(some, p);
}
INLINE __m256i load32(const void* p, __mmask32 some) {
    if (some == ~__mmask32{0}) [[likely]] return _mm256_loadu_si256(static_cast<const __m256i*>(p));
    return _mm256_maskz_loadu_epi8(some, p);
}
INLINE __m128i load16(const void* p, __mmask16 some) {
    if (some == static_cast<__mmask16>(~0)) [[likely]] return _mm_loadu_si128(static_cast<const __m128i*>(p));
    return _mm_maskz_loadu_epi8(some, p);
}
INLINE void store64(void* p, __mmask64 some, __m512i bytes) {
    if (some == ~__mmask64{0}) [[likely]] return _mm512_storeu_si512(p, bytes);
    _mm512_mask_storeu_epi8(p, some, bytes);
}
INLINE void store32(void* p, __mmask32 some, __m256i bytes) {
    if (some == ~__mmask32{0}) [[likely]] return _mm256_storeu_si256(static_cast<__m256i*>(p), bytes);
    _mm256_mask_storeu_epi8(p, some, bytes);
}
INLINE void store16(void* p, __mmask16 some, __m128i bytes) {
    if (some == static_cast<__mmask16>(~0)) [[likely]] return _mm_storeu_si128(static_cast<__m128i*>(p), bytes);
    _mm_mask_storeu_epi8(p, some, bytes);
}

INLINE __m512i shifted(__m512i x, int s) {  // unsigned bytes
    return _mm512_and_si512(_mm512_srl_epi16(x, _mm_cvtsi32_si128(s)), _mm512_set1_epi8(static_cast<char>(0xFF >> s)));
}

// Codes of n - s bits, of bytes of n.
INLINE __m512i code(__m512i bytes, int n, int s) {
    const __m512i half = _mm512_set1_epi8(static_cast<char>((1 << s) >> 1));
    const __m512i top = _mm512_set1_epi8(static_cast<char>((1 << (n - s)) - 1));
    return _mm512_min_epu8(shifted(_mm512_adds_epu8(bytes, half), s), top);
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

// 16 * V bytes of r and of b as 32-bit lanes r | b << 16, in the order of a panel's columns.
template <int V>
INLINE void paired(__m512i r, __m512i b, __m512i* out) {
    const __m512i zero = _mm512_setzero_si512();
    if constexpr (V == 4) {
        const __m512i low = _mm512_unpacklo_epi8(r, b), high = _mm512_unpackhi_epi8(r, b);
        out[0] = _mm512_unpacklo_epi8(low, zero);
        out[1] = _mm512_unpackhi_epi8(low, zero);
        out[2] = _mm512_unpacklo_epi8(high, zero);
        out[3] = _mm512_unpackhi_epi8(high, zero);
    } else if constexpr (V == 2) {
        const __m512i words_r = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(r));
        const __m512i words_b = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(b));
        out[0] = _mm512_unpacklo_epi16(words_r, words_b);
        out[1] = _mm512_unpackhi_epi16(words_r, words_b);
    } else {
        out[0] = _mm512_or_si512(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(r)),
                                 _mm512_slli_epi32(_mm512_cvtepu8_epi32(_mm512_castsi512_si128(b)), 16));
    }
}

// Adds a residual to the bytes of one output pixel.
template <int V>
INLINE __m512i with_residual(__m512i bytes, __m512i other, const Addition& a, const Finish& finish) {
    __m512i lanes[V];
    paired<V>(bytes, other, lanes);
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) lanes[v] = added(lanes[v], a);
    return finish(packed<V>(lanes));
}

// Which bytes of an output pixel of 16 * V columns are real, and which are stored.
template <int V>
struct Lanes {
    __mmask64 real, stored;
    Lanes(int columns, int stored) : real(first(columns)), stored(first(stored)) {}
    INLINE __m512i load(const uint8_t* p) const {
        if constexpr (V == 4) return load64(p, real);
        if constexpr (V == 2) return _mm512_castsi256_si512(load32(p, static_cast<__mmask32>(real)));
        return _mm512_castsi128_si512(load16(p, static_cast<__mmask16>(real)));
    }
    INLINE void store(uint8_t* out, __m512i bytes) const {
        bytes = _mm512_maskz_mov_epi8(real, bytes);
        if constexpr (V == 4) return store64(out, stored, bytes);
        if constexpr (V == 2) return store32(out, static_cast<__mmask32>(stored), _mm512_castsi512_si256(bytes));
        store16(out, static_cast<__mmask16>(stored), _mm512_castsi512_si128(bytes));
    }
};

// Adds the residual to `count` outputs, 64 bytes each, and stores them. Not inlined: it would cost the products registers.
// `To`: a Block, or whatever has its members; an output that is null goes nowhere.
template <int V, class To>
__attribute__((noinline)) void store_added(const To& to, const __m512i* bytes, int count) {
    const Addition addition(*to.residual);
    const Finish finish(to.residual->lo, to.residual->hi, to.narrow);
    const Lanes<V> lanes(to.columns, to.stored);
    for (int i = 0; i < count; ++i) {
        if (!to.out[i]) continue;
        lanes.store(to.out[i], with_residual<V>(bytes[i], lanes.load(to.other[i]), addition, finish));
    }
}

// Clamps the bytes of a block's outputs, 64 each, narrows them or adds the residual, and stores them. Not inlined, as above.
template <int V>
__attribute__((noinline)) void store_finished(const Block& b, const Bounds& bounds, __m512i* bytes, int rows) {
    const Finish finish(bounds);
    for (int i = 0; i < rows; ++i) bytes[i] = finish(bytes[i]);
    if (b.residual) return store_added<V>(b, bytes, rows);
    const Lanes<V> lanes(b.columns, b.stored);
    for (int i = 0; i < rows; ++i) lanes.store(b.out[i], bytes[i]);
}

template <int V>
INLINE void store_whole(uint8_t* out, __m512i bytes) {
    if constexpr (V == 4) return _mm512_storeu_si512(out, bytes);
    if constexpr (V == 2) return _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm512_castsi512_si256(bytes));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm512_castsi512_si128(bytes));
}

// Stores the requantized results of a block, [row][V]. Sums may be short: what most layers have is told apart once.
template <int V>
INLINE void store_rows(const Block& b, const __m512i (*y)[V], int rows) {
    const Bounds bounds(b.rounding.lo, b.rounding.hi, b.residual ? Narrow() : b.narrow);
    const bool plain = !b.residual && !bounds.bounds && b.columns == LANES * V && b.stored == LANES * V;
    if (plain && !bounds.narrows) {
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) store_whole<V>(b.out[i], packed<V>(y[i]));
        return;
    }
    if (plain) {
        const Finish finish(bounds);
#pragma GCC unroll 16
        for (int i = 0; i < rows; ++i) store_whole<V>(b.out[i], finish.narrowed(packed<V>(y[i])));
        return;
    }
    __m512i bytes[MAX_OUTPUTS];
#pragma GCC unroll 16
    for (int i = 0; i < rows; ++i) bytes[i] = packed<V>(y[i]);
    store_finished<V>(b, bounds, bytes, rows);
}

// A function of its own, because it takes the accumulators' addresses and so puts them in memory.
template <int V>
__attribute__((noinline)) void finish_rarely(const Block& b, __m512i (*acc)[V], int rows) {
    for (int v = 0; v < V; ++v) {
        const Factors<> factors(b.rounding, v * LANES);
        if (b.rounding.shift == 32)
            for (int i = 0; i < rows; ++i) acc[i][v] = scaled<false>(acc[i][v], factors, b.rounding);
        else
            for (int i = 0; i < rows; ++i) acc[i][v] = scaled<true>(acc[i][v], factors, b.rounding);
    }
    if (!b.wide) return store_rows<V>(b, acc, rows);
    for (int i = 0; i < rows; ++i) store_wide<V>(b, i, acc[i]);
}

// Requantizes the accumulators of a block, [row][V], and stores its outputs.
template <int V, int ROWS>
INLINE void finish(const Block& b, __m512i (*acc)[V]) {
    if (b.wide || b.rounding.shift != 32) [[unlikely]] {
        __m512i copy[ROWS][V];
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) copy[i][v] = acc[i][v];
        return finish_rarely<V>(b, copy, ROWS);
    }
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
        const Factors<> factors(b.rounding, v * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) acc[i][v] = scaled<false>(acc[i][v], factors, b.rounding);
    }
    store_rows<V>(b, acc, ROWS);
}

}  // namespace
}  // namespace dqt
