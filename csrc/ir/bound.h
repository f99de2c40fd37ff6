// Named dimensions: a program for other sizes.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "program.h"

namespace dqt {

// The program with these sizes of its named dimensions, the others as they are: shapes inferred anew, instruction by
// instruction, and verified. Constants are shared, and those of layers may be packed and gone already. Throws LoadError.
Program bound(const Program& program, const std::map<std::string, int64_t>& sizes);

}  // namespace dqt
