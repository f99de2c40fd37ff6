// What Winograd's transforms of bytes and of 16-bit numbers share: sums of products, and outputs from them.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include "winograd_forms.h"

namespace dqt {
namespace {

// Products of two 16-bit numbers. Sums may wrap around.
struct Words {
    static constexpr int SIZE = 2;
    static INLINE __m512i add(__m512i acc, __m512i x, __m512i w) { return dot_words(acc, x, w); }
};

// One position of `ROWS` tiles.
template <class Number, int ROWS, bool ASKS>
void product(const WinogradBlock& b, int position) {
    int32_t* const out = b.sums + position * TILES * 64;
    __m512i acc[ROWS][4];
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) {
            acc[i][v] = _mm512_loadu_si512(b.offset + position * 64 + v * LANES);
            if (!b.begins) acc[i][v] = _mm512_add_epi32(acc[i][v], _mm512_loadu_si512(out + i * 64 + v * LANES));
        }
    const uint8_t* in = b.in + position * b.in_stride;
    const int8_t* w = b.weight + position * b.weight_stride;
    const int64_t step = b.tile_stride;
#pragma GCC unroll 2
    for (int k = 0; k < b.depth * Number::SIZE; k += 4, w += 256, in += 4) {
        if constexpr (ASKS) _mm_prefetch(reinterpret_cast<const char*>(b.next + 16 / Number::SIZE * k), _MM_HINT_T1);
        __m512i weight[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) weight[v] = _mm512_loadu_si512(w + 64 * v);
#pragma GCC unroll 6
        for (int i = 0; i < ROWS; ++i) {
            const __m512i x = broadcast4(in + i * step);
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) acc[i][v] = Number::add(acc[i][v], x, weight[v]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) _mm512_storeu_si512(out + i * 64 + v * LANES, acc[i][v]);
}

template <class Number, bool ASKS>
constexpr void (*PRODUCTS[TILES])(const WinogradBlock&, int) = {
    product<Number, 1, ASKS>, product<Number, 2, ASKS>, product<Number, 3, ASKS>,
    product<Number, 4, ASKS>, product<Number, 5, ASKS>, product<Number, 6, ASKS>};

template <class Number>
void products(const WinogradBlock& b, int position) {
    (b.next ? PRODUCTS<Number, true> : PRODUCTS<Number, false>)[b.tiles - 1](b, position);
}

// x divided by DIVISOR, exactly, but for 2^POWER: an odd factor by its inverse modulo 2^32.
template <int DIVISOR>
struct Exact {
    static constexpr int POWER = DIVISOR % 2 == 0 ? Exact<DIVISOR / 2>::POWER + 1 : 0;
    static constexpr uint32_t ODD = DIVISOR >> POWER;
    static constexpr uint32_t inverse() {
        uint32_t x = ODD;  // right to 3 bits; each step doubles them
        for (int i = 0; i < 4; ++i) x *= 2 - ODD * x;
        return x;
    }
    static INLINE __m512i divided(__m512i x) {
        if constexpr (ODD == 1) return x;
        return _mm512_mullo_epi32(x, _mm512_set1_epi32(static_cast<int>(inverse())));
    }
};
template <>
struct Exact<1> {
    static constexpr int POWER = 0;
};

// Shifted to the left; `ANY`: `left` may be negative.
template <bool ANY>
INLINE __m512i moved(__m512i sum, int left) {
    if constexpr (ANY)
        if (left < 0) return _mm512_sra_epi32(sum, _mm_cvtsi32_si128(-left));
    return _mm512_sll_epi32(sum, _mm_cvtsi32_si128(left));
}

// The outputs of a kind of tile.
template <class Down, class Across>
struct Outputs {
    static constexpr int OUTPUTS = Down::OUT * Across::OUT;
    using Division = Exact<Down::DIVISOR * Across::DIVISOR>;

    // Where the outputs of a block go, null outside the image; what store_added wants of a block.
    struct Places {
        uint8_t* out[TILES * OUTPUTS];
        const uint8_t* other[TILES * OUTPUTS];
        const Residual* residual;
        int columns, stored;
        Narrow narrow;

        explicit Places(const WinogradBlock& b)
            : residual(b.residual), columns(b.columns), stored(b.stored), narrow(b.narrow) {
            int at = 0;
            for (const WinogradTile* tile = b.places; tile < b.places + b.tiles; ++tile)
                for (int i = 0; i < Down::OUT; ++i)
                    for (int j = 0; j < Across::OUT; ++j, ++at) {
                        const bool inside = i < tile->height && j < tile->width;
                        out[at] = inside ? tile->out + b.channel + i * b.out_row + j * b.out_pixel : nullptr;
                        other[at] = tile->other + b.channel + i * b.other_row + j * b.other_pixel;
                    }
        }
    };

    // One vector of columns of the outputs of a tile: sums of products at `m`, requantized.
    template <bool ANY>
    static INLINE void requantized(const WinogradBlock& b, const int32_t* m, const int32_t* middle,
                                   const Factors<>& factors, __m512i* y) {
        __m512i a[Down::OUT][Across::IN];
#pragma GCC unroll 6
        for (int j = 0; j < Across::IN; ++j) {
            __m512i column[Down::IN], r[Down::OUT];
#pragma GCC unroll 6
            for (int i = 0; i < Down::IN; ++i) column[i] = _mm512_loadu_si512(m + (Across::IN * i + j) * TILES * 64);
            Down::output(column, r);
#pragma GCC unroll 4
            for (int i = 0; i < Down::OUT; ++i) a[i][j] = r[i];
        }
#pragma GCC unroll 4
        for (int i = 0; i < Down::OUT; ++i) {
            __m512i sums[Across::OUT];
            Across::output(a[i], sums);
#pragma GCC unroll 4
            for (int j = 0; j < Across::OUT; ++j) {
                const __m512i acc = _mm512_add_epi32(moved<ANY>(Division::divided(sums[j]), b.shift - Division::POWER),
                                                     _mm512_set1_epi32(middle[Across::OUT * i + j]));
                y[Across::OUT * i + j] = scaled<ANY>(acc, factors, b.rounding);
            }
        }
    }

    // The outputs of each tile, as bytes. What is the same for all pixels goes into the constant of requantization.
    template <bool ANY>
    static void output(const WinogradBlock& b, const int32_t* m, const Finish& finish, __m512i* bytes) {
        for (int tile = 0; tile < b.tiles; ++tile, m += 64, bytes += OUTPUTS) {
            __m512i y[OUTPUTS][4];  // [output][vector]
            for (int v = 0; v < 4; ++v) {
                Factors<> factors(b.rounding, v * LANES);
                factors.start_from(_mm512_loadu_si512(b.start + v * LANES));
                __m512i all[OUTPUTS];
                requantized<ANY>(b, m + v * LANES, b.places[tile].middle, factors, all);
                for (int o = 0; o < OUTPUTS; ++o) y[o][v] = all[o];
            }
#pragma GCC unroll 16
            for (int o = 0; o < OUTPUTS; ++o) bytes[o] = finish(packed<4>(y[o]));
        }
    }

    static void all(const WinogradBlock& b) {
        __m512i bytes[OUTPUTS * TILES];
        const Finish finish(b.rounding.lo, b.rounding.hi, b.residual ? Narrow() : b.narrow);
        (b.rounding.shift == 32 && b.shift >= Division::POWER ? output<false> : output<true>)(b, b.sums, finish, bytes);
        const Places places(b);
        if (b.residual) return store_added<4>(places, bytes, OUTPUTS * b.tiles);
        const Lanes<MAX_VECTORS> lanes(b.columns, b.stored);
        for (int i = 0; i < OUTPUTS * b.tiles; ++i)
            if (places.out[i]) lanes.store(places.out[i], bytes[i]);
    }
};

}  // namespace
}  // namespace dqt
