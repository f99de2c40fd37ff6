// Whole 8-bit codes by 8-bit weights in AVX2: vpmaddubsw on pairs of channels that fit 16 bits, as PairedPanel has them.
#pragma once

#include "avx2_products.h"

namespace dqt {
namespace {

// Codes as they are.
struct Plain {
    alignas(32) int32_t in[MAX_ROWS][CHUNK_ROW];
    int steps;
    void copy(int row, int to, const uint8_t* from, int count, uint32_t) {
        by_eight(from, count, [&](int s, __m256i codes) { save(in[row] + to + s, codes); });
    }
    // The places after the last step, up to a whole window of 4 steps, hold what may be anything: weights there are 0.
    void fill(int rows) {
        for (int i = 0; i < rows && steps % 4; ++i) std::memset(in[i] + steps, 0, 4 * sizeof(int32_t));
    }
};

// The codes of a chunk in the places of one vector.
inline void exchange(const Plain& from, int rows, int windows, const uint8_t* places, Plain& to) {
    for (int k = 0; k < windows; k += 2) {
        const __m256i order = load(places + 16 * k);
        for (int i = 0; i < rows; ++i) save(to.in[i] + 4 * k, _mm256_shuffle_epi8(load(from.in[i] + 4 * k), order));
    }
}

// The codes of R rows by the weights of 16 columns, [step][16][4], added to the sums.
template <int R>
inline void paired_products(const int32_t* codes, const int8_t* weight, int steps, int32_t* sums, int stride) {
    __m256i acc[R][2];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) acc[i][h] = load(sums + i * stride + 8 * h);
    __m256i ones = _mm256_set1_epi16(1);
    keep(ones);
    for (const int32_t* end = codes + steps; codes < end; ++codes, weight += VECTOR_BYTES) {
        __m256i w0 = load(weight), w1 = load(weight + 32);
        keep(w0);
        keep(w1);
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) {
            const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
            acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(_mm256_maddubs_epi16(code, w0), ones));
            keep(acc[i][0]);
            acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(_mm256_maddubs_epi16(code, w1), ones));
            keep(acc[i][1]);
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(sums + i * stride + 8 * h, acc[i][h]);
}

template <int V>
inline void add_pairs(const Plain& chunk, int rows, int from, int to, int v, const int8_t* weights,
                      int32_t (*acc)[V * LANES]) {
    by_rows<4>(rows, [&](auto count, int i) {
        paired_products<count>(chunk.in[i] + from, weights, to - from, acc[i] + v * LANES, V * LANES);
    });
}

// The sums of a block.
template <int V>
inline void paired_sums(const Block& b, int rows, int32_t (*acc)[V * LANES]) {
    const PairedPanel& p = *b.paired;
    Plain chunk, placed;
    Chunks chunks(b, rows);
    const int8_t* wanted = b.next ? b.next : b.panel;
    int next[V];
    for (int v = 0; v < V; ++v) next[v] = p.first[v];
    for (int window = 0; chunks.next(chunk); window += STEPS / 4) {
        const int windows = (chunk.steps + 3) / 4, first = 4 * window, last = first + 4 * windows;
        chunk.fill(rows);
        for (int s = 0; s < chunk.steps; ++s) _mm_prefetch(wanted + int64_t{VECTOR_BYTES} * (first + s), _MM_HINT_T1);
        for (int v = 0; v < V; ++v) {
            const int64_t at = int64_t{v} * p.windows + window;
            exchange(chunk, rows, windows, p.places + at * 16, placed);
            add_pairs<V>(placed, rows, 0, 4 * windows, v, p.weights + at * 4 * VECTOR_BYTES, acc);
            for (int& e = next[v]; e < p.first[v + 1] && p.steps[e] < last; ++e) {
                const int s = p.steps[e] - first;
                add_pairs<V>(placed, rows, s, s + 1, v, p.excess + int64_t{e} * VECTOR_BYTES, acc);
            }
        }
    }
}

// Dwords of four vectors, transposed in each half.
inline void transpose(__m256i (&x)[4]) {
    const __m256i a = _mm256_unpacklo_epi32(x[0], x[1]), b = _mm256_unpackhi_epi32(x[0], x[1]);
    const __m256i c = _mm256_unpacklo_epi32(x[2], x[3]), d = _mm256_unpackhi_epi32(x[2], x[3]);
    x[0] = _mm256_unpacklo_epi64(a, c);
    x[1] = _mm256_unpackhi_epi64(a, c);
    x[2] = _mm256_unpacklo_epi64(b, d);
    x[3] = _mm256_unpackhi_epi64(b, d);
}

// One window of 8 columns, its channels in their new places: `from` steps of a panel, `stride` apart, some of which are.
inline void exchange_weights(const int8_t* from, int stride, int steps, __m256i places, int8_t* to) {
    __m256i x[4];
    for (int s = 0; s < 4; ++s) x[s] = s < steps ? load(from + s * stride) : _mm256_setzero_si256();
    transpose(x);
    for (__m256i& column : x) column = _mm256_shuffle_epi8(column, places);
    transpose(x);
    for (int s = 0; s < 4; ++s) save(to + s * VECTOR_BYTES, x[s]);
}

inline void pair(const int8_t* panel, int vectors, int steps, const uint8_t* nibbles, const PairedPanel& of,
                 int8_t* weights, uint8_t* places) {
    for (int v = 0; v < vectors; ++v) {
        int8_t* to = weights + int64_t{v} * of.windows * 4 * VECTOR_BYTES;
        for (int s = 0; s < steps; s += 4, nibbles += 8, places += 16) {
            const __m128i both = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(nibbles)), low = _mm_set1_epi8(15);
            const __m128i high = _mm_and_si128(_mm_srli_epi16(both, 4), low);
            const __m128i order = _mm_unpacklo_epi64(_mm_and_si128(both, low), high);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(places), order);
            const int8_t* from = panel + (int64_t{s} * vectors + v) * VECTOR_BYTES;
            for (int half = 0; half < VECTOR_BYTES; half += 32)
                exchange_weights(from + half, vectors * VECTOR_BYTES, steps - s, _mm256_broadcastsi128_si256(order),
                                 to + int64_t{s} * VECTOR_BYTES + half);
        }
        for (int e = of.first[v]; e < of.first[v + 1]; ++e)
            for (int half = 0; half < VECTOR_BYTES; half += 32) {
                int8_t* w = to + int64_t{of.steps[e]} * VECTOR_BYTES + half;
                save(w, _mm256_sub_epi8(load(w), load(of.excess + int64_t{e} * VECTOR_BYTES + half)));
            }
    }
}

}  // namespace
}  // namespace dqt
