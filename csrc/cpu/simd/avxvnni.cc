// AVX-VNNI: vpdpbusd on 256-bit registers, for processors that have it without AVX-512. All but the products is AVX2's.
//
// With DQT_AVXVNNI_EVEX the same kernels use the AVX-512 encoding of the instruction and are another set, for tests on
// processors that have only that.
#if defined(__x86_64__)
#include <cpuid.h>

#include "avx2_activations.h"
#include "avx2_elements.h"
#include "avx2_end.h"
#include "avx2_products.h"
#include "rows.h"

namespace dqt {
namespace {

#if defined(DQT_AVXVNNI_EVEX)
#define DQT_SET kernels_avxvnni_evex
constexpr const char* NAME = "avxvnni-evex";
bool usable() { return __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni"); }
inline __m256i dot(__m256i acc, __m256i codes, __m256i w) { return _mm256_dpbusd_epi32(acc, codes, w); }
#else
#define DQT_SET kernels_avxvnni
constexpr const char* NAME = "avxvnni";
bool usable() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __builtin_cpu_supports("avx2") && __get_cpuid_count(7, 1, &a, &b, &c, &d) && (a >> 4 & 1);
}
inline __m256i dot(__m256i acc, __m256i codes, __m256i w) { return _mm256_dpbusd_avx_epi32(acc, codes, w); }
#endif

constexpr int ROWS = 6;  // that share a weight: 12 sums stay in registers

struct Weights {
    __m256i mask;

    template <bool NARROWED>
    __m256i read(const int8_t* p, __m256i middle) const {
        return NARROWED ? _mm256_or_si256(_mm256_and_si256(load(p), mask), middle) : load(p);
    }
};

// The sums of R rows, from `first` on, and one vector of 16 columns.
template <int V, bool NARROWED, int R>
__attribute__((noinline)) void dots(const Block& b, int first, int v, int32_t (*acc)[V * LANES]) {
    __m256i sum[R][2];
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) sum[i][h] = load(b.start + v * LANES + 8 * h);
    const Weights weights{_mm256_set1_epi32(static_cast<int>(b.mask))};
    const int8_t* w = b.panel + v * VECTOR_BYTES;
    for (int t = 0; t < b.tap_count; ++t) {
        const __m256i middle = _mm256_set1_epi32(static_cast<int>(b.middle[t & 1]));
        const uint8_t* in[R];
        for (int i = 0; i < R; ++i) in[i] = b.in[first + i] + b.taps[t];
        for (int k = 0; k < b.depth; k += 4, w += V * VECTOR_BYTES) {
            __m256i w0 = weights.read<NARROWED>(w, middle), w1 = weights.read<NARROWED>(w + 32, middle);
            keep(w0);
            keep(w1);
#pragma GCC unroll 6
            for (int i = 0; i < R; ++i) {
                int32_t four;
                std::memcpy(&four, in[i] + k, sizeof four);
                const __m256i codes = _mm256_set1_epi32(four);
                sum[i][0] = dot(sum[i][0], codes, w0);
                sum[i][1] = dot(sum[i][1], codes, w1);
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(acc[first + i] + v * LANES + 8 * h, sum[i][h]);
}

template <int V, bool NARROWED, int COUNT>
void block(const Block& b) {
    alignas(32) int32_t acc[MAX_ROWS][V * LANES];
    constexpr int SECOND = COUNT > ROWS ? COUNT / 2 : 0;
    for (int v = 0; v < V; ++v) {
        dots<V, NARROWED, COUNT - SECOND>(b, 0, v, acc);
        if constexpr (SECOND > 0) dots<V, NARROWED, SECOND>(b, COUNT - SECOND, v, acc);
    }
    end<V>(b, COUNT, acc, nullptr);
}

// Eight sums of products of four codes.
struct Dots {
    static constexpr int LANES = 8;
    __m256i v;
    static Dots load(const void* p) { return {dqt::load(p)}; }
    static Dots both(int32_t four) { return {_mm256_set1_epi32(four)}; }
    static Dots add_products(Dots acc, Dots a, Dots b) { return {dot(acc.v, a.v, b.v)}; }
    Dots plus(int32_t extra) const { return {_mm256_add_epi32(v, _mm256_set1_epi32(extra))}; }
    void store(int32_t* p) const { save(p, v); }
};
constexpr ProductForm DOTS[] = {{16, true, false, products<Dots, 4, 2>}};

constexpr Kernels make() {
    Kernels k{NAME, {}, {}, depthwise_avx2, narrow, add, plain_table, quantize, usable, maximum, nullptr, true,
              nullptr, {}, {}};
    k.integers = integer_kernels();
    k.clips = clip_kernels();
    k.rows = row_kernels(DOTS);
    k.rows.softmax[1][0] = softmax_vectors<Lanes8>;
    fill_blocks<2 * ROWS>(k, []<int V, bool NARROWED, int COUNT>() -> BlockKernel { return block<V, NARROWED, COUNT>; });
    return k;
}

}  // namespace

extern const Kernels DQT_SET;
constinit const Kernels DQT_SET = make();

}  // namespace dqt
#endif
