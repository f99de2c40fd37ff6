// AVX-512 VNNI and VBMI: vpdpbusd multiplies four unsigned activations by four signed weights a lane.
//
// Narrowing of weights is one ternary-logic instruction at the load. Accumulators are packed with signed saturation to
// 16 bits, then unsigned to 8: that is the clamp to [0, 255], and the order of a panel's columns undoes the lanes.
#if defined(__x86_64__)
#include <algorithm>
#include <cstring>

#include "avx512_elements.h"
#include "avx512_softmax.h"
#include "rows.h"

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
    const int8_t *w = b.panel, *next = b.next;
    for (int t = 0; t < b.tap_count; ++t) {
        const __m512i middle = _mm512_set1_epi32(static_cast<int>(b.middle[t & 1]));
        const uint8_t* a[ROWS];
#pragma GCC unroll 16
        for (int i = 0; i < ROWS; ++i) a[i] = b.in[i] + b.taps[t];
#pragma GCC unroll 2
        for (int k = 0; k < b.depth; k += 4, w += V * 64) {
            __m512i weight[V];
            if constexpr (V == 4) _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1), next += 64;
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                weight[v] = _mm512_loadu_si512(w + 64 * v);
                if constexpr (V == 4) _mm_prefetch(reinterpret_cast<const char*>(w) + 4096 + 64 * v, _MM_HINT_T0);
                if constexpr (NARROWED) weight[v] = _mm512_ternarylogic_epi32(weight[v], mask, middle, NARROW);
            }
            if constexpr (NARROWED)
                if (b.kept)
#pragma GCC unroll 4
                    for (int v = 0; v < V; ++v) _mm512_storeu_si512(b.kept + (w - b.panel) + 64 * v, weight[v]);
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

void table(const uint8_t* in, uint8_t* out, int64_t count, const uint8_t* table) {
    const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
    const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
    for (int64_t i = 0; i < count; i += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, count - i)));
        const __m512i q = load64(in + i, some);
        const __m512i low = _mm512_permutex2var_epi8(t0, q, t1), high = _mm512_permutex2var_epi8(t2, q, t3);
        store64(out + i, some, _mm512_mask_blend_epi8(_mm512_movepi8_mask(q), low, high));
    }
}

// Of pixels of four bytes those that fill pixels of 1 to 4.
struct Squeeze {
    alignas(64) uint8_t from[4][64] = {};
    constexpr Squeeze() {
        for (int pixel = 1; pixel <= 4; ++pixel)
            for (int i = 0; i < 16 * pixel; ++i) from[pixel - 1][i] = static_cast<uint8_t>(i / pixel * 4 + i % pixel);
    }
};
constexpr Squeeze SQUEEZE;

void quantize(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count,
              const Quantization& q) {
    const __m512i squeeze = _mm512_load_si512(SQUEEZE.from[pixel - 1]);
    const __m512 offset = _mm512_set1_ps(static_cast<float>(q.zero)), most = _mm512_set1_ps(static_cast<float>(q.highest));
    for (int64_t i = 0; i < count; i += 16) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, 4 * (count - i))));  // of bytes
        const __mmask64 room = first(static_cast<int>(pixel * std::min<int64_t>(16, count - i)));
        __m512i pixels = _mm512_setzero_si512();
        for (int c = 0; c < channels; ++c) {
            const float* from = in + c * plane + i;
            _mm_prefetch(reinterpret_cast<const char*>(from + 1024), _MM_HINT_T0);
            __m512 v = _mm512_mul_ps(_mm512_castsi512_ps(load64(from, some)), _mm512_set1_ps(q.gain[c]));
            v = _mm512_add_ps(v, _mm512_set1_ps(q.bias[c]));
            v = _mm512_add_ps(_mm512_roundscale_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), offset);
            v = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), most);
            pixels = _mm512_or_si512(pixels, _mm512_sll_epi32(_mm512_cvtps_epi32(v), _mm_cvtsi32_si128(8 * c)));
        }
        store64(out + pixel * i, room, _mm512_permutexvar_epi8(squeeze, pixels));
    }
}

// Sixteen sums of products of four codes.
struct Sixteen {
    static constexpr int LANES = 16;
    __m512i v;
    static Sixteen load(const void* p) { return {_mm512_loadu_si512(p)}; }
    static Sixteen both(int32_t four) { return {_mm512_set1_epi32(four)}; }
    static Sixteen add_products(Sixteen acc, Sixteen a, Sixteen b) { return {dot(acc.v, a.v, b.v)}; }
    Sixteen plus(int32_t extra) const { return {_mm512_add_epi32(v, _mm512_set1_epi32(extra))}; }
    void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
};
constexpr ProductForm PRODUCTS[] = {{16, true, false, products<Sixteen, 6, 4>}};

bool usable() {
    return kernels_avx512bw.usable() && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi");
}

constexpr Kernels make() {
    Kernels k{"avx512vnni", {}, {}, depthwise_avx512, narrow, add, table, quantize, usable, maximum,
              &winograd_avx512, true, &sliced_avx512, lookups_avx512,
              {{0.002658, 0.01019, 0.1149, 0.01034, 857.6}, {0.0005476, 0.01006, 0.06848, 0.01698, 112},
               {0, 0.02149, 0.2174, 0.1, 600}},
              {{0.003828, 0.002771, 0.1152, 0.001408, 809.9}, {0.0005476, 0.01006, 0.06848, 0.01698, 112},
               {0, 0.02149, 0.2174, 0.1, 600}}};
    k.keeps = 8;
    k.integers = integer_kernels();
    k.clips = clip_kernels();
    k.rows = row_kernels(PRODUCTS);
    k.rows.softmax[1][0] = softmax_vectors<Lanes16>;
    fill_blocks<12, 12, 6>(k, []<int V, bool NARROWED, int ROWS>() -> BlockKernel { return block<V, ROWS, NARROWED>; });
    return k;
}

}  // namespace

constinit const Kernels kernels_avx512vnni = make();

}  // namespace dqt
#endif
