#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Table::output_shape(const Scope& scope) const {
    const Value& value = scope.codes(x);
    scope.narrow(out);
    const int64_t entries = scope.highest() + 1, channels = value.shape[0];
    bool shaped = table.shape == Shape{entries} || table.shape == Shape{channels, entries};
    require(shaped, "table of shape ", shown(table.shape), ", need (", entries, ",) or (", channels, ", ", entries, ")");
    bool legal = *std::max_element(table.data.begin(), table.data.end()) <= scope.highest();
    require(legal, "a table entry is above ", scope.highest());
    return value.shape;
}

}  // namespace dqt
