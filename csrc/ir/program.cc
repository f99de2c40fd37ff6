#include "program.h"

#include <algorithm>
#include <type_traits>

namespace dqt {
namespace {

// Calls f(name, field) for each field of an instruction.
template <class F>
void each_field(const Op& op, const F& f) {
    std::visit([&](const auto& each) { Members<std::decay_t<decltype(each)>>::each(each, f); }, op);
}

// The last field of a type, or -1: an instruction has one result at most, and is one layer at most.
template <class Kind>
int index_of(const Op& op) {
    int found = -1;
    each_field(op, [&](const char*, const auto& field) {
        if constexpr (std::is_same_v<std::decay_t<decltype(field)>, Kind>) found = field;
    });
    return found;
}

}  // namespace

const char* name_of(const Op& op) {
    return std::visit([](const auto& each) { return each.NAME; }, op);
}

std::vector<int> reads(const Op& op) {
    std::vector<int> result;
    each_field(op, [&](const char*, const auto& field) {
        using Field = std::decay_t<decltype(field)>;
        if constexpr (std::is_same_v<Field, Operand>) result.push_back(field);
        if constexpr (std::is_same_v<Field, Operands>) result.insert(result.end(), field.begin(), field.end());
    });
    return result;
}

int Space::index_of(int width) const { return static_cast<int>(std::ranges::find(widths, width) - widths.begin()); }

int Space::row_of(int64_t rows, int weight, int activation) const {
    if (rows == 1) return 0;
    const int row = index_of(std::min(weight, activation)), count = static_cast<int>(widths.size());
    if (weight == activation || rows == count) return row;
    return row + (weight < activation ? count : 2 * count - 1);
}

size_t Space::held() const {
    return static_cast<size_t>(std::upper_bound(widths.begin(), widths.end(), widest()) - widths.begin());
}

std::vector<const Value*> outputs(const Program& program) {
    std::vector<const Value*> result;
    for (const Op& op : program.ops)
        if (const auto* each = std::get_if<Dequantize>(&op)) result.push_back(&program.values[static_cast<size_t>(each->x)]);
    return result;
}

const ChooseLate* late_choice(const Program& program) {
    for (const Op& op : program.ops)
        if (const auto* each = std::get_if<ChooseLate>(&op)) return each;
    return nullptr;
}

bool decides(const Op& op) { return std::holds_alternative<Choose>(op) || std::holds_alternative<ChooseLate>(op); }

int first_width(const Program& program) {
    const ChooseLate* late = late_choice(program);
    return late ? static_cast<int>(late->first) : program.space.widest();
}

int writes(const Op& op) { return index_of<Result>(op); }

int layer_of(const Op& op) { return index_of<LayerIndex>(op); }

}  // namespace dqt
