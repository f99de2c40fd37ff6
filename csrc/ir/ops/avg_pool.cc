#include "../scope.h"

namespace dqt {

using namespace ir;

namespace {

// Checks half-open ranges [count, 2] over a dimension; their count.
int64_t check_ranges(const char* name, const Array<int32_t>& array, int64_t length) {
    bool pairs = array.shape.size() == 2 && array.shape[1] == 2;
    require(pairs, name, " of shape ", shown(array.shape), ", need [count, 2]");
    for (size_t i = 0; i + 1 < array.data.size(); i += 2) {
        int32_t first = array.data[i], last = array.data[i + 1];
        bool legal = first >= 0 && first < last && last <= length;
        require(legal, name, ": a window is empty or not inside [0, ", length, "]");
    }
    return array.shape[0];
}

int64_t longest(const Array<int32_t>& ranges) {
    int64_t most = 0;
    for (size_t i = 0; i + 1 < ranges.data.size(); i += 2) {
        most = std::max(most, int64_t{ranges.data[i + 1]} - ranges.data[i]);
    }
    return most;
}

}  // namespace

Shape AvgPool::output_shape(const Scope& scope) const {
    scope.narrow(out);
    check_rounding(scope, out, shift, lo, hi);
    const Value& value = scope.codes(x);
    require(value.shape.size() == 3, "reads ", shown(value.name), " of shape ", shown(value.shape), ", need (C, H, W)");
    const int64_t height = check_ranges("rows", rows, value.shape[1]);
    const int64_t width = check_ranges("columns", columns, value.shape[2]);
    bool legal = (m.shape == Shape{1, 1} || m.shape == Shape{height, width}) && c.shape == m.shape;
    require(legal, "m, c of shapes ", shown(m.shape), ", ", shown(c.shape), ": need (1, 1) or (", height, ", ", width, ")");
    return {value.shape[0], height, width};
}

void AvgPool::prove(const Scope& scope) const {
    const Int128 area = Int128{longest(rows)} * longest(columns), zero = scope.at(x).zero;
    const Int128 reach = area * std::max(zero, scope.highest() - zero);
    require(reach <= kInt32, "the sum over a window of ", static_cast<int64_t>(area), " codes is beyond int32");
    Largest k;
    for (size_t i = 0; i < m.data.size(); ++i) k.include(m.data[i], c.data[i]);
    require(k.fits(reach), "acc * m + c does not fit int64: its scale or bias is too large");
}

}  // namespace dqt
