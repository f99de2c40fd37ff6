#include <algorithm>

#include "../scope.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

namespace {

// The `count` largest of each row, by insertion: rows are short, and nothing here allocates.
template <class T>
void top(const View& from, const View& to, int64_t count) {
    const size_t last = from.shape.size() - 1;
    const int64_t length = from.shape[last], step = from.strides[last], out = to.strides[last];
    Walk<2> rows(from.shape, {from.strides, to.strides}, [&](size_t d) { return d != last; });
    do {
        const auto held = [&](int64_t k) -> T& { return *reinterpret_cast<T*>(to.data + rows.at[1] + k * out); };
        for (int64_t i = 0; i < length; ++i) {
            const T each = *reinterpret_cast<const T*>(from.data + rows.at[0] + i * step);
            int64_t k = std::min(i, count);
            if (k == count && each <= held(count - 1)) continue;
            for (k = std::min(k, count - 1); k > 0 && held(k - 1) < each; --k) held(k) = held(k - 1);
            held(k) = each;
        }
    } while (rows.next());
}

}  // namespace

Shape TopK::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    Shape shape = value.shape;
    const bool legal = count >= 1 && count <= shape.back();
    require(legal, "count ", count, ", need 1 to ", shape.back(), ", as many as ", shown(value.name), " has");
    shape.back() = count;
    return shape;
}

void TopK::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    to.coded ? top<uint8_t>(from, to, count) : top<int32_t>(from, to, count);
}

}  // namespace dqt
