// What files of version 1 could say. decode.cc fills in the rest: the same integers.
#pragma once

#include <string_view>

#include "json.h"

namespace dqt::ir {

// The name of an instruction's operator, or null.
const std::string* operator_of(const json::Value& value);

namespace version_1 {

constexpr const char *INPUT = "input", *OUTPUT = "output";  // names of the one input and the one output
constexpr int64_t WIDE_LIMIT = (int64_t{1} << 23) - 1;      // integers that were no codes, "wide", lay within 24 bits

// Whether there was such an operator, or such a field of it.
bool has(std::string_view name);
bool has(std::string_view name, std::string_view field);

// One Quantize, as the first, and one Dequantize, as the last. Throws LoadError.
void check_ends(const json::List& ops);

}  // namespace version_1
}  // namespace dqt::ir
