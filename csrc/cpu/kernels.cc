#include "kernels.h"

#include <cstdlib>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

namespace dqt {

Residual::Residual(int64_t k1, int64_t k2, int64_t k3, int32_t shift, int32_t lo, int32_t hi)
    : k1(k1), k2(k2), k3(k3), shift(shift), lo(lo), hi(hi) {
    constexpr int64_t HALF = 0x7FFF, FAR = int64_t{1} << 46;
    const auto upper = [](int64_t k) { return (k + 0x8000) >> 16; };
    const auto lower = [&](int64_t k) { return static_cast<int32_t>(k - upper(k) * 0x10000); };
    const auto pair = [](int64_t first, int64_t second) {
        return static_cast<int32_t>((static_cast<uint32_t>(first) & 0xFFFF) | static_cast<uint32_t>(second) << 16);
    };
    split = shift >= 16 && std::abs(k3) < FAR && std::abs(upper(k1)) <= HALF && std::abs(upper(k2)) <= HALF;
    if (!split) return;
    low = pair(lower(k1), lower(k2));
    high = pair(upper(k1), upper(k2));
    low3 = lower(k3);
    high3 = static_cast<int32_t>(upper(k3));
}

#if defined(__x86_64__)
// Family 25 of AMD, by its base and extended family: Zen 3, which has no 512 bits, and Zen 4.
Core this_core() {
    static const Core found = [] {
        unsigned a = 0, b = 0, c = 0, d = 0;
        if (!__builtin_cpu_is("amd")) return Core::intel;
        return __get_cpuid(1, &a, &b, &c, &d) && (a >> 8 & 15) + (a >> 20 & 255) == 25 ? Core::split : Core::whole;
    }();
    return found;
}
#else
Core this_core() { return Core::whole; }
#endif

const Kernels* choose_kernels(const char* isa) {
#define DQT_KERNELS(each) \
    if ((!isa || std::strcmp(isa, kernels_##each.name) == 0) && kernels_##each.usable()) return &kernels_##each;
#include "kernels.inc"
#undef DQT_KERNELS
    return nullptr;
}

}  // namespace dqt
