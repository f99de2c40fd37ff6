#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

Shape Table::output_shape(const Scope& scope) const {
    const Value& value = scope.codes(x);
    scope.coded(out);
    const int64_t entries = scope.highest() + 1, channels = value.shape[0];
    bool shaped = table.shape == Shape{entries} || table.shape == Shape{channels, entries};
    require(shaped, "table of shape ", shown(table.shape), ", need (", entries, ",) or (", channels, ", ", entries, ")");
    bool legal = *std::max_element(table.data.begin(), table.data.end()) <= scope.highest();
    require(legal, "a table entry is above ", scope.highest());
    return value.shape;
}

// One table, or one for each index of the first dimension.
void Table::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    const int64_t inner = to.size() / to.shape[0], entries = table.shape.back();
    const bool single = table.shape.size() == 1;
    Walk<2> walk(to.shape, {from.strides, to.strides});
    int64_t i = 0;
    do {
        const int64_t first = single ? 0 : i / inner * entries;
        ++i;
        to.set(walk.at[1], table.data[static_cast<size_t>(first + from.get(walk.at[0]))]);
    } while (walk.next());
}

}  // namespace dqt
