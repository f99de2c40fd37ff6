// aarch64 with USDOT (the extension i8mm): four products of unsigned and signed a lane.
#if defined(__aarch64__)
#include <arm_neon.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif

namespace dqt {
namespace {

constexpr int OFFSET = 0;

inline uint8x16_t prepared(uint8x16_t codes) { return codes; }
inline int32x4_t dot(int32x4_t acc, int8x16_t w, uint8x16_t x) { return vusdotq_s32(acc, x, w); }
#define DQT_DOT_LANE(acc, w, x, lane) vsudotq_laneq_s32(acc, w, x, lane)

bool usable() {
#if defined(__linux__)
    return getauxval(AT_HWCAP2) & (1 << 13);  // HWCAP2_I8MM
#else
    return false;
#endif
}

}  // namespace
}  // namespace dqt

#include "neon.h"

namespace dqt {
constinit const Kernels kernels_neon_i8mm = make("neon-i8mm", usable);
}
#endif
