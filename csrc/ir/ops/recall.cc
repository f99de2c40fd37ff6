#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

Shape Recall::output_shape(const Scope& scope) const {
    const Value &from = scope.state(state), &to = scope.at(out);
    bool same = from.scale == to.scale && from.zero == to.zero && from.lo == to.lo && from.hi == to.hi;
    require(same, shown(to.name), " has another scale, zero or interval than the state ", shown(from.name),
            ": recalling keeps them");
    return from.shape;
}

void Recall::run(const Sample& sample) const {
    const View to = sample.view(out);
    const int32_t* from = sample.state(state);
    Walk<1> walk(to.shape, {to.strides});
    do to.set(walk.at[0], from ? *from++ : to.zero);
    while (walk.next());
}

}  // namespace dqt
