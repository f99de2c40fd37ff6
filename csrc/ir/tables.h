// Tables of arith.h, made once when the library is loaded.
#pragma once

#include "../arith.h"

namespace dqt {

struct RootTable {
    int32_t table[DQT_ROOT_ENTRIES];
    RootTable() { dqt_root_table(table); }
};

struct PowerTable {
    int32_t table[DQT_POWER_ENTRIES];
    PowerTable() { dqt_power_table(table); }
};

inline const RootTable kRoots;
inline const PowerTable kPowers;

}  // namespace dqt
