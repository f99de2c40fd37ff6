// Products of two activations, matrix by matrix of the second operand.
#include "../../arith.h"
#include "../products.h"
#include "../rows.h"

namespace dqt {
void store_products(const Context& run, const MatMul& op, const Tensor& out, const int32_t* sums, uint8_t* to, int64_t step,
                    int64_t count) {
    const auto m = static_cast<int32_t>(op.m);
    const Rounding r{&m, &op.c, static_cast<int32_t>(op.shift), static_cast<int32_t>(op.lo), static_cast<int32_t>(op.hi)};
    if (step == out.element()) return run.kernels.integers.rescale[1][!out.coded](sums, to, count, r, true);
    for (int64_t j = 0; j < count; ++j, to += step) {
        const int32_t y = dqt_requantize(sums[j], op.m, op.c, r.shift, r.lo, r.hi);
        if (out.coded)
            *to = static_cast<uint8_t>(y);
        else
            *reinterpret_cast<int32_t*>(to) = y;
    }
}

int64_t mat_mul_scratch(const Program& program, int threads) {
    int64_t most = 0;
    for (const Op& op : program.ops)
        if (const auto* product = std::get_if<MatMul>(&op))
            most = std::max(most, ProductSizes(program.values[product->a].shape, program.values[product->b].shape).bytes());
    return round_up(most, LINE) * threads;
}

void multiply_matrices(const Context& run, const MatMul& op) {
    const Matrices a(run, op.a), b(run, op.b), out(run, op.out);
    const ProductSizes sizes(a.t.shape, b.t.shape);
    const std::span<const int64_t> shape = out.t.shape;
    const int64_t count = product(shape.first(shape.size() - 2)), blocks = split_up(sizes.rows, sizes.at_once);
    run.arena.threads.each([&](int t) {
        const Range range = split(run.count * count * blocks, t, run.arena.threads.count());
        Multiplication product(run, op, sizes, run.arena.scratch.data() + t * round_up(sizes.bytes(), LINE));
        for (int64_t at = range.first; at < range.last; ++at) {
            const int64_t n = at / blocks / count, i = at / blocks % count, first = at % blocks * sizes.at_once;
            const auto [left, right] = widths_of(run, op.layer, n);
            product.set_widths(left, right);
            product.take(b.matrix(shape, n, i));
            const int64_t some = std::min(sizes.at_once, sizes.rows - first);
            const int32_t* sums = product.multiply(a.matrix(shape, n, i) + first * a.row, a.row, a.step, some);
            uint8_t* to = out.matrix(shape, n, i) + first * out.row;
            for (int64_t r = 0; r < some; ++r)
                store_products(run, op, out.t, sums + r * sizes.padded, to + r * out.row, out.step, sizes.columns);
        }
    });
}

}  // namespace dqt
