// Panels whose channels change places so that pairs of products fit 16 bits (pairs.h), and the inputs of their blocks.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include "avx2_chunks.h"

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
        const bool last = done_ == steps_of(block_);
        for (int v = 0; v < V; ++v) {
            int& e = chunk.end[v];
            e = chunk.excess[v] = chunk.first ? e : p.first[v];
            if (last) e = p.first[v + 1];
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
