// AVX-512 VNNI and VBMI: vpdpbusd multiplies four unsigned activations by four signed weights a lane.
//
// Narrowing of weights is one ternary-logic instruction at the load. Accumulators are packed with signed saturation to
// 16 bits, then unsigned to 8: that is the clamp to [0, 255], and the order of a panel's columns undoes the lanes.
#if defined(__x86_64__)
#include <algorithm>

#include "avx512.h"
#include "plain.h"

namespace dqt {
namespace {

template <int V, int ROWS, bool NARROWED>
void block(const Block& b) {
    __m512i acc[ROWS][V];
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[i][v] = _mm512_loadu_si512(b.start + v * LANES);
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(b.mask));
    const int8_t* w = b.panel;
    for (int t = 0; t < b.tap_count; ++t) {
        const __m512i middle = _mm512_set1_epi32(static_cast<int>(b.middle[t & 1]));
        const uint8_t* a[ROWS];
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) a[i] = b.in[i] + b.taps[t];
#pragma GCC unroll 2
        for (int k = 0; k < b.depth; k += 4, w += V * 64) {
            __m512i weight[V];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                weight[v] = _mm512_loadu_si512(w + 64 * v);
                if constexpr (V == 4) _mm_prefetch(reinterpret_cast<const char*>(w) + 4096 + 64 * v, _MM_HINT_T0);
                if constexpr (NARROWED) weight[v] = _mm512_ternarylogic_epi32(weight[v], mask, middle, NARROW);
            }
#pragma GCC unroll 16
            for (int i = 0; i < ROWS; ++i) {
                const __m512i x = broadcast4(a[i] + k);
#pragma GCC unroll 4
                for (int v = 0; v < V; ++v) acc[i][v] = dot(acc[i][v], x, weight[v]);
            }
        }
    }
    finish<V, ROWS>(b, acc);
}

// Four rows of 64 channels, interleaved so that each dword holds one channel's rows.
INLINE void interleave(const uint8_t* p, int64_t step, int rows, __mmask64 some, __m512i* out) {
    const __m512i zero = _mm512_setzero_si512();
    const auto load = [&](int i) { return i < rows ? _mm512_maskz_loadu_epi8(some, p + i * step) : zero; };
    const __m512i r0 = load(0), r1 = load(1), r2 = load(2), r3 = load(3);
    const __m512i a = _mm512_unpacklo_epi8(r0, r1), b = _mm512_unpackhi_epi8(r0, r1);
    const __m512i c = _mm512_unpacklo_epi8(r2, r3), d = _mm512_unpackhi_epi8(r2, r3);
    out[0] = _mm512_unpacklo_epi16(a, c);
    out[1] = _mm512_unpackhi_epi16(a, c);
    out[2] = _mm512_unpacklo_epi16(b, d);
    out[3] = _mm512_unpackhi_epi16(b, d);
}

INLINE void store_depthwise(uint8_t* out, const __m512i* acc, const DepthwiseRow& d, int from, const Finish& finish) {
    const Rounding& r = d.rounding;
    __m512i y[4];
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) y[v] = scaled(acc[v], Factors(r, from + v * LANES), r);
    _mm512_mask_storeu_epi8(out + from, first(d.out_pixel - from),
                            _mm512_maskz_mov_epi8(first(d.channels - from), finish(packed<4>(y))));
}

// Any kernel, any stride: 64 channels of one output pixel after the other.
void depthwise_any(const DepthwiseRow& d, int from) {
    const Finish finish(d.rounding.lo, d.rounding.hi, d.narrow);
    const int quads = (d.kernel_height + 3) / 4;
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(d.mask));
    const __mmask64 some = first(d.out_pixel - from);
    const int8_t* weight = d.weight + int64_t{from} * d.kernel_width * quads * 4;
    for (int p = 0; p < d.count; ++p) {
        __m512i acc[4];
        for (int v = 0; v < 4; ++v) acc[v] = _mm512_loadu_si512(d.start + from + v * LANES);
        const int8_t* w = weight;
        for (int j = 0; j < d.kernel_width; ++j) {
            const __m512i middle = _mm512_set1_epi32(static_cast<int>(d.middle[j & 1]));
            const uint8_t* in = d.in + int64_t{p} * d.in_pixel + j * d.in_column + from;
            for (int q = 0; q < quads; ++q, w += 256, in += 4 * d.in_row) {
                __m512i x[4];
                interleave(in, d.in_row, d.kernel_height - 4 * q, some, x);
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v)
                    acc[v] = dot(acc[v], x[v],
                                 _mm512_ternarylogic_epi32(_mm512_loadu_si512(w + 64 * v), mask, middle, NARROW));
            }
        }
        store_depthwise(d.out + int64_t{p} * d.out_pixel, acc, d, from, finish);
    }
}

// 3x3, stride 1 or 2: each input column is interleaved once and added to all the outputs that it touches.
template <int STRIDE>
void depthwise_3x3(const DepthwiseRow& d, int from) {
    const Finish finish(d.rounding.lo, d.rounding.hi, d.narrow);
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(d.mask));
    const __mmask64 some = first(d.out_pixel - from);
    const int8_t* weight = d.weight + int64_t{from} * 12;
    __m512i w[3][4], start[4], left[4], middle[4];
    for (int j = 0; j < 3; ++j)
        for (int v = 0; v < 4; ++v)
            w[j][v] = _mm512_ternarylogic_epi32(_mm512_loadu_si512(weight + (4 * j + v) * 64), mask,
                                                _mm512_set1_epi32(static_cast<int>(d.middle[j & 1])), NARROW);
    for (int v = 0; v < 4; ++v) start[v] = left[v] = middle[v] = _mm512_loadu_si512(d.start + from + v * LANES);
    const uint8_t* in = d.in + from;
    uint8_t* out = d.out;
    const int columns = STRIDE * (d.count - 1) + 3;
    for (int x = 0; x < columns; ++x, in += d.in_column) {
        __m512i column[4], done[4];
        interleave(in, d.in_row, 3, some, column);
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
        store_depthwise(out, done, d, from, finish);
        out += d.out_pixel;
    }
}

void depthwise(const DepthwiseRow& d) {
    const bool square = d.kernel_height == 3 && d.kernel_width == 3;
    auto* const run = square && d.in_pixel == d.in_column       ? depthwise_3x3<1>
                      : square && d.in_pixel == 2 * d.in_column ? depthwise_3x3<2>
                                                                : depthwise_any;
    for (int from = 0; from < d.out_pixel; from += 64) run(d, from);
}

void narrow(const uint8_t* in, uint8_t* out, int64_t count, int n, int s) {
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, count - i)));
        _mm512_mask_storeu_epi8(out + i, some, narrowed(_mm512_maskz_loadu_epi8(some, in + i), {n, s}));
    }
}

void add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k) {
    const Addition addition(k);
    const Finish finish(k.lo, k.hi, {});
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, count - i)));
        const __m512i x = _mm512_maskz_loadu_epi8(some, a + i), y = _mm512_maskz_loadu_epi8(some, b + i);
        _mm512_mask_storeu_epi8(out + i, some, with_residual<4>(x, y, addition, finish));
    }
}

void table(const uint8_t* in, uint8_t* out, int64_t count, const uint8_t* table) {
    const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
    const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, count - i)));
        const __m512i q = _mm512_maskz_loadu_epi8(some, in + i);
        const __m512i low = _mm512_permutex2var_epi8(t0, q, t1), high = _mm512_permutex2var_epi8(t2, q, t3);
        _mm512_mask_storeu_epi8(out + i, some, _mm512_mask_blend_epi8(_mm512_movepi8_mask(q), low, high));
    }
}

void quantize(const float* in, int64_t plane, int channels, uint8_t* out, int64_t count, float inverse, int zero,
              int highest) {
    const __m512 factor = _mm512_set1_ps(inverse), offset = _mm512_set1_ps(static_cast<float>(zero));
    const __m512 most = _mm512_set1_ps(static_cast<float>(highest));
    for (int64_t i = 0; i < count; i += 16) {
        const auto some = static_cast<__mmask16>(first(static_cast<int>(std::min<int64_t>(16, count - i))));
        __m512i pixels = _mm512_setzero_si512();
        for (int c = 0; c < channels; ++c) {
            const float* from = in + c * plane + i;
            __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(some, from), factor);
            v = _mm512_add_ps(_mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), offset);
            v = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), most);
            pixels = _mm512_or_si512(pixels, _mm512_sll_epi32(_mm512_cvtps_epi32(v), _mm_cvtsi32_si128(8 * c)));
        }
        _mm512_mask_storeu_epi32(out + 4 * i, some, pixels);
    }
}

void maximum(const uint8_t* const* rows, int count, uint8_t* out, int64_t channels) {
    for (int64_t c = 0; c < channels; c += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, channels - c)));
        __m512i most = _mm512_setzero_si512();
        for (int i = 0; i < count; ++i) most = _mm512_max_epu8(most, _mm512_maskz_loadu_epi8(some, rows[i] + c));
        _mm512_mask_storeu_epi8(out + c, some, most);
    }
}

bool usable() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

constexpr Kernels make() {
    Kernels k{"avx512vnni", {}, {}, depthwise, narrow, add, table, quantize, usable, maximum,
              &winograd_avx512, true, &sliced_avx512};
    fill_blocks<12, 12, 6>(k, []<int V, bool NARROWED, int ROWS>() -> BlockKernel { return block<V, ROWS, NARROWED>; });
    return k;
}

}  // namespace

const Kernels kernels_avx512vnni = make();

}  // namespace dqt
#endif
