#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Conv::output_shape(const Scope& scope) const {
    const Value& value = scope.codes(x);
    const Shape& w = weight.shape;
    require(w.size() == 4, "weight of shape ", shown(w), ", need [O, I / groups, KH, KW]");
    check_weights(scope, LayerView(*this));
    const auto [rows, columns] = check_windows(value, {w[2], w[3]}, stride, padding, dilation);
    if (std::any_of(padding.begin(), padding.end(), [](int64_t p) { return p > 0; })) check_real_zero(scope, value);
    check_range("groups", Integers<1>{groups}, 1);
    require(w[1] * groups == value.shape[0], groups, " groups of ", w[1], " channels, but the input has ", value.shape[0]);
    require(w[0] % groups == 0, w[0], " output channels do not divide into ", groups, " groups");
    bool fits = static_cast<Int128>(value.shape[0]) * w[2] * w[3] * columns <= kMaxElements;
    require(fits, "one output row reads more than ", kMaxElements, " elements");
    return {w[0], rows, columns};
}

void Conv::prove(const Scope& scope) const { prove_layer(scope, LayerView(*this)); }

}  // namespace dqt
