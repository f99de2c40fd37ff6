#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Add::output_shape(const Scope& scope) const {
    scope.narrow(out);
    check_rounding(scope, out, shift, lo, hi);
    return broadcast_shape(scope, a, b);
}

void Add::prove(const Scope& scope) const {
    require(std::max(magnitude(k1), magnitude(k2)) <= kInt32, "a multiplier is beyond int32");
    Int128 total = (magnitude(k1) + magnitude(k2)) * scope.highest() + magnitude(k3);
    require(total <= kInt64, "k1*a + k2*b + k3 does not fit int64");
}

}  // namespace dqt
