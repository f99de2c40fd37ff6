#include <algorithm>

#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

namespace {

// Steps along the dimensions of a value in memory, or of numbers that lie row by row.
struct Steps {
    const View* view;
    const Shape* shape;

    int64_t operator[](size_t d) const {
        if (view) return view->strides[d];
        int64_t step = 1;
        for (size_t inner = d + 1; inner < shape->size(); ++inner) step *= (*shape)[inner];
        return step;
    }
};

}  // namespace

Shape Constant::output_shape(const Scope& scope) const {
    check_shape(data.shape, "data");
    const Value& value = scope.at(out);
    const auto [least, most] = std::minmax_element(data.data.begin(), data.data.end());
    require(value.lo <= *least && *most <= value.hi, "an integer of data is not in [", value.lo, ", ", value.hi, "]");
    Shape shape = data.shape;
    require(dims.empty() || dims.size() == shape.size(), dims.size(), " dims, need none or one for each dimension of ",
            shown(shape));
    for (size_t d = 0; d < dims.size(); ++d) {
        if (dims[d].empty()) continue;
        shape[d] = scope.size_of(dims[d]);
        const int64_t longest = scope.dimension(dims[d]).most;
        require(longest <= data.shape[d], "data has ", data.shape[d], " entries along axis ", d, ", but dimension ",
                shown(dims[d]), " may be ", longest);
    }
    return shape;
}

// The first entries of each dimension.
void Constant::run(const Sample& sample) const {
    const View to = sample.view(out);
    Walk<2> walk(to.shape, {Steps{&to, nullptr}, Steps{nullptr, &data.shape}});
    do to.set(walk.at[0], data.data[static_cast<size_t>(walk.at[1])]);
    while (walk.next());
}

}  // namespace dqt
