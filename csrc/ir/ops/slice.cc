#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

namespace {

constexpr int64_t END = std::numeric_limits<int64_t>::max();

// Negative places count from the end.
int64_t from_first(int64_t place, int64_t length) { return place < 0 ? place + length : place; }

}  // namespace

Shape Slice::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    const size_t count = value.shape.size();
    bool all = starts.size() == count && stops.size() == count && steps.size() == count;
    require(all, "need one start, stop and step for each dimension of ", shown(value.shape));
    check_range("steps", steps, 1);
    Shape shape;
    for (size_t i = 0; i < count; ++i) {
        const int64_t length = value.shape[i], first = from_first(starts[i], length);
        const int64_t last = stops[i] == END ? length : from_first(stops[i], length);
        bool legal = 0 <= first && first < last && last <= length;
        require(legal, starts[i], " to ", stops[i], " is empty or not inside ", shown(value.shape));
        shape.push_back((last - first + steps[i] - 1) / steps[i]);
    }
    return shape;
}

void Slice::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    Loops loops(to.element());
    const uint8_t* first = from.data;
    for (size_t d = 0; d < to.shape.size(); ++d) {
        loops.add(to.shape[d], from.strides[d] * steps[d], to.strides[d]);
        first += from_first(starts[d], from.shape[d]) * from.strides[d];
    }
    loops.copy(first, to.data);
}

}  // namespace dqt
