#include "../scope.h"

namespace dqt {

using namespace ir;

namespace {

// Whether each of `count` windows along one dimension holds a place that is not padding.
bool inside(int64_t count, int64_t stride, int64_t padding, int64_t dilation, int64_t kernel, int64_t length) {
    int64_t first = -padding;  // the first tap of a window
    for (int64_t i = 0; i < count && first < 0; ++i, first += stride) {
        int64_t skipped = (-first + dilation - 1) / dilation;  // the taps before the input
        if (skipped >= kernel || first + skipped * dilation >= length) return false;
    }
    return (count - 1) * stride - padding < length;
}

}  // namespace

Shape MaxPool::output_shape(const Scope& scope) const {
    const Value& value = scope.codes(x);
    check_same_scale(value, scope.at(out));
    const auto [rows, columns] = check_windows(value, kernel, stride, padding, dilation);
    bool legal = inside(rows, stride[0], padding[0], dilation[0], kernel[0], value.shape[1]) &&
                 inside(columns, stride[1], padding[2], dilation[1], kernel[1], value.shape[2]);
    require(legal, "a window lies in the padding alone: use less padding");
    return {value.shape[0], rows, columns};
}

}  // namespace dqt
