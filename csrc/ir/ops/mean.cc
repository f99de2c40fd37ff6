#include "../../arith.h"
#include "../reduce.h"
#include "../scope.h"

namespace dqt {

using namespace ir;

namespace {

constexpr int64_t kMost = int64_t{1} << 62;  // half an area on top of it is within 64 bits

int64_t area_of(const Numbers& axes, std::span<const int64_t> shape) {
    int64_t area = 1;
    for (const int64_t axis : axes) area *= shape[static_cast<size_t>(axis)];
    return area;
}

int64_t multiplier(const Mean& op, int64_t area) { return op.divides ? dqt_area_multiplier(op.m, area) : op.m; }

}  // namespace

Shape Mean::output_shape(const Scope& scope) const {
    check_rounding(scope, out, shift, lo, hi);
    return check_axes(scope.ranked(x), axes);
}

void Mean::prove(const Scope& scope) const {
    const Value& value = scope.at(x);
    const int64_t area = area_of(axes, value.shape);
    require(magnitude(m) <= kMost, "m is beyond 2^62");
    const Int128 k = magnitude(multiplier(*this, area));
    require(k <= kInt32, "the multiplier of ", area, " elements is beyond int32");
    const Int128 reach = Int128{area} * std::max(magnitude(value.hi - value.zero), magnitude(value.lo - value.zero));
    require(reach * k + magnitude(c) <= kInt64, "acc * m + c of ", area, " elements does not fit int64");
}

void Mean::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    const int64_t area = area_of(axes, from.shape), k = multiplier(*this, area), zeros = area * from.zero;
    const auto add = [](int64_t acc, int64_t q) { return acc + q; };
    const auto store = [&](uint8_t* p, int64_t acc) {
        to.set(p - to.data, dqt_requantize(acc - zeros, k, c, static_cast<int>(shift), lo, hi));
    };
    from.coded ? reduce<uint8_t>(from, to, axes, int64_t{0}, add, store)
               : reduce<int32_t>(from, to, axes, int64_t{0}, add, store);
}

}  // namespace dqt
