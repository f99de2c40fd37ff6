#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Slice::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    const size_t count = value.shape.size();
    bool all = starts.size() == count && stops.size() == count && steps.size() == count;
    require(all, "need one start, stop and step for each dimension of ", shown(value.shape));
    check_range("steps", steps, 1);
    Shape shape;
    for (size_t i = 0; i < count; ++i) {
        bool legal = 0 <= starts[i] && starts[i] < stops[i] && stops[i] <= value.shape[i];
        require(legal, starts[i], " to ", stops[i], " is empty or not inside ", shown(value.shape));
        shape.push_back((stops[i] - starts[i] + steps[i] - 1) / steps[i]);
    }
    return shape;
}

void Slice::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    Loops loops(to.element());
    for (size_t d = 0; d < to.shape.size(); ++d) loops.add(to.shape[d], from.strides[d] * steps[d], to.strides[d]);
    loops.copy(from.at(starts), to.data);
}

}  // namespace dqt
