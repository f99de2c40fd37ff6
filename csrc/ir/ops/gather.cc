#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Gather::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    const auto rank = static_cast<int64_t>(value.shape.size());
    require(axis >= 0 && axis < rank, "axis ", axis, ", need 0 to ", rank - 1);
    require(indices.shape.size() == 1, "indices of shape ", shown(indices.shape), ", need [count]");
    check_shape(indices.shape, "indices");
    Shape shape = value.shape;
    int64_t& length = shape[static_cast<size_t>(axis)];
    const auto [least, most] = std::minmax_element(indices.data.begin(), indices.data.end());
    bool inside = *least >= 0 && *most < length;
    require(inside, "an index is not in [0, ", length - 1, "], the places of ", shown(value.name), " along axis ", axis);
    length = indices.shape[0];
    return shape;
}

void Gather::rebound(const Scope& before, const Scope& after) const {
    const auto along = static_cast<size_t>(axis);
    const int64_t then = before.at(x).shape[along], now = after.at(x).shape[along];
    require(now == then, "its indices are those of a dimension of ", then, ", which would become ", now);
}

// Indices that follow each other in equal steps are one strided copy.
void Gather::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    const auto along = static_cast<size_t>(axis);
    const auto& at = indices.data;
    for (size_t first = 0, last = 0; first < at.size(); first = last) {
        last = first + 1;
        const int64_t step = last < at.size() ? int64_t{at[last]} - at[first] : 1;
        while (last < at.size() && int64_t{at[last]} - at[last - 1] == step) ++last;
        Loops loops(to.element());
        for (size_t d = 0; d < to.shape.size(); ++d)
            if (d != along) loops.add(to.shape[d], from.strides[d], to.strides[d]);
        loops.add(static_cast<int64_t>(last - first), step * from.strides[along], to.strides[along]);
        loops.copy(from.data + at[first] * from.strides[along], to.data + static_cast<int64_t>(first) * to.strides[along]);
    }
}

}  // namespace dqt
