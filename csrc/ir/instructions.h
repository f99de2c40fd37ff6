// Instructions of a program, whatever their operators are.
#pragma once

#include "scope.h"

namespace dqt::ir {

// How messages name an instruction: position, operator, and output.
std::string title(size_t index, const Op& op, const Program& program);

// Checks an instruction; the shape of its output (of what it reads, if it has none).
Shape output_shape(const Op& op, const Scope& scope);

// What a layer costs, counted from its instruction: its weight and its values.
Layer counted(const Layer& layer, const Op& op, const Program& program);

}  // namespace dqt::ir
