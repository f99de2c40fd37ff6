#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Store::output_shape(const Scope& scope) const {
    const Value &from = scope.at(x), &to = scope.state(state);
    check_same_scale(from, to);
    require(from.shape == to.shape, "stores ", shown(from.name), " of shape ", shown(from.shape),
            ", but the state has shape ", shown(to.shape));
    return to.shape;
}

void Store::run(const Sample& sample) const {
    if (int32_t* to = sample.next_state(state)) write(sample.view(x), to);
}

}  // namespace dqt
