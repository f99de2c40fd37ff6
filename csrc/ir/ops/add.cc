#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

Shape Add::output_shape(const Scope& scope) const {
    check_rounding(scope, out, shift, lo, hi);
    return broadcast_shape(scope, a, b);
}

void Add::prove(const Scope& scope) const {
    require(std::max(magnitude(k1), magnitude(k2)) <= kInt32, "a multiplier is beyond int32");
    Int128 total = magnitude(k1) * reach(scope.at(a)) + magnitude(k2) * reach(scope.at(b)) + magnitude(k3);
    require(total <= kInt64, "k1*a + k2*b + k3 does not fit int64");
}

void Add::run(const Sample& sample) const {
    each_pair(sample, a, b, out, [&](int64_t p, int64_t q) { return std::clamp((k1 * p + k2 * q + k3) >> shift, lo, hi); });
}

}  // namespace dqt
