// Depthwise convolution in AVX2: two taps at a time, as pairs of 16-bit numbers.
#pragma once

#include <algorithm>

#include "avx2.h"

namespace dqt {
namespace {

// 32 channels, half h of a block of 64, of one output row: weights prepared for as many pairs of taps as fit. Taps are
// counted down the columns; the last of an odd number is paired with itself and weights 0.
class Depthwise {
  public:
    Depthwise(const DepthwiseRow& d, int from, int half)
        : d_(d), first_(from + 32 * half), quads_((d.kernel_height + 3) / 4), taps_(d.kernel_width * d.kernel_height),
          channels_(d.out_pixel - first_ < 32 ? d.out_pixel - first_ : 32),
          real_(std::clamp(d.channels - first_, 0, channels_)),
          weight_from_(d.weight + int64_t{from} * quads_ * d.kernel_width * 4 + 32 * half),
          start_(d.start + from + 8 * half), m_(d.rounding.m + from + 8 * half), c_(d.rounding.c + from + 4 * half),
          finish_(d.rounding.lo, d.rounding.hi, d.narrow) {}

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
            d_.rounding.shift == 32 ? store<true>(p, acc) : store<false>(p, acc);
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
                const __m256i low = placed(t, v, 1), high = other == t ? _mm256_setzero_si256() : placed(other, v, 3);
                weight_[k][v] = _mm256_srai_epi16(_mm256_or_si256(low, high), 8);
            }
        }
    }

    int64_t offset(int tap) const {
        return int64_t{tap / d_.kernel_height} * d_.in_column + tap % d_.kernel_height * d_.in_row;
    }

    // A tap's narrowed weights of one vector in byte `place` of each dword; 0 elsewhere.
    __m256i placed(int tap, int v, int place) const {
        const int column = tap / d_.kernel_height, row = tap % d_.kernel_height;
        const __m256i all = load(weight_from_ + ((column * quads_ + row / 4) * 4 + v) * VECTOR_BYTES);
        const __m256i mask = _mm256_set1_epi32(static_cast<int>(d_.mask));
        const __m256i middle = _mm256_set1_epi32(static_cast<int>(d_.middle[column & 1]));
        const __m256i w = _mm256_or_si256(_mm256_and_si256(all, mask), middle);
        const __m256i byte = _mm256_srl_epi32(w, _mm_cvtsi32_si128(8 * (row % 4)));
        return _mm256_sll_epi32(_mm256_and_si256(byte, _mm256_set1_epi32(0xFF)), _mm_cvtsi32_si128(8 * place));
    }

    template <bool ALL>
    void add(const uint8_t* in, int count, __m256i* acc) const {
        const __m256i zero = _mm256_setzero_si256();
        const auto codes = [&](int64_t at) { return ALL ? load(in + at) : load_fours(in + at, channels_ / 4); };
        for (int k = 0; k < count; ++k) {
            const __m256i first = codes(offset_[2 * k]), second = codes(offset_[2 * k + 1]);
            const __m256i a = _mm256_unpacklo_epi8(first, second), b = _mm256_unpackhi_epi8(first, second);
            const __m256i x[4] = {_mm256_unpacklo_epi8(a, zero), _mm256_unpackhi_epi8(a, zero),
                                  _mm256_unpacklo_epi8(b, zero), _mm256_unpackhi_epi8(b, zero)};
            for (int v = 0; v < 4; ++v) acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(x[v], weight_[k][v]));
        }
    }

    template <bool HIGH>
    void store(int p, const __m256i* acc) const {
        __m256i y[4];
        for (int v = 0; v < 4; ++v)
            y[v] = scaled<HIGH>(acc[v], Factors(m_ + v * LANES, c_ + v * LANES), d_.rounding);
        const __m256i bytes = finish_(ordered(packed(y[0], y[1], y[2], y[3])));
        uint8_t* out = d_.out + int64_t{p} * d_.out_pixel + first_;
        if (real_ == 32) return save(out, bytes);
        alignas(32) uint8_t each[32];
        save(each, bytes);
        if (real_ < channels_) std::memset(each + real_, 0, channels_ - real_);
        std::memcpy(out, each, channels_);
    }

    const DepthwiseRow& d_;
    const int first_, quads_, taps_, channels_, real_;  // channels written, of which real
    const int8_t* weight_from_;
    const int32_t *start_, *m_;
    const int64_t* c_;
    const Finish finish_;
    int64_t offset_[2 * MOST];
    __m256i weight_[MOST][4];  // [pair][vector]
};

}  // namespace
}  // namespace dqt
