#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Transpose::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    const size_t count = value.shape.size();
    std::vector<bool> found(count);
    bool once = axes.size() == count;
    for (size_t i = 0; once && i < count; ++i) {
        once = axes[i] >= 0 && axes[i] < static_cast<int64_t>(count) && !found[static_cast<size_t>(axes[i])];
        if (once) found[static_cast<size_t>(axes[i])] = true;
    }
    require(once, "axes ", shown(axes), ", need each of 0 to ", count - 1, " once");
    Shape shape;
    for (const int64_t axis : axes) shape.push_back(value.shape[static_cast<size_t>(axis)]);
    return shape;
}

void Transpose::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    Loops loops(to.element());
    for (size_t d = 0; d < axes.size(); ++d)
        loops.add(to.shape[d], from.strides[static_cast<size_t>(axes[d])], to.strides[d]);
    loops.copy(from.data, to.data);
}

}  // namespace dqt
