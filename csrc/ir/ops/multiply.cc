#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Multiply::output_shape(const Scope& scope) const {
    scope.narrow(out);
    check_rounding(scope, out, shift, lo, hi);
    return broadcast_shape(scope, a, b);
}

void Multiply::prove(const Scope& scope) const {
    const int64_t q = scope.highest();
    require(magnitude(k1) <= kInt32, "the multiplier k1 is beyond int32");
    Int128 total = magnitude(k1) * q * q + (magnitude(k2) + magnitude(k3)) * q + magnitude(k4);
    require(total <= kInt64, "k1*a*b + k2*a + k3*b + k4 does not fit int64");
}

}  // namespace dqt
