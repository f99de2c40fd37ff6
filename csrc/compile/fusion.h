// Which instructions are done by others: what a layer does in its epilogue, an Add or a Table that alone reads its
// result; and attention, row by row, from scores to what is read by them.
#pragma once

#include <functional>
#include <vector>

#include "../ir/program.h"

namespace dqt {

constexpr int NOT_FUSED = -1;
constexpr int FUSED_BEFORE = -2;  // an earlier instruction does this one's work
constexpr int FUSED_AFTER = -3;   // a later one does

constexpr bool runs_elsewhere(int fused) { return fused == FUSED_BEFORE || fused == FUSED_AFTER; }

// The instructions that the product of shares with values does besides: the product that makes scores, what is added to
// them (or -1), their softmax.
struct Attention {
    int scores = -1, mask = -1, softmax = -1;
    bool any() const { return scores >= 0; }
};

struct Fusions {
    std::vector<int> fused;          // by instruction: the one that it does in its epilogue, or one of the above
    std::vector<Attention> attention;  // by instruction
};

// Whether the target's kernels can do `last` in the epilogue of `layer`, and add `other` to rows of scores.
struct CanFuse {
    std::function<bool(const Op& layer, const Op& last)> epilogue;
    std::function<bool(const Add& mask, int other)> mask;
};

Fusions fuse(const Program& program, const std::vector<char>& live, const CanFuse& can);

}  // namespace dqt
