// Norms, softmax and embeddings, row by row: loops that the compiler makes vectors of, once for each instruction set.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include "../../arith.h"
#include "../kernels.h"
#include "products.h"

namespace dqt {
namespace {

template <class In>
uint32_t row_reach(const void* in, int64_t count, int32_t zero) {
    const auto* __restrict q = static_cast<const In*>(in);
    uint32_t most = 0;
    for (int64_t i = 0; i < count; ++i) {  // integers have zero point 0, codes a small one
        const int32_t v = q[i] - zero;
        const uint32_t size = v < 0 ? 0u - static_cast<uint32_t>(v) : static_cast<uint32_t>(v);
        most = size > most ? size : most;
    }
    return most;
}

template <class In>
int32_t row_value(In q, int32_t zero, int k, int64_t half) {
    return static_cast<int32_t>((int64_t{q} - zero + half) >> k);
}

template <class In>
void row_sums(const void* in, int64_t count, int32_t zero, int k, int64_t* total, int64_t* squares) {
    const auto* __restrict q = static_cast<const In*>(in);
    const int64_t half = (int64_t{1} << k) >> 1;
    int64_t sum = 0, square = 0;
    for (int64_t i = 0; i < count; ++i) {
        const int32_t v = k ? row_value(q[i], zero, k, half) : q[i] - zero;
        sum += v;
        square += int64_t{v} * v;
    }
    *total = sum, *squares = square;
}

// SHIFTED: the row's shift is not 0.
template <class In, class Out, bool SHIFTED>
void row_normalized(const void* in, void* out, int64_t count, const NormRow& row) {
    const auto* __restrict q = static_cast<const In*>(in);
    auto* __restrict to = static_cast<Out*>(out);
    const auto* __restrict m = row.m;
    const auto* __restrict c = row.c;
    const auto r = static_cast<int32_t>(row.root.r), zero = row.zero, values = row.values;
    const auto total = static_cast<int32_t>(row.total);
    const int by = 2 * DQT_UNIT_BITS - row.root.doublings, shift = row.shift, k = row.k;
    const int64_t half = int64_t{1} << (by - 1), under = (int64_t{1} << k) >> 1, lo = row.lo, hi = row.hi;
    const auto one = [=](In code, int64_t factor, int64_t offset) {
        const int32_t v = SHIFTED ? row_value(code, zero, k, under) : code - zero;
        const auto u = static_cast<int32_t>((int64_t{v * values - total} * r + half) >> by);
        return static_cast<Out>(dqt_clamp((u * factor + offset) >> shift, lo, hi));
    };
    if (row.single) {
        const int64_t factor = *m, offset = *c;
        for (int64_t i = 0; i < count; ++i) to[i] = one(q[i], factor, offset);
        return;
    }
    for (int64_t i = 0; i < count; ++i) to[i] = one(q[i], m[i], c[i]);
}

template <class In, class Out>
void row_normalize(const void* in, void* out, int64_t count, const NormRow& row) {
    if (row.k) return row_normalized<In, Out, true>(in, out, count, row);
    row_normalized<In, Out, false>(in, out, count, row);
}

template <class In, class Out>
void row_softmax(const void* in, void* out, int64_t count, const SoftmaxRow& row, int32_t* room) {
    const auto* __restrict q = static_cast<const In*>(in);
    auto* __restrict to = static_cast<Out*>(out);
    auto* __restrict power = room;
    const int32_t* __restrict table = row.table;
    int32_t most = q[0];
    for (int64_t i = 1; i < count; ++i) most = q[i] > most ? q[i] : most;
    const uint64_t m = static_cast<uint32_t>(row.m), half = uint64_t{1} << (row.shift - 1);
    const int shift = row.shift, bits = row.bits;
    // Beyond so many halvings nothing is left of a power; t itself may have 63 bits.
    const uint64_t least = uint64_t{DQT_POWER_BITS + 2} << DQT_FRACTION_BITS;
    for (int64_t i = 0; i < count; ++i) {
        const auto below = static_cast<uint32_t>(most) - static_cast<uint32_t>(q[i]);
        const uint64_t t = (below * m + half) >> shift;
        power[i] = static_cast<int32_t>(t < least ? t : least);
    }
    for (int64_t i = 0; i < count; ++i) {
        const int32_t t = power[i], by = (t >> DQT_FRACTION_BITS) + DQT_POWER_BITS - bits;
        const int32_t s = by < DQT_POWER_BITS + 1 ? by : DQT_POWER_BITS + 1;
        const auto entry = static_cast<uint32_t>(table[t & (DQT_POWER_ENTRIES - 1)]);
        const uint32_t rounded = entry + ((uint32_t{1} << s) >> 1);
        power[i] = by > DQT_POWER_BITS + 1 ? 0 : static_cast<int32_t>(rounded >> s);
    }
    int64_t total = 0;
    for (int64_t i = 0; i < count; ++i) total += power[i];
    const auto factor = static_cast<uint64_t>(dqt_row_factor(total, bits, row.levels));
    const int right = bits + DQT_FACTOR_BITS;
    const uint64_t up = uint64_t{1} << (right - 1), hi = static_cast<uint64_t>(row.most);
    for (int64_t i = 0; i < count; ++i) {
        const uint64_t y = (static_cast<uint32_t>(power[i]) * factor + up) >> right;
        to[i] = static_cast<Out>(y < hi ? y : hi);
    }
}

template <class Out>
void row_embed(const int8_t* in, void* out, int64_t count, const Rounding& r) {
    const int8_t* __restrict q = in;
    auto* __restrict to = static_cast<Out*>(out);
    const int64_t m = *r.m, c = *r.c, lo = r.lo, hi = r.hi;
    const int shift = r.shift;
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<Out>(dqt_clamp((m * q[i] + c) >> shift, lo, hi));
}

constexpr RowKernels row_kernels(std::span<const ProductForm> products = PLAIN_PRODUCTS) {
    using Code = uint8_t;
    using Int = int32_t;
    return {{row_reach<Code>, row_reach<Int>},
            {row_sums<Code>, row_sums<Int>},
            {{row_normalize<Code, Code>, row_normalize<Code, Int>}, {row_normalize<Int, Code>, row_normalize<Int, Int>}},
            {{row_softmax<Code, Code>, row_softmax<Code, Int>}, {row_softmax<Int, Code>, row_softmax<Int, Int>}},
            {row_embed<Code>, row_embed<Int>},
            products};
}

}  // namespace
}  // namespace dqt
