// Depthwise convolution in AVX2: two taps at a time, as pairs of 16-bit numbers.
#if defined(__x86_64__)
#include <algorithm>
#include <utility>

#include "avx2.h"

namespace dqt {
namespace {

// 32 channels, half h of a block of 64, of one output row: what all kernel sizes share.
class HalfBlock {
  public:
    HalfBlock(const DepthwiseRow& d, int from, int half)
        : d_(d), first_(from + 32 * half), quads_((d.kernel_height + 3) / 4),
          channels_(d.out_pixel - first_ < 32 ? d.out_pixel - first_ : 32),
          real_(std::clamp(d.channels - first_, 0, channels_)),
          weight_from_(d.weight + int64_t{from} * quads_ * d.kernel_width * 4 + 32 * half),
          start_(d.start + from + 8 * half), m_(d.rounding.m + from + 8 * half), c_(d.rounding.c + from + 4 * half),
          finish_(d.rounding.lo, d.rounding.hi, d.narrow) {}

  protected:
    // A row's narrowed weights of one vector in the low word of each dword, or (`high`) the other one, above 8 zero bits.
    __m256i placed(int column, int row, int v, bool high) const {
        const __m256i all = load(weight_from_ + ((column * quads_ + row / 4) * 4 + v) * VECTOR_BYTES);
        const __m256i mask = _mm256_set1_epi32(static_cast<int>(d_.mask));
        const __m256i middle = _mm256_set1_epi32(static_cast<int>(d_.middle[column & 1]));
        const __m256i w = _mm256_or_si256(_mm256_and_si256(all, mask), middle);
        const __m128i none = _mm_set1_epi32(high ? 0x00808080 : static_cast<int>(0x80800080u));
        const __m128i dwords = _mm_setr_epi32(0, 0x04040404, 0x08080808, 0x0C0C0C0C);
        const __m128i place = _mm_add_epi8(dwords, _mm_set1_epi8(static_cast<char>(row % 4)));
        return _mm256_shuffle_epi8(w, _mm256_broadcastsi128_si256(_mm_or_si128(place, none)));
    }

    template <bool ALL>
    __m256i codes(const uint8_t* in) const {
        return ALL ? load(in) : load_fours(in, channels_ / 4);
    }

    Factors factors(int v) const { return {m_ + v * LANES, c_ + v * LANES}; }

    // Words of vectors 0 and 1, and 2 and 3, of pixel p.
    void store(int p, __m256i low, __m256i high) const {
        const __m256i bytes = finish_(ordered(_mm256_packus_epi16(low, high)));
        uint8_t* out = d_.out + int64_t{p} * d_.out_pixel + first_;
        if (real_ == 32) return save(out, bytes);
        alignas(32) uint8_t each[32];
        save(each, bytes);
        if (real_ < channels_) std::memset(each + real_, 0, channels_ - real_);
        std::memcpy(out, each, channels_);
    }

    const DepthwiseRow& d_;
    const int first_, quads_, channels_, real_;  // channels written, of which real
    const int8_t* weight_from_;
    const int32_t *start_, *m_;
    const int64_t* c_;
    const Finish finish_;
};

// Kernels of any size: weights prepared for as many pairs of taps as fit. Taps are counted down the columns; the last of
// an odd number is paired with itself and weights 0.
class AnyDepthwise : HalfBlock {
  public:
    using HalfBlock::HalfBlock;

    void run() {
        const int pairs = (taps_ + 1) / 2;
        for (int p = 0; p < d_.count; ++p) {
            const uint8_t* in = d_.in + int64_t{p} * d_.in_pixel + first_;
            __m256i acc[4];
            for (int v = 0; v < 4; ++v) acc[v] = load(start_ + v * LANES);
            for (int first = 0; first < pairs; first += MOST) {
                const int count = pairs - first < MOST ? pairs - first : MOST;
                if (p == 0 || pairs > MOST) prepare(first, count);
                channels_ == 32 ? add<true>(in, count, acc) : add<false>(in, count, acc);
            }
            d_.rounding.shift == 32 ? finish<true>(p, acc) : finish<false>(p, acc);
        }
    }

  private:
    static constexpr int MOST = 32;

    void prepare(int first, int count) {
        for (int k = 0; k < count; ++k) {
            const int t = 2 * (first + k), other = t + 1 < taps_ ? t + 1 : t;
            offset_[2 * k] = offset(t);
            offset_[2 * k + 1] = offset(other);
            for (int v = 0; v < 4; ++v) {
                const __m256i low = tap(t, v, false), high = other == t ? _mm256_setzero_si256() : tap(other, v, true);
                weight_[k][v] = _mm256_srai_epi16(_mm256_or_si256(low, high), 8);
            }
        }
    }

    __m256i tap(int t, int v, bool high) const { return placed(t / d_.kernel_height, t % d_.kernel_height, v, high); }

    int64_t offset(int tap) const {
        return int64_t{tap / d_.kernel_height} * d_.in_column + tap % d_.kernel_height * d_.in_row;
    }

    template <bool ALL>
    void add(const uint8_t* in, int count, __m256i* sums) const {
        const __m256i zero = _mm256_setzero_si256();
        __m256i acc[4] = {sums[0], sums[1], sums[2], sums[3]};
        for (int k = 0; k < count; ++k) {
            const __m256i first = codes<ALL>(in + offset_[2 * k]), second = codes<ALL>(in + offset_[2 * k + 1]);
            const __m256i a = _mm256_unpacklo_epi8(first, second), b = _mm256_unpackhi_epi8(first, second);
            const __m256i x[4] = {_mm256_unpacklo_epi8(a, zero), _mm256_unpackhi_epi8(a, zero),
                                  _mm256_unpacklo_epi8(b, zero), _mm256_unpackhi_epi8(b, zero)};
            for (int v = 0; v < 4; ++v) acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(x[v], weight_[k][v]));
        }
        for (int v = 0; v < 4; ++v) sums[v] = acc[v];
    }

    template <bool HIGH>
    void finish(int p, const __m256i* acc) const {
        __m256i y[4];
        for (int v = 0; v < 4; ++v) y[v] = scaled<HIGH>(acc[v], factors(v), d_.rounding);
        store(p, _mm256_packs_epi32(y[0], y[1]), _mm256_packs_epi32(y[2], y[3]));
    }

    const int taps_ = d_.kernel_width * d_.kernel_height;
    int64_t offset_[2 * MOST];
    __m256i weight_[MOST][4];  // [pair][vector]
};

// Kernels of H by W taps, both odd, side by side, whose windows are S pixels apart: a few output pixels at a time, which
// share what their windows have in common. Codes of an input column are pairs of rows; those of the last row, of two
// columns.
template <int H, int W, int S>
class OddDepthwise : HalfBlock {
  public:
    using HalfBlock::HalfBlock;

    static bool fits(const DepthwiseRow& d) {
        const bool size = d.kernel_height == H && d.kernel_width == W;
        return size && d.in_pixel == S * d.in_column && d.rounding.shift == 32;
    }

    void run() {
        prepare();
        channels_ == 32 ? rows<true>() : rows<false>();
    }

  private:
    static_assert(H % 2 && W % 2);
    static constexpr int DOWN = H / 2, PAIRS = W * DOWN + (W + 1) / 2, TILE = 4;

    static constexpr int pair_of_rows(int column, int i) { return column * DOWN + i; }
    static constexpr int pair_of_columns(int column) { return W * DOWN + column / 2; }

    void prepare() {
        for (int v = 0; v < 4; ++v)
            for (int j = 0; j < W; ++j) {
                for (int i = 0; i < DOWN; ++i)
                    put(pair_of_rows(j, i), v, placed(j, 2 * i, v, false), placed(j, 2 * i + 1, v, true));
                if (j % 2 == 0)
                    put(pair_of_columns(j), v, placed(j, H - 1, v, false),
                        j + 1 < W ? placed(j + 1, H - 1, v, true) : _mm256_setzero_si256());
            }
    }
    void put(int k, int v, __m256i low, __m256i high) { weight_[k][v] = _mm256_srai_epi16(_mm256_or_si256(low, high), 8); }

    template <bool ALL>
    void rows() const {
        for (int p = 0, left = d_.count; left > 0; left = d_.count - p) {
            if (left == TILE || left >= 2 * TILE - 1)
                tile<ALL, TILE>(p), p += TILE;
            else if (left >= TILE - 1)
                tile<ALL, TILE - 1>(p), p += TILE - 1;
            else
                tile<ALL, 1>(p), ++p;
        }
    }

    template <bool ALL, int T>
    __attribute__((noinline)) void tile(int p) const {
        const uint8_t* in = d_.in + int64_t{p} * d_.in_pixel + first_;
        __m256i low[T], high[T];
        words<ALL, T, 0>(in, low);
        asm("" : "+r"(in));  // gcc would load the codes for both halves at once, and keep them in memory
        words<ALL, T, 1>(in, high);
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) store(p + t, low[t], high[t]);
    }

    // Vectors 2 * HALF and the next one of T windows, requantized.
    template <bool ALL, int T, int HALF>
    __attribute__((always_inline)) void words(const uint8_t* in, __m256i (&to)[T]) const {
        __m256i acc[T][2];
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t)
            for (int v = 0; v < 2; ++v) acc[t][v] = load(start_ + (2 * HALF + v) * LANES);
        constexpr int COLUMNS = (T - 1) * S + W;
        add_columns<ALL, T, HALF>(in, acc, std::make_integer_sequence<int, COLUMNS>());
        for (int v = 0; v < 2; ++v) {
            const Factors f = factors(2 * HALF + v);
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t) acc[t][v] = scaled<true>(acc[t][v], f, d_.rounding);
        }
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t) to[t] = _mm256_packs_epi32(acc[t][0], acc[t][1]);
    }

    template <bool ALL, int T, int HALF, int... C>
    __attribute__((always_inline)) void add_columns(const uint8_t* in, __m256i (&acc)[T][2],
                                                    std::integer_sequence<int, C...>) const {
        (add_column<ALL, T, HALF, C, C + 1 < sizeof...(C)>(in + C * d_.in_column, acc), ...);
    }

    template <bool ALL, int T, int HALF, int C, bool MORE>
    __attribute__((always_inline)) void add_column(const uint8_t* column, __m256i (&acc)[T][2]) const {
#pragma GCC unroll 4
        for (int i = 0; i < DOWN; ++i) {
            const uint8_t* two = column + 2 * i * d_.in_row;
            const Two pairs = interleaved<HALF>(codes<ALL>(two), codes<ALL>(two + d_.in_row));
#pragma GCC unroll 4
            for (int t = 0; t < T; ++t)
                if (const int j = C - t * S; j >= 0 && j < W) add_pair<HALF>(pair_of_rows(j, i), pairs, acc[t]);
        }
        if (S == 2 && C % 2) return;  // no window has an even tap here
        const uint8_t* last = column + (H - 1) * d_.in_row;
        const Two pairs = interleaved<HALF>(codes<ALL>(last), codes<ALL>(MORE ? last + d_.in_column : last));
#pragma GCC unroll 4
        for (int t = 0; t < T; ++t)
            if (const int j = C - t * S; j >= 0 && j < W && j % 2 == 0) add_pair<HALF>(pair_of_columns(j), pairs, acc[t]);
    }

    struct Two {
        __m256i vector[2];
    };
    template <int HALF>
    __attribute__((always_inline)) static Two interleaved(__m256i a, __m256i b) {
        const __m256i zero = _mm256_setzero_si256(), ab = HALF ? _mm256_unpackhi_epi8(a, b) : _mm256_unpacklo_epi8(a, b);
        return {{_mm256_unpacklo_epi8(ab, zero), _mm256_unpackhi_epi8(ab, zero)}};
    }

    template <int HALF>
    __attribute__((always_inline)) void add_pair(int k, const Two& pairs, __m256i (&acc)[2]) const {
        for (int v = 0; v < 2; ++v) add32(acc[v], _mm256_madd_epi16(pairs.vector[v], weight_[k][2 * HALF + v]));
    }

    __m256i weight_[PAIRS][4];  // [pair][vector]
};

template <class Form>
inline bool depthwise_as(const DepthwiseRow& d) {
    if (!Form::fits(d)) return false;
    for (int from = 0; from < d.out_pixel; from += 32) Form(d, from / 64 * 64, from / 32 % 2).run();
    return true;
}

}  // namespace

void depthwise_avx2(const DepthwiseRow& d) {
    if (depthwise_as<OddDepthwise<3, 3, 1>>(d) || depthwise_as<OddDepthwise<3, 3, 2>>(d)) return;
    if (depthwise_as<OddDepthwise<5, 5, 1>>(d) || depthwise_as<OddDepthwise<5, 5, 2>>(d)) return;
    for (int from = 0; from < d.out_pixel; from += 32) AnyDepthwise(d, from / 64 * 64, from / 32 % 2).run();
}

}  // namespace dqt
#endif
