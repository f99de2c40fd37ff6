#include "../../arith.h"
#include "../../ir/scope.h"
#include "../../ir/tables.h"
#include "../rows.h"

namespace dqt {

int64_t softmax_scratch(const Program& program, int threads) {
    int64_t most = 0;
    for (const Op& op : program.ops)
        if (const auto* softmax = std::get_if<Softmax>(&op))
            most = std::max(most, round_up(4 * program.values[softmax->x].shape.back(), LINE));
    return most * threads;
}

bool execute(const Context& run, const Softmax& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    if (in.planar || out.planar) return false;
    const int64_t count = in.channels, bytes = round_up(4 * count, LINE);
    const Value& to = run.program.values[op.out];
    const SoftmaxRow row{kPowers.table, static_cast<int32_t>(op.m), static_cast<int32_t>(op.shift), dqt_row_bits(count),
                         ir::softmax_levels(to.scale, to.hi), to.hi};
    const auto kernel = run.kernels.rows.softmax[!in.coded][!out.coded];
    run.arena.threads.each([&](int t) {
        auto* room = reinterpret_cast<int32_t*>(run.arena.scratch.data() + t * bytes);
        const Range range = split(run.count * in.height, t, run.arena.threads.count());
        for (int64_t i = range.first; i < range.last; ++i) {
            const int64_t n = i / in.height, y = i % in.height;
            kernel(in.at(n, y, 0), out.at(n, y, 0), count, row, room);
        }
    });
    return true;
}

}  // namespace dqt
