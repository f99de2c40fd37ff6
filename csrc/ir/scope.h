// What the checks and the proof of an instruction may look at, and what several operators share of them: the twin of
// dqt/program/operator.py, checks.py and layered.py.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include "checks.h"

namespace dqt::ir {

struct Scope {
    const Program& program;

    const Space& space() const { return program.space; }
    const Value& at(int index) const { return program.values[static_cast<size_t>(index)]; }
    const Value& ranked(int index) const;  // an input that must have a dimension
    const Value& codes(int index) const;   // an input that must be codes, and have a dimension
    const Value& coded(int index) const;   // an output that must be codes

    const Input& input(int index, bool integer) const;  // of that kind
    const Value& state(int index) const { return program.states[static_cast<size_t>(index)].value; }
    const Dimension& dimension(const std::string& name) const;
    // The size that a named dimension is bound to.
    int64_t size_of(const std::string& name) const;
    // The largest code, 2^n - 1.
    int64_t highest() const { return (int64_t{1} << space().master) - 1; }
    // The widths that a layer's weights may run at: those that they hold; of the controller's own layers the master.
    std::vector<int> widths(int layer) const;
};

// `shift` in 1..32 and [lo, hi] inside the output's range.
void check_rounding(const Scope& scope, int out, int64_t shift, int64_t lo, int64_t hi);

// The integer that stands for 1 in the result of a softmax: one over its scale, which is a float32 number.
int64_t softmax_levels(double scale, int64_t hi);

// An operator that moves integers keeps their scale, zero point and kind; their interval may become wider.
void check_same_scale(const Value& x, const Value& out);

// The integer `zero` can stand in the value, and is a real zero at every width: it lies on the coarsest grid.
void check_real_zero(const Scope& scope, const Value& value);

// The largest magnitude of a value's integers.
inline int64_t reach(const Value& value) { return std::max(-value.lo, value.hi); }

template <class List>
void check_range(const char* name, const List& numbers, int64_t least) {
    for (const int64_t number : numbers) {
        bool legal = number >= least && number <= kMaxDim;
        require(legal, name, " ", number, ", need ", least, " to ", kMaxDim);
    }
}

// Dimensions that an operator reduces, ascending; the shape of `x` with 1 along each.
Shape check_axes(const Value& x, const Numbers& axes);

// Output rows and columns of sliding windows over a (C, H, W) value.
Integers<2> check_windows(const Value& x, const Integers<2>& kernel, const Integers<2>& stride,
                          const Integers<4>& padding, const Integers<2>& dilation);

// Of an elementwise operation on two values: the shape of both, broadcast as in NumPy.
Shape broadcast_shape(const Scope& scope, int a, int b);
Shape broadcast_shape(const Shape& first, const Shape& second);

// A convolution or a matrix product, as far as they are alike.
struct LayerView {
    const Array<int8_t>& weight;
    const Array<int32_t>& m;
    const Array<int64_t>& c;
    int64_t shift, lo, hi;
    bool nearest;
    const Numbers &weight_exponents, &input_exponents;
    int layer, x, out;

    template <class Operator>
    explicit LayerView(const Operator& op)
        : weight(op.weight), m(op.m), c(op.c), shift(op.shift), lo(op.lo), hi(op.hi), nearest(op.nearest),
          weight_exponents(op.weight_exponents), input_exponents(op.input_exponents), layer(op.layer), x(op.x),
          out(op.out) {}
};

// Weights inside the master's range, a legal number of rows of m and c, a legal clamp, exponents of every width.
void check_weights(const Scope& scope, const LayerView& op);

// Accumulators fit int32 and acc * m + c int64, at every width that the layer may run at.
void prove_layer(const Scope& scope, const LayerView& op);

constexpr Int128 kInt64 = std::numeric_limits<int64_t>::max();

// What the eps of a norm adds to the squares of a row of so many values (equation 22).
Int128 added(const Normalize& op, int64_t count);

inline Int128 magnitude(int64_t value) { return value < 0 ? -Int128{value} : Int128{value}; }

// The largest |m| and |c| that accumulators may meet.
struct Largest {
    Int128 m = 0, c = 0;

    void include(int32_t mi, int64_t ci) {
        m = std::max(m, magnitude(mi));
        c = std::max(c, magnitude(ci));
    }
    // acc * m + c fits int64 for every accumulator of magnitude `reach` (equation 15).
    bool fits(Int128 reach) const { return reach * m + c <= kInt64; }
};

}  // namespace dqt::ir
