#include "scope.h"

#include <iterator>

namespace dqt::ir {
namespace {

constexpr size_t kMaxBroadcast = 32;  // dimensions that NumPy broadcasts, in the normative executor

}  // namespace

const Value& Scope::ranked(int index) const {
    bool has = !at(index).shape.empty();
    require(has, "reads ", shown(at(index).name), ", which has no dimension: only Reshape, Dequantize and Store may");
    return at(index);
}

const Value& Scope::codes(int index) const {
    require(at(index).coded(), "reads the integers ", shown(at(index).name), ": this operator takes codes alone");
    return ranked(index);
}

const Value& Scope::coded(int index) const {
    require(at(index).coded(), "writes the integers ", shown(at(index).name), ": this operator makes codes alone");
    return at(index);
}

const Input& Scope::input(int index, bool integer) const {
    const Input& given = program.inputs[static_cast<size_t>(index)];
    require(given.integer == integer, "reads the input ", shown(given.name), ", need ", integer ? "an integer" : "a float",
            " input");
    return given;
}

const Dimension& Scope::dimension(const std::string& name) const {
    for (const Dimension& each : program.dims)
        if (each.name == name) return each;
    refuse("the program has no dimension called ", shown(name));
}

int64_t Scope::size_of(const std::string& name) const {
    const auto among = [&](const Texts& dims, const Shape& shape) -> int64_t {
        const auto found = std::find(dims.begin(), dims.end(), name);
        return found == dims.end() ? 0 : shape[static_cast<size_t>(found - dims.begin())];
    };
    for (const Input& input : program.inputs)
        if (const int64_t size = among(input.dims, input.shape)) return size;
    for (const State& state : program.states)
        if (const int64_t size = among(state.dims, state.value.shape)) return size;
    refuse("no input and no state has a dimension called ", shown(name));
}

std::vector<int> Scope::widths(int layer) const {
    const auto index = static_cast<size_t>(layer);
    if (index >= space().layers.size()) return {space().master};
    const int widest = space().widest_of(space().layers[index]);
    std::vector<int> result;
    std::ranges::copy_if(space().widths, std::back_inserter(result), [&](int b) { return b <= widest; });
    return result;
}

void check_rounding(const Scope& scope, int out, int64_t shift, int64_t lo, int64_t hi) {
    require(shift >= 1 && shift <= 32, "shift ", shift, ", need 1 to 32");
    const Value& value = scope.at(out);
    bool inside = value.lo <= lo && lo <= hi && hi <= value.hi;
    require(inside, "clamp [", lo, ", ", hi, "] does not lie in [", value.lo, ", ", value.hi, "]");
}

void check_same_scale(const Value& x, const Value& out) {
    bool same = x.scale == out.scale && x.zero == out.zero && x.coded() == out.coded();
    require(same, shown(out.name), " has another scale or zero than ", shown(x.name),
            ", or only one of them is codes: this operator keeps them");
    bool inside = out.lo <= x.lo && x.hi <= out.hi;
    require(inside, shown(x.name), " in [", x.lo, ", ", x.hi, "] does not fit ", shown(out.name), " in [", out.lo, ", ",
            out.hi, "]");
}

void check_real_zero(const Scope& scope, const Value& value) {
    bool inside = value.lo <= value.zero && value.zero <= value.hi;
    require(inside, shown(value.name), " in [", value.lo, ", ", value.hi, "] holds no real zero");
    const int64_t grid = int64_t{1} << (scope.space().master - scope.space().widths.front());
    bool on = !value.coded() || value.zero % grid == 0;
    require(on, "the zero ", value.zero, " of ", shown(value.name), " is no multiple of ", grid,
            ", so no real zero at the lowest width");
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
    return broadcast_shape(scope.ranked(a).shape, scope.ranked(b).shape);
}

Shape broadcast_shape(const Shape& first, const Shape& second) {
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
