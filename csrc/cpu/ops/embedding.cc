#include "../../arith.h"
#include "../rows.h"

namespace dqt {

bool execute(const Context& run, const Embedding& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    if (in.planar || out.planar) return false;
    const int64_t features = out.channels;
    const Rounding all{op.m.data.data(), op.c.data.data(), static_cast<int32_t>(op.shift), static_cast<int32_t>(op.lo),
                       static_cast<int32_t>(op.hi)};
    const bool single = op.m.data.size() == 1;
    const auto embed = run.kernels.rows.embed[!out.coded];
    each_row(run, out, [&](int64_t n, int64_t y) {  // one index of `in` to a row of `out`
        const uint8_t* from = in.at(n, y / in.channels, 0) + y % in.channels * in.element();
        const int64_t q = in.coded ? *from : *reinterpret_cast<const int32_t*>(from);
        Rounding r = all;
        if (!single) r.m += q, r.c += q;
        embed(op.table.data.data() + q * features, out.at(n, y, 0), features, r);
    });
    return true;
}

}  // namespace dqt
