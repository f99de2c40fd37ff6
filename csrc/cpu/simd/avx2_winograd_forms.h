// One dimension of Winograd's F(OUT, 3) in AVX2, in integers: A' ((G' g) * (B d)) is DIVISOR times the convolution of the
// taps g with the inputs d, exactly. The points are 0, 1, -1 and infinity; of F4 also 2 and -2.
//
// Rows of G' hold no common factor, so that transformed weights are small: A' has what they lack.
#pragma once

#include "avx2_end.h"
#include "winograd_both.h"

namespace dqt {
namespace {

constexpr int WINO_ROWS = 16;           // of accumulators, before they are requantized

struct InWords {
    static __m256i add(__m256i x, __m256i y) { return _mm256_add_epi16(x, y); }
    static __m256i sub(__m256i x, __m256i y) { return _mm256_sub_epi16(x, y); }
    static __m256i fourfold(__m256i x) { return _mm256_slli_epi16(x, 2); }
};
struct InDwords {
    static __m256i add(__m256i x, __m256i y) { return _mm256_add_epi32(x, y); }
    static __m256i sub(__m256i x, __m256i y) { return _mm256_sub_epi32(x, y); }
    static __m256i twice(__m256i x) { return add(x, x); }
    static __m256i fourfold(__m256i x) { return _mm256_slli_epi32(x, 2); }
};

struct F2 {
    static constexpr int OUT = 2, IN = 4, POWER = 1, ODD = 1;  // the divisor is 2^POWER * ODD

    // B = [1 0 -1 0; 0 1 1 0; 0 -1 1 0; 0 1 0 -1]
    static void input(const __m256i* d, __m256i* r) {
        using N = InWords;
        r[0] = N::sub(d[0], d[2]);
        r[1] = N::add(d[1], d[2]);
        r[2] = N::sub(d[2], d[1]);
        r[3] = N::sub(d[1], d[3]);
    }
    // G' = [1 0 0; 1 1 1; 1 -1 1; 0 0 1]
    static void weights(const __m256i* g, __m256i* u) {
        using N = InWords;
        const __m256i ends = N::add(g[0], g[2]);
        u[0] = g[0];
        u[1] = N::add(ends, g[1]);
        u[2] = N::sub(ends, g[1]);
        u[3] = g[2];
    }
    // A' = [2 1 1 0; 0 1 -1 -2]
    static void output(const __m256i* m, __m256i* y) {
        using N = InDwords;
        y[0] = N::add(N::twice(m[0]), N::add(m[1], m[2]));
        y[1] = N::sub(N::sub(m[1], m[2]), N::twice(m[3]));
    }
};

struct F4 {
    static constexpr int OUT = 4, IN = 6, POWER = 3, ODD = 3;

    // B = [4 0 -5 0 1 0; 0 -4 -4 1 1 0; 0 4 -4 -1 1 0; 0 -2 -1 2 1 0; 0 2 -1 -2 1 0; 0 4 0 -5 0 1]
    static void input(const __m256i* d, __m256i* r) {
        using N = InWords;
        const __m256i a = N::sub(d[4], d[2]), half = N::sub(d[3], d[1]), b = N::add(half, half);
        r[0] = N::add(N::fourfold(N::sub(d[0], d[2])), a);
        r[1] = N::sub(N::add(d[3], d[4]), N::fourfold(N::add(d[1], d[2])));
        r[2] = N::add(N::sub(d[4], d[3]), N::fourfold(N::sub(d[1], d[2])));
        r[3] = N::add(a, b);
        r[4] = N::sub(a, b);
        r[5] = N::sub(N::sub(d[5], d[3]), N::add(b, b));
    }
    // G' = [1 0 0; 1 1 1; 1 -1 1; 1 2 4; 1 -2 4; 0 0 1]
    static void weights(const __m256i* g, __m256i* u) {
        using N = InWords;
        const __m256i ends = N::add(g[0], g[2]), e = N::add(g[0], N::fourfold(g[2])), f = N::add(g[1], g[1]);
        u[0] = g[0];
        u[1] = N::add(ends, g[1]);
        u[2] = N::sub(ends, g[1]);
        u[3] = N::add(e, f);
        u[4] = N::sub(e, f);
        u[5] = g[2];
    }
    // A' = [6 -4 -4 1 1 0; 0 -4 4 2 -2 0; 0 -4 -4 4 4 0; 0 -4 4 8 -8 24]
    static void output(const __m256i* m, __m256i* y) {
        using N = InDwords;
        const __m256i a = N::add(m[1], m[2]), b = N::sub(m[1], m[2]), c = N::add(m[3], m[4]), d = N::sub(m[3], m[4]);
        const __m256i first = N::add(m[0], N::twice(N::sub(m[0], a))), last = N::twice(N::add(m[5], N::twice(m[5])));
        y[0] = N::add(N::twice(first), c);
        y[1] = N::twice(N::sub(d, N::twice(b)));
        y[2] = N::fourfold(N::sub(c, a));
        y[3] = N::fourfold(N::add(N::sub(N::twice(d), b), last));
    }
};

constexpr uint32_t inverse(uint32_t odd) {  // modulo 2^32: each step doubles the bits that are right
    uint32_t x = odd;
    for (int i = 0; i < 4; ++i) x *= 2 - odd * x;
    return x;
}

// Codes without their low bits, narrowed where they are not yet.
inline __m256i wino_codes(__m256i q, int n, int s) {
    if (s == 0) return q;
    q = _mm256_srl_epi16(narrowed(q, {n, s}), _mm_cvtsi32_si128(s));
    return _mm256_and_si256(q, same_bytes(0xFF >> s));
}

// The outputs of a tile, to rows of V vectors of accumulators: sums are 2^(2 POWER) ODD^2 times too large.
template <class F, int V>
inline void wino_outputs_of(const WinogradBlock& b, int tile, int32_t (*acc)[V * LANES]) {
    const int32_t *sums = b.sums + tile * 64, *middle = b.places[tile].middle;
    const int left = b.shift - 2 * F::POWER;
    const __m128i up = _mm_cvtsi32_si128(left < 0 ? 0 : left), down = _mm_cvtsi32_si128(left < 0 ? -left : 0);
    const __m256i odd = _mm256_set1_epi32(static_cast<int>(inverse(F::ODD * F::ODD)));
    for (int at = 0; at < V * LANES; at += 8) {
        const __m256i start = load(b.start + at);
        const auto get = [&](int i, int j) { return load(sums + (F::IN * i + j) * TILES * 64 + at); };
        both_dimensions<F::IN, F::OUT, F::IN, F::OUT, F::output, F::output>(get, [&](int i, int j, __m256i y) {
            const __m256i whole = F::ODD == 1 ? y : _mm256_mullo_epi32(y, odd);
            const __m256i sum = _mm256_sll_epi32(_mm256_sra_epi32(whole, down), up);
            const __m256i extra = _mm256_add_epi32(start, _mm256_set1_epi32(middle[F::OUT * i + j]));
            save(acc[F::OUT * i + j] + at, _mm256_add_epi32(sum, extra));
        });
    }
}

// Rows of V vectors of accumulators and where they go.
template <int V>
struct WinoRows {
    alignas(32) int32_t acc[WINO_ROWS][V * LANES];
    uint8_t* out[WINO_ROWS];
    const uint8_t* other[WINO_ROWS];
    int count = 0;

    // The outputs of a tile that lie inside the image; they have been put behind the rows that are there.
    void keep(const WinogradBlock& b, const WinogradTile& place, int across) {
        const int first = count;
        for (int i = 0; i < place.height; ++i)
            for (int j = 0; j < place.width; ++j, ++count) {
                const int from = first + across * i + j;
                out[count] = place.out + b.channel + i * b.out_row + j * b.out_pixel;
                other[count] = place.other + b.channel + i * b.other_row + j * b.other_pixel;
                if (from != count) std::memcpy(acc[count], acc[from], sizeof acc[0]);
            }
    }
    void end_all(Block& to) {
        for (int first = 0; first < count; first += 8) {
            const int some = std::min(8, count - first);
            std::copy_n(out + first, some, to.out);
            std::copy_n(other + first, some, to.other);
            end<V>(to, some, acc + first, nullptr);
        }
        count = 0;
    }
};

template <class F, int V>
void wino_outputs(const WinogradBlock& b) {
    Block to{};
    to.rounding = b.rounding;
    to.residual = b.residual;
    to.columns = b.columns;
    to.stored = b.stored;
    to.narrow = b.narrow;
    WinoRows<V> rows;
    for (int tile = 0; tile < b.tiles; ++tile) {
        wino_outputs_of<F, V>(b, tile, rows.acc + rows.count);
        rows.keep(b, b.places[tile], F::OUT);
        if (rows.count + F::OUT * F::OUT > WINO_ROWS) rows.end_all(to);
    }
    rows.end_all(to);
}

template <class F>
void wino_all_outputs(const WinogradBlock& b) {
    b.vectors == 1 ? wino_outputs<F, 1>(b) : b.vectors == 2 ? wino_outputs<F, 2>(b) : wino_outputs<F, 4>(b);
}

}  // namespace
}  // namespace dqt
