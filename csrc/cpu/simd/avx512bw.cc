// AVX-512 without VNNI (Skylake's servers and workstations), exact: the products of AVX2, in registers twice as wide.
#if defined(__x86_64__)
#include <type_traits>

#include "avx512_elements.h"
#include "avx512_few_steps.h"
#include "avx512_products.h"
#include "avx512_softmax.h"
#include "avx512bw_lookup.h"
#include "rows.h"

namespace dqt {
namespace {

template <int V>
INLINE void pairs_block(const Block& b, int rows) {
    if (!few_steps(b)) return run_paired<V>(b, rows);
    with_steps(steps_of(b), [&](auto steps) { few_paired<V, steps>(b, rows); });
}

template <int V, bool SHORTENED>
__attribute__((noinline)) void short_block(const Block& b, int rows) {
    const Narrowing narrowing(__builtin_ctz(b.mask), b.input_shift, b.product_bits);
    if (few_steps(b) && steps_of(b) <= narrowing.joined) return few_short<V, SHORTENED>(b, narrowing, rows);
    run_short<V, SHORTENED>(b, narrowing, rows);
}

template <int V, bool NARROWED, int COUNT>
void block(const Block& b) {
    if (b.paired) return pairs_block<V>(b, COUNT);
    if constexpr (COUNT == 1)
        if (b.tap_count == 1 && !b.kept && (NARROWED || b.mask == ~0u)) return run_row<V, NARROWED>(b);
    if (NARROWED) return short_block<V, false>(b, COUNT);
    if (b.product_bits < 16) return short_block<V, true>(b, COUNT);
    run_wide<V>(b, COUNT);
}

// A block of R rows and 16 columns of products of activations, which are as in avx2_activations.h.
template <int R>
void code_block(const Products& p, int64_t r, int64_t j) {
    const int64_t joined = int64_t{1} << (15 - p.bits);
    const __m512i unit = _mm512_set1_epi16(static_cast<int16_t>(1 << p.shift)), start = _mm512_loadu_si512(p.start + j);
    __m512i acc[R];
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) acc[i] = p.extra ? _mm512_add_epi32(start, all(p.extra[r + i])) : start;
    const uint8_t *a = p.a + r * p.a_row, *from = p.b + 4 * j;
    for (int64_t k = 0; k < p.units;) {
        __m512i pairs[R];
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) pairs[i] = _mm512_setzero_si512();
        for (const int64_t last = std::min(k + joined, p.units); k < last; ++k, a += 4, from += 4 * p.columns) {
            __m512i b = _mm512_loadu_si512(from);
            keep(b);
#pragma GCC unroll 6
            for (int i = 0; i < R; ++i)
                pairs[i] = _mm512_add_epi16(pairs[i], _mm512_maddubs_epi16(broadcast4(a + i * p.a_row), b));
        }
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) acc[i] = _mm512_add_epi32(acc[i], _mm512_madd_epi16(pairs[i], unit));
    }
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) _mm512_storeu_si512(p.out + (r + i) * p.columns + j, acc[i]);
}

template <int R>
void code_rows(const Products& p, int64_t r) {
    for (int64_t j = 0; j < p.columns; j += Products::COLUMNS) code_block<R>(p, r, j);
}

void code_products(const Products& p) {
    int64_t r = 0;
    for (; r + 6 <= p.rows; r += 6) code_rows<6>(p, r);
    for (; r < p.rows; ++r) code_rows<1>(p, r);
}

// Sixteen sums of products of pairs of 16-bit numbers.
struct Sixteen {
    static constexpr int LANES = 16;
    __m512i v;
    static Sixteen load(const void* p) { return {_mm512_loadu_si512(p)}; }
    static Sixteen both(int32_t pair) { return {all(pair)}; }
    static Sixteen add_products(Sixteen acc, Sixteen a, Sixteen b) { return {dot_words(acc.v, a.v, b.v)}; }
    Sixteen plus(int32_t extra) const { return {_mm512_add_epi32(v, all(extra))}; }
    void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
};

// Codes of 14 and 15 bits as in AVX2.
constexpr ProductForm PRODUCTS[] = {{13, true, true, code_products}, {16, false, false, products<Sixteen, 6, 2>}};

constexpr LookupKernel LOOKUPS[] = {
    lookup<2>(look_up_block<2>, {0, 0, 0.06453, 0.3334, 1.264, 0.176, 0, 1000}),
    lookup<3>(look_up_block<3>, {0, 0.007615, 0.03072, 0.477, 1.192, 0.151, 0, 1000}),
};

bool usable() {
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512dq");
}

constexpr Kernels make() {
    Kernels k{"avx512bw", {}, {}, depthwise_avx2, narrow, add, plain_table, quantize_avx2, usable, maximum, &winograd_avx512bw,
              true, &sliced_avx2, LOOKUPS, on_every_core({0, 0.09757, 1.203, 0.136, 1000}),
              on_every_core({0, 0.1274, 2.251, 0.1794, 1000})};
    k.integers = integer_kernels();
    k.clips = clip_kernels();
    k.rows = row_kernels(PRODUCTS);
    k.rows.softmax[1][0] = softmax_vectors<Lanes16>;
    k.pair = pair;
    k.keeps = 2;
    fill_blocks<12>(k, []<int V, bool NARROWED, int COUNT>() -> BlockKernel { return block<V, NARROWED, COUNT>; });
    return k;
}

}  // namespace

constinit const Kernels kernels_avx512bw = make();

}  // namespace dqt
#endif
