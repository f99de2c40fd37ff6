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

// The channels of one pixel. Between rows first, as everywhere.
template <class T>
void pixel(const View& from, const View& to, const Place& y, const Place& x, uint8_t* out) {
    const auto at = [&](int64_t row, int64_t column) { return from.data + row + column; };
    const uint8_t *p00 = at(y.first, x.first), *p10 = at(y.second, x.first), *p01 = at(y.first, x.second),
                  *p11 = at(y.second, x.second);
    const int64_t step = from.strides[0], next = to.strides[0];
    const auto get = [](const uint8_t* p) { return int64_t{*reinterpret_cast<const T*>(p)}; };
    for (int64_t c = 0; c < to.shape[0]; ++c) {
        const int64_t i = c * step;
        const int64_t left = dqt_between(get(p00 + i), get(p10 + i), y.weight);
        const int64_t right = dqt_between(get(p01 + i), get(p11 + i), y.weight);
        *reinterpret_cast<T*>(out + c * next) = static_cast<T>(dqt_resized(dqt_between(left, right, x.weight)));
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
    for (int64_t i = 0; i < to.shape[1]; ++i) {
        const Place row(*this, 0, i, from.shape[1], to.shape[1], from.strides[1]);
        for (int64_t j = 0; j < to.shape[2]; ++j) {
            const Place column(*this, 1, j, from.shape[2], to.shape[2], from.strides[2]);
            uint8_t* p = to.data + i * to.strides[1] + j * to.strides[2];
            from.coded ? pixel<uint8_t>(from, to, row, column, p) : pixel<int32_t>(from, to, row, column, p);
        }
    }
}

}  // namespace dqt
