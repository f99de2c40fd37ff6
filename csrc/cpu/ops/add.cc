#include "../../arith.h"
#include "../rows.h"

namespace dqt {
namespace {

// Row by row where all three lie alike; with nothing between their pixels, whole rows at once.
template <class F>
void each_run(const Context& run, const Tensor& a, const Tensor& b, const Tensor& out, const F& f) {
    const auto dense = [](const Tensor& t) { return t.pixel == t.channels * t.element(); };
    const bool whole = dense(a) && dense(b) && dense(out);
    const int64_t pixels = whole ? 1 : out.width, count = whole ? out.width * out.channels : out.channels;
    each_row(run, out, [&](int64_t n, int64_t y) {
        for (int64_t x = 0; x < pixels; ++x) f(a.at(n, y, x), b.at(n, y, x), out.at(n, y, x), count);
    });
}

}  // namespace

Residual residual(const Add& op, bool first) {
    return {first ? op.k1 : op.k2, first ? op.k2 : op.k1, op.k3, static_cast<int32_t>(op.shift),
            static_cast<int32_t>(op.lo), static_cast<int32_t>(op.hi)};
}

bool execute(const Context& run, const Add& op) {
    const Tensor &a = run.arena.values[op.a], &b = run.arena.values[op.b], &out = run.arena.values[op.out];
    if (!same_layout(a, out) || !same_layout(b, out)) return false;
    const Residual k = residual(op, true);
    if (a.coded && b.coded && out.coded) {
        each_run(run, a, b, out, [&](auto* p, auto* q, auto* to, int64_t count) { run.kernels.add(p, q, to, count, k); });
    } else {
        const auto kernel = run.kernels.integers.add[!a.coded][!b.coded][!out.coded];
        each_run(run, a, b, out, [&](auto* p, auto* q, auto* to, int64_t count) { kernel(p, q, to, count, k); });
    }
    return true;
}

}  // namespace dqt
