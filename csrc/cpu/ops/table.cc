#include "../rows.h"

namespace dqt {

void look_up_pixels(const Kernels& kernels, const Tensor& t, const uint8_t* in, uint8_t* out, int64_t pixels,
                    const uint8_t* table) {
    if (t.pixel == t.channels) return kernels.table(in, out, pixels * t.channels, table);
    for (int64_t x = 0; x < pixels; ++x) kernels.table(in + x * t.pixel, out + x * t.pixel, t.channels, table);
}

void execute(const Context& run, const Table& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    uint8_t table[256] = {};
    std::ranges::copy(op.table.data, table);
    if (same_layout(in, out)) {
        each_row(run, out, [&](int64_t n, int64_t y) {
            look_up_pixels(run.kernels, out, in.at(n, y, 0), out.at(n, y, 0), out.width, table);
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const uint8_t* p = in.at(n, 0, 0);
        uint8_t* q = out.at(n, 0, 0);
        each_element(out.shape, {{in}, {out}}, [&](const int64_t* at) { q[at[1]] = table[p[at[0]]]; });
    });
}

}  // namespace dqt
