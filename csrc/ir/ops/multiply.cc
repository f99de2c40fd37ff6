#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

Shape Multiply::output_shape(const Scope& scope) const {
    check_rounding(scope, out, shift, lo, hi);
    return broadcast_shape(scope, a, b);
}

void Multiply::prove(const Scope& scope) const {
    const Int128 p = reach(scope.at(a)), q = reach(scope.at(b));
    require(magnitude(k1) <= kInt32, "the multiplier k1 is beyond int32");
    Int128 total = magnitude(k1) * p * q + magnitude(k2) * p + magnitude(k3) * q + magnitude(k4);
    require(total <= kInt64, "k1*a*b + k2*a + k3*b + k4 does not fit int64");
}

void Multiply::run(const Sample& sample) const {
    each_pair(sample, a, b, out, [&](int64_t p, int64_t q) {
        return std::clamp((k1 * p * q + k2 * p + k3 * q + k4) >> shift, lo, hi);
    });
}

}  // namespace dqt
