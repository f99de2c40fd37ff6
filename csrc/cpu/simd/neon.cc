// aarch64 with SDOT: four signed products a lane.
#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

namespace dqt {
namespace {

constexpr int OFFSET = 128;

// Codes as SDOT takes them: q - 128.
inline uint8x16_t prepared(uint8x16_t codes) { return veorq_u8(codes, vdupq_n_u8(0x80)); }
inline int32x4_t dot(int32x4_t acc, int8x16_t w, uint8x16_t x) { return vdotq_s32(acc, w, vreinterpretq_s8_u8(x)); }
#define DQT_DOT_LANE(acc, w, x, lane) vdotq_laneq_s32(acc, w, vreinterpretq_s8_u8(x), lane)

bool usable() {
#if defined(__linux__)
    return getauxval(AT_HWCAP) & (1 << 20);  // HWCAP_ASIMDDP
#else
    return true;  // every Apple processor of this architecture that a computer has
#endif
}

}  // namespace
}  // namespace dqt

#include "neon.h"

namespace dqt {
constinit const Kernels kernels_neon = make("neon", usable);
}
#endif
