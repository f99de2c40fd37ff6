#include "../rows.h"

namespace dqt {

void look_up_pixels(const Kernels& kernels, const Tensor& t, const uint8_t* in, uint8_t* out, int64_t pixels,
                    const uint8_t* table) {
    if (t.pixel == t.channels) return kernels.table(in, out, pixels * t.channels, table);
    for (int64_t x = 0; x < pixels; ++x) kernels.table(in + x * t.pixel, out + x * t.pixel, t.channels, table);
}

namespace {

// The dimensions of a tensor after the first.
struct Inner {
    const Tensor& tensor;
    int64_t operator[](size_t d) const { return tensor.stride(d + 1); }
};

// A table for each index of the first dimension.
void by_channel(const Context& run, const Table& op, const Tensor& in, const Tensor& out) {
    const int64_t entries = op.table.shape[1];
    each_sample(run, [&](int64_t n) {
        const uint8_t *p = in.at(n, 0, 0), *table = op.table.data.data();
        uint8_t* q = out.at(n, 0, 0);
        for (int64_t c = 0; c < out.shape[0]; ++c, p += in.stride(0), q += out.stride(0), table += entries) {
            Walk<2> walk(out.shape.subspan(1), {Inner{in}, Inner{out}});
            do q[walk.at[1]] = table[p[walk.at[0]]];
            while (walk.next());
        }
    });
}

}  // namespace

void execute(const Context& run, const Table& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    if (op.table.shape.size() == 2) return by_channel(run, op, in, out);
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
