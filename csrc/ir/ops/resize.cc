#include "../../arith.h"
#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

namespace {

int64_t side_of(const Resize& op, size_t i, const Shape& shape) {
    return op.size[i] ? op.size[i] : shape[1 + i] * op.steps[2 * i + 1] / op.steps[2 * i];
}

// One row or column of the result: where its two inputs lie, and the weight of the second.
struct Place {
    int64_t first, second, weight;

    Place(const Resize& op, size_t i, int64_t at, int64_t inputs, int64_t outputs, int64_t stride) {
        const bool given = op.steps[2 * i] > 0;
        const dqt_place place = dqt_neighbours(at, inputs, outputs, given ? op.steps[2 * i] : inputs,
                                               given ? op.steps[2 * i + 1] : outputs, op.corners);
        first = place.first * stride, second = place.second * stride, weight = place.weight;
    }
};

// The channels of one pixel, between rows first, as everywhere. Of codes all sums fit 32 bits. `dense`: channels lie side
// by side, and the compiler takes several at once.
template <class T, class Sum, bool dense>
void pixel(const View& from, const View& to, const Place& y, const Place& x, uint8_t* out) {
    const int64_t step = dense ? static_cast<int64_t>(sizeof(T)) : from.strides[0];
    const int64_t next = dense ? static_cast<int64_t>(sizeof(T)) : to.strides[0];
    const auto get = [&](int64_t at, int64_t c) { return Sum{*reinterpret_cast<const T*>(from.data + at + c * step)}; };
    const int64_t p00 = y.first + x.first, p10 = y.second + x.first, p01 = y.first + x.second, p11 = y.second + x.second;
    const Sum down = static_cast<Sum>(y.weight), across = static_cast<Sum>(x.weight);
    const auto between = [](Sum first, Sum second, Sum weight) { return first * 2048 + (second - first) * weight; };
    for (int64_t c = 0; c < to.shape[0]; ++c) {
        const Sum left = between(get(p00, c), get(p10, c), down), right = between(get(p01, c), get(p11, c), down);
        const Sum total = between(left, right, across);
        *reinterpret_cast<T*>(out + c * next) = static_cast<T>((total + (1 << 21)) >> 22);
    }
}

template <class T, class Sum>
void resize(const Resize& op, const View& from, const View& to) {
    const auto element = static_cast<int64_t>(sizeof(T));
    const bool dense = from.strides[0] == element && to.strides[0] == element;
    for (int64_t i = 0; i < to.shape[1]; ++i) {
        const Place row(op, 0, i, from.shape[1], to.shape[1], from.strides[1]);
        for (int64_t j = 0; j < to.shape[2]; ++j) {
            const Place column(op, 1, j, from.shape[2], to.shape[2], from.strides[2]);
            uint8_t* p = to.data + i * to.strides[1] + j * to.strides[2];
            dense ? pixel<T, Sum, true>(from, to, row, column, p) : pixel<T, Sum, false>(from, to, row, column, p);
        }
    }
}

}  // namespace

Shape Resize::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    require(value.shape.size() == 3, "reads ", shown(value.name), " of shape ", shown(value.shape), ", need (C, H, W)");
    check_range("size", size, 0);
    check_range("steps", steps, 0);
    for (size_t i = 0; i < 2; ++i) {
        bool legal = (steps[2 * i] == 0) == (steps[2 * i + 1] == 0) && (size[i] > 0 || steps[2 * i] > 0);
        require(legal, "size and steps: need a size, or a step a / b of two positive numbers");
    }
    return {value.shape[0], side_of(*this, 0, value.shape), side_of(*this, 1, value.shape)};
}

void Resize::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    to.coded ? resize<uint8_t, int32_t>(*this, from, to) : resize<int32_t, int64_t>(*this, from, to);
}

}  // namespace dqt
