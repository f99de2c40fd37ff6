// What convolution and matrix product share: checks of their constants, and the proof that no sum overflows
// (docs/numerics.md, section 4).
#include <algorithm>

#include "../arith.h"
#include "scope.h"

namespace dqt::ir {
namespace {

// The smallest and largest accumulator that any input can produce; lo <= 0 <= hi.
struct Bound {
    int64_t lo = 0, hi = 0;

    Int128 reach() const { return std::max(magnitude(lo), magnitude(hi)); }
};

// T_b of every master weight, at even and at odd index (equations 4 and 5).
struct Narrowing {
    int8_t table[2][256];

    Narrowing(int n, int b, int e, bool nearest) {
        for (int i = 0; i < 2; ++i)
            for (int q = -128; q < 128; ++q)
                table[i][q + 128] = dqt_narrow_weight(static_cast<int8_t>(q), n, b, e, nearest, i);
    }
};

// How often each weight stands at an even and at an odd index of one channel.
using Counts = int64_t[2][256];

// A filter of one input channel counts its taps, every other one its input channels.
void tally(const Array<int8_t>& weight, size_t channel, Counts& counts) {
    const Shape& shape = weight.shape;
    const int64_t depth = shape[1], taps = shape.size() == 4 ? shape[2] * shape[3] : 1;
    const bool by_tap = depth == 1 && shape.size() == 4;
    const int8_t* w = weight.data.data() + channel * static_cast<size_t>(depth * taps);
    for (int64_t i = 0; i < depth; ++i) {
        for (int64_t j = 0; j < taps; ++j) ++counts[(by_tap ? j : i) & 1][*w++ + 128];
    }
}

// The accumulators of a channel over every input and every activation width (equation 14): T(x) - zero lies in
// [-zero, 2^n - 1 - zero], widened to hold the 0 that padding adds.
Bound bound(const Counts& counts, const Narrowing& narrowing, int64_t zero, int64_t highest) {
    int64_t positive = 0, negative = 0;
    for (int odd = 0; odd < 2; ++odd) {
        for (int q = 0; q < 256; ++q) {
            const int64_t narrow = narrowing.table[odd][q];
            positive += counts[odd][q] * std::max<int64_t>(narrow, 0);
            negative += counts[odd][q] * std::min<int64_t>(narrow, 0);
        }
    }
    const int64_t low = std::min<int64_t>(0, -zero), high = std::max<int64_t>(0, highest - zero);
    return {positive * low + negative * high, positive * high + negative * low};
}

// Of any weights, so many to a channel.
Bound bound(int64_t count, int64_t zero, int64_t highest) {
    const int64_t reach = count * 128 * std::max(std::abs(zero), std::abs(highest - zero));
    return {-reach, reach};
}

bool fits_int32(const Bound& acc) { return acc.lo >= -kInt32 - 1 && acc.hi <= kInt32; }

// The largest constants of a channel over the rows that serve weights of b bits.
Largest constants(const Scope& scope, const LayerView& op, size_t channel, int b) {
    const auto count = static_cast<size_t>(op.weight.shape[0]);
    Largest k;
    for (const int ba : scope.space().widths) {
        const size_t at = static_cast<size_t>(scope.space().row_of(op.m.shape[0], b, ba)) * count + channel;
        k.include(op.m.data[at], op.c.data[at]);
    }
    return k;
}

void prove_channel(const Scope& scope, const LayerView& op, size_t channel, int b, const Bound& acc) {
    require(fits_int32(acc), "at ", b, " bits the accumulator of channel ", channel, " reaches ",
            static_cast<int64_t>(acc.reach()), ", beyond int32: split the layer or narrow its weights");
    require(constants(scope, op, channel, b).fits(acc.reach()), "at ", b, " bits acc * m + c of channel ", channel,
            " does not fit int64: its scale or bias is too large");
}

int exponent_of(const Scope& scope, const Numbers& exponents, int b) {
    return exponents.empty() ? 0 : static_cast<int>(exponents[static_cast<size_t>(scope.space().index_of(b))]);
}

// The top bits of the master's that its weights need, at every width that they may run at: a width b with exponent e reads
// the top b + e of them, and by the nearest rule one more.
int kept_bits(const Scope& scope, const LayerView& op) {
    const int master = scope.space().master;
    int most = 0;
    for (const int b : scope.widths(op.layer))
        most = std::max(most, b == master ? b : b + exponent_of(scope, op.weight_exponents, b) + op.nearest);
    return std::min(most, master);
}

void check_kept(const Scope& scope, const LayerView& op) {
    const int kept = kept_bits(scope, op), low = (1 << (scope.space().master - kept)) - 1;
    bool cut = !low || std::ranges::none_of(op.weight.data, [=](int8_t w) { return w & low; });
    require(cut, "a weight has bits below the top ", kept, " that a program packed to ", scope.space().packed,
            " bits keeps");
}

// One exponent for each width, of a range 2^-e of the master's; or none.
void check_exponents(const Scope& scope, const char* name, const Numbers& exponents) {
    if (exponents.empty()) return;
    const std::vector<int>& widths = scope.space().widths;
    require(exponents.size() == widths.size(), exponents.size(), " ", name, ", need none or ", widths.size());
    for (size_t i = 0; i < widths.size(); ++i) {
        const int most = std::min(2, scope.space().master - widths[i]);
        bool legal = exponents[i] >= 0 && exponents[i] <= most;
        require(legal, name, ": ", exponents[i], " at ", widths[i], " bits, need 0 to ", most);
    }
}

}  // namespace

void check_weights(const Scope& scope, const LayerView& op) {
    check_shape(op.weight.shape, "weight");
    check_rounding(scope, op.out, op.shift, op.lo, op.hi);
    const int master = scope.space().master, least = -(1 << (master - 1)), most = (1 << (master - 1)) - 1;
    const auto legal_code = [=](int8_t w) { return w >= least && w <= most; };
    bool inside = master == 8 || std::all_of(op.weight.data.begin(), op.weight.data.end(), legal_code);
    require(inside, "a weight is not in [", least, ", ", most, "], the signed range of ", master, " bits");
    const int64_t count = op.weight.shape[0], widths = static_cast<int64_t>(scope.space().widths.size());
    const Shape& rows = op.m.shape;
    bool legal = false;
    for (const int64_t each : {int64_t{1}, widths, 3 * widths - 2}) legal |= rows == Shape{each, count};
    require(legal, "m of shape ", shown(rows), ", need 1, ", widths, " or ", 3 * widths - 2, " rows of ", count);
    check_exponents(scope, "weight_exponents", op.weight_exponents);
    check_exponents(scope, "input_exponents", op.input_exponents);
    const Value& x = scope.at(op.x);
    bool plain = std::all_of(op.input_exponents.begin(), op.input_exponents.end(), [](int64_t e) { return e == 0; });
    require(plain || (x.zero >= 0 && x.zero <= x.hi), "input_exponents, but the zero ", x.zero, " of ", shown(x.name),
            " is no code");
    require(rows == op.c.shape, "m has shape ", shown(rows), " and c ", shown(op.c.shape), ": need the same rows");
    check_kept(scope, op);
}

void prove_layer(const Scope& scope, const LayerView& op) {
    if (op.weight.data.empty()) return;  // packed by now, and proved: the sizes of images are not in its sums
    const std::vector<int> widths = scope.widths(op.layer);
    std::vector<Narrowing> narrowings;
    for (int b : widths) {
        const int e = exponent_of(scope, op.weight_exponents, b);
        narrowings.emplace_back(scope.space().master, b, e, op.nearest);
    }
    const size_t channels = static_cast<size_t>(op.weight.shape[0]);
    const Bound any = bound(static_cast<int64_t>(op.weight.data.size() / channels), scope.at(op.x).zero, scope.highest());
    for (size_t channel = 0; channel < channels; ++channel) {
        const auto plain = [&](int b) { return constants(scope, op, channel, b).fits(any.reach()); };
        if (fits_int32(any) && std::ranges::all_of(widths, plain)) continue;  // whatever the weights
        Counts counts = {};
        tally(op.weight, channel, counts);
        for (size_t i = 0; i < widths.size(); ++i) {
            const Bound acc = bound(counts, narrowings[i], scope.at(op.x).zero, scope.highest());
            prove_channel(scope, op, channel, widths[i], acc);
        }
    }
}

}  // namespace dqt::ir
