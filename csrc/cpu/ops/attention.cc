// Attention, some rows at a time: scores, what is added to them, their softmax, and the product of these shares with the
// values. The whole matrix of scores is nowhere.
#include "../../arith.h"
#include "../../ir/scope.h"
#include "../../ir/tables.h"
#include "../products.h"
#include "../rows.h"

namespace dqt {
namespace {

// The room of one thread: two products, rows of shares, and two rows of scores.
struct Room {
    ProductSizes first, second;
    int64_t share, row;              // bytes of a row of shares, of a row of integers

    Room(const Program& program, const MatMul& scores, const MatMul& second)
        : first(program.values[scores.a].shape, program.values[scores.b].shape),
          second(program.values[second.a].shape, program.values[second.b].shape),
          share(round_up(first.columns, LINE)), row(round_up(4 * first.columns, LINE)) {
        this->second.at_once = first.at_once;
    }
    int64_t shares() const { return first.at_once * share; }
    int64_t bytes() const { return round_up(first.bytes() + second.bytes(), LINE) + shares() + 3 * row; }
};

Rounding rounding_of(const MatMul& op, const int32_t& m) {
    return {&m, &op.c, static_cast<int32_t>(op.shift), static_cast<int32_t>(op.lo), static_cast<int32_t>(op.hi)};
}

// What makes shares of the sums of a row.
class Shares {
  public:
    Shares(const Context& run, const Attention& parts, uint8_t* room, int64_t row)
        : run_(run), scores_(std::get<MatMul>(run.program.ops[parts.scores])),
          softmax_(std::get<Softmax>(run.program.ops[parts.softmax])),
          mask_(parts.mask >= 0 ? &std::get<Add>(run.program.ops[parts.mask]) : nullptr), room_(room), row_(row),
          m_(static_cast<int32_t>(scores_.m)), k_(mask_ ? residual(*mask_, true) : Residual()) {}

    // `r`: the row in the matrix of scores `i` of sample `n`.
    void row(const int32_t* sums, int64_t n, int64_t i, int64_t r, uint8_t* shares) const {
        const auto& values = run_.arena.values;
        const int64_t count = values[scores_.out].shape.back();
        bool coded = values[scores_.out].coded;
        uint8_t *scores = room_, *masked = room_ + row_;
        run_.kernels.integers.rescale[1][!coded](sums, scores, count, rounding_of(scores_, m_), true);
        if (mask_) {
            const bool first = mask_->a == scores_.out;
            const Matrices other(run_, first ? mask_->b : mask_->a);
            const bool repeats = other.t.shape[other.t.shape.size() - 2] == 1;
            const uint8_t* p = other.matrix(values[scores_.out].shape, n, i) + (repeats ? 0 : r * other.row);
            const bool a = first ? coded : other.t.coded, b = first ? other.t.coded : coded;
            const uint8_t *left = first ? scores : p, *right = first ? p : scores;
            coded = values[mask_->out].coded;
            if (a && b && coded)
                run_.kernels.add(left, right, masked, count, k_);
            else
                run_.kernels.integers.add[!a][!b][!coded](left, right, masked, count, k_);
            std::swap(scores, masked);
        }
        const Value& out = run_.program.values[softmax_.out];
        const SoftmaxRow row{kPowers.table, static_cast<int32_t>(softmax_.m), static_cast<int32_t>(softmax_.shift),
                             dqt_row_bits(count), ir::softmax_levels(out.scale, out.hi), out.hi};
        run_.kernels.rows.softmax[!coded][0](scores, shares, count, row, reinterpret_cast<int32_t*>(room_ + 2 * row_));
    }

  private:
    const Context& run_;
    const MatMul& scores_;
    const Softmax& softmax_;
    const Add* mask_;
    uint8_t* room_;                  // of three rows
    int64_t row_;
    int32_t m_;
    Residual k_;
};

}  // namespace

int64_t attention_scratch(const Program& program, const MemoryPlan& plan, int threads) {
    int64_t most = 0;
    for (size_t i = 0; i < program.ops.size(); ++i)
        if (plan.attention[i].any())
            most = std::max(most, Room(program, std::get<MatMul>(program.ops[plan.attention[i].scores]),
                                       std::get<MatMul>(program.ops[i])).bytes());
    return most * threads;
}

void attend(const Context& run, const MatMul& second, const Attention& parts) {
    const auto& scores = std::get<MatMul>(run.program.ops[parts.scores]);
    const Room room(run.program, scores, second);
    const Matrices a(run, scores.a), b(run, scores.b), values(run, second.b), out(run, second.out);
    const std::span<const int64_t> shape = out.t.shape, between = run.arena.values[scores.out].shape;
    const int64_t count = product(shape.first(shape.size() - 2)), blocks = split_up(room.first.rows, room.first.at_once);
    run.arena.threads.each([&](int t) {
        const Range range = split(run.count * count * blocks, t, run.arena.threads.count());
        uint8_t* memory = run.arena.scratch.data() + t * room.bytes();
        uint8_t* shares = memory + round_up(room.first.bytes() + room.second.bytes(), LINE);
        Multiplication first(run, scores, room.first, memory);
        Multiplication last(run, second, room.second, memory + room.first.bytes());
        const Shares make(run, parts, shares + room.shares(), room.row);
        for (int64_t at = range.first; at < range.last; ++at) {
            const int64_t n = at / blocks / count, i = at / blocks % count, row = at % blocks * room.first.at_once;
            const auto widths = widths_of(run, scores.layer, n), after = widths_of(run, second.layer, n);
            first.set_widths(widths.first, widths.second);
            last.set_widths(after.first, after.second);
            first.take(b.matrix(between, n, i));
            last.take(values.matrix(shape, n, i));
            const int64_t some = std::min(room.first.at_once, room.first.rows - row);
            const int32_t* sums = first.multiply(a.matrix(between, n, i) + row * a.row, a.row, a.step, some);
            for (int64_t r = 0; r < some; ++r)
                make.row(sums + r * room.first.padded, n, i, row + r, shares + r * room.share);
            sums = last.multiply_own(shares, room.share, some);
            uint8_t* to = out.matrix(shape, n, i) + row * out.row;
            for (int64_t r = 0; r < some; ++r)
                store_products(run, second, out.t, sums + r * room.second.padded, to + r * out.row, out.step,
                               room.second.columns);
        }
    });
}

}  // namespace dqt
