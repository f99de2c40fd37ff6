#include "kernels.h"

#include <cstring>

namespace dqt {

const Kernels* choose_kernels(const char* isa) {
#define DQT_KERNELS(each) \
    if ((!isa || std::strcmp(isa, kernels_##each.name) == 0) && kernels_##each.usable()) return &kernels_##each;
#include "kernels.inc"
#undef DQT_KERNELS
    return nullptr;
}

}  // namespace dqt
