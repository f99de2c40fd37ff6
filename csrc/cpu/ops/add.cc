#include "../../arith.h"
#include "../rows.h"

namespace dqt {

Residual residual(const Add& op, bool first) {
    return {first ? op.k1 : op.k2, first ? op.k2 : op.k1, op.k3, static_cast<int32_t>(op.shift),
            static_cast<int32_t>(op.lo), static_cast<int32_t>(op.hi)};
}

void execute(const Context& run, const Add& op) {
    const Tensor &a = run.arena.values[op.a], &b = run.arena.values[op.b], &out = run.arena.values[op.out];
    if (same_layout(a, out) && same_layout(b, out)) {
        const Residual k = residual(op, true);
        const bool dense = out.pixel == out.channels;
        each_row(run, out, [&](int64_t n, int64_t y) {
            const int64_t pixels = dense ? 1 : out.width, count = dense ? out.width * out.channels : out.channels;
            for (int64_t x = 0; x < pixels; ++x) run.kernels.add(a.at(n, y, x), b.at(n, y, x), out.at(n, y, x), count, k);
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const uint8_t *p = a.at(n, 0, 0), *q = b.at(n, 0, 0);
        uint8_t* to = out.at(n, 0, 0);
        each_element(out.shape, {broadcast(a, out), broadcast(b, out), {out}}, [&](const int64_t* at) {
            const int64_t v = op.k1 * p[at[0]] + op.k2 * q[at[1]] + op.k3;
            to[at[2]] = static_cast<uint8_t>(dqt_clamp(v >> op.shift, op.lo, op.hi));
        });
    });
}

}  // namespace dqt
