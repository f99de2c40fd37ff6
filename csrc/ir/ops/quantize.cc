#include <cmath>

#include "../scope.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

Shape Quantize::output_shape(const Scope& scope) const {
    const Input& given = scope.input(x, false);
    scope.coded(out);
    const auto rank = static_cast<int64_t>(given.shape.size());
    require(axis >= 0 && axis < rank, "axis ", axis, ", need 0 to ", rank - 1);
    const int64_t length = given.shape[static_cast<size_t>(axis)];
    bool legal = (gain.shape == Shape{1} || gain.shape == Shape{length}) && bias.shape == gain.shape;
    require(legal, "gain, bias of shapes ", shown(gain.shape), ", ", shown(bias.shape), ": need (1,) or (", length, ",)");
    const auto finite = [](float number) { return std::isfinite(number); };
    require(std::all_of(gain.data.begin(), gain.data.end(), finite) &&
                std::all_of(bias.data.begin(), bias.data.end(), finite), "a gain or a bias is not finite");
    return given.shape;
}

// Two roundings to float32, never a fused one: -ffp-contract=off.
void Quantize::run(const Sample& sample) const {
    const View to = sample.view(out);
    const auto* from = static_cast<const float*>(sample.input(x));
    int64_t inner = 1;               // elements of one entry of the axis
    for (size_t d = to.shape.size(); --d > static_cast<size_t>(axis);) inner *= to.shape[d];
    const auto entries = static_cast<int64_t>(gain.data.size());
    const auto zero = static_cast<float>(to.zero), lo = static_cast<float>(to.lo), hi = static_cast<float>(to.hi);
    Walk<1> walk(to.shape, {to.strides});
    int64_t i = 0;
    do {
        const auto k = static_cast<size_t>(i / inner % entries);
        const float product = from[i++] * gain.data[k], sum = product + bias.data[k];
        to.set(walk.at[0], static_cast<int64_t>(std::clamp(std::nearbyint(sum) + zero, lo, hi)));
    } while (walk.next());
}

}  // namespace dqt
