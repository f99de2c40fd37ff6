// Winograd's F(4x4, 3x3) in 16-bit numbers, for all widths: a quarter of the products, each at twice the cost of one of bytes.
//
// Transformed 8-bit codes lie in [-12750, 17340], transformed weights in [-8192, 8192]: vpdpwssd adds pairs of their products
// in 32 bits. Sums may wrap around: what they stand for, 576 times an accumulator, is divided modulo 2^32 by the odd factor,
// which is exact, and then by the power of two, which is exact where 64 accumulators fit 32 bits (WinogradKernel::power).
//
// Channels are stored in pairs (0, 2) and (1, 3) of each four, since these are cheap to widen: of up to 32 channels first
// all the pairs (0, 2), then all the pairs (1, 3).
#pragma once

#include <algorithm>

#include "winograd_both.h"
#include "winograd_outputs_avx512.h"

namespace dqt {
namespace {

constexpr int WORD_CHANNELS = 32;  // of a vector

// Codes of 32 channels as 16-bit numbers, in their order: of `steps` fours, the rest 0.
INLINE __m512i word_codes(const uint8_t* p, __mmask32 some, int n, int s) {
    __m512i q = _mm512_broadcast_i64x4(load32(p, some));
    if (s) q = code(q, n, s);
    const __m512i right = _mm512_inserti64x4(_mm512_setzero_si512(), _mm256_set1_epi16(8), 1);
    return _mm512_and_si512(_mm512_srlv_epi16(q, right), _mm512_set1_epi16(0xFF));
}

template <class F>
void word_input(const uint8_t* const* pixels, int64_t channels, int n, int s, uint8_t* out, int64_t stride) {
    for (int64_t c = 0; c < channels; c += WORD_CHANNELS, out += 2 * WORD_CHANNELS) {
        const int count = static_cast<int>(std::min<int64_t>(WORD_CHANNELS, channels - c));
        const auto some = static_cast<__mmask32>(first(count));
        __m512i d[F::IN * F::IN];
#pragma GCC unroll 36
        for (int p = 0; p < F::IN * F::IN; ++p) d[p] = word_codes(pixels[p] + c, some, n, s);
        const auto transform = [&](const auto& put) {
            constexpr auto input = F::template input<InWords>;
            const auto get = [&](int i, int j) { return d[F::IN * i + j]; };
            both_dimensions<F::IN, F::IN, F::IN, F::IN, input, input>(get, put);
        };
        if (count == WORD_CHANNELS) {
            transform([&](int i, int j, __m512i numbers) { _mm512_storeu_si512(out + (F::IN * i + j) * stride, numbers); });
            continue;
        }
        const __mmask64 half = first(count / 4);  // dwords of either kind of pair, which then lie side by side
        transform([&](int i, int j, __m512i numbers) {
            const __m512i both = _mm512_maskz_compress_epi32(static_cast<__mmask16>(half | half << 8), numbers);
            _mm512_mask_storeu_epi32(out + (F::IN * i + j) * stride, static_cast<__mmask16>(first(count / 2)), both);
        });
    }
}

// Transformed: [position][pair of channels][4][16][2]; there are no offsets.
template <class F>
void word_weights(const int8_t* panel, int64_t tap, int, int depth, int s, int8_t* out, int64_t stride, int32_t* offset) {
    constexpr int STEP = 256, TOGETHER = WORD_CHANNELS / 4;  // bytes of 64 columns, 4 channels; or 2 as 16-bit numbers
    const __m128i right = _mm_cvtsi32_si128(8 + s);
    for (int k = 0; k < depth / 4; ++k) {
        const int group = k / TOGETHER * TOGETHER, together = std::min(TOGETHER, depth / 4 - group);
        int8_t* even = out + int64_t{2 * group + k % TOGETHER} * STEP;
        for (int at = 0; at < STEP; at += 64) {
            __m512i low[9], high[9];
#pragma GCC unroll 9
            for (int t = 0; t < 9; ++t) {
                const __m512i w = _mm512_loadu_si512(panel + t * tap + int64_t{k} * STEP + at);
                low[t] = _mm512_sra_epi16(_mm512_slli_epi16(w, 8), right);
                high[t] = _mm512_sra_epi16(w, right);
            }
            int8_t *to = even + at, *second = to + int64_t{together} * STEP;
            const auto half = [&](const __m512i* taps, int8_t* first) {
                constexpr auto weights = F::template weights<InWords>;
                const auto put = [&](int i, int j, __m512i u) { _mm512_storeu_si512(first + (F::IN * i + j) * stride, u); };
                both_dimensions<3, F::IN, 3, F::IN, weights, weights>([&](int i, int j) { return taps[3 * i + j]; }, put);
            };
            half(low, to);
            half(high, second);
        }
    }
    std::memset(offset, 0, F::IN * F::IN * 64 * sizeof(int32_t));
}

// See WinogradKernels::weigh. DOT adds the products of four codes by four numbers.
template <auto DOT>
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
                four[p] = DOT(four[p], code(load64(pixels + (i + std::min(p, left - 1)) * step + c, some), n, s), h);
        }
        _mm_mask_storeu_epi32(sums + i, static_cast<__mmask8>(first(static_cast<int>(left))), sums_of(four));
    }
}

template <class F>
constexpr WinogradKernel words(Kernel name, const CoreCosts& costs) {
    WinogradKernel k{name, F::OUT, F::OUT, 8, 8, costs, word_input<F>, word_weights<F>, products<Words>, Outputs<F, F>::all};
    k.bytes = Words::SIZE;
    k.power = Outputs<F, F>::Division::POWER;
    return k;
}

}  // namespace
}  // namespace dqt
