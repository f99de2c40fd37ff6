// AVX2, exact: vpmaddubsw saturates at 16 bits, so it multiplies only weights that are too narrow for that.
//
// Weights of all 8 bits, and activations of 8 bits, are widened to 16 bits and multiplied by vpmaddwd. Otherwise both lose
// their low bits first, w = 2^s (w >> s) + middle and a = 2^t (a >> t). Pairs of products of bits_w + bits_a <= 15 bits fit
// 16 bits, and so do 2^(15 - bits_w - bits_a) of them added. The factor 2^(s + t) comes with their addition to 32 bits, and
// sum a * middle is one number for all columns.
#if defined(__x86_64__)
#include <cstring>
#include <type_traits>

#include "avx2.h"
#include "avx2_activations.h"
#include "avx2_depthwise.h"
#include "avx2_lookup.h"
#include "avx2_products.h"
#include "plain.h"
#include "rows.h"

namespace dqt {
namespace {

// Requantizes 8 columns of each row where they lie; `extra` is still to be added to a row's accumulators.
template <bool HIGH>
void scale_columns(int32_t* acc, int stride, int rows, const int32_t* extra, const Factors& f, const Rounding& r) {
    for (int i = 0; i < rows; ++i, acc += stride) {
        __m256i sum = load(acc);
        if (extra) sum = _mm256_add_epi32(sum, _mm256_set1_epi32(extra[i]));
        save(acc, scaled<HIGH>(sum, f, r));
    }
}

// Requantized rows, lanes 0 2 1 3 of each four.
template <int V, bool HIGH>
void scale(const Block& b, int rows, int32_t (*acc)[V * LANES], const int32_t* extra) {
    const Rounding& r = b.rounding;
    for (int h = 0; h < 2 * V; ++h) {
        const Factors factors(r.m + 8 * h, r.c + h / 2 * LANES + h % 2 * 4);
        scale_columns<HIGH>(acc[0] + 8 * h, V * LANES, rows, extra, factors, r);
    }
}

// Integers, clamped: four neighbours at a time, which lie in the order 0 2 1 3.
template <int V>
void store_wide(const Block& b, int rows, const int32_t (*acc)[V * LANES]) {
    const __m256i lo = _mm256_set1_epi32(b.rounding.lo), hi = _mm256_set1_epi32(b.rounding.hi);
    for (int i = 0; i < rows; ++i) {
        auto* out = reinterpret_cast<int32_t*>(b.out[i]);
        for (int v = 0; v < V; ++v)
            for (int lane = 0; lane < LANES; lane += 8) {
                alignas(32) int32_t eight[8];
                const __m256i y = _mm256_shuffle_epi32(load(acc[i] + v * LANES + lane), 0xD8);
                save(eight, _mm256_min_epi32(_mm256_max_epi32(y, lo), hi));
                for (int part = 0; part < 8; part += 4) {
                    const int first = column(V, v, lane + part);
                    if (first + 4 <= b.columns) {
                        std::memcpy(out + first, eight + part, 4 * sizeof(int32_t));
                        continue;
                    }
                    for (int j = first; j < std::min(first + 4, b.stored); ++j)
                        out[j] = j < b.columns ? eight[part + j - first] : 0;
                }
            }
    }
}

// Packs, adds the residual where there is one, and stores.
template <int V, bool ADDED>
__attribute__((noinline)) void store(const Block& b, int rows, const int32_t (*acc)[V * LANES]) {
    constexpr int BYTES = V * LANES, REGISTERS = (BYTES + 31) / 32;
    const Finish finish(b.rounding.lo, b.rounding.hi, ADDED ? Narrow() : b.narrow);
    const Residual none, &residual = ADDED ? *b.residual : none;
    const Addition addition(residual);
    const Finish finish_added(residual.lo, residual.hi, b.narrow);
    const bool whole = BYTES >= 32 && b.stored == BYTES && b.columns == BYTES;
    for (int i = 0; i < rows; ++i) {
        __m256i bytes[REGISTERS];
        packed_row<V>(acc[i], bytes);
        alignas(32) uint8_t copy[32 * REGISTERS];
        const uint8_t* other = ADDED ? b.other[i] : nullptr;
        if (ADDED && !whole) {
            std::memset(copy, 0, sizeof copy);
            other = static_cast<const uint8_t*>(std::memcpy(copy, other, b.columns));
        }
        for (int k = 0; k < REGISTERS; ++k) {
            __m256i y = finish(bytes[k]);
            if constexpr (ADDED) y = with_residual(y, load(other + 32 * k), addition, finish_added);
            save(whole ? b.out[i] + 32 * k : copy + 32 * k, y);
        }
        if (whole) continue;
        if (b.columns < b.stored) std::memset(copy + b.columns, 0, b.stored - b.columns);
        std::memcpy(b.out[i], copy, b.stored);
    }
}

// Requantizes and stores the rows of a block.
template <int V>
void end(const Block& b, int rows, int32_t (*acc)[V * LANES], const int32_t* extra) {
    if (b.rounding.shift == 32) [[likely]]
        scale<V, true>(b, rows, acc, extra);
    else
        scale<V, false>(b, rows, acc, extra);
    if (b.wide) return store_wide<V>(b, rows, acc);
    b.residual ? store<V, true>(b, rows, acc) : store<V, false>(b, rows, acc);
}

template <int V, bool NARROWED>
__attribute__((noinline)) void run(const Block& b, int rows) {
    alignas(32) int32_t acc[MAX_ROWS][V * LANES];
    for (int h = 0; h < 2 * V; ++h)
        for (int i = 0; i < rows; ++i) save(acc[i] + 8 * h, load(b.start + 8 * h));
    __m256i middles[MAX_ROWS] = {};
    const Narrowing narrowing(NARROWED ? __builtin_ctz(b.mask) : 0, b.input_shift, b.product_bits);
    const int8_t *w = b.panel, *last = w + int64_t{b.tap_count} * b.depth / 4 * V * VECTOR_BYTES;
    std::conditional_t<NARROWED, Whole, Widened> chunk;
    chunk.keep_bits(b.input_shift);
    Chunks chunks(b, rows);
    while (chunks.next(chunk)) {
        const int8_t* from = w;
        w += int64_t{chunk.steps} * V * VECTOR_BYTES;
        if constexpr (NARROWED)
            for (int i = 0; i < rows; ++i) middles[i] = middle_sums(middles[i], chunk, i);
        by_vectors<V>(chunk.steps, from, w == last ? b.panel : w, rows, acc,
                      [&](auto count, auto first, const Part& p, int i) {
            if constexpr (NARROWED)
                narrowed_products<count, first>(p, chunk, i, narrowing);
            else
                products<count, first>(p, chunk, i);
        });
    }
    int32_t extra[MAX_ROWS];
    for (int i = 0; NARROWED && i < rows; ++i) extra[i] = total(middles[i]) * (1 << b.input_shift);
    end<V>(b, rows, acc, NARROWED ? extra : nullptr);
}

template <int V, bool NARROWED, int ROWS>
void block(const Block& b) {
    if (NARROWED || b.product_bits < 16) return run<V, true>(b, ROWS);
    run<V, false>(b, ROWS);
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

template <int A>
constexpr LookupKernel lookup(const LookupCosts& costs) {
    return {2, A, CHANNELS, 1, 1, {LOOKUP_ROWS}, 0, costs, {encode<A>, encode<A>}, index, look_up_block<A>};
}

constexpr LookupKernel LOOKUPS[] = {
    lookup<2>({0, 0.003417, 0, 0.01913, 0.2574, 0.02062}),
    lookup<3>({0, 0.00447, 0, 0.01913, 0.2574, 0.02062}),
};

void depthwise(const DepthwiseRow& d) {
    for (int from = 0; from < d.out_pixel; from += 64)
        for (int half = 0; half < 2 && from + 32 * half < d.out_pixel; ++half) Depthwise(d, from, half).run();
}

void narrow(const uint8_t* in, uint8_t* out, int64_t count, int n, int s) {
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) save(out + i, narrowed(load(in + i), {n, s}));
    plain_narrow(in, out, i, count, n, s);
}

void add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k) {
    const Addition addition(k);
    const Finish finish(k.lo, k.hi, {});
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) save(out + i, with_residual(load(a + i), load(b + i), addition, finish));
    plain_add(a, b, out, i, count, k);
}

void quantize(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count,
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

void maximum(const MaximumRow& m) {
    const auto greater = [](__m256i a, __m256i b) { return _mm256_max_epu8(a, b); };
    for (int64_t p = 0; p < m.count; ++p) {
        int64_t c = 0;
        for (; c + 32 <= m.channels; c += 32)
            save(m.out + p * m.out_pixel + c,
                 largest(m, m.in + p * m.in_pixel + c, _mm256_setzero_si256(), [](auto at) { return load(at); }, greater));
        plain_maximum(m, p, c);
    }
}

bool usable() { return __builtin_cpu_supports("avx2"); }

constexpr Kernels make() {
    Kernels k{"avx2", {}, {}, depthwise, narrow, add, plain_table, quantize, usable, maximum, nullptr, true,
              nullptr, LOOKUPS, {0.001335, 0.03572, 0.2635}};
    k.integers = integer_kernels();
    k.rows = row_kernels(PRODUCTS);
    k.rows.softmax[1][0] = softmax_vectors<Lanes8>;
    fill_blocks<12>(k, []<int V, bool NARROWED, int ROWS>() -> BlockKernel { return block<V, NARROWED, ROWS>; });
    return k;
}

}  // namespace

const Kernels kernels_avx2 = make();

}  // namespace dqt
#endif
