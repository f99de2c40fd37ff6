// A place for every value in one arena: first fit, largest first, for as long as it is read.
#pragma once

#include <cstdint>
#include <vector>

#include "liveness.h"

namespace dqt {

// Offsets of the values, `bytes` each, go to `offset`; returns the bytes of the arena.
int64_t place(const std::vector<int64_t>& bytes, const std::vector<Life>& lives, std::vector<int64_t>& offset);

}  // namespace dqt
