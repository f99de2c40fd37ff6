// Winograd's transforms in 16-bit numbers for AVX-512 without VNNI. Panels of 16 and 32 columns take the kernels of AVX2,
// which store transformed numbers and sums in the same order.
#if defined(__x86_64__)
#include "winograd_words_avx512.h"

namespace dqt {
namespace {

// Pairs of products fit 16 bits: the numbers are a few midpoints' transforms.
INLINE __m512i added_pairs(__m512i acc, __m512i codes, __m512i numbers) {
    return dot_words(acc, _mm512_maddubs_epi16(codes, numbers), _mm512_set1_epi16(1));
}

// A kind of tile; AT: its place among those of AVX2.
template <class F, int AT>
struct Kind {
    static const WinogradKernel& narrow() { return winograd_avx2.kinds[AT]; }
    static void weights(const int8_t* panel, int64_t tap, int vectors, int depth, int s, int8_t* out, int64_t stride,
                        int32_t* offset) {
        const auto of = vectors < MAX_VECTORS ? narrow().weights : word_weights<F>;
        of(panel, tap, vectors, depth, s, out, stride, offset);
    }
    static void each(const WinogradBlock& b, int position) {
        (b.vectors < MAX_VECTORS ? narrow().products : products<Words>)(b, position);
    }
    static void outputs(const WinogradBlock& b) {
        (b.vectors < MAX_VECTORS ? narrow().outputs : Outputs<F, F>::all)(b);
    }
    static constexpr WinogradKernel kernel(Kernel name, const Costs& costs) {
        WinogradKernel k = words<F>(name, on_every_core(costs));
        k.weights = weights;
        k.products = each;
        k.outputs = outputs;
        return k;
    }
};

constexpr WinogradKernel KINDS[] = {
    Kind<F4, 0>::kernel(Kernel::winograd4x4, {0.01186, 0.03791, 0.734, 34.17, 0.3456, 0.1112}),
    Kind<F2, 1>::kernel(Kernel::winograd2x2, {0.01127, 0.04215, 0.2028, 12.18, 0.1934, 0.03246}),
};

}  // namespace

constinit const WinogradKernels winograd_avx512bw = {weigh<added_pairs>, KINDS, 1};

}  // namespace dqt
#endif
