// The verifier: a program that passes cannot crash, overflow, or allocate without reason when it is executed.
#pragma once

#include "program.h"

namespace dqt::ir {

// Checks everything that execution relies on and that decode() does not see to: the space, shapes, ranges, scales,
// counts, overflow. The first thing that is wrong, by instruction and value, is a LoadError.
void verify(const Program& program);

}  // namespace dqt::ir
