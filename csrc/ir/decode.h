// From the graph's JSON and the tensors to a Program: strict types, every name resolved.
#pragma once

#include "container.h"
#include "json.h"

namespace dqt::ir {

// The program of a parsed graph. What it guarantees: no field is unknown, missing or of another type; every value is
// defined once, in the order of `values`, before it is read; layers exist; every tensor has exactly one use; `info` is
// plain. All the rest is verify()'s. Throws LoadError.
Program decode(const json::Value& graph, const Container& container);

}  // namespace dqt::ir
