// Winograd's F(DOWN x ACROSS, 3x3) in bytes: the fewer the bits, the larger the tile whose numbers still fit. With more
// bits, in 16-bit numbers (winograd_words_avx512.h).
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
#include "winograd_outputs_avx512.h"
#include "winograd_words_avx512.h"

namespace dqt {
namespace {

// Products of four bytes, the first unsigned.
struct Bytes {
    static constexpr int SIZE = 1;
    static INLINE __m512i add(__m512i acc, __m512i x, __m512i w) { return dot(acc, x, w); }
};

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
        const auto get = [&](int i, int j) { return code(load64(pixels[i * Across::IN + j] + c, some), n, s); };
        const auto put = [&](int i, int j, __m512i r) {
            store64(out + (Across::IN * i + j) * stride + c, some,
                    is_unsigned<Down, Across>(i, j) ? r : _mm512_xor_si512(r, offset));
        };
        both_dimensions<Down::IN, Down::IN, Across::IN, Across::IN, Down::template input<InBytes>,
                        Across::template input<InBytes>>(get, put);
    }
}

// The sum of a transform is the transform of the sum: nine sums of taps give the offsets of all positions.
template <class Down, class Across>
INLINE void offsets(const __m512i* sums, int32_t* out) {
    const __m512i zero = _mm512_setzero_si512();
    const auto put = [&](int i, int j, __m512i u) {
        _mm512_storeu_si512(out + (Across::IN * i + j) * 64,
                            is_unsigned<Down, Across>(i, j) ? zero : _mm512_sub_epi32(zero, u));
    };
    both_dimensions<3, Down::IN, 3, Across::IN, Down::template weights<InDwords>, Across::template weights<InDwords>>(
        [&](int i, int j) { return sums[3 * i + j]; }, put);
}

template <class Down, class Across>
void weights(const int8_t* panel, int64_t tap, int, int depth, int s, int8_t* out, int64_t stride, int32_t* offset) {
    const __m512i all = _mm512_set1_epi8(static_cast<char>(0x80));  // 128, unsigned
    const int64_t bytes = int64_t{depth} * 64;
    __m512i sums[4][9];
    for (auto& some : sums)
        for (auto& sum : some) sum = _mm512_setzero_si512();
    for (int64_t at = 0; at < bytes; at += 64) {  // in the order of memory: as many streams are written as positions
        __m512i* const sum = sums[at / 64 % 4];
        const auto get = [&](int i, int j) {
            const __m512i g = shifted_signed(_mm512_loadu_si512(panel + (3 * i + j) * tap + at), s);
            sum[3 * i + j] = _mm512_dpbusd_epi32(sum[3 * i + j], all, g);
            return g;
        };
        both_dimensions<3, Down::IN, 3, Across::IN, Down::template weights<InBytes>, Across::template weights<InBytes>>(
            get, [&](int i, int j, __m512i u) { _mm512_storeu_si512(out + (Across::IN * i + j) * stride + at, u); });
    }
    for (int v = 0; v < 4; ++v) offsets<Down, Across>(sums[v], offset + v * LANES);
}

// A kind of tile.
template <class Down, class Across>
constexpr WinogradKernel kind(Kernel name, int weight, int activation, const CoreCosts& costs) {
    return {name,  Down::OUT,           Across::OUT,           weight,         activation,
            costs, input<Down, Across>, weights<Down, Across>, products<Bytes>, Outputs<Down, Across>::all};
}

constexpr WinogradKernel KINDS[] = {
    kind<F2, F2>(Kernel::winograd2x2, 4, 6, {{0.001835, 0.01318, 0.04607, 2.346, 0.02844, 0.02686, 1424},
                                                {0.0004093, 0.008414, 0.0389, 1.984, 0.02139, 0.02744, 377.8},
                                                {0, 0.01888, 0.0376, 2.838, 0.05306, 0.1003, 774.9}}),
    kind<F2, F4>(Kernel::winograd2x4, 3, 3, {{0.003416, 0.003399, 0.05819, 3.918, 0.05076, 0.03434, 1111},
                                                {0.001572, 0.0001403, 0.05339, 3.421, 0.04509, 0.03289, 124.3},
                                                {0.003437, 0, 0.02696, 5.079, 0.09585, 0.06063, 1278}}),
    kind<F3, F4>(Kernel::winograd3x4, 2, 2, {{0.003226, 0.003956, 0.06767, 5.889, 0.06295, 0.02731, 1132},
                                                {0.00112, 0.003488, 0.05586, 4.668, 0.04432, 0.02891, 272.5},
                                                {0.0008969, 0.01876, 0, 7.226, 0.08451, 0.08848, 1476}}),
    // Not measured on cores that compute 512 bits at once: scaled as the costs of the tile of 2x2.
    words<F4>(Kernel::winograd4x4, {{0.005433, 0.0204, 0.1145, 7.191, 0.07955, 0.02465, 1421},
           {0.0027, 0.0115, 0.0975, 6.05, 0.0448, 0.0256, 380},
           {0.0006553, 0.0508, 0.1446, 4.496, 0.07902, 0.1295, 4381}}),
};

}  // namespace

constinit const WinogradKernels winograd_avx512 = {weigh<dot>, KINDS};

}  // namespace dqt
#endif
