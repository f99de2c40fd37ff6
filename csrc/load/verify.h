// The verifier: a program that passes cannot crash, overflow, or allocate without reason when it is executed.
#pragma once

#include "checks.h"

namespace dqt::loader {

// Checks everything that execution relies on and that decode() does not see to: the space, shapes, ranges, scales,
// counts, overflow. The first thing that is wrong, by instruction and value, is a LoadError.
void verify(const Program& program);

// The rule of one instruction (rules.cc): the shape that its output must have; for Choose and Dequantize, of what they
// read. The space and the values are verified by then. Throws LoadError.
Shape output_shape(const Op& op, const Program& program);

// The proof of one legal instruction (prove.cc) that every intermediate integer fits: accumulators int32, the rest
// int64, at every width and for every input. Throws LoadError.
void prove(const Op& op, const Program& program);

inline const Value& value_of(const Program& program, int index) { return program.values[static_cast<size_t>(index)]; }

// The largest code, 2^n - 1.
inline int64_t highest(const Program& program) { return (int64_t{1} << program.space.master) - 1; }

}  // namespace dqt::loader
