#include "../scope.h"
#include "../view.h"

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
    check_rounding(scope, out, shift, lo, hi);
    const Value& value = scope.ranked(x);
    require(value.shape.size() == 3, "reads ", shown(value.name), " of shape ", shown(value.shape), ", need (C, H, W)");
    const int64_t height = check_ranges("rows", rows, value.shape[1]);
    const int64_t width = check_ranges("columns", columns, value.shape[2]);
    bool legal = (m.shape == Shape{1, 1} || m.shape == Shape{height, width}) && c.shape == m.shape;
    require(legal, "m, c of shapes ", shown(m.shape), ", ", shown(c.shape), ": need (1, 1) or (", height, ", ", width, ")");
    return {value.shape[0], height, width};
}

void AvgPool::prove(const Scope& scope) const {
    const Value& value = scope.at(x);
    const Int128 area = Int128{longest(rows)} * longest(columns);
    const Int128 reach = area * std::max(magnitude(value.lo - value.zero), magnitude(value.hi - value.zero));
    require(reach <= kInt32, "the sum over a window of ", static_cast<int64_t>(area), " integers is beyond int32");
    Largest k;
    for (size_t i = 0; i < m.data.size(); ++i) k.include(m.data[i], c.data[i]);
    require(k.fits(reach), "acc * m + c does not fit int64: its scale or bias is too large");
}

void AvgPool::rebound(const Scope& before, const Scope& after) const {
    const Shape &then = before.at(x).shape, &now = after.at(x).shape;
    require(now == then, "its windows are those of an input of ", shown(then), ", which would become ", shown(now));
}

void AvgPool::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    for (int64_t i = 0; i < to.size(); ++i) {
        const int64_t across = i % to.shape[2], down = i / to.shape[2] % to.shape[1], channel = i / (to.shape[1] * to.shape[2]);
        const int32_t *ys = rows.data.data() + 2 * down, *xs = columns.data.data() + 2 * across;
        int64_t acc = 0;
        for (int64_t y = ys[0]; y < ys[1]; ++y)
            for (int64_t z = xs[0]; z < xs[1]; ++z)
                acc += from.get(channel * from.strides[0] + y * from.strides[1] + z * from.strides[2]) - int64_t{from.zero};
        const size_t k = m.data.size() == 1 ? 0 : static_cast<size_t>(down * to.shape[2] + across);
        to.set(channel * to.strides[0] + down * to.strides[1] + across * to.strides[2],
               std::clamp((acc * m.data[k] + c.data[k]) >> shift, lo, hi));
    }
}

}  // namespace dqt
