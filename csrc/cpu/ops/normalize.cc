#include "../../arith.h"
#include "../../ir/scope.h"
#include "../../ir/tables.h"
#include "../rows.h"

namespace dqt {

// Rows that lie side by side: parts of the last dimension.
bool execute(const Context& run, const Normalize& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const size_t last = in.shape.size() - 1;
    const bool rows = !in.planar && !out.planar && op.axis == static_cast<int64_t>(last);
    if (!rows || product(std::span(op.m.shape).first(last)) != 1) return false;
    const int64_t count = in.channels / op.groups;
    const Value& value = run.program.values[op.x];
    NormRow all{};
    all.values = static_cast<int32_t>(count);
    all.m = op.m.data.data();
    all.c = op.c.data.data();
    all.zero = in.zero;
    all.shift = static_cast<int32_t>(op.shift);
    all.lo = static_cast<int32_t>(op.lo);
    all.hi = static_cast<int32_t>(op.hi);
    all.single = op.m.shape[last] == 1;
    const int64_t most = std::max(value.hi - value.zero, value.zero - value.lo);
    const bool shifts = dqt_row_shift(most, count) > 0;
    const auto added = static_cast<int64_t>(ir::added(op, count));
    const auto reach = run.kernels.rows.reach[!in.coded];
    const auto sums = run.kernels.rows.sums[!in.coded];
    const auto normalize = run.kernels.rows.normalize[!in.coded][!out.coded];
    each_row(run, in, [&](int64_t n, int64_t y) {
        for (int64_t first = 0; first < in.channels; first += count) {
            const uint8_t* from = in.at(n, y, 0) + first * in.element();
            NormRow row = all;
            int64_t squares;
            row.k = shifts ? dqt_row_shift(reach(from, count, in.zero), count) : 0;
            sums(from, count, in.zero, row.k, &row.total, &squares);
            if (!op.center) row.total = 0;
            row.root = dqt_inverse_root(dqt_energy(squares, row.total, count, added, row.k), kRoots.table);
            if (!row.single) row.m += first, row.c += first;
            normalize(from, out.at(n, y, 0) + first * out.element(), count, row);
        }
    });
    return true;
}

}  // namespace dqt
