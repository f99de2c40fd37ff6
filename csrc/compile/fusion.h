// Which instruction a convolution may do in its epilogue: an Add or a Table that alone reads its result.
#pragma once

#include <functional>
#include <vector>

#include "../ir/program.h"

namespace dqt {

constexpr int NOT_FUSED = -1;
constexpr int FUSED_BEFORE = -2;  // an earlier instruction does this one's work

// Whether the target's kernels can do `last` in the epilogue of `conv`.
using CanFuse = std::function<bool(const Conv& conv, const Op& last)>;

// By instruction: the one that it does in its epilogue, NOT_FUSED or FUSED_BEFORE.
std::vector<int> fuse(const Program& program, const std::vector<char>& live, const CanFuse& can);

}  // namespace dqt
