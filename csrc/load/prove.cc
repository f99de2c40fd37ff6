// Proofs that no integer of a program overflows (docs/numerics.md, section 4).

#include <algorithm>
#include <limits>

#include "verify.h"

namespace dqt::loader {
namespace {

constexpr Int128 kInt64 = std::numeric_limits<int64_t>::max();

Int128 magnitude(int64_t value) { return value < 0 ? -Int128{value} : Int128{value}; }

// The smallest and largest accumulator that any input can produce; lo <= 0 <= hi.
struct Bound {
    int64_t lo = 0, hi = 0;

    Int128 reach() const { return std::max(magnitude(lo), magnitude(hi)); }
};

// The largest |m| and |c| that one channel may meet.
struct Largest {
    Int128 m = 0, c = 0;

    void include(int32_t mi, int64_t ci) {
        m = std::max(m, magnitude(mi));
        c = std::max(c, magnitude(ci));
    }
};

// acc * m + c fits int64 for every accumulator of `reach` (equation 15).
bool product_fits(Int128 reach, const Largest& k) { return reach * k.m + k.c <= kInt64; }

// T_b of every master weight, at even and at odd index, with the balanced midpoint (equations 4 and 5).
struct Narrowing {
    int8_t table[2][256];

    Narrowing(int n, int b) {
        const int s = n - b;
        for (int odd = 0; odd < 2; ++odd) {
            const int h = s ? (1 << (s - 1)) - odd : 0;
            for (int q = -128; q < 128; ++q) table[odd][q + 128] = static_cast<int8_t>(((q >> s) << s) + h);
        }
    }

};

// How often each weight stands at an even and at an odd index of one channel.
using Counts = int64_t[2][256];

struct Layered {
    const Array<int8_t>& weight;
    const Requant& requant;
    int layer, x;
};

class Proofs {
  public:
    explicit Proofs(const Program& program) : program_(program), highest_(highest(program)) {}

    void operator()(const Conv& op) const { layer({op.weight, op.requant, op.layer, op.x}); }
    void operator()(const Linear& op) const { layer({op.weight, op.requant, op.layer, op.x}); }
    void operator()(const Add& op) const;
    void operator()(const Multiply& op) const;
    void operator()(const Rescale& op) const;
    void operator()(const AvgPool& op) const;
    template <class Other>
    void operator()(const Other&) const {}

  private:
    void layer(const Layered& op) const;
    void channel_at(const Layered& op, size_t channel, int b, const Bound& acc) const;
    Bound bound(const Counts& counts, const Narrowing& narrowing, int64_t zero) const;

    const Program& program_;
    int64_t highest_;
};

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

// At every width that the layer may run at: all, or for the controller's own layers the master alone.
void Proofs::layer(const Layered& op) const {
    const Space& space = program_.space;
    const bool own = static_cast<size_t>(op.layer) >= space.layers.size();
    const std::vector<int> widths = own ? std::vector<int>{space.master} : space.widths;
    std::vector<Narrowing> narrowings;
    for (int b : widths) narrowings.emplace_back(space.master, b);
    for (size_t channel = 0; channel < static_cast<size_t>(op.weight.shape[0]); ++channel) {
        Counts counts = {};
        tally(op.weight, channel, counts);
        for (size_t i = 0; i < widths.size(); ++i) {
            channel_at(op, channel, widths[i], bound(counts, narrowings[i], value_of(program_, op.x).zero));
        }
    }
}

void Proofs::channel_at(const Layered& op, size_t channel, int b, const Bound& acc) const {
    const std::vector<int>& widths = program_.space.widths;
    bool fits = acc.lo >= -kInt32 - 1 && acc.hi <= kInt32;
    require(fits, "at ", b, " bits the accumulator of channel ", channel, " reaches ",
            static_cast<int64_t>(acc.reach()), ", beyond int32: split the layer or narrow its weights");
    const size_t count = static_cast<size_t>(op.weight.shape[0]), rows = op.requant.m.data.size() / count;
    Largest k;  // over the rows that serve min(bw, ba) <= b
    for (size_t row = 0; row < rows; ++row) {
        if (rows > 1 && widths[row] > b) continue;
        k.include(op.requant.m.data[row * count + channel], op.requant.c.data[row * count + channel]);
    }
    require(product_fits(acc.reach(), k), "at ", b, " bits acc * m + c of channel ", channel,
            " does not fit int64: its scale or bias is too large");
}

// The accumulators of a channel over every input and every activation width (equation 14): T(x) - zero lies in
// [-zero, 2^n - 1 - zero], and what padding adds, 0, is inside.
Bound Proofs::bound(const Counts& counts, const Narrowing& narrowing, int64_t zero) const {
    int64_t positive = 0, negative = 0;
    for (int odd = 0; odd < 2; ++odd) {
        for (int q = 0; q < 256; ++q) {
            const int64_t narrow = narrowing.table[odd][q];
            positive += counts[odd][q] * std::max<int64_t>(narrow, 0);
            negative += counts[odd][q] * std::min<int64_t>(narrow, 0);
        }
    }
    const int64_t low = -zero, high = highest_ - zero;
    return {positive * low + negative * high, positive * high + negative * low};
}

void Proofs::operator()(const Add& op) const {
    Int128 largest = std::max(magnitude(op.k1), magnitude(op.k2));
    require(largest <= kInt32, "a multiplier is beyond int32");
    Int128 total = (magnitude(op.k1) + magnitude(op.k2)) * highest_ + magnitude(op.k3);
    require(total <= kInt64, "k1*a + k2*b + k3 does not fit int64");
}

void Proofs::operator()(const Multiply& op) const {
    require(magnitude(op.k1) <= kInt32, "the multiplier k1 is beyond int32");
    Int128 linear = (magnitude(op.k2) + magnitude(op.k3)) * highest_;
    Int128 total = magnitude(op.k1) * highest_ * highest_ + linear + magnitude(op.k4);
    require(total <= kInt64, "k1*a*b + k2*a + k3*b + k4 does not fit int64");
}

void Proofs::operator()(const Rescale& op) const {
    for (size_t i = 0; i < op.requant.m.data.size(); ++i) {
        Largest k;
        k.include(op.requant.m.data[i], op.requant.c.data[i]);
        require(product_fits(highest_, k), "m*q + c of channel ", i,
                " does not fit int64: its scale or bias is too large");
    }
}

int64_t longest(const Array<int32_t>& ranges) {
    int64_t most = 0;
    for (size_t i = 0; i + 1 < ranges.data.size(); i += 2) {
        most = std::max(most, int64_t{ranges.data[i + 1]} - ranges.data[i]);
    }
    return most;
}

void Proofs::operator()(const AvgPool& op) const {
    const Int128 area = Int128{longest(op.rows)} * longest(op.columns), zero = value_of(program_, op.x).zero;
    const Int128 reach = area * std::max(zero, highest_ - zero);
    require(reach <= kInt32, "the sum over a window of ", static_cast<int64_t>(area), " codes is beyond int32");
    Largest k;
    for (size_t i = 0; i < op.requant.m.data.size(); ++i) k.include(op.requant.m.data[i], op.requant.c.data[i]);
    require(product_fits(reach, k), "acc * m + c does not fit int64: its scale or bias is too large");
}

}  // namespace

void prove(const Op& op, const Program& program) { std::visit(Proofs(program), op); }

}  // namespace dqt::loader
