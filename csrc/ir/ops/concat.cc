#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Concat::output_shape(const Scope& scope) const {
    require(!xs.empty(), "joins nothing: xs is empty");
    Shape shape = scope.ranked(xs[0]).shape;
    require(axis >= 0 && axis < static_cast<int64_t>(shape.size()), "axis ", axis, " of ", shown(shape));
    const size_t along = static_cast<size_t>(axis);
    shape[along] = 0;
    for (const int index : xs) {
        const Value& x = scope.ranked(index);
        check_same_scale(x, scope.at(out));
        bool joins = x.shape.size() == shape.size();
        for (size_t i = 0; joins && i < shape.size(); ++i) joins = i == along || x.shape[i] == shape[i];
        require(joins, shown(x.name), " of shape ", shown(x.shape), " does not join the others along axis ", axis);
        shape[along] += x.shape[along];
    }
    return shape;
}

void Concat::run(const Sample& sample) const {
    View to = sample.view(out);
    const size_t along = static_cast<size_t>(axis);
    for (const int x : xs) {
        const View from = sample.view(x);
        to.shape = from.shape;
        copy(from, to);
        to.data += from.shape[along] * to.strides[along];
    }
}

}  // namespace dqt
