// The inputs of a block, copied chunk by chunk, and weights without their low bits, in registers of 256 bits.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <type_traits>

#include "avx2_registers.h"

namespace dqt {
namespace {

constexpr int STEPS = 64;               // of 4 channels, in a chunk
constexpr int CHUNK_ROW = STEPS + 8;    // what is written past a segment's end

// All steps of a block's reduction.
inline int steps_of(const Block& b) { return b.tap_count * b.depth / 4; }

// Calls put(s, codes) for every eight steps of a segment, and for those that are left with zeros behind them.
template <class Put>
inline void by_eight(const uint8_t* from, int steps, const Put& put) {
    int s = 0;
    for (; s + 8 <= steps; s += 8) put(s, load(from + 4 * s));
    if (s < steps) put(s, load_fours(from + 4 * s, steps - s));
}

// Some steps of a block's inputs: contiguous whatever taps they span, so weights that are prepared for them serve all
// the rows of the block, and inputs all its panel's vectors.
struct Widened {  // bytes 0 and 2, and 1 and 3, of each step as 16-bit numbers
    alignas(32) int32_t even[MAX_ROWS][CHUNK_ROW], odd[MAX_ROWS][CHUNK_ROW];
    int steps;
    void copy(int row, int to, const uint8_t* from, int count, uint32_t) {
        by_eight(from, count, [&](int s, __m256i codes) {
            save(even[row] + to + s, even_codes(codes));
            save(odd[row] + to + s, odd_codes(codes));
        });
    }
};

struct Whole {  // codes without their low bits, and the sums of their products with the weights' middles
    alignas(32) int32_t in[MAX_ROWS][CHUNK_ROW];
    __m256i sums[MAX_ROWS] = {};
    int steps;
    __m128i shift;
    __m256i kept;   // of bytes: what follows a segment may have low bits
    explicit Whole(int input_shift) : shift(_mm_cvtsi32_si128(input_shift)), kept(same_bytes(0xFF >> input_shift)) {}
    void copy(int row, int to, const uint8_t* from, int count, uint32_t middles) {
        const __m256i middle = _mm256_set1_epi32(static_cast<int>(middles)), ones = _mm256_set1_epi16(1);
        __m256i sum = sums[row];
        by_eight(from, count, [&](int s, __m256i codes) {
            codes = _mm256_and_si256(_mm256_srl_epi16(codes, shift), kept);
            save(in[row] + to + s, codes);
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, middle), ones));
        });
        sums[row] = sum;
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
            for (int i = 0; i < rows_; ++i) chunk.copy(i, steps, block_.in[i] + from, some, block_.middle[tap_ & 1]);
            steps += some;
            at_ += 4 * some;
            if (at_ == block_.depth) at_ = 0, ++tap_;
        }
        chunk.steps = steps;
        return steps > 0;
    }

  private:
    const Block& block_;
    int rows_, tap_ = 0, at_ = 0;
};

// Weights of 8 bits as those of 8 - s, without their low bits; and how many steps of products fit 16 bits.
struct Narrowing {
    int joined;
    __m128i shift;
    __m256i kept, sign, unit;  // unit: what a product of shortened weights and codes counts

    Narrowing(int s, int input_shift, int product_bits)
        : joined(product_bits < 15 ? 1 << (15 - product_bits) : 1), shift(_mm_cvtsi32_si128(s)),
          kept(same_bytes(0xFF >> s)), sign(same_bytes(0x80 >> s)),
          unit(_mm256_set1_epi16(static_cast<int16_t>(1 << (s + input_shift)))) {}
    // `bytes` of them, which may stay where they are; asks for those behind them.
    void shorten(const int8_t* from, int64_t bytes, const int8_t* next, int8_t* to) const {
        for (int64_t i = 0; i < bytes; i += VECTOR_BYTES) {
            _mm_prefetch(next + i, _MM_HINT_T0);
            for (int64_t at = i; at < i + VECTOR_BYTES; at += 32) {
                const __m256i code = _mm256_and_si256(_mm256_srl_epi16(load(from + at), shift), kept);
                save(to + at, _mm256_sub_epi8(_mm256_xor_si256(code, sign), sign));
            }
        }
    }
    // `bytes` of a block's panel from `at` on: where other blocks find them, if they are kept, or else in `own`.
    const int8_t* shortened(const Block& b, int64_t at, int64_t bytes, const int8_t* next, int8_t* own) const {
        int8_t* to = b.kept ? b.kept + at : own;
        shorten(b.panel + at, bytes, next, to);
        return to;
    }
};

inline int32_t total(__m256i lanes) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    sum = _mm_hadd_epi32(sum, sum);
    return _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
}

// What the middles of the weights add to the sums of a row, once all its chunks have been copied.
inline int32_t extra_of(const Whole& chunk, int row, const Block& b) { return total(chunk.sums[row]) * (1 << b.input_shift); }

// Rows in groups of at most MOST, as equal as they can be.
template <int MOST, class Each>
inline void by_rows(int rows, const Each& each) {
    static_assert(4 * MOST >= MAX_ROWS);
    for (int i = 0, groups = (rows + MOST - 1) / MOST; groups > 0; --groups) {
        const int left = rows - i;  // divided by constants: a division takes as long as the products of a short reduction
        const int some = groups == 1 ? left : groups == 2 ? (left + 1) / 2 : groups == 3 ? (left + 2) / 3 : (left + 3) / 4;
        if constexpr (MOST >= 6)
            if (some == 6) each(std::integral_constant<int, 6>(), i);
        if constexpr (MOST >= 5)
            if (some == 5) each(std::integral_constant<int, 5>(), i);
        if constexpr (MOST >= 4)
            if (some == 4) each(std::integral_constant<int, 4>(), i);
        if (some == 3) each(std::integral_constant<int, 3>(), i);
        if (some == 2) each(std::integral_constant<int, 2>(), i);
        if (some == 1) each(std::integral_constant<int, 1>(), i);
        i += some;
    }
}

}  // namespace
}  // namespace dqt
