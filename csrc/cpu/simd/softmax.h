// Softmax of integers as codes, a vector at a time: the largest, powers and their sum, shares.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <cstring>

#include "../../arith.h"
#include "../row_kernels.h"

namespace dqt {
namespace {

// The least distance from the maximum of whose power nothing is left, so that no larger one needs to be told apart.
inline uint32_t softmax_limit(const SoftmaxRow& row) {
    const uint64_t least = (uint64_t{DQT_POWER_BITS + 2} << DQT_FRACTION_BITS << row.shift) - (uint64_t{1} << (row.shift - 1));
    const uint64_t m = static_cast<uint32_t>(row.m), limit = m ? (least + m - 1) / m : UINT32_MAX;
    return limit < UINT32_MAX ? static_cast<uint32_t>(limit) : UINT32_MAX;
}

// f(elements from the first, how many) of every vector of a row, the last one shorter.
template <int LANES, class F>
inline void each_vector(int64_t count, const F& f) {
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) f(i, LANES);
    if (i < count) f(i, static_cast<int>(count - i));
}

// V: 32-bit lanes. Equations 25 to 29.
template <class V>
void softmax_vectors(const void* in, void* out, int64_t count, const SoftmaxRow& row, int32_t* room) {
    constexpr int LANES = V::LANES;
    const auto* q = static_cast<const int32_t*>(in);
    auto* to = static_cast<uint8_t*>(out);
    const auto some = [&](int64_t i, int left) {
        if (left == LANES) return V::load(q + i);
        alignas(64) int32_t last[LANES] = {};
        std::memcpy(last, q + i, static_cast<size_t>(left) * sizeof *q);
        return V::load(last);
    };
    V most = V::set(q[0]);
    each_vector<LANES>(count, [&](int64_t i, int left) {
        most = left == LANES ? most.max(V::load(q + i)) : most.max(some(i, left).where(left, V::set(q[0])));
    });
    most = V::set(most.largest());
    const V limit = V::set(static_cast<int32_t>(softmax_limit(row))), m = V::set(row.m), zero = V::set(0);
    const V halvings = V::set(DQT_POWER_BITS - row.bits), one = V::set(1), entries = V::set(DQT_POWER_ENTRIES - 1);
    V total = zero;
    each_vector<LANES>(count, [&](int64_t i, int left) {
        const V t = most.minus(some(i, left)).smaller(limit).scaled(m, int64_t{1} << (row.shift - 1), row.shift);
        const V by = t.right(DQT_FRACTION_BITS).plus(halvings);
        V power = V::gather(row.table, t.both(entries)).plus(one.left(by).right(1)).right(by);
        if (left < LANES) power = power.where(left, zero);
        total = total.plus(power);
        power.store(room + i);
    });
    const int right = row.bits + DQT_FACTOR_BITS;
    const V hi = V::set(static_cast<int32_t>(row.most));
    const V factor = V::set(static_cast<int32_t>(dqt_row_factor(total.sum(), row.bits, row.levels)));
    each_vector<LANES>(count, [&](int64_t i, int left) {
        const V y = V::load(room + i).scaled(factor, int64_t{1} << (right - 1), right).smaller(hi);
        if (left == LANES) return y.store_bytes(to + i);
        uint8_t last[LANES];
        y.store_bytes(last);
        std::memcpy(to + i, last, static_cast<size_t>(left));
    });
}

}  // namespace
}  // namespace dqt
