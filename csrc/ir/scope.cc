#include "scope.h"

namespace dqt::ir {
namespace {

constexpr size_t kMaxBroadcast = 32;  // dimensions that NumPy broadcasts, in the normative executor

}  // namespace

const Value& Scope::ranked(int index) const {
    bool has = !at(index).shape.empty();
    require(has, "reads ", shown(at(index).name), ", which has no dimension: only Reshape and Dequantize may");
    return at(index);
}

const Value& Scope::codes(int index) const {
    require(!at(index).wide, "reads the wide value ", shown(at(index).name), ": this operator takes codes alone");
    return ranked(index);
}

const Value& Scope::narrow(int index) const {
    require(!at(index).wide, "writes the wide value ", shown(at(index).name), ": this operator makes codes alone");
    return at(index);
}

std::vector<int> Scope::widths(int layer) const {
    const bool own = static_cast<size_t>(layer) >= space().layers.size();
    return own ? std::vector<int>{space().master} : space().widths;
}

void check_rounding(const Scope& scope, int out, int64_t shift, int64_t lo, int64_t hi) {
    require(shift >= 1 && shift <= 32, "shift ", shift, ", need 1 to 32");
    const bool wide = scope.at(out).wide;
    int64_t least = wide ? -kWideLimit : 0, most = wide ? kWideLimit : scope.highest();
    bool inside = least <= lo && lo <= hi && hi <= most;
    require(inside, "clamp [", lo, ", ", hi, "] does not lie in [", least, ", ", most, "]");
}

void check_same_scale(const Value& x, const Value& out) {
    bool same = x.step == out.step && x.zero == out.zero && x.wide == out.wide;
    require(same, shown(out.name), " has another step or zero than ", shown(x.name),
            ", or only one of them is wide: this operator keeps them");
}

Shape check_axes(const Value& x, const Numbers& axes) {
    const auto rank = static_cast<int64_t>(x.shape.size());
    bool legal = !axes.empty();
    for (size_t i = 0; i < axes.size(); ++i) {
        legal = legal && axes[i] >= 0 && axes[i] < rank && (i == 0 || axes[i - 1] < axes[i]);
    }
    require(legal, "axes ", shown(axes), ", need some of 0 to ", rank - 1, ", ascending");
    Shape shape = x.shape;
    for (const int64_t axis : axes) shape[static_cast<size_t>(axis)] = 1;
    return shape;
}

Integers<2> check_windows(const Value& x, const Integers<2>& kernel, const Integers<2>& stride,
                          const Integers<4>& padding, const Integers<2>& dilation) {
    require(x.shape.size() == 3, "reads ", shown(x.name), " of shape ", shown(x.shape), ", need (C, H, W)");
    check_range("kernel", kernel, 1);
    check_range("stride", stride, 1);
    check_range("dilation", dilation, 1);
    check_range("padding", padding, 0);
    Integers<2> counts;
    Shape padded = x.shape;
    for (size_t i = 0; i < 2; ++i) padded[1 + i] += padding[2 * i] + padding[2 * i + 1];
    check_shape(padded, "padded input");
    for (size_t i = 0; i < 2; ++i) {
        int64_t extent = dilation[i] * (kernel[i] - 1) + 1;
        require(extent <= padded[1 + i], "the window is larger than the padded input ", padded[1], " x ", padded[2]);
        counts[i] = (padded[1 + i] - extent) / stride[i] + 1;
    }
    return counts;
}

Shape broadcast_shape(const Scope& scope, int a, int b) {
    const Shape &first = scope.codes(a).shape, &second = scope.codes(b).shape;
    const bool more = first.size() >= second.size();
    const Shape &longer = more ? first : second, &shorter = more ? second : first;
    require(longer.size() <= kMaxBroadcast, "shapes of more than ", kMaxBroadcast, " dimensions do not broadcast");
    Shape shape = longer;
    for (size_t i = 0; i < shorter.size(); ++i) {
        int64_t &d = shape[longer.size() - shorter.size() + i], other = shorter[i];
        bool fits = d == other || d == 1 || other == 1;
        require(fits, "shapes ", shown(first), " and ", shown(second), " do not broadcast");
        d = std::max(d, other);
    }
    return shape;
}

}  // namespace dqt::ir
