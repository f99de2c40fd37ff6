// Whole 8-bit codes by 8-bit weights in AVX2: vpmaddubsw on pairs of channels that fit 16 bits, as PairedPanel has them.
#pragma once

#include <array>
#include <utility>

#include "avx2_end.h"
#include "avx2_products.h"

namespace dqt {
namespace {

// Codes as they are, and behind the last anything: weights are 0 there, or there are none.
struct Plain {
    alignas(32) int32_t in[MAX_ROWS][CHUNK_ROW];
    int steps;
    void copy(int row, int to, const uint8_t* from, int count, uint32_t) {
        for (int s = 0; s < count; s += 8) save(in[row] + to + s, load(from + 4 * s));
    }
};

// Some steps of a block's reduction: where the codes of each row lie, with a vector behind them that may be read.
template <int V>
struct PairedChunk {
    const uint8_t* from[MAX_ROWS];
    int first, steps = 0;
    int excess[V], end[V];           // of each vector, those of these steps
};

// The chunks of a block: those of one tap are read where they lie, those of several are copied side by side.
template <int V>
class PairedChunks {
  public:
    PairedChunks(const Block& block, int rows) : block_(block), rows_(rows), chunks_(block, rows) {}

    // Fills the next chunk; false at the end.
    bool next(PairedChunk<V>& chunk) {
        chunk.first = done_;
        chunk.steps = block_.tap_count > 1 ? copied(chunk) : found(chunk);
        done_ += chunk.steps;
        const PairedPanel& p = *block_.paired;
        for (int v = 0; v < V; ++v) {
            int& e = chunk.end[v];
            e = chunk.excess[v] = chunk.first ? e : p.first[v];
            while (e < p.first[v + 1] && p.steps[e] < done_) ++e;
        }
        return chunk.steps > 0;
    }

  private:
    int found(PairedChunk<V>& chunk) const {
        for (int i = 0; i < rows_; ++i) chunk.from[i] = block_.in[i] + block_.taps[0] + 4 * done_;
        const int left = block_.depth / 4 - done_;
        return left < STEPS ? left : STEPS;
    }
    int copied(PairedChunk<V>& chunk) {
        copy_.steps = 0;
        chunks_.next(copy_);
        for (int i = 0; i < rows_; ++i) chunk.from[i] = reinterpret_cast<const uint8_t*>(copy_.in[i]);
        return copy_.steps;
    }

    const Block& block_;
    const int rows_;
    int done_ = 0;
    Chunks chunks_;
    Plain copy_;
};

// Codes of R rows in the places of one vector, CHUNK_ROW from row to row.
template <int R>
__attribute__((always_inline)) inline void exchange(const uint8_t* const* from, int windows, const uint8_t* places,
                                                    int32_t* to) {
    for (int k = 0; k < windows; k += 2) {
        const __m256i order = load(places + 16 * k);
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            save(to + i * CHUNK_ROW + 4 * k, _mm256_shuffle_epi8(load(from[i] + 16 * k), order));
    }
}

// Codes of R rows by the weights of 16 columns, [step][16][4], added to the sums.
template <int R>
__attribute__((always_inline)) inline void add_step(const int32_t* codes, const int8_t* weight, __m256i& ones,
                                                    __m256i (&acc)[R][2]) {
    __m256i w0 = load(weight), w1 = load(weight + 32);
    keep(w0);
    keep(w1);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
        const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
        add32(acc[i][0], _mm256_madd_epi16(_mm256_maddubs_epi16(code, w0), ones));
        add32(acc[i][1], _mm256_madd_epi16(_mm256_maddubs_epi16(code, w1), ones));
    }
}

// R rows of a chunk, from the row `row` on, by all vectors. WHOLE: the chunk is the whole reduction, which stays in
// registers from its start to 16-bit results, requantized by a shift of 32; otherwise sums lie in memory. `to`: of that row.
template <int R, int V, bool WHOLE, class To>
__attribute__((noinline)) void paired_rows(const Block& b, const PairedChunk<V>& chunk,
                                           const std::array<VectorFactors, V>& factors, int row, To (*to)[V * LANES]) {
    alignas(32) int32_t placed[R * CHUNK_ROW];
    const PairedPanel& p = *b.paired;
    const int steps = chunk.steps, windows = (steps + 3) / 4;
    const int64_t next_places = p.windows * 16, next_weights = int64_t{p.windows} * 4 * VECTOR_BYTES;
    const uint8_t* places = p.places + chunk.first * 4;
    const int8_t* weights = p.weights + int64_t{chunk.first} * VECTOR_BYTES;
    const int32_t* start = b.start;
    __m256i ones = _mm256_set1_epi16(1);
    keep(ones);
    for (int v = 0; v < V; ++v, places += next_places, weights += next_weights) {
        exchange<R>(chunk.from + row, windows, places, placed);
        __m256i acc[R][2];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            for (int h = 0; h < 2; ++h)
                acc[i][h] = WHOLE ? load(start + v * LANES + 8 * h) : load(to[i] + v * LANES + 8 * h);
        const int8_t* weight = weights;
        for (const int32_t *codes = placed, *end = placed + steps; codes < end; ++codes, weight += VECTOR_BYTES)
            add_step<R>(codes, weight, ones, acc);
        for (int e = chunk.excess[v], end = chunk.end[v]; e < end; ++e)
            add_step<R>(placed + (p.steps[e] - chunk.first), p.excess + int64_t{e} * VECTOR_BYTES, ones, acc);
        if constexpr (WHOLE) {
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i) save(to[i] + v * LANES, words_of<true>(acc[i][0], acc[i][1], factors[v], b.rounding));
        } else {
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i)
                for (int h = 0; h < 2; ++h) save(to[i] + v * LANES + 8 * h, acc[i][h]);
        }
    }
}

template <int... VECTORS>
inline std::array<VectorFactors, sizeof...(VECTORS)> factors_of(const Rounding& r, std::integer_sequence<int, VECTORS...>) {
    return {VectorFactors(r.m + VECTORS * LANES, r.c + VECTORS * LANES)...};
}

// The sums of a block; or WHOLE, its results in 16 bits.
template <int V, bool WHOLE, class To>
inline void paired_sums(const Block& b, int rows, To (*to)[V * LANES]) {
    PairedChunks<V> chunks(b, rows);
    PairedChunk<V> chunk;
    const auto factors = factors_of(b.rounding, std::make_integer_sequence<int, V>());
    while (chunks.next(chunk)) {
        for (int s = chunk.first; !WHOLE && b.next != b.panel && s < chunk.first + chunk.steps; ++s)
            _mm_prefetch(b.next + int64_t{VECTOR_BYTES} * s, _MM_HINT_T1);
        by_rows<4>(rows, [&](auto count, int i) { paired_rows<count, V, WHOLE>(b, chunk, factors, i, to + i); });
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
