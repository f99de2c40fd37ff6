// The products of a block in AVX2: weights are prepared by the first rows for the others.
#pragma once

#include <utility>

#include "avx2_chunks.h"
#include "avx2_end.h"

namespace dqt {
namespace {

// What the products of one vector and up to 4 rows read and add to.
struct Part {
    const int8_t* panel;    // the vector's weights, `stride` bytes from step to step
    const int8_t* next;     // those that are prepared next
    int stride, steps;
    __m256i* weight;        // the same prepared: by the first rows, for the others
    int32_t* acc;           // of the first row, and from row to row
    int acc_row;
};

// The sums of R rows of one vector: of a Part or a ShortPart.
template <int R, class Each>
inline void load_sums(const Each& p, __m256i (*acc)[2]) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) acc[i][h] = load(p.acc + i * p.acc_row + 8 * h);
}

template <int R, class Each>
inline void save_sums(const Each& p, const __m256i (*acc)[2]) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(p.acc + i * p.acc_row + 8 * h, acc[i][h]);
}

// Half the products of a step: the codes of R rows, CHUNK_ROW apart, by the weights of 16 columns.
template <int R>
inline void add_products(const int32_t* codes, __m256i w0, __m256i w1, __m256i (*acc)[2]) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
        const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
        add32(acc[i][0], _mm256_madd_epi16(code, w0));
        add32(acc[i][1], _mm256_madd_epi16(code, w1));
    }
}

// Codes and weights of 16 bits.
template <int R, bool FIRST>
void products(Part p, const Widened& a, int row) {
    __m256i acc[R][2];
    load_sums<R>(p, acc);
    const int64_t ahead = p.next - p.panel, stride = p.stride;
    const int8_t* from = p.panel;
    __m256i* w = p.weight;
    for (int s = 0, steps = p.steps; s < steps; ++s, from += stride, w += 4) {
        if constexpr (FIRST) {
            _mm_prefetch(from + ahead, _MM_HINT_T0);
            w[0] = even_weights(load(from));
            w[1] = even_weights(load(from + 32));
        }
        add_products<R>(a.even[row] + s, w[0], w[1], acc);
        if constexpr (FIRST) {
            w[2] = odd_weights(load(from));
            w[3] = odd_weights(load(from + 32));
        }
        add_products<R>(a.odd[row] + s, w[2], w[3], acc);
    }
    save_sums<R>(p, acc);
}

// What the products of one vector and some rows read and add to.
struct ShortPart {
    const int8_t* weights;  // shortened, `stride` bytes from step to step
    int64_t ahead;          // bytes to those that are wanted next
    int stride, steps;
    const int32_t* codes;   // of the first row, CHUNK_ROW from row to row
    int32_t* acc;           // and from row to row
    int acc_row;
};

// JOINED <= 2 steps are added in 16 bits. FIRST: of the rows, which ask for what is wanted next.
template <int R, bool FIRST, int JOINED>
void few_joined(ShortPart p, __m256i unit) {
    alignas(32) static constexpr int8_t zeros[VECTOR_BYTES] = {};
    __m256i acc[R][2];
    load_sums<R>(p, acc);
    const int8_t* from = p.weights;
    const int32_t* codes = p.codes;
    keep(unit);
    for (int s = 0; s < p.steps; s += JOINED, codes += JOINED, from += JOINED * p.stride) {
        const int8_t* second = s + 1 < p.steps ? from + p.stride : zeros;
        if constexpr (FIRST) {
            _mm_prefetch(from + p.ahead, _MM_HINT_T0);
            if (JOINED == 2) _mm_prefetch(from + p.ahead + p.stride, _MM_HINT_T0);
        }
        __m256i w[4];
        for (int h = 0; h < 2; ++h) {
            w[h] = load(from + 32 * h);
            keep(w[h]);
            if constexpr (JOINED == 2) {
                w[2 + h] = load(second + 32 * h);
                keep(w[2 + h]);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) {
            __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]), pairs[2];
            for (int h = 0; h < 2; ++h) pairs[h] = _mm256_maddubs_epi16(code, w[h]);
            if constexpr (JOINED == 2) {
                code = _mm256_set1_epi32(codes[i * CHUNK_ROW + 1]);
                for (int h = 0; h < 2; ++h) pairs[h] = _mm256_add_epi16(pairs[h], _mm256_maddubs_epi16(code, w[2 + h]));
            }
            for (int h = 0; h < 2; ++h) add32(acc[i][h], _mm256_madd_epi16(pairs[h], unit));
        }
    }
    save_sums<R>(p, acc);
}

// The products of one step of R rows and a vector, added in 16 bits.
template <int R>
__attribute__((always_inline)) inline void add_pairs(const int32_t* codes, const int8_t* weight, __m256i (&pairs)[R][2]) {
    __m256i w0 = load(weight), w1 = load(weight + 32);
    keep(w0);
    keep(w1);
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) {
        const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
        add16(pairs[i][0], _mm256_maddubs_epi16(code, w0));
        add16(pairs[i][1], _mm256_maddubs_epi16(code, w1));
    }
}

// More than two steps are added in 16 bits, in registers: with six rows, all of them.
template <int R, bool FIRST>
void many_joined(ShortPart p, __m256i unit, int joined) {
    const int8_t* from = p.weights;
    const int32_t* codes = p.codes;
    for (int s = 0; s < p.steps;) {
        __m256i pairs[R][2];
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) pairs[i][0] = pairs[i][1] = _mm256_setzero_si256();
        const int last = joined < p.steps - s ? s + joined : p.steps;
        for (; s < last; ++s, ++codes, from += p.stride) {
            if constexpr (FIRST) _mm_prefetch(from + p.ahead, _MM_HINT_T0);
            add_pairs<R>(codes, from, pairs);
        }
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i)
            for (int h = 0; h < 2; ++h) {
                int32_t* acc = p.acc + i * p.acc_row + 8 * h;
                save(acc, _mm256_add_epi32(load(acc), _mm256_madd_epi16(pairs[i][h], unit)));
            }
    }
}

// All steps of R rows and one vector, added in 16 bits, from the start of their sums to results of 16 bits, requantized by a
// shift of 32; `extra` is added to the sums of each row.
template <int R>
__attribute__((noinline)) void joined_words(const ShortPart& p, __m256i unit, const int32_t* start, const int32_t* extra,
                                            const VectorFactors& factors, const Rounding& rounding, int16_t* words,
                                            int stride) {
    __m256i pairs[R][2];
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) pairs[i][0] = pairs[i][1] = _mm256_setzero_si256();
    const int8_t* from = p.weights;
    for (const int32_t *codes = p.codes, *end = codes + p.steps; codes < end; ++codes, from += p.stride)
        add_pairs<R>(codes, from, pairs);
    const __m256i start0 = load(start), start1 = load(start + 8);
#pragma GCC unroll 6
    for (int i = 0; i < R; ++i) {
        const __m256i more = _mm256_set1_epi32(extra[i]);
        const __m256i low = _mm256_add_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs[i][0], unit), start0), more);
        const __m256i high = _mm256_add_epi32(_mm256_add_epi32(_mm256_madd_epi16(pairs[i][1], unit), start1), more);
        save(words + i * stride, words_of<true>(low, high, factors, rounding));
    }
}

// The products of a chunk of shortened codes and weights, [step][vector][16][4]; `ahead`: bytes to those wanted next.
template <int V>
inline void short_products(const Whole& chunk, const int8_t* weights, int64_t ahead, int rows, const Narrowing& n,
                           int32_t (*acc)[V * LANES]) {
    const auto part = [&](int v, int i) {
        return ShortPart{weights + v * VECTOR_BYTES, ahead,      V * VECTOR_BYTES, chunk.steps, chunk.in[i],
                         acc[i] + v * LANES,         V * LANES};
    };
    const auto by_group = [&]<int MOST>(std::integral_constant<int, MOST>, const auto& each) {
        for (int v = 0; v < V; ++v)
            by_rows<MOST>(rows, [&](auto count, int i) {
                i == 0 ? each(count, std::true_type(), part(v, i)) : each(count, std::false_type(), part(v, i));
            });
    };
    constexpr std::integral_constant<int, 4> four;
    constexpr std::integral_constant<int, 6> six;
    if (n.joined == 1)
        by_group(four, [&](auto count, auto first, const ShortPart& p) { few_joined<count, first, 1>(p, n.unit); });
    else if (n.joined == 2)
        by_group(four, [&](auto count, auto first, const ShortPart& p) { few_joined<count, first, 2>(p, n.unit); });
    else
        by_group(six, [&](auto count, auto first, const ShortPart& p) { many_joined<count, first>(p, n.unit, n.joined); });
}

// The products of `steps` steps and their weights; `after` are those of the next chunk.
template <int V, class Each>
inline void by_vectors(int steps, const int8_t* panel, const int8_t* after, int rows, int32_t (*acc)[V * LANES],
                       const Each& each) {
    __m256i weight[STEPS * 4];
    for (int v = 0; v < V; ++v) {
        const int8_t* from = panel + v * VECTOR_BYTES;
        const int8_t* next = v + 1 < V ? from + VECTOR_BYTES : after;
        by_rows<4>(rows, [&](auto count, int i) {
            const Part part{from, next, V * VECTOR_BYTES, steps, weight, acc[i] + v * LANES, V * LANES};
            i == 0 ? each(count, std::true_type(), part, i) : each(count, std::false_type(), part, i);
        });
    }
}

}  // namespace
}  // namespace dqt
