// How a block ends in AVX2: accumulators are requantized, packed, added to a residual and stored.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <algorithm>
#include <cstring>

#include "avx2.h"

namespace dqt {
namespace {

// The constants of one vector, of either half.
struct VectorFactors {
    Factors low, high;
    VectorFactors(const int32_t* m, const int64_t* c) : low(m, c), high(m + 8, c + 4) {}
};

// Requantized sums of one vector in 16 bits, saturated: lanes 0 2 1 3 of each four, fours 0 2 1 3.
template <bool HIGH>
inline __m256i words_of(__m256i low, __m256i high, const VectorFactors& f, const Rounding& r) {
    return _mm256_packs_epi32(scaled<HIGH>(low, f.low, r), scaled<HIGH>(high, f.high, r));
}

// The same of all vectors; `extra` is still to be added to a row's accumulators.
template <int V, bool HIGH>
void scale_words(const Block& b, int rows, const int32_t (*acc)[V * LANES], const int32_t* extra, int16_t (*words)[V * LANES]) {
    for (int v = 0; v < V; ++v) {
        const VectorFactors factors(b.rounding.m + v * LANES, b.rounding.c + v * LANES);
        for (int i = 0; i < rows; ++i) {
            const __m256i more = _mm256_set1_epi32(extra ? extra[i] : 0);
            const __m256i low = _mm256_add_epi32(load(acc[i] + v * LANES), more);
            const __m256i high = _mm256_add_epi32(load(acc[i] + v * LANES + 8), more);
            save(words[i] + v * LANES, words_of<HIGH>(low, high, factors, b.rounding));
        }
    }
}

// Requantizes 8 columns of each row where they lie.
template <bool HIGH>
void scale_columns(int32_t* acc, int stride, int rows, const int32_t* extra, const Factors& f, const Rounding& r) {
    for (int i = 0; i < rows; ++i, acc += stride) {
        __m256i sum = load(acc);
        if (extra) sum = _mm256_add_epi32(sum, _mm256_set1_epi32(extra[i]));
        save(acc, scaled<HIGH>(sum, f, r));
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

template <int V, bool HIGH>
void end_wide(const Block& b, int rows, int32_t (*acc)[V * LANES], const int32_t* extra) {
    for (int h = 0; h < 2 * V; ++h) {
        const Factors factors(b.rounding.m + 8 * h, b.rounding.c + h / 2 * LANES + h % 2 * 4);
        scale_columns<HIGH>(acc[0] + 8 * h, V * LANES, rows, extra, factors, b.rounding);
    }
    store_wide<V>(b, rows, acc);
}

// Words of a row as bytes in the order of their columns; of V = 1, of this row and the next.
template <int V>
inline void bytes_of(const int16_t (*words)[V * LANES], __m256i* bytes) {
    const auto both = [](const int16_t* a, const int16_t* b) { return _mm256_packus_epi16(load(a), load(b)); };
    if constexpr (V == 4) {
        const __m256 a = _mm256_castsi256_ps(both(words[0], words[0] + LANES));
        const __m256 b = _mm256_castsi256_ps(both(words[0] + 2 * LANES, words[0] + 3 * LANES));
        bytes[0] = ordered(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)));
        bytes[1] = ordered(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD)));
    } else if constexpr (V == 2) {
        const __m256i order = _mm256_setr_epi32(0, 2, 4, 6, 1, 3, 5, 7);
        bytes[0] = ordered(_mm256_permutevar8x32_epi32(both(words[0], words[0] + LANES), order));
    } else {
        const __m256i order = _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7);
        bytes[0] = ordered(_mm256_permutevar8x32_epi32(both(words[0], words[1]), order));
    }
}

// The first `count` bytes, and zeros.
inline __m256i load_bytes(const uint8_t* p, int count) {
    if (count >= 32) return load(p);
    if (count % 4 == 0) return load_fours(p, count / 4);
    alignas(32) uint8_t copy[32] = {};
    std::memcpy(copy, p, count);
    return load(copy);
}

// Copies up to 64 bytes in two parts, which may overlap: memcpy of a number that is not constant is a call.
inline void copy_bytes(uint8_t* to, const uint8_t* from, int count) {
    const auto parts = [&]<int SIZE>(std::integral_constant<int, SIZE>) {
        std::memcpy(to, from, SIZE);
        std::memcpy(to + count - SIZE, from + count - SIZE, SIZE);
    };
    if (count >= 32) return parts(std::integral_constant<int, 32>());
    if (count >= 16) return parts(std::integral_constant<int, 16>());
    if (count >= 8) return parts(std::integral_constant<int, 8>());
    if (count >= 4) return parts(std::integral_constant<int, 4>());
    for (int i = 0; i < count; ++i) to[i] = from[i];
}

inline void save_half(uint8_t* to, __m128i bytes) { _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes); }

// What a residual adds to bytes [32 * k, 32 * k + 32) of a row; of V = 1, to this row and, unless it is the last, the next.
template <int V>
inline __m256i other_bytes(const Block& b, int i, bool more, int k) {
    if constexpr (V > 1) return load_bytes(b.other[i] + 32 * k, std::max(0, b.columns - 32 * k));
    const uint8_t *one = b.other[i], *two = more ? b.other[i + 1] : one;
    const auto half = [](const uint8_t* p) { return reinterpret_cast<const __m128i*>(p); };
    if (b.columns == LANES) return _mm256_loadu2_m128i(half(two), half(one));
    return _mm256_permute2x128_si256(load_bytes(one, b.columns), load_bytes(two, b.columns), 0x20);
}

// Packs, adds the residual where there is one, and stores.
template <int V, bool ADDED>
__attribute__((noinline)) void store(const Block& b, int rows, const int16_t (*words)[V * LANES]) {
    constexpr int BYTES = V * LANES, TOGETHER = V == 1 ? 2 : 1, REGISTERS = TOGETHER * BYTES / 32;
    const Finish finish(b.rounding.lo, b.rounding.hi, ADDED ? Narrow() : b.narrow);
    const Residual none, &residual = ADDED ? *b.residual : none;
    const Addition addition(residual);
    const Finish finish_added(residual.lo, residual.hi, b.narrow);
    const bool whole = b.stored == BYTES && b.columns == BYTES;
    for (int i = 0; i < rows; i += TOGETHER) {
        const bool more = i + 1 < rows;
        __m256i bytes[REGISTERS];
        bytes_of<V>(words + i, bytes);
        for (int k = 0; k < REGISTERS; ++k) {
            bytes[k] = finish(bytes[k]);
            if constexpr (ADDED) bytes[k] = with_residual(bytes[k], other_bytes<V>(b, i, more, k), addition, finish_added);
        }
        if (whole && V > 1) {
            for (int k = 0; k < REGISTERS; ++k) save(b.out[i] + 32 * k, bytes[k]);
            continue;
        }
        if (whole) {
            save_half(b.out[i], _mm256_castsi256_si128(bytes[0]));
            if (more) save_half(b.out[i + 1], _mm256_extracti128_si256(bytes[0], 1));
            continue;
        }
        alignas(32) uint8_t copy[32 * REGISTERS];
        for (int k = 0; k < REGISTERS; ++k) save(copy + 32 * k, bytes[k]);
        for (int j = 0; j < TOGETHER && i + j < rows; ++j) {
            uint8_t* row = copy + j * BYTES;
            if (b.columns < b.stored) std::memset(row + b.columns, 0, b.stored - b.columns);
            copy_bytes(b.out[i + j], row, b.stored);
        }
    }
}

// Stores words that have been requantized.
template <int V>
inline void end_words(const Block& b, int rows, const int16_t (*words)[V * LANES]) {
    b.residual ? store<V, true>(b, rows, words) : store<V, false>(b, rows, words);
}

// Requantizes and stores the rows of a block.
template <int V>
void end(const Block& b, int rows, int32_t (*acc)[V * LANES], const int32_t* extra) {
    const bool high = b.rounding.shift == 32;
    if (b.wide) return high ? end_wide<V, true>(b, rows, acc, extra) : end_wide<V, false>(b, rows, acc, extra);
    alignas(32) int16_t words[MAX_ROWS][V * LANES];
    if (high) [[likely]]
        scale_words<V, true>(b, rows, acc, extra, words);
    else
        scale_words<V, false>(b, rows, acc, extra, words);
    end_words<V>(b, rows, words);
}

}  // namespace
}  // namespace dqt
