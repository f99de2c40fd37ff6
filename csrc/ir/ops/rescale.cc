#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

Shape Rescale::output_shape(const Scope& scope) const {
    check_rounding(scope, out, shift, lo, hi);
    const Value& value = scope.ranked(x);
    bool legal = (m.shape == Shape{1} || m.shape == Shape{value.shape[0]}) && c.shape == m.shape;
    require(legal, "m, c of shapes ", shown(m.shape), ", ", shown(c.shape), ": need (1,) or (", value.shape[0], ",)");
    return value.shape;
}

void Rescale::prove(const Scope& scope) const {
    for (size_t i = 0; i < m.data.size(); ++i) {
        Largest k;
        k.include(m.data[i], c.data[i]);
        require(k.fits(reach(scope.at(x))), "m*q + c of channel ", i, " does not fit int64: its scale or bias is too large");
    }
}

void Rescale::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    const int64_t inner = to.size() / to.shape[0];
    Walk<2> walk(to.shape, {from.strides, to.strides});
    int64_t i = 0;
    do {
        const size_t k = m.data.size() == 1 ? 0 : static_cast<size_t>(i / inner);
        ++i;
        to.set(walk.at[1], std::clamp((int64_t{from.get(walk.at[0])} * m.data[k] + c.data[k]) >> shift, lo, hi));
    } while (walk.next());
}

}  // namespace dqt
