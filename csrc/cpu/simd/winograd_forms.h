// One dimension of Winograd's F(OUT, 3) over the points 0, 1, -1, 2, -2 and infinity, as many as it needs, in integers:
// A' ((G' g) * (B d)) is DIVISOR times the convolution of the taps g with the inputs d, exactly.
//
// The fractions of G are multiplied out, row by row, as far as the numbers stay bytes; A' takes the rest. `input` is in
// numbers that wrap around, which is harmless: what comes out fits (winograd_avx512.cc).
#pragma once

#include "avx512.h"

namespace dqt {
namespace {

struct InBytes {
    static INLINE __m512i add(__m512i x, __m512i y) { return _mm512_add_epi8(x, y); }
    static INLINE __m512i sub(__m512i x, __m512i y) { return _mm512_sub_epi8(x, y); }
};
struct InWords {
    static INLINE __m512i add(__m512i x, __m512i y) { return _mm512_add_epi16(x, y); }
    static INLINE __m512i sub(__m512i x, __m512i y) { return _mm512_sub_epi16(x, y); }
};
struct InDwords {
    static INLINE __m512i add(__m512i x, __m512i y) { return _mm512_add_epi32(x, y); }
    static INLINE __m512i sub(__m512i x, __m512i y) { return _mm512_sub_epi32(x, y); }
};
template <class N>
INLINE __m512i twice(__m512i x) {
    return N::add(x, x);
}
template <class N>
INLINE __m512i thrice(__m512i x) {
    return N::add(twice<N>(x), x);
}
template <class N>
INLINE __m512i fourfold(__m512i x) {
    return twice<N>(twice<N>(x));
}

struct F2 {
    static constexpr int OUT = 2, IN = 4, DIVISOR = 2;

    // B = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]
    template <class N>
    static INLINE void input(const __m512i* d, __m512i* r) {
        r[0] = N::sub(d[0], d[2]);
        r[1] = N::add(d[1], d[2]);
        r[2] = N::sub(d[2], d[1]);
        r[3] = N::sub(d[1], d[3]);
    }
    // G' = [2 0 0; 1 1 1; 1 -1 1; 0 0 2]
    template <class N>
    static INLINE void weights(const __m512i* g, __m512i* u) {
        const __m512i ends = N::add(g[0], g[2]);
        u[0] = twice<N>(g[0]);
        u[1] = N::add(ends, g[1]);
        u[2] = N::sub(ends, g[1]);
        u[3] = twice<N>(g[2]);
    }
    // A' = [1 1 1 0; 0 1 -1 -1]
    static INLINE void output(const __m512i* m, __m512i* y) {
        using N = InDwords;
        y[0] = N::add(N::add(m[0], m[1]), m[2]);
        y[1] = N::sub(N::sub(m[1], m[2]), m[3]);
    }
};

struct F3 {
    static constexpr int OUT = 3, IN = 5, DIVISOR = 6;

    // B = [2 -1 -2 1 0; 0 -2 -1 1 0; 0 2 -3 1 0; 0 -1 0 1 0; 0 2 -1 -2 1]
    template <class N>
    static INLINE void input(const __m512i* d, __m512i* r) {
        const __m512i e = N::sub(d[3], d[1]);
        r[0] = N::add(twice<N>(N::sub(d[0], d[2])), e);
        r[1] = N::sub(e, N::add(d[1], d[2]));
        r[2] = N::add(e, thrice<N>(N::sub(d[1], d[2])));
        r[3] = e;
        r[4] = N::sub(N::sub(d[4], d[2]), twice<N>(e));
    }
    // G' = [3 0 0; 1 1 1; 1 -1 1; 1 2 4; 0 0 6]
    template <class N>
    static INLINE void weights(const __m512i* g, __m512i* u) {
        const __m512i ends = N::add(g[0], g[2]);
        u[0] = thrice<N>(g[0]);
        u[1] = N::add(ends, g[1]);
        u[2] = N::sub(ends, g[1]);
        u[3] = N::add(g[0], twice<N>(N::add(g[1], twice<N>(g[2]))));
        u[4] = twice<N>(thrice<N>(g[2]));
    }
    // A' = [1 -3 -1 1 0; 0 -3 1 2 0; 0 -3 -1 4 1]
    static INLINE void output(const __m512i* m, __m512i* y) {
        using N = InDwords;
        const __m512i t = thrice<N>(m[1]);
        y[0] = N::add(N::sub(m[0], t), N::sub(m[3], m[2]));
        y[1] = N::add(N::sub(m[2], t), twice<N>(m[3]));
        y[2] = N::sub(N::add(_mm512_slli_epi32(m[3], 2), m[4]), N::add(m[2], t));
    }
};

struct F4 {
    static constexpr int OUT = 4, IN = 6, DIVISOR = 24;

    // B = [4 0 -5 0 1 0; 0 -4 -4 1 1 0; 0 4 -4 -1 1 0; 0 -2 -1 2 1 0; 0 2 -1 -2 1 0; 0 4 0 -5 0 1]
    template <class N>
    static INLINE void input(const __m512i* d, __m512i* r) {
        const __m512i a = N::sub(d[4], d[2]), b = twice<N>(N::sub(d[3], d[1]));
        r[0] = N::add(fourfold<N>(N::sub(d[0], d[2])), a);
        r[1] = N::sub(N::add(d[3], d[4]), fourfold<N>(N::add(d[1], d[2])));
        r[2] = N::add(N::sub(d[4], d[3]), fourfold<N>(N::sub(d[1], d[2])));
        r[3] = N::add(a, b);
        r[4] = N::sub(a, b);
        r[5] = N::sub(N::sub(d[5], d[3]), twice<N>(b));
    }
    // G' = [6 0 0; 2 2 2; 2 -2 2; 1 2 4; 1 -2 4; 0 0 8]
    template <class N>
    static INLINE void weights(const __m512i* g, __m512i* u) {
        const __m512i ends = N::add(g[0], g[2]), c = fourfold<N>(g[2]), e = N::add(g[0], c), f = twice<N>(g[1]);
        u[0] = twice<N>(thrice<N>(g[0]));
        u[1] = twice<N>(N::add(ends, g[1]));
        u[2] = twice<N>(N::sub(ends, g[1]));
        u[3] = N::add(e, f);
        u[4] = N::sub(e, f);
        u[5] = twice<N>(c);
    }
    // A' = [1 -2 -2 1 1 0; 0 -2 2 2 -2 0; 0 -2 -2 4 4 0; 0 -2 2 8 -8 3]
    static INLINE void output(const __m512i* m, __m512i* y) {
        using N = InDwords;
        const __m512i s = N::add(m[1], m[2]), q = N::sub(m[2], m[1]);
        const __m512i u = N::add(m[3], m[4]), v = N::sub(m[3], m[4]);
        y[0] = N::add(N::sub(m[0], twice<N>(s)), u);
        y[1] = twice<N>(N::add(q, v));
        y[2] = twice<N>(N::sub(twice<N>(u), s));
        y[3] = N::add(twice<N>(N::add(q, _mm512_slli_epi32(v, 2))), thrice<N>(m[5]));
    }
};

}  // namespace
}  // namespace dqt
