// Products of two activations: pairs of 16-bit differences from the zero points, one matrix of the second operand at a time.
#include <cstring>

#include "../../arith.h"
#include "../rows.h"

namespace dqt {
namespace {

constexpr int64_t ROWS = 32;  // of the first operand, that are multiplied at once

// One operand, and how its matrices lie.
struct Matrices {
    const Tensor& t;
    int64_t row, step;  // bytes between neighbours along its last two dimensions

    explicit Matrices(const Tensor& t) : t(t), row(t.stride(t.shape.size() - 2)), step(t.stride(t.shape.size() - 1)) {}

    // Where matrix `i` of sample `n` begins, in row-major order of those of `out`.
    uint8_t* matrix(const Tensor& out, int64_t n, int64_t i) const {
        const Strides strides = broadcast(t, out);
        int64_t offset = 0;
        for (size_t d = out.shape.size() - 2; d-- > 0; i /= out.shape[d]) offset += i % out.shape[d] * strides[d];
        return t.at(n, 0, 0) + offset;
    }
};

// T_b of every code less the zero point.
struct Differences {
    int16_t of[256];
    int zero;
    bool whole;  // T_b leaves codes as they are

    Differences(int n, int width, int zero) : zero(zero), whole(width == n) {
        for (int q = 0; q < 1 << n; ++q)
            of[q] = static_cast<int16_t>(dqt_narrow_activation(static_cast<uint8_t>(q), n, n - width) - zero);
    }
    // Every second number of `to`.
    void take(const uint8_t* from, int64_t step, int16_t* to, int64_t count) const {
        if (whole && step == 1)
            for (int64_t i = 0; i < count; ++i) to[2 * i] = static_cast<int16_t>(from[i] - zero);
        else
            for (int64_t i = 0; i < count; ++i) to[2 * i] = of[from[i * step]];
    }
    void take_row(const uint8_t* from, int64_t step, int16_t* to, int64_t count) const {
        if (whole && step == 1)
            for (int64_t i = 0; i < count; ++i) to[i] = static_cast<int16_t>(from[i] - zero);
        else
            for (int64_t i = 0; i < count; ++i) to[i] = of[from[i * step]];
    }
};

// Sizes of a product, and the room that a thread needs for it.
struct Sizes {
    int64_t rows, depth, columns, pairs, padded;

    Sizes(std::span<const int64_t> a, std::span<const int64_t> b)
        : rows(a[a.size() - 2]), depth(a.back()), columns(b.back()), pairs(split_up(depth, 2)),
          padded(round_up(columns, Products::COLUMNS)) {}

    int64_t of_b() const { return round_up(4 * pairs * padded, LINE); }
    int64_t of_a() const { return round_up(4 * pairs * ROWS, LINE); }
    int64_t bytes() const { return of_b() + of_a() + round_up(4 * ROWS * padded, LINE); }
};

// The product of one pair of matrices.
struct Unit {
    const Context& run;
    const MatMul& op;
    const Sizes& sizes;
    const Matrices &a, &b, &out;
    uint8_t* room;

    void multiply(int64_t n, int64_t i, const Differences& first, const Differences& second) const {
        auto* right = reinterpret_cast<int16_t*>(room);
        auto* left = reinterpret_cast<int16_t*>(room + sizes.of_b());
        auto* sums = reinterpret_cast<int32_t*>(room + sizes.of_b() + sizes.of_a());
        std::memset(right, 0, static_cast<size_t>(sizes.of_b() + sizes.of_a()));
        const uint8_t* from = b.matrix(out.t, n, i);
        for (int64_t k = 0; k < sizes.depth; ++k)
            second.take(from + k * b.row, b.step, right + k / 2 * 2 * sizes.padded + k % 2, sizes.columns);
        from = a.matrix(out.t, n, i);
        uint8_t* to = out.matrix(out.t, n, i);
        for (int64_t r = 0; r < sizes.rows; r += ROWS) {
            const int64_t some = std::min(ROWS, sizes.rows - r);
            for (int64_t k = 0; k < some; ++k)
                first.take_row(from + (r + k) * a.row, a.step, left + k * 2 * sizes.pairs, sizes.depth);
            run.kernels.rows.products({left, right, sums, some, sizes.pairs, sizes.padded});
            for (int64_t k = 0; k < some; ++k) store(sums + k * sizes.padded, to + (r + k) * out.row);
        }
    }

    void store(const int32_t* sums, uint8_t* to) const {
        const auto m = static_cast<int32_t>(op.m);
        const Rounding r{&m, &op.c, static_cast<int32_t>(op.shift), static_cast<int32_t>(op.lo), static_cast<int32_t>(op.hi)};
        if (out.step == out.t.element()) return run.kernels.integers.rescale[1][!out.t.coded](sums, to, sizes.columns, r, true);
        for (int64_t j = 0; j < sizes.columns; ++j, to += out.step) {
            const int32_t y = dqt_requantize(sums[j], op.m, op.c, r.shift, r.lo, r.hi);
            if (out.t.coded)
                *to = static_cast<uint8_t>(y);
            else
                *reinterpret_cast<int32_t*>(to) = y;
        }
    }
};

}  // namespace

int64_t mat_mul_scratch(const Program& program, int threads) {
    int64_t most = 0;
    for (const Op& op : program.ops)
        if (const auto* product = std::get_if<MatMul>(&op))
            most = std::max(most, Sizes(program.values[product->a].shape, program.values[product->b].shape).bytes());
    return most * threads;
}

void multiply_matrices(const Context& run, const MatMul& op) {
    const auto& values = run.arena.values;
    const Matrices a(values[op.a]), b(values[op.b]), out(values[op.out]);
    const Sizes sizes(a.t.shape, b.t.shape);
    const int64_t count = product(out.t.shape.first(out.t.shape.size() - 2));
    const int n = run.program.space.master;
    const int8_t* chosen = run.arena.chosen.data() + op.layer * run.count;
    const bool automatic = run.widths.automatic && op.layer < static_cast<int>(run.program.space.layers.size());
    run.arena.threads.each([&](int t) {
        const Unit unit{run, op, sizes, a, b, out, run.arena.scratch.data() + t * sizes.bytes()};
        const Range range = split(run.count * count, t, run.arena.threads.count());
        for (int64_t i = range.first; i < range.last; ++i) {
            const int own = automatic ? chosen[i / count] : 0;  // 0: this layer's width is not chosen
            const Differences first(n, own ? own : run.widths.weight[op.layer], a.t.zero);
            const Differences second(n, own ? own : run.widths.activation[op.layer], b.t.zero);
            unit.multiply(i / count, i % count, first, second);
        }
    });
}

}  // namespace dqt
