// The set of processors with AMX: that of AVX-512 VNNI, with blocks on tiles.
//
// This file is compiled for every processor, since what it does at start, before anything can be asked, runs on each.
#include "costs.h"
#include "kernels.h"

#if defined(__x86_64__)
#include <cpuid.h>
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#endif

namespace dqt {
namespace {

// Whether the processor has tiles of bytes, the system keeps them, and it lets this process have them, which is asked for
// once: on Linux the state of tiles is kept for processes alone that have asked.
bool may_use_tiles() {
#if defined(__linux__) && defined(SYS_arch_prctl)
    constexpr unsigned TILES = 1 << 24, TILES_OF_BYTES = 1 << 25, STATES = 3 << 17;  // XTILECFG and XTILEDATA
    constexpr int REQUEST = 0x1023, TILE_DATA = 18;  // ARCH_REQ_XCOMP_PERM
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || !(d & TILES) || !(d & TILES_OF_BYTES)) return false;
    unsigned low, high;
    asm volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));  // there is one where AVX-512 is usable
    return (low & STATES) == STATES && syscall(SYS_arch_prctl, REQUEST, TILE_DATA) == 0;
#else
    return false;
#endif
}

bool usable() {
    static const bool found = kernels_avx512vnni.usable() && may_use_tiles();
    return found;
}

}  // namespace

Kernels with_tiles(const char* name, bool (*usable)(), const TileKernels& tiles) {
    Kernels k = kernels_avx512vnni;
    k.name = name;
    k.usable = usable;
    k.tiles = &tiles;
    k.costs = on_every_core({0.0002, 0.005, 0.22, 0.05, 0.08, 400});
    k.whole_costs = on_every_core({0.0002, 0.005, 0.22, 0, 0.08, 400});
    return k;
}

const Kernels kernels_avx512amx = with_tiles("avx512amx", usable, tiles_amx);

}  // namespace dqt
#endif
