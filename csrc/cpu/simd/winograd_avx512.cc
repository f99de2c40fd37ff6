// Winograd's F(DOWN x ACROSS, 3x3) in bytes: the fewer the bits, the larger the tile whose numbers still fit.
//
//   bits (weights, activations)   tile   products   transformed weights   transformed inputs
//   4, 6                          2x2    4/9        [-72, 67]             [-126, 126]; [0, 252] at position (1, 1)
//   3, 3                          2x4    1/3        [-96, 80]             [-112, 70]
//   2, 2                          3x4    5/18       [-112, 63]            [-90, 90]
//
// Transformed inputs are stored with 128 added where they are signed.
#if defined(__x86_64__)
#include <algorithm>

#include "avx512.h"
#include "winograd_forms.h"

namespace dqt {
namespace {

// Whether a position of the transformed input is stored as it is.
template <class Down, class Across>
constexpr bool is_unsigned(int i, int j) {
    return Down::OUT == 2 && Across::OUT == 2 && i == 1 && j == 1;
}

INLINE __m512i shifted_signed(__m512i x, int s) {
    const __m512i sign = _mm512_set1_epi8(static_cast<char>(0x80 >> s));
    return _mm512_sub_epi8(_mm512_xor_si512(shifted(x, s), sign), sign);
}

template <class Down, class Across>
void input(const uint8_t* const* pixels, int64_t channels, int n, int s, uint8_t* out, int64_t stride) {
    const __m512i offset = _mm512_set1_epi8(static_cast<char>(0x80));
    for (int64_t c = 0; c < channels; c += 64) {
        const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, channels - c)));
        __m512i t[Down::IN][Across::IN];
#pragma GCC unroll 6
        for (int j = 0; j < Across::IN; ++j) {
            __m512i d[Down::IN], r[Down::IN];
#pragma GCC unroll 6
            for (int i = 0; i < Down::IN; ++i) d[i] = code(load64(pixels[i * Across::IN + j] + c, some), n, s);
            Down::input(d, r);
#pragma GCC unroll 6
            for (int i = 0; i < Down::IN; ++i) t[i][j] = r[i];
        }
#pragma GCC unroll 6
        for (int i = 0; i < Down::IN; ++i) {
            __m512i r[Across::IN];
            Across::input(t[i], r);
#pragma GCC unroll 6
            for (int j = 0; j < Across::IN; ++j)
                store64(out + (Across::IN * i + j) * stride + c, some,
                        is_unsigned<Down, Across>(i, j) ? r[j] : _mm512_xor_si512(r[j], offset));
        }
    }
}

void weigh(const uint8_t* pixels, int64_t step, int64_t count, int64_t channels, int n, int s, int even, int odd,
           int32_t* sums) {
    const __m512i h = _mm512_set1_epi32(even | odd << 8 | even << 16 | odd << 24);
    for (int64_t i = 0; i < count; i += 4) {
        const int64_t left = std::min<int64_t>(4, count - i);
        __m512i four[4] = {};
        for (int64_t c = 0; c < channels; c += 64) {
            const __mmask64 some = first(static_cast<int>(std::min<int64_t>(64, channels - c)));
#pragma GCC unroll 4
            for (int64_t p = 0; p < 4; ++p)
                four[p] = dot(four[p], code(load64(pixels + (i + std::min(p, left - 1)) * step + c, some), n, s), h);
        }
        _mm_mask_storeu_epi32(sums + i, static_cast<__mmask8>(first(static_cast<int>(left))), sums_of(four));
    }
}

// The sum of a transform is the transform of the sum: nine sums of taps give the offsets of all positions.
template <class Down, class Across>
INLINE void offsets(const __m512i* sums, int32_t* out) {
    __m512i t[Down::IN][3];
    for (int j = 0; j < 3; ++j) {
        const __m512i g[3] = {sums[j], sums[3 + j], sums[6 + j]};
        __m512i u[Down::IN];
        Down::template weights<InDwords>(g, u);
        for (int i = 0; i < Down::IN; ++i) t[i][j] = u[i];
    }
    const __m512i zero = _mm512_setzero_si512();
    for (int i = 0; i < Down::IN; ++i) {
        __m512i u[Across::IN];
        Across::template weights<InDwords>(t[i], u);
        for (int j = 0; j < Across::IN; ++j)
            _mm512_storeu_si512(out + (Across::IN * i + j) * 64,
                                is_unsigned<Down, Across>(i, j) ? zero : _mm512_sub_epi32(zero, u[j]));
    }
}

template <class Down, class Across>
void weights(const int8_t* panel, int64_t tap, int depth, int s, int8_t* out, int64_t stride, int32_t* offset) {
    const __m512i all = _mm512_set1_epi8(static_cast<char>(0x80));  // 128, unsigned
    const int64_t bytes = int64_t{depth} * 64;
    __m512i sums[4][9];
    for (auto& some : sums)
        for (auto& sum : some) sum = _mm512_setzero_si512();
    for (int64_t at = 0; at < bytes; at += 64) {  // in the order of memory: as many streams are written as positions
        __m512i t[Down::IN][3], *sum = sums[at / 64 % 4];
#pragma GCC unroll 3
        for (int j = 0; j < 3; ++j) {
            __m512i g[3], u[Down::IN];
#pragma GCC unroll 3
            for (int i = 0; i < 3; ++i) {
                g[i] = shifted_signed(_mm512_loadu_si512(panel + (3 * i + j) * tap + at), s);
                sum[3 * i + j] = _mm512_dpbusd_epi32(sum[3 * i + j], all, g[i]);
            }
            Down::template weights<InBytes>(g, u);
#pragma GCC unroll 6
            for (int i = 0; i < Down::IN; ++i) t[i][j] = u[i];
        }
#pragma GCC unroll 6
        for (int i = 0; i < Down::IN; ++i) {
            __m512i u[Across::IN];
            Across::template weights<InBytes>(t[i], u);
#pragma GCC unroll 6
            for (int j = 0; j < Across::IN; ++j) _mm512_storeu_si512(out + (Across::IN * i + j) * stride + at, u[j]);
        }
    }
    for (int v = 0; v < 4; ++v) offsets<Down, Across>(sums[v], offset + v * LANES);
}

// One position of `ROWS` tiles.
template <int ROWS, bool ASKS>
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
    for (int k = 0; k < b.depth; k += 4, w += 256, in += 4) {
        if constexpr (ASKS) _mm_prefetch(reinterpret_cast<const char*>(b.next + 16 * k), _MM_HINT_T1);
        __m512i weight[4];
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) weight[v] = _mm512_loadu_si512(w + 64 * v);
#pragma GCC unroll 6
        for (int i = 0; i < ROWS; ++i) {
            const __m512i x = broadcast4(in + i * step);
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) acc[i][v] = dot(acc[i][v], x, weight[v]);
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) _mm512_storeu_si512(out + i * 64 + v * LANES, acc[i][v]);
}

template <bool ASKS>
constexpr void (*PRODUCTS[TILES])(const WinogradBlock&, int) = {product<1, ASKS>, product<2, ASKS>, product<3, ASKS>,
                                                                product<4, ASKS>, product<5, ASKS>, product<6, ASKS>};

void products(const WinogradBlock& b, int position) {
    (b.next ? PRODUCTS<true> : PRODUCTS<false>)[b.tiles - 1](b, position);
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

// A kind of tile.
template <class Down, class Across>
struct Kind {
    static constexpr int POSITIONS = Down::IN * Across::IN, OUTPUTS = Down::OUT * Across::OUT;
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
        __m512i y[TILES][OUTPUTS][4];  // [tile][output][vector]
        for (int v = 0; v < 4; ++v) {
            Factors<> factors(b.rounding, v * LANES);
            factors.start_from(_mm512_loadu_si512(b.start + v * LANES));
            for (int tile = 0; tile < b.tiles; ++tile) {
                __m512i all[OUTPUTS];
                requantized<ANY>(b, m + tile * 64 + v * LANES, b.places[tile].middle, factors, all);
                for (int o = 0; o < OUTPUTS; ++o) y[tile][o][v] = all[o];
            }
        }
        for (int tile = 0; tile < b.tiles; ++tile)
#pragma GCC unroll 12
            for (int o = 0; o < OUTPUTS; ++o) bytes[OUTPUTS * tile + o] = finish(packed<4>(y[tile][o]));
    }

    static void outputs(const WinogradBlock& b) {
        __m512i bytes[OUTPUTS * TILES];
        const Finish finish(b.rounding.lo, b.rounding.hi, b.residual ? Narrow() : b.narrow);
        (b.rounding.shift == 32 && b.shift >= Division::POWER ? output<false> : output<true>)(b, b.sums, finish, bytes);
        const Places places(b);
        if (b.residual) return store_added<4>(places, bytes, OUTPUTS * b.tiles);
        const Lanes<MAX_VECTORS> lanes(b.columns, b.stored);
        for (int i = 0; i < OUTPUTS * b.tiles; ++i)
            if (places.out[i]) lanes.store(places.out[i], bytes[i]);
    }

    static constexpr WinogradKernel kernel(Kernel kernel, int weight, int activation, const WinogradCosts& costs) {
        return {kernel, Down::OUT,           Across::OUT,           weight,   activation,
                costs,  input<Down, Across>, weights<Down, Across>, products, outputs};
    }
};

constexpr WinogradKernel KINDS[] = {
    Kind<F2, F2>::kernel(Kernel::winograd2x2, 4, 6, {0.0007956, 0.007351, 0.03313, 1.664, 0.02296}),
    Kind<F2, F4>::kernel(Kernel::winograd2x4, 3, 3, {0.001159, 0.005486, 0.03213, 2.812, 0.03241}),
    Kind<F3, F4>::kernel(Kernel::winograd3x4, 2, 2, {0.001467, 0.003059, 0.04597, 3.986, 0.04511}),
};

}  // namespace

const WinogradKernels winograd_avx512 = {weigh, KINDS};

}  // namespace dqt
#endif
