// AVX2, exact: vpmaddubsw saturates at 16 bits, so it multiplies only weights that are too narrow for that.
//
// Weights of all 8 bits by activations of 8 bits are multiplied in pairs that fit 16 bits (avx2_pairs.h), or where there are
// none widened to 16 bits and multiplied by vpmaddwd. Otherwise both lose their low bits first, w = 2^s (w >> s) + middle and
// a = 2^t (a >> t). Pairs of products of bits_w + bits_a <= 15 bits fit 16 bits, and so do 2^(15 - bits_w - bits_a) of them
// added. The factor 2^(s + t) comes with their addition to 32 bits, and sum a * middle is one number for all columns.
#if defined(__x86_64__)
#include <type_traits>

#include "avx2_activations.h"
#include "avx2_elements.h"
#include "avx2_end.h"
#include "avx2_lookup.h"
#include "avx2_pairs.h"
#include "avx2_products.h"
#include "avx2_row.h"
#include "avx2_winograd.h"
#include "rows.h"

namespace dqt {
namespace {

template <int V>
inline void load_starts(const Block& b, int rows, int32_t (*acc)[V * LANES]) {
    for (int h = 0; h < 2 * V; ++h)
        for (int i = 0; i < rows; ++i) save(acc[i] + 8 * h, load(b.start + 8 * h));
}

// Whether a reduction is one chunk, and its results are codes by a shift of 32: then its sums need not lie in memory.
inline bool in_registers(const Block& b) {
    return steps_of(b) <= STEPS && !b.wide && b.rounding.shift == 32;
}

// Codes and weights of 16 bits.
template <int V>
__attribute__((noinline)) void run_wide(const Block& b, int rows) {
    alignas(32) int32_t acc[MAX_ROWS][V * LANES];
    load_starts<V>(b, rows, acc);
    const int8_t *w = b.panel, *last = w + int64_t{steps_of(b)} * V * VECTOR_BYTES;
    Widened chunk;
    Chunks chunks(b, rows);
    while (chunks.next(chunk)) {
        const int8_t* from = w;
        w += int64_t{chunk.steps} * V * VECTOR_BYTES;
        by_vectors<V>(chunk.steps, from, w == last ? b.panel : w, rows, acc,
                      [&](auto count, auto first, const Part& p, int i) { products<count, first>(p, chunk, i); });
    }
    end<V>(b, rows, acc, nullptr);
}

// A block as of run_short whose whole reduction is added in 16 bits.
template <int V, bool SHORTENED>
inline void joined_block(const Block& b, int rows, const Narrowing& narrowing) {
    alignas(32) int16_t words[MAX_ROWS][V * LANES];
    alignas(32) int8_t own[SHORTENED ? 1 : STEPS * V * VECTOR_BYTES];
    Whole chunk(b.input_shift);
    Chunks(b, rows).next(chunk);
    const int8_t* weights = b.panel;
    if constexpr (!SHORTENED)
        weights = narrowing.shortened(b, 0, int64_t{chunk.steps} * V * VECTOR_BYTES, weights, own);
    int32_t extra[MAX_ROWS];
    for (int i = 0; i < rows; ++i) extra[i] = extra_of(chunk, i, b);
    for (int v = 0; v < V; ++v) {
        const VectorFactors factors(b.rounding.m + v * LANES, b.rounding.c + v * LANES);
        by_rows<6>(rows, [&](auto count, int i) {
            const ShortPart part{weights + v * VECTOR_BYTES, 0, V * VECTOR_BYTES, chunk.steps, chunk.in[i], nullptr, 0};
            joined_words<count>(part, narrowing.unit, b.start + v * LANES, extra + i, factors, b.rounding,
                                words[i] + v * LANES, V * LANES);
        });
    }
    end_words<V>(b, rows, words);
}

// Codes and weights without their low bits. SHORTENED: those of the panel lack them; otherwise they are shortened where
// other blocks will find them, or here, chunk by chunk.
template <int V, bool SHORTENED>
__attribute__((noinline)) void run_short(const Block& b, int rows) {
    const Narrowing narrowing(__builtin_ctz(b.mask), b.input_shift, b.product_bits);
    if (in_registers(b) && steps_of(b) <= narrowing.joined)
        return joined_block<V, SHORTENED>(b, rows, narrowing);
    alignas(32) int32_t acc[MAX_ROWS][V * LANES];
    alignas(32) int8_t own[SHORTENED ? 1 : STEPS * V * VECTOR_BYTES];
    load_starts<V>(b, rows, acc);
    const int64_t all = int64_t{steps_of(b)} * V * VECTOR_BYTES;
    Whole chunk(b.input_shift);
    Chunks chunks(b, rows);
    for (int64_t at = 0; chunks.next(chunk);) {
        const int64_t bytes = int64_t{chunk.steps} * V * VECTOR_BYTES, next = at + bytes < all ? at + bytes : 0;
        const int8_t* weights = b.panel + at;
        if constexpr (!SHORTENED) weights = narrowing.shortened(b, at, bytes, b.panel + next, own);
        short_products<V>(chunk, weights, SHORTENED ? next - at : 0, rows, narrowing, acc);
        at += bytes;
    }
    int32_t extra[MAX_ROWS];
    for (int i = 0; i < rows; ++i) extra[i] = extra_of(chunk, i, b);
    end<V>(b, rows, acc, extra);
}

template <int V>
__attribute__((noinline)) void run_paired(const Block& b, int rows) {
    if (in_registers(b)) {
        alignas(32) int16_t words[MAX_ROWS][V * LANES];
        paired_sums<V, true>(b, rows, words);
        return end_words<V>(b, rows, words);
    }
    alignas(32) int32_t acc[MAX_ROWS][V * LANES];
    load_starts<V>(b, rows, acc);
    paired_sums<V, false>(b, rows, acc);
    end<V>(b, rows, acc, nullptr);
}

template <int V, bool NARROWED, int ROWS>
void block(const Block& b) {
    if (b.paired) return run_paired<V>(b, ROWS);
    if constexpr (ROWS == 1)
        if (b.tap_count == 1 && !b.kept && (NARROWED || b.mask == ~0u)) return run_row<V, NARROWED>(b);
    if (NARROWED) return run_short<V, false>(b, ROWS);
    if (b.product_bits < 16) return run_short<V, true>(b, ROWS);
    run_wide<V>(b, ROWS);
}

template <int A>
void look_up_block(const LookupBlock& b, int, int rows) {
    alignas(32) int32_t acc[LOOKUP_ROWS][64];
    int32_t middle[LOOKUP_ROWS] = {}, extra[LOOKUP_ROWS];
    int i = 0;
    for (; i + 2 <= rows; i += 2) look_up<A, 2>(b, i, acc, middle);
    if (i < rows) look_up<A, 1>(b, i, acc, middle);
    for (i = 0; i < rows; ++i) extra[i] = static_cast<int32_t>(static_cast<uint32_t>(middle[i]) << b.middle_shift);
    end<4>(b.ends[0], rows, acc, extra);
}

constexpr LookupKernel LOOKUPS[] = {
    lookup<2>(look_up_block<2>, {0, 0.003334, 0.006118, 0.03674, 0.2823, 0.02685, 0.03815, 1248}),
    lookup<3>(look_up_block<3>, {0, 0.00412, 0.01095, 0.03275, 0.289, 0.02238, 0, 1257}),
};

constexpr WinogradKernel WINOGRADS[] = {
    wino_kernel<F4>(Kernel::winograd4x4, {0.009353, 0.01174, 0.09745, 10.58, 0.1572, 0.04198, 333.9}),
    wino_kernel<F2>(Kernel::winograd2x2, {0.008469, 0.01363, 0.08962, 3.44, 0.06992, 0.02738}),
};

bool usable() { return __builtin_cpu_supports("avx2"); }

constexpr Kernels make() {
    Kernels k{"avx2", {}, {}, depthwise_avx2, narrow, add, plain_table, quantize_avx2, usable, maximum, &winograd_avx2, true,
              &sliced_avx2, LOOKUPS, on_every_core({0.0008307, 0.03473, 0.2677, 0.04153, 821.5}),
              on_every_core({0.002765, 0.04319, 0.2053, 0.06033, 1391})};
    k.integers = integer_kernels();
    k.clips = clip_kernels();
    k.rows = row_kernels(PRODUCTS);
    k.rows.softmax[1][0] = softmax_vectors<Lanes8>;
    k.pair = pair;
    k.keeps = 2;
    fill_blocks<12>(k, []<int V, bool NARROWED, int ROWS>() -> BlockKernel { return block<V, NARROWED, ROWS>; });
    return k;
}

}  // namespace

void quantize_avx2(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count, const Quantization& q) {
    quantize(in, plane, channels, out, pixel, count, q);
}

constinit const WinogradKernels winograd_avx2{wino_weigh, WINOGRADS, 1};

constinit const Kernels kernels_avx2 = make();

}  // namespace dqt
#endif
