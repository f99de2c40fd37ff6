// Plain loops that several kernel sets share: the portable set whole, the others for what is left at the end.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <utility>

#include "../../arith.h"
#include "../kernels.h"

namespace dqt {
namespace {

// What ends every path: bytes clamped to [lo, hi], and narrowed where that is asked for: max(lo); plus half a bin, masked,
// if it `narrows`; min(top). T_b is monotone, so the upper bound is narrowed once, and not each code a second time.
struct Bounds {
    int lo, half, mask, top;
    bool narrows, bounds;            // `bounds`: whether lo and top are less than what saturation at 8 bits gives
    Bounds(int lo, int hi, const Narrow& to)
        : lo(lo), half((1 << to.s) >> 1), mask(0xFF << to.s & 0xFF), top(hi), narrows(to.s != 0) {
        const int most = ((1 << to.n) - 1) & mask, up = (hi + half < 0xFF ? hi + half : 0xFF) & mask;
        if (narrows) top = up < most ? up : most;
        bounds = lo > 0 || top < mask;
    }
};

inline uint8_t with_residual(int32_t r, uint8_t b, const Residual& k) {
    return static_cast<uint8_t>(dqt_clamp((k.k1 * r + k.k2 * b + k.k3) >> k.shift, k.lo, k.hi));
}

// Each works on elements [from, count).
inline void plain_narrow(const uint8_t* in, uint8_t* out, int64_t from, int64_t count, int n, int s) {
    for (int64_t i = from; i < count; ++i) out[i] = dqt_narrow_activation(in[i], n, s);
}

inline void plain_add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t from, int64_t count,
                      const Residual& k) {
    for (int64_t i = from; i < count; ++i) out[i] = with_residual(a[i], b[i], k);
}

// The largest of a window's codes: as many channels as `load` reads from an address.
template <class T, class Load, class Greater>
inline T largest(const MaximumRow& m, const uint8_t* window, T none, const Load& load, const Greater& greater) {
    T most = none;
    for (int i = 0; i < m.rows; ++i)
        for (int j = 0; j < m.columns; ++j) most = greater(most, load(window + i * m.in_row + j * m.in_column));
    return most;
}

// Of channels [from, channels) of pixel p.
inline void plain_maximum(const MaximumRow& m, int64_t p, int64_t from) {
    for (int64_t c = from; c < m.channels; ++c)
        m.out[p * m.out_pixel + c] = largest(
            m, m.in + p * m.in_pixel + c, uint8_t{0}, [](const uint8_t* at) { return *at; },
            [](uint8_t a, uint8_t b) { return a < b ? b : a; });
}

inline void plain_table(const uint8_t* in, uint8_t* out, int64_t count, const uint8_t* table) {
    for (int64_t i = 0; i < count; ++i) out[i] = table[in[i]];
}

template <int V, bool NARROWED, class Of, int... ROWS>
constexpr void fill(BlockKernel* to, const Of& of, std::integer_sequence<int, ROWS...>) {
    ((to[ROWS] = of.template operator()<V, NARROWED, ROWS + 1>()), ...);
}

// All block kernels: of<V, NARROWED, ROWS>() each, of up to MOST1, MOST2 and MOST4 rows for 1, 2 and 4 vectors.
template <int MOST1, int MOST2 = MOST1, int MOST4 = MOST1, class Of>
constexpr void fill_blocks(Kernels& k, const Of& of) {
    constexpr auto rows1 = std::make_integer_sequence<int, MOST1>();
    constexpr auto rows2 = std::make_integer_sequence<int, MOST2>();
    constexpr auto rows4 = std::make_integer_sequence<int, MOST4>();
    fill<1, false>(k.block[0][0], of, rows1);
    fill<1, true>(k.block[0][1], of, rows1);
    fill<2, false>(k.block[1][0], of, rows2);
    fill<2, true>(k.block[1][1], of, rows2);
    fill<4, false>(k.block[2][0], of, rows4);
    fill<4, true>(k.block[2][1], of, rows4);
    k.most_rows[0] = MOST1;
    k.most_rows[1] = MOST2;
    k.most_rows[2] = MOST4;
}

// All kernels for slices: of<SLICES, ROWS>() and unpack<SLICES>() each.
template <class Of, class Unpack, int... I>
constexpr void fill_slices(SlicedForms& forms, const Of& of, const Unpack& unpack, std::integer_sequence<int, I...>) {
    ((forms.block[I / SLICED_ROWS][I % SLICED_ROWS] = of.template operator()<I / SLICED_ROWS + 1, I % SLICED_ROWS + 1>(),
      forms.unpack[I / SLICED_ROWS] = unpack.template operator()<I / SLICED_ROWS + 1>()),
     ...);
}
template <class Of, class Unpack>
constexpr SlicedForms sliced_forms(const Of& of, const Unpack& unpack) {
    SlicedForms forms{};
    fill_slices(forms, of, unpack, std::make_integer_sequence<int, SLICES * SLICED_ROWS>());
    return forms;
}

// Loops that the compiler makes vectors of.
template <class T>
void clip(const T* in, T* out, int64_t count, const Clip& c) {
    const T lo = static_cast<T>(c.lo), hi = static_cast<T>(c.hi);
    const auto add = static_cast<uint8_t>(c.add), mask = static_cast<uint8_t>(c.mask);
    for (int64_t i = 0; i < count; ++i) {
        const T above = in[i] < lo ? lo : in[i], x = above > hi ? hi : above;
        out[i] = static_cast<T>((static_cast<uint8_t>(x) + add) & mask);
    }
}

constexpr ClipKernels clip_kernels() { return {clip<int8_t>, clip<uint8_t>}; }

template <class A, class B, class Out>
void add_integers(const void* a, const void* b, void* out, int64_t count, const Residual& k) {
    const auto* __restrict p = static_cast<const A*>(a);
    const auto* __restrict q = static_cast<const B*>(b);
    auto* __restrict to = static_cast<Out*>(out);
    const int64_t k1 = static_cast<int32_t>(k.k1), k2 = static_cast<int32_t>(k.k2), k3 = k.k3, lo = k.lo, hi = k.hi;
    const int shift = k.shift;
    for (int64_t i = 0; i < count; ++i) to[i] = static_cast<Out>(dqt_clamp((k1 * p[i] + k2 * q[i] + k3) >> shift, lo, hi));
}

template <class In, class Out>
void rescale_integers(const void* in, void* out, int64_t count, const Rounding& r, bool single) {
    const auto* __restrict q = static_cast<const In*>(in);
    auto* __restrict to = static_cast<Out*>(out);
    const auto* __restrict m = r.m;
    const auto* __restrict c = r.c;
    const int64_t lo = r.lo, hi = r.hi;
    const int shift = r.shift;
    if (single) {
        const int64_t one = *m, offset = *c;
        for (int64_t i = 0; i < count; ++i) to[i] = static_cast<Out>(dqt_clamp((one * q[i] + offset) >> shift, lo, hi));
        return;
    }
    for (int64_t i = 0; i < count; ++i)
        to[i] = static_cast<Out>(dqt_clamp((int64_t{m[i]} * q[i] + c[i]) >> shift, lo, hi));
}

constexpr IntegerKernels integer_kernels() {
    using Code = uint8_t;
    using Int = int32_t;
    return {{{{add_integers<Code, Code, Code>, add_integers<Code, Code, Int>},
              {add_integers<Code, Int, Code>, add_integers<Code, Int, Int>}},
             {{add_integers<Int, Code, Code>, add_integers<Int, Code, Int>},
              {add_integers<Int, Int, Code>, add_integers<Int, Int, Int>}}},
            {{rescale_integers<Code, Code>, rescale_integers<Code, Int>},
             {rescale_integers<Int, Code>, rescale_integers<Int, Int>}}};
}

}  // namespace
}  // namespace dqt
