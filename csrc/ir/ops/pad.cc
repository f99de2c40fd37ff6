#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Pad::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    check_real_zero(scope, scope.at(out));
    const size_t count = value.shape.size();
    bool all = before.size() == count && after.size() == count;
    require(all, "need one pair for each dimension of ", shown(value.shape));
    check_range("before", before, 0);
    check_range("after", after, 0);
    Shape shape = value.shape;
    for (size_t i = 0; i < count; ++i) shape[i] += before[i] + after[i];
    return shape;
}

void Pad::run(const Sample& sample) const {
    View to = sample.view(out);
    const View from = sample.view(x);
    fill(to, to.zero);
    to.data = to.at(before);
    to.shape = from.shape;
    copy(from, to);
}

}  // namespace dqt
