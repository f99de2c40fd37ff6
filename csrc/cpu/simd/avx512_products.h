// The products of a block in AVX-512 without VNNI: those of AVX2 (avx2.cc), with a vector of 16 columns in one register.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include "avx2_paired_panels.h"
#include "avx512.h"

namespace dqt {
namespace {

constexpr int PAIRED_ROWS = 4, ROWS = 6;  // that share a weight in registers

// gcc neither moves the work on x across this nor reads it from memory again.
INLINE void keep(__m512i& x) { asm volatile("" : "+v"(x)); }

// The same dword everywhere: it is loaded so, which costs no more than the load.
INLINE __m512i all(int32_t four) { return _mm512_set1_epi32(four); }

// Bytes 0 and 2, or 1 and 3, of each dword as 16-bit numbers.
INLINE __m512i even_weights(__m512i w) { return _mm512_maddubs_epi16(_mm512_set1_epi16(1), w); }
INLINE __m512i odd_weights(__m512i w) { return _mm512_srai_epi16(w, 8); }

// The sums of a block, [row][vector], while its chunks come one by one; behind the last they are requantized, if by a shift
// of 32 and to codes, before they leave their registers.
template <int V>
class Sums {
  public:
    explicit Sums(const Block& b)
        : b_(b), steps_(steps_of(b)), in_registers_(b.rounding.shift == 32 && !b.wide) {}

    // The next chunk has so many steps.
    void chunk(int steps) {
        first_ = done_ == 0;
        done_ += steps;
    }
    bool last() const { return done_ == steps_; }

    // The sums of R rows and one vector, before the products of a chunk.
    template <int R>
    INLINE void begin(int row, int v, __m512i (&acc)[R]) const {
        const __m512i start = _mm512_loadu_si512(b_.start + v * LANES);
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) acc[i] = first_ ? start : sums_[row + i][v];
    }
    // And behind them. `extra`: what each of all rows adds at the end, or null.
    template <int R>
    INLINE void end(int row, int v, __m512i (&acc)[R], const int32_t* extra) {
        if (last()) {
            if (extra)
#pragma GCC unroll 6
                for (int i = 0; i < R; ++i) acc[i] = _mm512_add_epi32(acc[i], all(extra[row + i]));
            if (in_registers_) [[likely]] {
                const Factors<> factors(b_.rounding, v * LANES);
#pragma GCC unroll 6
                for (int i = 0; i < R; ++i) acc[i] = scaled<false>(acc[i], factors, b_.rounding);
            }
        }
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) sums_[row + i][v] = acc[i];
    }
    void store(int rows) {
        if (in_registers_) [[likely]]
            return store_rows<V>(b_, sums_, rows);
        finish_rarely<V>(b_, sums_, rows);
    }

  private:
    const Block& b_;
    const int steps_;
    const bool in_registers_;
    int done_ = 0;
    bool first_ = true;
    __m512i sums_[MAX_ROWS][V];
};

// Codes of R rows in the places of every vector, [vector][row][ROW]: `places` are `next` bytes from vector to vector.
template <int R, int V, int ROW>
INLINE void exchange(const uint8_t* const* from, int windows, const uint8_t* places, int64_t next, int32_t* to) {
    for (int k = 0; k < windows; k += 4) {
        __m512i codes[R];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) codes[i] = _mm512_loadu_si512(from[i] + 16 * k);
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            const __m512i order = _mm512_loadu_si512(places + v * next + 16 * k);
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i)
                _mm512_storeu_si512(to + (v * R + i) * ROW + 4 * k, _mm512_shuffle_epi8(codes[i], order));
        }
    }
}

// Four codes by the weights of 16 columns that fit 16 bits in pairs, added to the sums.
INLINE __m512i plus_pairs(__m512i acc, __m512i codes, __m512i w, __m512i ones) {
    return _mm512_add_epi32(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(codes, w), ones));
}

// Codes of R rows by the weights of 16 columns, [step][16][4], added to the sums.
template <int R, int ROW>
INLINE void add_step(const int32_t* codes, const int8_t* weight, const __m512i& ones, __m512i (&acc)[R]) {
    __m512i w = _mm512_loadu_si512(weight);
    keep(w);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) acc[i] = plus_pairs(acc[i], all(codes[i * ROW]), w, ones);
}

// R rows of a chunk of pairs that fit 16 bits, by all vectors.
template <int R, int V>
__attribute__((noinline)) void paired_rows(const Block& b, const PairedChunk<V>& chunk, int row, Sums<V>& sums) {
    constexpr int ROW = STEPS + 16;
    alignas(64) int32_t every[V * R * ROW];
    const PairedPanel& p = *b.paired;
    const int8_t* weights = p.weights + int64_t{chunk.first} * VECTOR_BYTES;
    __m512i ones = _mm512_set1_epi16(1);
    keep(ones);
    exchange<R, V, ROW>(chunk.from + row, (chunk.steps + 3) / 4, p.places + chunk.first * 4, p.windows * 16, every);
    const int32_t* placed = every;
    for (int v = 0; v < V; ++v, placed += R * ROW, weights += int64_t{p.windows} * 4 * VECTOR_BYTES) {
        __m512i acc[R];
        sums.template begin<R>(row, v, acc);
        const int8_t* weight = weights;
#pragma GCC unroll 2
        for (const int32_t *codes = placed, *end = placed + chunk.steps; codes < end; ++codes, weight += VECTOR_BYTES)
            add_step<R, ROW>(codes, weight, ones, acc);
        for (int e = chunk.excess[v], end = chunk.end[v]; e < end; ++e)
            add_step<R, ROW>(placed + (p.steps[e] - chunk.first), p.excess + int64_t{e} * VECTOR_BYTES, ones, acc);
        sums.template end<R>(row, v, acc, nullptr);
    }
}

template <int V>
__attribute__((noinline)) void run_paired(const Block& b, int rows) {
    Sums<V> sums(b);
    PairedChunks<V> chunks(b, rows);
    for (PairedChunk<V> chunk; chunks.next(chunk);) {
        for (int s = chunk.first; b.next != b.panel && s < chunk.first + chunk.steps; ++s)
            _mm_prefetch(b.next + int64_t{VECTOR_BYTES} * s, _MM_HINT_T1);
        sums.chunk(chunk.steps);
        by_rows<PAIRED_ROWS>(rows, [&](auto count, int i) { paired_rows<count, V>(b, chunk, i, sums); });
    }
    sums.store(rows);
}

// `joined` steps of R rows and one vector, or up to the last, added in 16 bits. `ahead`: bytes to what is wanted next, or 0.
template <int R, int V>
INLINE void add_pairs(const int32_t* codes, const int8_t* from, int joined, int64_t ahead, __m512i (&pairs)[R]) {
    for (int s = 0; s < joined; ++s, ++codes, from += V * VECTOR_BYTES) {
        __m512i w = _mm512_loadu_si512(from);
        keep(w);
        if (ahead) _mm_prefetch(from + ahead, _MM_HINT_T0);
#pragma GCC unroll 6
        for (int i = 0; i < R; ++i) pairs[i] = _mm512_add_epi16(pairs[i], _mm512_maddubs_epi16(all(codes[i * CHUNK_ROW]), w));
    }
}

// R rows of a chunk of shortened codes and weights, [step][vector][16][4], by all vectors. JOINED: steps that are added in
// 16 bits, or 0: those of the narrowing.
template <int R, int V, int JOINED>
__attribute__((noinline)) void short_rows(const Whole& chunk, const int8_t* weights, int64_t ahead, int row, const Narrowing& n,
                                          const int32_t* extra, Sums<V>& sums) {
    const __m512i unit = _mm512_broadcastw_epi16(_mm256_castsi256_si128(n.unit));
    const int joined = JOINED > 0 ? JOINED : n.joined;
    const int64_t asked = row == 0 ? ahead : 0;
    for (int v = 0; v < V; ++v) {
        __m512i acc[R];
        sums.template begin<R>(row, v, acc);
        const int8_t* from = weights + v * VECTOR_BYTES;
        for (int s = 0; s < chunk.steps; s += joined, from += int64_t{joined} * V * VECTOR_BYTES) {
            __m512i pairs[R];
#pragma GCC unroll 6
            for (int i = 0; i < R; ++i) pairs[i] = _mm512_setzero_si512();
            add_pairs<R, V>(chunk.in[row] + s, from, std::min(joined, chunk.steps - s), asked, pairs);
#pragma GCC unroll 6
            for (int i = 0; i < R; ++i) acc[i] = _mm512_add_epi32(acc[i], _mm512_madd_epi16(pairs[i], unit));
        }
        sums.template end<R>(row, v, acc, extra);
    }
}

// Codes and weights without their low bits. SHORTENED: those of the panel lack them; otherwise they are shortened where
// other blocks will find them, or here, chunk by chunk.
template <int V, bool SHORTENED>
__attribute__((noinline)) void run_short(const Block& b, const Narrowing& narrowing, int rows) {
    alignas(64) int8_t own[SHORTENED ? 1 : STEPS * V * VECTOR_BYTES];
    const int64_t bytes_of_all = int64_t{steps_of(b)} * V * VECTOR_BYTES;
    int32_t extra[MAX_ROWS] = {};
    Sums<V> sums(b);
    Whole chunk(b.input_shift);
    Chunks chunks(b, rows);
    for (int64_t at = 0; chunks.next(chunk);) {
        const int64_t bytes = int64_t{chunk.steps} * V * VECTOR_BYTES, next = at + bytes < bytes_of_all ? at + bytes : 0;
        const int8_t* weights = b.panel + at;
        if constexpr (!SHORTENED) weights = narrowing.shortened(b, at, bytes, b.panel + next, own);
        sums.chunk(chunk.steps);
        for (int i = 0; sums.last() && i < rows; ++i) extra[i] = extra_of(chunk, i, b);
        by_rows<ROWS>(rows, [&](auto count, int i) {
            const int64_t ahead = SHORTENED ? next - at : 0;
            const auto run = narrowing.joined == 1   ? short_rows<count, V, 1>
                             : narrowing.joined == 2 ? short_rows<count, V, 2>
                                                     : short_rows<count, V, 0>;
            run(chunk, weights, ahead, i, narrowing, extra, sums);
        });
        at += bytes;
    }
    sums.store(rows);
}

// R rows of a chunk of 16-bit codes by weights widened to 16 bits, and all vectors.
template <int R, int V>
__attribute__((noinline)) void wide_rows(const Widened& chunk, const int8_t* weights, int row, Sums<V>& sums) {
    for (int v = 0; v < V; ++v) {
        __m512i acc[R];
        sums.template begin<R>(row, v, acc);
        const int8_t* from = weights + v * VECTOR_BYTES;
        for (int s = 0; s < chunk.steps; ++s, from += V * VECTOR_BYTES) {
            const __m512i w = _mm512_loadu_si512(from);
            const __m512i even = even_weights(w), odd = odd_weights(w);
#pragma GCC unroll 6
            for (int i = 0; i < R; ++i) {
                acc[i] = dot_words(acc[i], all(chunk.even[row + i][s]), even);
                acc[i] = dot_words(acc[i], all(chunk.odd[row + i][s]), odd);
            }
        }
        sums.template end<R>(row, v, acc, nullptr);
    }
}

template <int V>
__attribute__((noinline)) void run_wide(const Block& b, int rows) {
    Sums<V> sums(b);
    const int8_t* weights = b.panel;
    Widened chunk;
    for (Chunks chunks(b, rows); chunks.next(chunk); weights += int64_t{chunk.steps} * V * VECTOR_BYTES) {
        sums.chunk(chunk.steps);
        by_rows<ROWS>(rows, [&](auto count, int i) { wide_rows<count, V>(chunk, weights, i, sums); });
    }
    sums.store(rows);
}

// One row of one tap by a panel of whole bytes: weights are read once, in order, and come from memory.
template <int V, bool NARROWED>
__attribute__((noinline)) void run_row(const Block& b) {
    constexpr int64_t AHEAD = 2048;  // bytes to the weights that are asked for
    __m512i acc[1][V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[0][v] = _mm512_loadu_si512(b.start + v * LANES);
    const __m512i mask = all(static_cast<int>(b.mask)), middle = all(static_cast<int>(b.middle[0]));
    const int8_t* from = b.panel;
    Widened chunk;
    for (Chunks chunks(b, 1); chunks.next(chunk);)
        for (int s = 0; s < chunk.steps; ++s, from += V * VECTOR_BYTES) {
            const __m512i even = all(chunk.even[0][s]), odd = all(chunk.odd[0][s]);
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) {
                _mm_prefetch(from + AHEAD + 64 * v, _MM_HINT_T0);
                __m512i w = _mm512_loadu_si512(from + 64 * v);
                if constexpr (NARROWED) w = _mm512_ternarylogic_epi32(w, mask, middle, NARROW);
                acc[0][v] = dot_words(acc[0][v], even, even_weights(w));
                acc[0][v] = dot_words(acc[0][v], odd, odd_weights(w));
            }
        }
    finish<V, 1>(b, acc);
}

}  // namespace
}  // namespace dqt
