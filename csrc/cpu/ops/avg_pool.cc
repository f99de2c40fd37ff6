#include "../../arith.h"
#include "../rows.h"

namespace dqt {

void execute(const Context& run, const AvgPool& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const Requant r(op);
    constexpr int64_t CHUNK = 64;
    constexpr int FIT = 257;  // bytes whose sum fits 16 bits
    each_row(run, out, [&](int64_t n, int64_t y) {
        for (int64_t x = 0; x < out.width; ++x) {
            const int64_t k = r.m.data.size() == 1 ? 0 : y * out.width + x;
            const int32_t *rows = op.rows.data.data() + 2 * y, *columns = op.columns.data.data() + 2 * x;
            const int64_t area = int64_t{rows[1] - rows[0]} * (columns[1] - columns[0]);
            for (int64_t first = 0; first < out.channels; first += CHUNK) {
                const int64_t some = std::min(CHUNK, out.channels - first);
                int64_t acc[CHUNK] = {};
                uint16_t part[CHUNK] = {};
                int fit = FIT;
                const auto gather = [&] {
                    for (int64_t c = 0; c < CHUNK; ++c) acc[c] += part[c], part[c] = 0;
                    fit = FIT;
                };
                for (int i = rows[0]; i < rows[1]; ++i)
                    for (int j = columns[0]; j < columns[1]; ++j) {
                        const uint8_t* p = in.at(n, i, j) + first;
                        for (int64_t c = 0; c < some; ++c) part[c] = static_cast<uint16_t>(part[c] + p[c]);
                        if (--fit == 0) gather();
                    }
                gather();
                uint8_t* to = out.at(n, y, x) + first;
                for (int64_t c = 0; c < some; ++c)
                    to[c] = static_cast<uint8_t>(
                        dqt_requantize(acc[c] - area * in.zero, r.m.data[k], r.c.data[k], r.shift, r.lo, r.hi));
            }
        }
    });
}

}  // namespace dqt
