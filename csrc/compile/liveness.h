// Which instructions a run needs, and how long their results live.
#pragma once

#include <vector>

#include "../ir/program.h"
#include "fusion.h"

namespace dqt {

// By instruction: whether a run executes it. Under "auto" also what leads to a choice.
std::vector<char> needed(const Program& program, bool automatic);

// The one live instruction after `i` that reads `value`, or -1.
int only_reader(const Program& program, const std::vector<char>& live, int value, size_t i);

// The instructions between which a value must stay, the first one defining it; -1 for values that do not exist.
struct Life {
    int value, first, last;
};
// `root`: by value, the one in whose place it lies; those that lie in another's have no life of their own.
std::vector<Life> lives(const Program& program, const std::vector<char>& live, const Fusions& fusions,
                        const std::vector<int>& root);

}  // namespace dqt
