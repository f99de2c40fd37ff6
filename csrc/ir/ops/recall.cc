#include "../scope.h"
#include "../view.h"

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
    from ? read(from, to) : fill(to, to.zero);
}

}  // namespace dqt
