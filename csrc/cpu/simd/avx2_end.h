// How a block ends in AVX2: accumulators are requantized where they lie, packed, added to a residual and stored.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <algorithm>
#include <cstring>

#include "avx2.h"

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

}  // namespace
}  // namespace dqt
