#include "version_1.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "checks.h"

namespace dqt::ir {
namespace {

constexpr std::string_view OPERATORS[] = {"Add", "AvgPool", "Choose", "Concat", "Constant", "Conv", "Dequantize", "Linear",
                                          "MaxPool", "Multiply", "Pad", "Quantize", "Rescale", "Reshape", "Slice", "Table",
                                          "Transpose"};
constexpr std::pair<std::string_view, std::string_view> LATER[] = {
    {"Constant", "dims"},       {"Conv", "nearest"},          {"Conv", "weight_exponents"}, {"Conv", "input_exponents"},
    {"Linear", "nearest"},      {"Linear", "weight_exponents"}, {"Linear", "input_exponents"}, {"Dequantize", "name"},
    {"Quantize", "gain"},       {"Quantize", "bias"},         {"Quantize", "axis"},         {"Reshape", "shape"}};

template <class Item, class List>
bool among(const Item& item, const List& list) {
    return std::find(std::begin(list), std::end(list), item) != std::end(list);
}

}  // namespace

bool version_1::has(std::string_view name) { return among(name, OPERATORS); }

bool version_1::has(std::string_view name, std::string_view field) { return !among(std::pair(name, field), LATER); }

// The name of an instruction's operator, or null.
const std::string* operator_of(const json::Value& value) {
    const json::Object* object = value.as<json::Object>();
    if (!object) return nullptr;
    auto named = std::find_if(object->begin(), object->end(), [](const json::Member& m) { return m.key == "op"; });
    return named == object->end() ? nullptr : named->value.as<std::string>();
}

// Version 1 had one input and one output.
void version_1::check_ends(const json::List& ops) {
    const auto count = [&](std::string_view name) {
        return std::count_if(ops.begin(), ops.end(), [&](const json::Value& op) {
            const std::string* each = operator_of(op);
            return each && *each == name;
        });
    };
    const std::string* first = ops.empty() ? nullptr : operator_of(ops.front());
    const std::string* last = ops.empty() ? nullptr : operator_of(ops.back());
    bool ends = first && last && *first == "Quantize" && *last == "Dequantize";
    require(ends && count("Quantize") == 1 && count("Dequantize") == 1,
            "ops: in version 1 need one Quantize, as the first, and one Dequantize, as the last");
}

}  // namespace dqt::ir
