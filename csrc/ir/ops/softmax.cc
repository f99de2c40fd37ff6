#include <cmath>

#include "../../arith.h"
#include "../scope.h"
#include "../tables.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

namespace {

constexpr int64_t kMostLevels = int64_t{1} << (62 - DQT_POWER_BITS - DQT_FACTOR_BITS);

float inverse(int64_t levels) { return static_cast<float>(1.0 / static_cast<double>(levels)); }

}  // namespace

int64_t ir::softmax_levels(double scale, int64_t hi) {
    if (inverse(hi) == static_cast<float>(scale)) return hi;
    return static_cast<int64_t>(std::nearbyint(std::min(1.0 / scale, 0x1p62)));
}

Shape Softmax::output_shape(const Scope& scope) const {
    const Value &from = scope.ranked(x), &to = scope.at(out);
    require(shift >= 1 && shift <= 32, "shift ", shift, ", need 1 to 32");
    require(m >= 0 && m <= kInt32, "m ", m, ", need 0 to ", kInt32);
    bool unsigned_ = to.zero == 0 && to.lo == 0 && to.hi >= 1 && to.hi <= kMostLevels;
    require(unsigned_, "writes ", shown(to.name), " in [", to.lo, ", ", to.hi, "], zero ", to.zero,
            ": need [0, levels], zero 0");
    const int64_t levels = softmax_levels(to.scale, to.hi);
    bool scaled = levels >= to.hi && levels <= kMostLevels && inverse(levels) == static_cast<float>(to.scale);
    require(scaled, "writes ", shown(to.name), " with scale ", to.scale, ", need 1 / levels, levels ", to.hi, " or more");
    return from.shape;
}

void Softmax::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    const int64_t levels = softmax_levels(to.scale, to.hi);
    const size_t last = from.shape.size() - 1;
    const int64_t count = from.shape[last], step = from.strides[last], stride = to.strides[last];
    const int bits = dqt_row_bits(count);
    Walk<2> rows(from.shape.first(last), {from.strides, to.strides});
    do {
        const int64_t p = rows.at[0], q = rows.at[1];
        int64_t most = from.get(p), total = 0;
        for (int64_t i = 1; i < count; ++i) most = std::max<int64_t>(most, from.get(p + i * step));
        const auto power = [&](int64_t i) {
            return dqt_power(most - from.get(p + i * step), m, static_cast<int>(shift), bits, kPowers.table);
        };
        for (int64_t i = 0; i < count; ++i) total += power(i);
        const int64_t factor = dqt_row_factor(total, bits, levels);
        for (int64_t i = 0; i < count; ++i)
            to.set(q + i * stride, dqt_clamp(dqt_probability(power(i), factor, bits), 0, to.hi));
    } while (rows.next());
}

}  // namespace dqt
