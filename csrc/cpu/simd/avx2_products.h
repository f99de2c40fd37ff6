// The products of a block in AVX2: inputs in chunks, weights prepared by the first rows for the others.
#pragma once

#include <utility>

#include "avx2.h"

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

template <int R>
inline void load_sums(const Part& p, __m256i (*acc)[2]) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) acc[i][h] = load(p.acc + i * p.acc_row + 8 * h);
}

template <int R>
inline void save_sums(const Part& p, const __m256i (*acc)[2]) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(p.acc + i * p.acc_row + 8 * h, acc[i][h]);
}

constexpr int STEPS = 64;               // of 4 channels, in a chunk
constexpr int CHUNK_ROW = STEPS + 8;    // what is written past a segment's end

// Some steps of a block's inputs: contiguous whatever taps they span, so weights that are prepared for them serve all
// the rows of the block, and inputs all its panel's vectors.
struct Widened {  // bytes 0 and 2, and 1 and 3, of each step as 16-bit numbers
    alignas(32) int32_t even[MAX_ROWS][CHUNK_ROW], odd[MAX_ROWS][CHUNK_ROW];
    int steps;
    void put(int row, int s, __m256i codes) {
        save(even[row] + s, even_codes(codes));
        save(odd[row] + s, odd_codes(codes));
    }
    void keep_bits(int) {}
    void put_middles(int, int, uint32_t) {}
};

struct Whole {  // codes without their low bits
    alignas(32) int32_t in[MAX_ROWS][CHUNK_ROW], middle[CHUNK_ROW];  // middles of the weights; 0 past the last step
    int steps;
    __m128i shift;
    __m256i kept;   // of bytes: what follows a segment may have low bits
    void put(int row, int s, __m256i codes) { save(in[row] + s, _mm256_and_si256(_mm256_srl_epi16(codes, shift), kept)); }
    void keep_bits(int input_shift) {
        shift = _mm_cvtsi32_si128(input_shift);
        kept = same_bytes(0xFF >> input_shift);
    }
    void put_middles(int from, int count, uint32_t value) {
        for (int s = 0; s < count; s += 8) save(middle + from + s, _mm256_set1_epi32(static_cast<int>(value)));
        save(middle + from + count, _mm256_setzero_si256());
    }
};

class Chunks {
  public:
    Chunks(const Block& block, int rows) : block_(block), rows_(rows) {}

    // Fills the next chunk; false at the end.
    template <class Chunk>
    bool next(Chunk& chunk) {
        int steps = 0;
        while (steps < STEPS && tap_ < block_.tap_count) {
            const int left = (block_.depth - at_) / 4, some = left < STEPS - steps ? left : STEPS - steps;
            const int64_t from = int64_t{block_.taps[tap_]} + at_;
            for (int i = 0; i < rows_; ++i) copy(block_.in[i] + from, some, i, steps, chunk);
            chunk.put_middles(steps, some, block_.middle[tap_ & 1]);
            steps += some;
            at_ += 4 * some;
            if (at_ == block_.depth) at_ = 0, ++tap_;
        }
        chunk.steps = steps;
        return steps > 0;
    }

  private:
    template <class Chunk>
    static void copy(const uint8_t* from, int steps, int row, int to, Chunk& chunk) {
        int s = 0;
        for (; s + 8 <= steps; s += 8) chunk.put(row, to + s, load(from + 4 * s));
        if (s < steps) chunk.put(row, to + s, load_fours(from + 4 * s, steps - s));
    }

    const Block& block_;
    int rows_, tap_ = 0, at_ = 0;
};

// Half the products of a step: the codes of R rows, CHUNK_ROW apart, by the weights of 16 columns.
template <int R>
inline void add_products(const int32_t* codes, __m256i w0, __m256i w1, __m256i (*acc)[2]) {
    keep(w0);
    keep(w1);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
        const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
        acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(code, w0));
        keep(acc[i][0]);
        acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(code, w1));
        keep(acc[i][1]);
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

// Weights of 8 bits as those of 8 - s, without their low bits; and how many steps of products fit 16 bits.
struct Narrowing {
    int joined;
    __m128i shift;
    __m256i kept, sign, unit;  // unit: what a product of shortened weights and codes counts

    Narrowing(int s, int input_shift, int product_bits)
        : joined(product_bits < 15 ? 1 << (15 - product_bits) : 1), shift(_mm_cvtsi32_si128(s)),
          kept(same_bytes(0xFF >> s)), sign(same_bytes(0x80 >> s)),
          unit(_mm256_set1_epi16(static_cast<int16_t>(1 << (s + input_shift)))) {}
    void prepare(const int8_t* from, __m256i* w) const {
        for (int h = 0; h < 2; ++h) {
            const __m256i code = _mm256_and_si256(_mm256_srl_epi16(load(from + 32 * h), shift), kept);
            w[h] = _mm256_sub_epi8(_mm256_xor_si256(code, sign), sign);
        }
    }
};

// Shortened codes and weights; JOINED <= 2 steps are added in 16 bits.
template <int R, bool FIRST, int JOINED>
void products(Part p, const Whole& a, int row, Narrowing n) {
    alignas(32) static constexpr int8_t zeros[VECTOR_BYTES] = {};
    __m256i acc[R][2];
    load_sums<R>(p, acc);
    const int64_t ahead = p.next - p.panel;
    const int8_t* from = p.panel;
    const int32_t* codes = a.in[row];
    __m256i* w = p.weight;
    for (int s = 0; s < p.steps; s += JOINED, codes += JOINED, w += 2 * JOINED, from += JOINED * p.stride) {
        if constexpr (FIRST) {
            _mm_prefetch(from + ahead, _MM_HINT_T0);
            n.prepare(from, w);
            if (JOINED == 2) {
                _mm_prefetch(from + p.stride + ahead, _MM_HINT_T0);
                n.prepare(s + 1 < p.steps ? from + p.stride : zeros, w + 2);
            }
        }
        __m256i weight[2 * JOINED];
#pragma GCC unroll 4
        for (int j = 0; j < 2 * JOINED; ++j) {
            weight[j] = w[j];
            keep(weight[j]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) {
            __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]), pairs[2];
            for (int h = 0; h < 2; ++h) pairs[h] = _mm256_maddubs_epi16(code, weight[h]);
            if constexpr (JOINED == 2) {
                code = _mm256_set1_epi32(codes[i * CHUNK_ROW + 1]);
                for (int h = 0; h < 2; ++h)
                    pairs[h] = _mm256_add_epi16(pairs[h], _mm256_maddubs_epi16(code, weight[2 + h]));
            }
            for (int h = 0; h < 2; ++h) {
                acc[i][h] = _mm256_add_epi32(acc[i][h], _mm256_madd_epi16(pairs[h], n.unit));
                keep(acc[i][h]);
            }
        }
    }
    save_sums<R>(p, acc);
}

// The same where more than two steps are added in 16 bits, in registers.
template <int R, bool FIRST>
void joined_products(Part p, const Whole& a, int row, Narrowing n) {
    const int64_t ahead = p.next - p.panel;
    const int8_t* from = p.panel;
    const int32_t* codes = a.in[row];
    __m256i* w = p.weight;
    for (int s = 0; s < p.steps;) {
        __m256i pairs[R][2];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) pairs[i][0] = pairs[i][1] = _mm256_setzero_si256();
        const int last = n.joined < p.steps - s ? s + n.joined : p.steps;
        for (; s < last; ++s, ++codes, w += 2, from += p.stride) {
            if constexpr (FIRST) {
                _mm_prefetch(from + ahead, _MM_HINT_T0);
                n.prepare(from, w);
            }
            __m256i w0 = w[0], w1 = w[1];
            keep(w0);
            keep(w1);
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i) {
                const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
                pairs[i][0] = _mm256_add_epi16(pairs[i][0], _mm256_maddubs_epi16(code, w0));
                keep(pairs[i][0]);
                pairs[i][1] = _mm256_add_epi16(pairs[i][1], _mm256_maddubs_epi16(code, w1));
                keep(pairs[i][1]);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            for (int h = 0; h < 2; ++h) {
                int32_t* acc = p.acc + i * p.acc_row + 8 * h;
                save(acc, _mm256_add_epi32(load(acc), _mm256_madd_epi16(pairs[i][h], n.unit)));
            }
    }
}

// Rows in groups of at most 4, as equal as they can be.
template <class Each>
inline void by_rows(int rows, const Each& each) {
    for (int i = 0, groups = (rows + 3) / 4; groups > 0; --groups) {
        const int some = (rows - i + groups - 1) / groups;
        if (some == 4) each(std::integral_constant<int, 4>(), i);
        if (some == 3) each(std::integral_constant<int, 3>(), i);
        if (some == 2) each(std::integral_constant<int, 2>(), i);
        if (some == 1) each(std::integral_constant<int, 1>(), i);
        i += some;
    }
}

template <int R, bool FIRST>
inline void narrowed_products(Part p, const Whole& a, int row, Narrowing n) {
    if (n.joined == 1) return products<R, FIRST, 1>(p, a, row, n);
    if (n.joined == 2) return products<R, FIRST, 2>(p, a, row, n);
    joined_products<R, FIRST>(p, a, row, n);
}

// The products of `steps` steps and their weights; `after` are those of the next chunk.
template <int V, class Each>
inline void by_vectors(int steps, const int8_t* panel, const int8_t* after, int rows, int32_t (*acc)[V * LANES],
                       const Each& each) {
    __m256i weight[STEPS * 4];
    for (int v = 0; v < V; ++v) {
        const int8_t* from = panel + v * VECTOR_BYTES;
        const int8_t* next = v + 1 < V ? from + VECTOR_BYTES : after;
        by_rows(rows, [&](auto count, int i) {
            const Part part{from, next, V * VECTOR_BYTES, steps, weight, acc[i] + v * LANES, V * LANES};
            i == 0 ? each(count, std::true_type(), part, i) : each(count, std::false_type(), part, i);
        });
    }
}

// Adds codes times middles of a chunk.
inline __m256i middle_sums(__m256i sum, const Whole& chunk, int row) {
    for (int s = 0; s < chunk.steps; s += 8) {
        const __m256i pairs = _mm256_maddubs_epi16(load(chunk.in[row] + s), load(chunk.middle + s));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum;
}

inline int32_t total(__m256i lanes) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    sum = _mm_hadd_epi32(sum, sum);
    return _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
}

}  // namespace
}  // namespace dqt
