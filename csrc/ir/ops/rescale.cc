#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Rescale::output_shape(const Scope& scope) const {
    scope.narrow(out);
    check_rounding(scope, out, shift, lo, hi);
    const Value& value = scope.codes(x);
    bool legal = (m.shape == Shape{1} || m.shape == Shape{value.shape[0]}) && c.shape == m.shape;
    require(legal, "m, c of shapes ", shown(m.shape), ", ", shown(c.shape), ": need (1,) or (", value.shape[0], ",)");
    return value.shape;
}

void Rescale::prove(const Scope& scope) const {
    for (size_t i = 0; i < m.data.size(); ++i) {
        Largest k;
        k.include(m.data[i], c.data[i]);
        require(k.fits(scope.highest()), "m*q + c of channel ", i, " does not fit int64: its scale or bias is too large");
    }
}

}  // namespace dqt
