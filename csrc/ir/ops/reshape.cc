#include <cstring>

#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

namespace {

template <size_t bytes>
void reorder(const View& from, const View& to) {
    Walk<1> read(from.shape, {from.strides}), write(to.shape, {to.strides});
    do std::memcpy(to.data + write.at[0], from.data + read.at[0], bytes);
    while (read.next() && write.next());
}

}  // namespace

Shape Reshape::output_shape(const Scope& scope) const {
    const Value& from = scope.at(x);
    check_same_scale(from, scope.at(out));
    Shape result = shape;
    int64_t known = 1, left = -1;    // elements of the dimensions that are said; the one that is left
    for (size_t d = 0; d < shape.size(); ++d) {
        require(shape[d] >= -1 && shape[d] <= kMaxDim, "shape ", shown(shape), ", need dimensions from -1 to ", kMaxDim);
        require(shape[d] != 0 || d < from.shape.size(), "shape ", shown(shape), " copies a dimension that ",
                shown(from.shape), " does not have");
        require(shape[d] != -1 || left < 0, "shape ", shown(shape), " has -1 more than once");
        if (shape[d] == 0) result[d] = from.shape[d];
        if (shape[d] == -1) left = static_cast<int64_t>(d);
        if (shape[d] != -1) known = elements({known, result[d]});
    }
    const int64_t total = elements(from.shape), rest = total / known;
    bool whole = rest * known == total && (rest == 1 || left >= 0);
    require(whole, shown(from.shape), " and ", shown(shape), " have different numbers of elements");
    if (left >= 0) result[static_cast<size_t>(left)] = rest;
    return result;
}

void Reshape::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    if (from.is_row_major() && to.is_row_major()) {
        std::memcpy(to.data, from.data, static_cast<size_t>(to.size() * to.element()));
    } else {
        to.coded ? reorder<1>(from, to) : reorder<sizeof(int32_t)>(from, to);
    }
}

}  // namespace dqt
