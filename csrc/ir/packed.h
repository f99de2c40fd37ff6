// Files of version 3: the top bits of weights, without gaps, and deflated where that gains much (docs/format.md).
#pragma once

#include "container.h"

namespace dqt::ir {

// The tensors of the table become those that the program has. Throws LoadError.
void restore(Container& container);

}  // namespace dqt::ir
