#include <cstring>

#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

namespace {

// Whether the elements lie side by side in the order of their indices.
bool is_row_major(const View& view) {
    int64_t step = view.element();
    for (size_t d = view.shape.size(); d-- > 0; step *= view.shape[d])
        if (view.shape[d] > 1 && view.strides[d] != step) return false;
    return true;
}

template <size_t bytes>
void reorder(const View& from, const View& to) {
    Walk<1> read(from.shape, {from.strides}), write(to.shape, {to.strides});
    do std::memcpy(to.data + write.at[0], from.data + read.at[0], bytes);
    while (read.next() && write.next());
}

}  // namespace

Shape Reshape::output_shape(const Scope& scope) const {
    const Value &from = scope.at(x), &to = scope.at(out);
    check_same_scale(from, to);
    bool same = elements(from.shape) == elements(to.shape);
    require(same, shown(from.shape), " and ", shown(to.shape), " have different numbers of elements");
    return to.shape;
}

void Reshape::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    if (is_row_major(from) && is_row_major(to)) {
        std::memcpy(to.data, from.data, static_cast<size_t>(to.size() * to.element()));
    } else {
        to.wide ? reorder<sizeof(int32_t)>(from, to) : reorder<1>(from, to);
    }
}

}  // namespace dqt
