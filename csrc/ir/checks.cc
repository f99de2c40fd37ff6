#include "checks.h"

#include <algorithm>

#include "json.h"

namespace dqt::ir {

std::string shown(std::string_view name) {
    size_t end = 0;
    for (int count = 0; end < name.size() && count < 80; ++count) json::next_code_point(name, end);
    return json::quote(name.substr(0, end));
}

std::string shown(const Shape& shape) {
    std::string text = "(";
    for (size_t i = 0; i < shape.size() && i < 8; ++i) text += (i ? ", " : "") + std::to_string(shape[i]);
    if (shape.size() > 8) text += ", ...";
    return text + (shape.size() == 1 ? ",)" : ")");
}

int64_t elements(const Shape& shape) {
    constexpr int64_t most = int64_t{1} << 62;
    if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return 0;
    int64_t total = 1;
    for (int64_t d : shape) {
        if (d > most / total) return most;
        total *= d;
    }
    return total;
}

void check_shape(const Shape& shape, std::string_view what) {
    bool legal = !shape.empty() && std::all_of(shape.begin(), shape.end(), is_dimension);
    require(legal, what, ": shape ", shown(shape), ", need dimensions in [1, ", kMaxDim, "]");
    bool small = elements(shape) <= kMaxElements;
    require(small, what, ": shape ", shown(shape), " has more than ", kMaxElements, " elements");
}

}  // namespace dqt::ir
