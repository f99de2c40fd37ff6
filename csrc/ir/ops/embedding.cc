#include "../../arith.h"
#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

Shape Embedding::output_shape(const Scope& scope) const {
    check_rounding(scope, out, shift, lo, hi);
    const Value& value = scope.ranked(x);
    require(table.shape.size() == 2, "table of shape ", shown(table.shape), ", need [rows, features]");
    check_shape(table.shape, "table");
    const int64_t rows = table.shape[0];
    bool inside = value.lo >= 0 && value.hi < rows && value.zero == 0 && value.scale == 1;
    require(inside, "reads ", shown(value.name), " in [", value.lo, ", ", value.hi, "], need indices in [0, ", rows - 1,
            "] of scale 1, zero 0");
    bool legal = (m.shape == Shape{1} || m.shape == Shape{rows}) && c.shape == m.shape;
    require(legal, "m, c of shapes ", shown(m.shape), ", ", shown(c.shape), ": need (1,) or (", rows, ",)");
    Shape shape = value.shape;
    shape.push_back(table.shape[1]);
    return shape;
}

void Embedding::prove(const Scope&) const {
    for (size_t i = 0; i < m.data.size(); ++i) {
        Largest k;
        k.include(m.data[i], c.data[i]);
        require(k.fits(128), "m * table + c of row ", i, " does not fit int64: its scale is too large");
    }
}

void Embedding::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    const size_t last = to.shape.size() - 1;
    const int64_t features = to.shape[last];
    Walk<2> tokens(from.shape, {from.strides, to.strides.first(last)});
    do {
        const auto q = static_cast<size_t>(from.get(tokens.at[0])), row = m.data.size() > 1 ? q : 0;
        const int8_t* codes = table.data.data() + q * static_cast<size_t>(features);
        for (int64_t i = 0; i < features; ++i)
            to.set(tokens.at[1] + i * to.strides[last],
                   dqt_clamp((int64_t{codes[i]} * m.data[row] + c.data[row]) >> shift, lo, hi));
    } while (tokens.next());
}

}  // namespace dqt
