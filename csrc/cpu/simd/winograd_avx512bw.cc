// Winograd's transforms in 16-bit numbers for AVX-512 without VNNI.
#if defined(__x86_64__)
#include "winograd_words_avx512.h"

namespace dqt {
namespace {

// Pairs of products fit 16 bits: the numbers are a few midpoints' transforms.
INLINE __m512i added_pairs(__m512i acc, __m512i codes, __m512i numbers) {
    return dot_words(acc, _mm512_maddubs_epi16(codes, numbers), _mm512_set1_epi16(1));
}

constexpr WinogradKernel KINDS[] = {
    words<F4>(Kernel::winograd4x4, on_every_core({0.01186, 0.03791, 0.734, 34.17, 0.3456, 0.1112})),
    words<F2>(Kernel::winograd2x2, on_every_core({0.01127, 0.04215, 0.2028, 12.18, 0.1934, 0.03246})),
};

}  // namespace

constinit const WinogradKernels winograd_avx512bw = {weigh<added_pairs>, KINDS};

}  // namespace dqt
#endif
