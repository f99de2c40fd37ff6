// What makes one instruction legal: its shapes, ranges and scales. One overload for each operator.

#include <algorithm>
#include <initializer_list>
#include <type_traits>

#include "verify.h"

namespace dqt::loader {
namespace {

constexpr size_t kMaxBroadcast = 32;  // dimensions that NumPy broadcasts, in the normative executor

class Rules {
  public:
    explicit Rules(const Program& program) : program_(program), space_(program.space), highest_(highest(program)) {}

    Shape operator()(const Quantize& op) const;
    Shape operator()(const Conv& op) const;
    Shape operator()(const Linear& op) const;
    Shape operator()(const Add& op) const { return elementwise(op); }
    Shape operator()(const Multiply& op) const { return elementwise(op); }
    Shape operator()(const Rescale& op) const;
    Shape operator()(const Concat& op) const;
    Shape operator()(const MaxPool& op) const;
    Shape operator()(const AvgPool& op) const;
    Shape operator()(const Table& op) const;
    Shape operator()(const Reshape& op) const;
    Shape operator()(const Slice& op) const;
    Shape operator()(const Pad& op) const;
    Shape operator()(const Choose& op) const;
    Shape operator()(const Dequantize& op) const { return at(op.x).shape; }

  private:
    const Value& at(int index) const { return value_of(program_, index); }

    // An input that must have a dimension.
    const Value& ranked(int index) const {
        require(!at(index).shape.empty(), "reads ", shown(at(index).name),
                ", which has no dimension: only Reshape and Dequantize may");
        return at(index);
    }

    // An input that must be codes.
    const Value& codes(int index) const {
        require(!at(index).wide, "reads the wide value ", shown(at(index).name),
                ": only Reshape, Slice, Choose and Dequantize may");
        return ranked(index);
    }

    // An output that must be codes.
    const Value& narrow(int index) const {
        require(!at(index).wide, "writes the wide value ", shown(at(index).name), ": only Conv, Linear, Reshape and Slice may");
        return at(index);
    }

    void rounding(const Value& out, int32_t shift, int64_t lo, int64_t hi) const;
    void same_scale(const Value& x, const Value& out) const;
    void weights(const Array<int8_t>& weight, const Requant& requant, int out) const;
    template <class Binary>
    Shape elementwise(const Binary& op) const;

    const Program& program_;
    const Space& space_;
    int64_t highest_;
};

template <class Integer>
void in_range(const char* name, const Integer* numbers, size_t count, int64_t least) {
    for (size_t i = 0; i < count; ++i) {
        bool legal = numbers[i] >= least && numbers[i] <= kMaxDim;
        require(legal, name, " ", numbers[i], ", need ", least, " to ", kMaxDim);
    }
}

void Rules::rounding(const Value& out, int32_t shift, int64_t lo, int64_t hi) const {
    require(shift >= 1 && shift <= 32, "shift ", shift, ", need 1 to 32");
    int64_t least = out.wide ? -kWideLimit : 0, most = out.wide ? kWideLimit : highest_;
    bool inside = least <= lo && lo <= hi && hi <= most;
    require(inside, "clamp [", lo, ", ", hi, "] does not lie in [", least, ", ", most, "]");
}

void Rules::same_scale(const Value& x, const Value& out) const {
    bool same = x.step == out.step && x.zero == out.zero && x.wide == out.wide;
    require(same, shown(out.name), " has another step or zero than ", shown(x.name),
            ", or only one of them is wide: this operator keeps them");
}

// Weights inside the master's range, one row of m and c or one for each width, a legal clamp.
void Rules::weights(const Array<int8_t>& weight, const Requant& requant, int out) const {
    check_shape(weight.shape, "weight");
    rounding(at(out), requant.shift, requant.lo, requant.hi);
    const int least = -(1 << (space_.master - 1)), most = (1 << (space_.master - 1)) - 1;
    bool inside = space_.master == 8 || std::all_of(weight.data.begin(), weight.data.end(),
                                                    [=](int8_t w) { return w >= least && w <= most; });
    require(inside, "a weight is not in [", least, ", ", most, "], the signed range of ", space_.master, " bits");
    const int64_t count = weight.shape[0], widths = static_cast<int64_t>(space_.widths.size());
    const Shape& rows = requant.m.shape;
    bool legal = rows == Shape{1, count} || rows == Shape{widths, count};
    require(legal, "m of shape ", shown(rows), ", need (1, ", count, ") or (", widths, ", ", count, ")");
    require(rows == requant.c.shape, "m has shape ", shown(rows), " and c ", shown(requant.c.shape),
            ": need the same rows");
}

struct Window {
    int64_t kernel[2];
    const int *stride, *padding, *dilation;
};

// Output rows and columns of sliding windows over a (C, H, W) value.
std::pair<int64_t, int64_t> windows(const Value& x, const Window& w) {
    require(x.shape.size() == 3, "reads ", shown(x.name), " of shape ", shown(x.shape), ", need (C, H, W)");
    in_range("kernel", w.kernel, 2, 1);
    in_range("stride", w.stride, 2, 1);
    in_range("dilation", w.dilation, 2, 1);
    in_range("padding", w.padding, 4, 0);
    int64_t counts[2];
    Shape padded = x.shape;
    for (size_t i = 0; i < 2; ++i) padded[1 + i] += int64_t{w.padding[2 * i]} + w.padding[2 * i + 1];
    check_shape(padded, "padded input");
    for (size_t i = 0; i < 2; ++i) {
        int64_t extent = w.dilation[i] * (w.kernel[i] - 1) + 1;
        require(extent <= padded[1 + i], "the window is larger than the padded input ", padded[1], " x ", padded[2]);
        counts[i] = (padded[1 + i] - extent) / w.stride[i] + 1;
    }
    return {counts[0], counts[1]};
}

Shape Rules::operator()(const Quantize& op) const {
    narrow(op.out);
    return program_.input_shape;
}

Shape Rules::operator()(const Conv& op) const {
    const Value& x = codes(op.x);
    const Shape& w = op.weight.shape;
    require(w.size() == 4, "weight of shape ", shown(w), ", need [O, I / groups, KH, KW]");
    weights(op.weight, op.requant, op.out);
    auto [rows, columns] = windows(x, {{w[2], w[3]}, op.stride, op.padding, op.dilation});
    in_range("groups", &op.groups, 1, 1);
    require(w[1] * op.groups == x.shape[0], op.groups, " groups of ", w[1], " channels, but the input has ",
            x.shape[0]);
    require(w[0] % op.groups == 0, w[0], " output channels do not divide into ", op.groups, " groups");
    bool fits = static_cast<Int128>(x.shape[0]) * w[2] * w[3] * columns <= kMaxElements;
    require(fits, "one output row reads more than ", kMaxElements, " elements");
    return {w[0], rows, columns};
}

Shape Rules::operator()(const Linear& op) const {
    const Value& x = codes(op.x);
    const Shape& w = op.weight.shape;
    require(w.size() == 2, "weight of shape ", shown(w), ", need [O, I]");
    weights(op.weight, op.requant, op.out);
    require(x.shape.back() == w[1], "weight reads ", w[1], " features, but ", shown(x.name), " has shape ",
            shown(x.shape));
    Shape shape = x.shape;
    shape.back() = w[0];
    return shape;
}

template <class Binary>
Shape Rules::elementwise(const Binary& op) const {
    rounding(narrow(op.out), op.shift, op.lo, op.hi);
    const Shape &a = codes(op.a).shape, &b = codes(op.b).shape;
    const Shape &longer = a.size() >= b.size() ? a : b, &shorter = a.size() >= b.size() ? b : a;
    require(longer.size() <= kMaxBroadcast, "shapes of more than ", kMaxBroadcast, " dimensions do not broadcast");
    Shape shape = longer;
    for (size_t i = 0; i < shorter.size(); ++i) {
        int64_t &d = shape[longer.size() - shorter.size() + i], other = shorter[i];
        require(d == other || d == 1 || other == 1, "shapes ", shown(a), " and ", shown(b), " do not broadcast");
        d = std::max(d, other);
    }
    return shape;
}

Shape Rules::operator()(const Rescale& op) const {
    rounding(narrow(op.out), op.requant.shift, op.requant.lo, op.requant.hi);
    const Value& x = codes(op.x);
    const Shape &m = op.requant.m.shape, &c = op.requant.c.shape;
    bool legal = (m == Shape{1} || m == Shape{x.shape[0]}) && c == m;
    require(legal, "m, c of shapes ", shown(m), ", ", shown(c), ": need (1,) or (", x.shape[0], ",)");
    return x.shape;
}

Shape Rules::operator()(const Concat& op) const {
    require(!op.xs.empty(), "joins nothing: xs is empty");
    Shape shape = codes(op.xs[0]).shape;
    require(op.axis >= 0 && static_cast<size_t>(op.axis) < shape.size(), "axis ", op.axis, " of ", shown(shape));
    const size_t axis = static_cast<size_t>(op.axis);
    shape[axis] = 0;
    for (int index : op.xs) {
        const Value& x = codes(index);
        same_scale(x, at(op.out));
        bool joins = x.shape.size() == shape.size();
        for (size_t i = 0; joins && i < shape.size(); ++i) joins = i == axis || x.shape[i] == shape[i];
        require(joins, shown(x.name), " of shape ", shown(x.shape), " does not join the others along axis ", axis);
        shape[axis] += x.shape[axis];
    }
    return shape;
}

// Whether each of `count` windows along one dimension holds a place that is not padding.
bool inside(int64_t count, int64_t stride, int64_t padding, int64_t dilation, int64_t kernel, int64_t length) {
    int64_t first = -padding;  // the first tap of a window
    for (int64_t i = 0; i < count && first < 0; ++i, first += stride) {
        int64_t skipped = (-first + dilation - 1) / dilation;  // the taps before the input
        if (skipped >= kernel || first + skipped * dilation >= length) return false;
    }
    return (count - 1) * stride - padding < length;
}

Shape Rules::operator()(const MaxPool& op) const {
    const Value& x = codes(op.x);
    same_scale(x, at(op.out));
    auto [rows, columns] = windows(x, {{op.kernel[0], op.kernel[1]}, op.stride, op.padding, op.dilation});
    bool legal = inside(rows, op.stride[0], op.padding[0], op.dilation[0], op.kernel[0], x.shape[1]) &&
                 inside(columns, op.stride[1], op.padding[2], op.dilation[1], op.kernel[1], x.shape[2]);
    require(legal, "a window lies in the padding alone: use less padding");
    return {x.shape[0], rows, columns};
}

// Checks half-open ranges [count, 2] over a dimension; their count.
int64_t ranges(const char* name, const Array<int32_t>& array, int64_t length) {
    bool pairs = array.shape.size() == 2 && array.shape[1] == 2;
    require(pairs, name, " of shape ", shown(array.shape), ", need [count, 2]");
    for (size_t i = 0; i + 1 < array.data.size(); i += 2) {
        int32_t first = array.data[i], last = array.data[i + 1];
        bool legal = first >= 0 && first < last && last <= length;
        require(legal, name, ": a window is empty or not inside [0, ", length, "]");
    }
    return array.shape[0];
}

Shape Rules::operator()(const AvgPool& op) const {
    rounding(narrow(op.out), op.requant.shift, op.requant.lo, op.requant.hi);
    const Value& x = codes(op.x);
    require(x.shape.size() == 3, "reads ", shown(x.name), " of shape ", shown(x.shape), ", need (C, H, W)");
    int64_t rows = ranges("rows", op.rows, x.shape[1]), columns = ranges("columns", op.columns, x.shape[2]);
    const Shape &m = op.requant.m.shape, &c = op.requant.c.shape;
    bool legal = (m == Shape{1, 1} || m == Shape{rows, columns}) && c == m;
    require(legal, "m, c of shapes ", shown(m), ", ", shown(c), ": need (1, 1) or (", rows, ", ", columns, ")");
    return {x.shape[0], rows, columns};
}

Shape Rules::operator()(const Table& op) const {
    const Value& x = codes(op.x);
    narrow(op.out);
    bool whole = static_cast<int64_t>(op.table.size()) == highest_ + 1;
    require(whole, "table of ", op.table.size(), " entries, need ", highest_ + 1);
    bool legal = *std::max_element(op.table.begin(), op.table.end()) <= highest_;
    require(legal, "a table entry is above ", highest_);
    return x.shape;
}

Shape Rules::operator()(const Reshape& op) const {
    const Value &x = at(op.x), &out = at(op.out);
    same_scale(x, out);
    bool same = elements(x.shape) == elements(out.shape);
    require(same, shown(x.shape), " and ", shown(out.shape), " have different numbers of elements");
    return out.shape;
}

Shape Rules::operator()(const Slice& op) const {
    const Value& x = ranked(op.x);
    same_scale(x, at(op.out));
    const size_t count = x.shape.size();
    bool all = op.starts.size() == count && op.stops.size() == count && op.steps.size() == count;
    require(all, "need one start, stop and step for each dimension of ", shown(x.shape));
    in_range("steps", op.steps.data(), count, 1);
    Shape shape;
    for (size_t i = 0; i < count; ++i) {
        int64_t start = op.starts[i], stop = op.stops[i];
        bool legal = 0 <= start && start < stop && stop <= x.shape[i];
        require(legal, start, " to ", stop, " is empty or not inside ", shown(x.shape));
        shape.push_back((stop - start + op.steps[i] - 1) / op.steps[i]);
    }
    return shape;
}

Shape Rules::operator()(const Pad& op) const {
    const Value& x = codes(op.x);
    same_scale(x, at(op.out));
    const size_t count = x.shape.size();
    bool all = op.before.size() == count && op.after.size() == count;
    require(all, "need one pair for each dimension of ", shown(x.shape));
    in_range("before", op.before.data(), count, 0);
    in_range("after", op.after.data(), count, 0);
    Shape shape = x.shape;
    for (size_t i = 0; i < count; ++i) shape[i] += op.before[i] + op.after[i];
    return shape;
}

Shape Rules::operator()(const Choose& op) const {
    const Value& x = at(op.x);
    require(x.wide, "reads ", shown(x.name), ", which is not wide");
    std::vector<int> chosen;
    for (size_t i = 0; i < space_.layers.size(); ++i) {
        if (!space_.layers[i].edge) chosen.push_back(static_cast<int>(i));
    }
    require(op.layers == chosen, "its layers are not those of the space that carry a chosen width, in order");
    require(op.widths == space_.choices, "its widths are not the space's choices");
    const Shape logits{static_cast<int64_t>(op.layers.size() * op.widths.size())};
    require(x.shape == logits, "reads ", shown(x.name), " of shape ", shown(x.shape), ", need ", shown(logits));
    return x.shape;
}

}  // namespace

Shape output_shape(const Op& op, const Program& program) { return std::visit(Rules(program), op); }

}  // namespace dqt::loader
