#include "../scope.h"
#include "../view.h"

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
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    const auto [rows, columns] = check_windows(value, kernel, stride, padding, dilation);
    bool legal = inside(rows, stride[0], padding[0], dilation[0], kernel[0], value.shape[1]) &&
                 inside(columns, stride[1], padding[2], dilation[1], kernel[1], value.shape[2]);
    require(legal, "a window lies in the padding alone: use less padding");
    return {value.shape[0], rows, columns};
}

void MaxPool::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    for (int64_t i = 0; i < to.size(); ++i) {
        const int64_t across = i % to.shape[2], down = i / to.shape[2] % to.shape[1], channel = i / (to.shape[1] * to.shape[2]);
        int32_t most = from.lo;      // a verified window has a place that is not padding
        for (int64_t tap = 0; tap < kernel[0] * kernel[1]; ++tap) {
            const int64_t y = down * stride[0] - padding[0] + tap / kernel[1] * dilation[0];
            const int64_t z = across * stride[1] - padding[2] + tap % kernel[1] * dilation[1];
            if (y < 0 || y >= from.shape[1] || z < 0 || z >= from.shape[2]) continue;
            most = std::max(most, from.get(channel * from.strides[0] + y * from.strides[1] + z * from.strides[2]));
        }
        to.set(channel * to.strides[0] + down * to.strides[1] + across * to.strides[2], most);
    }
}

}  // namespace dqt
