#include "../../arith.h"
#include "../rows.h"

namespace dqt {

void execute(const Context& run, const Rescale& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const Requant r(op);
    const bool single = r.m.data.size() == 1;
    const auto one = [&](uint8_t q, int64_t c) {
        const size_t k = single ? 0 : c;
        return static_cast<uint8_t>(dqt_requantize(q, r.m.data[k], r.c.data[k], r.shift, r.lo, r.hi));
    };
    if (out.planar && in.planar) {
        each_row(run, out, [&](int64_t n, int64_t y) {
            for (int64_t x = 0; x < out.width; ++x) {
                const uint8_t* p = in.at(n, y, x);
                uint8_t* to = out.at(n, y, x);
                for (int64_t c = 0; c < out.channels; ++c) to[c] = one(p[c], c);
            }
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const uint8_t* p = in.at(n, 0, 0);
        uint8_t* to = out.at(n, 0, 0);
        const int64_t inner = out.size() / out.shape[0];
        int64_t i = 0;
        each_element(out.shape, {{in}, {out}}, [&](const int64_t* at) { to[at[1]] = one(p[at[0]], i++ / inner); });
    });
}

}  // namespace dqt
