#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Linear::output_shape(const Scope& scope) const {
    const Value& value = scope.codes(x);
    const Shape& w = weight.shape;
    require(w.size() == 2, "weight of shape ", shown(w), ", need [O, I]");
    check_weights(scope, LayerView(*this));
    require(value.shape.back() == w[1], "weight reads ", w[1], " features, but ", shown(value.name), " has shape ",
            shown(value.shape));
    Shape shape = value.shape;
    shape.back() = w[0];
    return shape;
}

void Linear::prove(const Scope& scope) const { prove_layer(scope, LayerView(*this)); }

}  // namespace dqt
