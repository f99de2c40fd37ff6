#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Table::output_shape(const Scope& scope) const {
    const Value& value = scope.codes(x);
    scope.narrow(out);
    require(table.shape == Shape{scope.highest() + 1}, "table of shape ", shown(table.shape), ", need (",
            scope.highest() + 1, ",)");
    bool legal = *std::max_element(table.data.begin(), table.data.end()) <= scope.highest();
    require(legal, "a table entry is above ", scope.highest());
    return value.shape;
}

}  // namespace dqt
