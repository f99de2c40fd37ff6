#include "../rows.h"

namespace dqt {

bool execute(const Context& run, const Rescale& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    if (!same_layout(in, out)) return false;
    const auto kernel = run.kernels.integers.rescale[!in.coded][!out.coded];
    const Rounding all{op.m.data.data(), op.c.data.data(), static_cast<int32_t>(op.shift), static_cast<int32_t>(op.lo),
                       static_cast<int32_t>(op.hi)};
    const bool single = op.m.data.size() == 1;
    // An image's channels are its first dimension; of any other value each has some rows.
    const int64_t rows = out.planar || single ? 0 : out.shape.size() > 1 ? out.height / out.shape[0] : 1;
    const bool by_element = !single && (out.planar || out.shape.size() == 1);
    each_row(run, out, [&](int64_t n, int64_t y) {
        Rounding r = all;
        if (!single && !by_element) r.m += y / rows, r.c += y / rows;
        for (int64_t x = 0; x < out.width; ++x) kernel(in.at(n, y, x), out.at(n, y, x), out.channels, r, !by_element);
    });
    return true;
}

}  // namespace dqt
