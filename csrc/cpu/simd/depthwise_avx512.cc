// Depthwise convolution: each dword holds up to four rows of one channel, so that vpdpbusd adds a column of taps.
//
// 64 channels of a pixel fill a vector; of 32 or 16 channels, what is left of a pixel, two or four pixels do.
#if defined(__x86_64__)
#include <algorithm>

#include "avx512.h"

namespace dqt {
namespace {

// Bytes from `count` of PIXELS pixels, `step` apart; past `count`, those of the last again.
template <int PIXELS>
INLINE __m512i gathered(const uint8_t* p, int64_t step, __mmask64 some, int count) {
    const auto at = [&](int i) { return p + (i < count ? i : count - 1) * step; };
    if constexpr (PIXELS == 1) {
        return load64(p, some);
    } else if constexpr (PIXELS == 2) {
        const auto load = [&](int i) { return load32(at(i), static_cast<__mmask32>(some)); };
        return _mm512_inserti64x4(_mm512_castsi256_si512(load(0)), load(1), 1);
    } else {
        const auto load = [&](int i) { return load16(at(i), static_cast<__mmask16>(some)); };
        const __m256i low = _mm256_inserti128_si256(_mm256_castsi128_si256(load(0)), load(1), 1);
        const __m256i high = _mm256_inserti128_si256(_mm256_castsi128_si256(load(2)), load(3), 1);
        return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    }
}

// The reverse, for the first `count` pixels.
template <int PIXELS>
INLINE void scatter(uint8_t* p, int64_t step, __mmask64 some, int count, __m512i bytes) {
    if constexpr (PIXELS == 1) {
        store64(p, some, bytes);
    } else if constexpr (PIXELS == 2) {
        store32(p, static_cast<__mmask32>(some), _mm512_castsi512_si256(bytes));
        if (count > 1)
            store32(p + step, static_cast<__mmask32>(some), _mm512_extracti64x4_epi64(bytes, 1));
    } else {
        const auto part = static_cast<__mmask16>(some);
        store16(p, part, _mm512_castsi512_si128(bytes));
        if (count > 1) store16(p + step, part, _mm512_extracti32x4_epi32(bytes, 1));
        if (count > 2) store16(p + 2 * step, part, _mm512_extracti32x4_epi32(bytes, 2));
        if (count > 3) store16(p + 3 * step, part, _mm512_extracti32x4_epi32(bytes, 3));
    }
}

// Four rows of bytes, interleaved so that each dword holds one channel's rows, in the order of column().
INLINE void interleaved(__m512i r0, __m512i r1, __m512i r2, __m512i r3, __m512i* out) {
    const __m512i a = _mm512_unpacklo_epi8(r0, r1), b = _mm512_unpackhi_epi8(r0, r1);
    const __m512i c = _mm512_unpacklo_epi8(r2, r3), d = _mm512_unpackhi_epi8(r2, r3);
    out[0] = _mm512_unpacklo_epi16(a, c);
    out[1] = _mm512_unpackhi_epi16(a, c);
    out[2] = _mm512_unpacklo_epi16(b, d);
    out[3] = _mm512_unpackhi_epi16(b, d);
}

// The channels from `from` on, and what they need whatever the pixel.
template <int PIXELS>
struct Part {
    int from;
    __m512i mask;
    __mmask64 stored, real;
    Finish finish;
    Part(const DepthwiseRow& d, int from)
        : from(from), mask(_mm512_set1_epi32(static_cast<int>(d.mask))), stored(first(d.out_pixel - from)),
          real(first(d.channels - from)), finish(d.rounding.lo, d.rounding.hi, d.narrow) {
        if constexpr (PIXELS == 2) real |= real << 32;
        if constexpr (PIXELS == 4) real |= real << 16 | real << 32 | real << 48;
    }
    INLINE __m512i weights(const int8_t* w, uint32_t middle) const {
        return _mm512_ternarylogic_epi32(spread<PIXELS>(w), mask, _mm512_set1_epi32(static_cast<int>(middle)), NARROW);
    }
    // Requantizes the sums of `count` pixels and stores them.
    template <bool ANY>
    INLINE void store(uint8_t* out, const __m512i* acc, const DepthwiseRow& d, int count) const {
        __m512i y[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) y[v] = scaled<ANY>(acc[v], Factors<PIXELS>(d.rounding, from + v * LANES), d.rounding);
        scatter<PIXELS>(out, d.out_pixel, stored, count, _mm512_maskz_mov_epi8(real, finish(packed<4>(y))));
    }
};

// Any kernel, any stride: PIXELS output pixels after the other.
template <int PIXELS>
void any_kernel(const DepthwiseRow& d, int from) {
    const Part<PIXELS> part(d, from);
    const int quads = (d.kernel_height + 3) / 4;
    const int8_t* weight = d.weight + int64_t{from} * d.kernel_width * quads * 4;
    for (int p = 0; p < d.count; p += PIXELS) {
        const int count = std::min(PIXELS, d.count - p);
        __m512i acc[4];
        for (int v = 0; v < 4; ++v) acc[v] = spread<PIXELS>(d.start + from + v * LANES);
        const int8_t* w = weight;
        for (int j = 0; j < d.kernel_width; ++j) {
            const uint8_t* in = d.in + int64_t{p} * d.in_pixel + j * d.in_column + from;
            for (int q = 0; q < quads; ++q, w += 256, in += 4 * d.in_row) {
                const auto row = [&](int i) {
                    if (4 * q + i >= d.kernel_height) return _mm512_setzero_si512();
                    return gathered<PIXELS>(in + i * d.in_row, d.in_pixel, part.stored, count);
                };
                __m512i x[4];
                interleaved(row(0), row(1), row(2), row(3), x);
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v) acc[v] = dot(acc[v], x[v], part.weights(w + 64 * v, d.middle[j & 1]));
            }
        }
        uint8_t* out = d.out + int64_t{p} * d.out_pixel + from;
        if (d.rounding.shift == 32)
            part.template store<false>(out, acc, d, count);
        else
            part.template store<true>(out, acc, d, count);
    }
}

// The taps of a 3x3 kernel.
template <int PIXELS>
struct Square {
    __m512i w[3][4];
    Square(const DepthwiseRow& d, const Part<PIXELS>& part) {
        const int8_t* weight = d.weight + int64_t{part.from} * 12;
        for (int j = 0; j < 3; ++j)
            for (int v = 0; v < 4; ++v) w[j][v] = part.weights(weight + (4 * j + v) * 64, d.middle[j & 1]);
    }
};

// 3x3: 64 channels, stride 1 or 2: each input column is interleaved once and added to all the outputs that it touches.
template <int STRIDE>
void sliding(const DepthwiseRow& d, int from) {
    const Part<1> part(d, from);
    const Square<1> taps(d, part);
    const auto& w = taps.w;
    __m512i start[4], left[4], middle[4];
    for (int v = 0; v < 4; ++v) start[v] = left[v] = middle[v] = _mm512_loadu_si512(d.start + from + v * LANES);
    const uint8_t* in = d.in + from;
    uint8_t* out = d.out + from;
    const int columns = STRIDE * (d.count - 1) + 3;
    for (int x = 0; x < columns; ++x, in += d.in_column) {
        const auto row = [&](int i) { return load64(in + i * d.in_row, part.stored); };
        __m512i column[4], done[4];
        interleaved(row(0), row(1), row(2), _mm512_setzero_si512(), column);
        if (STRIDE == 2 && x % 2 == 1) {  // the middle of one window
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) middle[v] = dot(middle[v], column[v], w[1][v]);
            continue;
        }
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
            done[v] = dot(STRIDE == 1 ? left[v] : middle[v], column[v], w[2][v]);
            if (STRIDE == 1) left[v] = dot(middle[v], column[v], w[1][v]);
            middle[v] = dot(start[v], column[v], w[0][v]);
        }
        if (x < 2) continue;
        part.store<false>(out, done, d, 1);
        out += d.out_pixel;
    }
}

// Three rows of column `j` of the windows of `count` pixels, interleaved. `SIDE_BY_SIDE`: all of PIXELS pixels, which no
// other channels part, in one vector.
template <int PIXELS, bool SIDE_BY_SIDE>
INLINE void column_of(const DepthwiseRow& d, const Part<PIXELS>& part, const uint8_t* in, int j, int count, __m512i* to) {
    const auto row = [&](int i) {
        const uint8_t* p = in + j * d.in_column + i * d.in_row;
        if constexpr (SIDE_BY_SIDE) return _mm512_loadu_si512(p);
        return gathered<PIXELS>(p, d.in_pixel, part.stored, count);
    };
    interleaved(row(0), row(1), row(2), _mm512_setzero_si512(), to);
}

// 3x3, any stride: a few channels of several pixels, from pixel `p` on.
template <int PIXELS>
void several_from(int p, const DepthwiseRow& d, int from) {
    const Part<PIXELS> part(d, from);
    const Square<PIXELS> taps(d, part);
    for (; p < d.count; p += PIXELS) {
        const int count = std::min(PIXELS, d.count - p);
        __m512i acc[4], x[4];
        for (int v = 0; v < 4; ++v) acc[v] = spread<PIXELS>(d.start + from + v * LANES);
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) {
            column_of<PIXELS, false>(d, part, d.in + from + int64_t{p} * d.in_pixel, j, count, x);
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) acc[v] = dot(acc[v], x[v], taps.w[j][v]);
        }
        part.template store<false>(d.out + from + int64_t{p} * d.out_pixel, acc, d, count);
    }
}

template <int PIXELS>
void several(const DepthwiseRow& d, int from) {
    several_from<PIXELS>(0, d, from);
}

// 3x3, stride 1, pixels of 64 / PIXELS bytes. Of two pixels, the last column is the first of the next two.
template <int PIXELS>
void side_by_side(const DepthwiseRow& d, int from) {
    const Part<PIXELS> part(d, from);
    const Square<PIXELS> taps(d, part);
    const uint8_t* in = d.in;
    __m512i x[3][4];
    constexpr bool KEPT = PIXELS == 2;
    if (KEPT) column_of<PIXELS, true>(d, part, in, 0, PIXELS, x[0]);
    int p = 0;
    for (; p + PIXELS <= d.count; p += PIXELS, in += 64) {
        if (!KEPT) column_of<PIXELS, true>(d, part, in, 0, PIXELS, x[0]);
        column_of<PIXELS, true>(d, part, in, 1, PIXELS, x[1]);
        column_of<PIXELS, true>(d, part, in, 2, PIXELS, x[2]);
        __m512i acc[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
            acc[v] = spread<PIXELS>(d.start + v * LANES);
#pragma GCC unroll 3
            for (int j = 0; j < 3; ++j) acc[v] = dot(acc[v], x[j][v], taps.w[j][v]);
            if (KEPT) x[0][v] = x[2][v];
        }
        part.template store<false>(d.out + int64_t{p} * d.out_pixel, acc, d, PIXELS);
    }
    several_from<PIXELS>(p, d, from);
}

// The kernel for the last `left` channels of a pixel, or for 64 of more.
auto* kernel_of(const DepthwiseRow& d, int left) {
    const bool next = d.in_pixel == d.in_column, alone = next && d.in_pixel == left;
    if (d.kernel_height != 3 || d.kernel_width != 3 || d.rounding.shift != 32)
        return left <= 16 ? any_kernel<4> : left <= 32 ? any_kernel<2> : any_kernel<1>;
    if (left <= 16) return alone && left == 16 ? side_by_side<4> : several<4>;
    if (left <= 32) return alone && left == 32 ? side_by_side<2> : several<2>;
    return next ? sliding<1> : d.in_pixel == 2 * d.in_column ? sliding<2> : any_kernel<1>;
}

}  // namespace

void depthwise_avx512(const DepthwiseRow& d) {
    for (int from = 0; from < d.out_pixel; from += 64) kernel_of(d, d.out_pixel - from)(d, from);
}

}  // namespace dqt
#endif
