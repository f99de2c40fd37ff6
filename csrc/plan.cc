// The memory plan: which instructions run, where each value lies, which residual a convolution adds itself.
#include <algorithm>

#include "engine.h"

namespace dqt {
namespace {

constexpr int64_t INT32_LIMIT = int64_t{1} << 31;

template <class... F>
struct Match : F... {
    using F::operator()...;
};

std::vector<int> reads(const Op& op) {
    return std::visit(Match{[](const Quantize&) { return std::vector<int>{}; },
                            [](const Concat& each) { return each.xs; },
                            [](const Add& each) { return std::vector<int>{each.a, each.b}; },
                            [](const Multiply& each) { return std::vector<int>{each.a, each.b}; },
                            [](const auto& each) { return std::vector<int>{each.x}; }},
                      op);
}

std::vector<char> needed(const Program& program, bool automatic) {
    std::vector<char> result(program.ops.size()), wanted(program.values.size());
    for (size_t i = program.ops.size(); i-- > 0;) {
        const Op& op = program.ops[i];
        const bool last = std::holds_alternative<Dequantize>(op) || (automatic && std::holds_alternative<Choose>(op));
        if (!last && (writes(op) < 0 || !wanted[writes(op)])) continue;
        result[i] = 1;
        for (const int v : reads(op)) wanted[v] = 1;
    }
    return result;
}

void widen_border(Tensor& t, const Conv& op) {
    t.top = std::max(t.top, op.padding[0]);
    t.bottom = std::max(t.bottom, op.padding[1]);
    t.left = std::max(t.left, op.padding[2]);
    t.right = std::max(t.right, op.padding[3]);
}

// Whether the pixels of what Quantize writes lie side by side with nothing between them, because convolutions alone read
// them and a row of taps is fewer bytes so: 7 taps of 3 channels are 21 bytes, not 28.
bool reads_dense_rows(const Program& program, const std::vector<std::vector<int>>& reads, int value) {
    const int64_t channels = program.values[value].shape[0];
    bool fewer = false;
    for (size_t i = 0; i < program.ops.size(); ++i) {
        if (std::ranges::find(reads[i], value) == reads[i].end()) continue;
        const auto* conv = std::get_if<Conv>(&program.ops[i]);
        if (!conv || conv->groups > 1 || conv->dilation[1] > 1) return false;
        const int64_t taps = conv->weight.shape[3];
        fewer |= round_up(taps * channels, 4) < taps * round_up(channels, 4);
    }
    return fewer;
}

std::vector<Tensor> layouts(const Program& program, const std::vector<std::vector<int>>& reads) {
    std::vector<Tensor> result(program.values.size());
    for (size_t v = 0; v < result.size(); ++v) {
        Tensor& t = result[v];
        const Value& value = program.values[v];
        t.shape = value.shape;
        t.zero = value.zero;
        t.wide = value.wide;
        if (value.shape.size() != 3) {
            t = as_matrix(t);
            continue;
        }
        t.planar = true;
        t.channels = value.shape[0];
        t.height = value.shape[1];
        t.width = value.shape[2];
    }
    for (const Op& op : program.ops)
        if (const auto* conv = std::get_if<Conv>(&op)) widen_border(result[conv->x], *conv);
    for (Tensor& t : result)
        if (t.planar) t.lay_out(t.pixel_bytes());
    Tensor& input = result[writes(program.ops.front())];
    if (input.planar && input.channels < 4 && reads_dense_rows(program, reads, writes(program.ops.front())))
        input.lay_out(input.channels);
    return result;
}

// The one instruction after `i` that reads `value`, or -1.
int only_reader(const Program& program, const std::vector<char>& live, int value, size_t i) {
    int found = -1;
    for (size_t j = i + 1; j < program.ops.size(); ++j) {
        const std::vector<int> in = live[j] ? reads(program.ops[j]) : std::vector<int>();
        if (std::find(in.begin(), in.end(), value) == in.end()) continue;
        if (found >= 0) return -1;
        found = static_cast<int>(j);
    }
    return found;
}

// Whether convolution `i` may add the residual itself: of the same shape, with the other operand already there.
bool adds(const Program& program, const std::vector<int>& defined, const Conv& conv, const Add& add, int i) {
    if (is_depthwise(conv, program) || add.a == add.b) return false;
    const int other = add.a == conv.out ? add.b : add.a;
    const bool same = program.values[other].shape == program.values[add.out].shape &&
                      program.values[conv.out].shape == program.values[add.out].shape;
    const bool fits = std::abs(add.k1) < INT32_LIMIT && std::abs(add.k2) < INT32_LIMIT;
    return same && fits && defined[other] < i;
}

// The Add or the Table that convolution `i` may do itself, or -1.
int ending_of(const Program& program, const std::vector<char>& live, const std::vector<int>& defined, size_t i) {
    const auto* conv = std::get_if<Conv>(&program.ops[i]);
    if (!conv || program.values[conv->out].wide) return -1;
    const int last = only_reader(program, live, conv->out, i);
    if (last < 0 || std::holds_alternative<Table>(program.ops[last])) return last;
    const auto* add = std::get_if<Add>(&program.ops[last]);
    return add && adds(program, defined, *conv, *add, static_cast<int>(i)) ? last : -1;
}

std::vector<int> fuse(const Program& program, const std::vector<char>& live) {
    std::vector<int> defined(program.values.size(), -1), fused(program.ops.size(), -1);
    for (size_t i = 0; i < program.ops.size(); ++i)
        if (writes(program.ops[i]) >= 0) defined[writes(program.ops[i])] = static_cast<int>(i);
    for (size_t i = 0; i < program.ops.size(); ++i) {
        if (!live[i] || fused[i] != -1) continue;
        const int last = ending_of(program, live, defined, i);
        if (last < 0 || fused[last] == -2) continue;
        fused[i] = last;
        fused[last] = -2;
        defined[writes(program.ops[last])] = static_cast<int>(i);
    }
    return fused;
}

struct Life {
    int value, first, last;
};

std::vector<Life> lives(const Program& program, const std::vector<char>& live, const std::vector<int>& fused) {
    std::vector<Life> result(program.values.size(), {-1, -1, -1});
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        if (!live[i] || fused[i] == -2) continue;
        const int out = fused[i] >= 0 ? writes(program.ops[fused[i]]) : writes(program.ops[i]);
        if (out >= 0) result[out] = {out, i, i};
        std::vector<int> in = reads(program.ops[i]);
        if (const auto* add = fused[i] >= 0 ? std::get_if<Add>(&program.ops[fused[i]]) : nullptr)
            in.push_back(add->a == writes(program.ops[i]) ? add->b : add->a);
        for (const int v : in) result[v].last = i;
    }
    return result;
}

// First fit, largest first: a value goes to the lowest place that no value alive at the same time holds.
int64_t place(const std::vector<Tensor>& values, std::vector<Life> all, std::vector<int64_t>& offset) {
    std::erase_if(all, [](const Life& life) { return life.value < 0; });
    std::stable_sort(all.begin(), all.end(),
                     [&](const Life& a, const Life& b) { return values[a.value].image > values[b.value].image; });
    int64_t total = 0;
    std::vector<Life> placed;
    for (const Life& life : all) {
        std::vector<std::pair<int64_t, int64_t>> taken;
        for (const Life& other : placed)
            if (life.first <= other.last && other.first <= life.last)
                taken.emplace_back(offset[other.value], offset[other.value] + values[other.value].image);
        std::sort(taken.begin(), taken.end());
        int64_t at = 0;
        for (const auto& [first, last] : taken) {
            if (at + values[life.value].image <= first) break;
            at = std::max(at, last);
        }
        offset[life.value] = at;
        total = std::max(total, at + values[life.value].image);
        placed.push_back(life);
    }
    return total;
}

}  // namespace

Tensor as_matrix(const Tensor& t) {
    Tensor result;
    result.shape = t.shape;
    result.zero = t.zero;
    result.wide = t.wide;
    result.channels = t.shape.empty() ? 1 : t.shape.back();  // a number for each sample
    result.height = product(t.shape) / result.channels;
    result.lay_out(result.pixel_bytes());
    return result;
}

int writes(const Op& op) {
    return std::visit(Match{[](const Choose&) { return -1; }, [](const Dequantize&) { return -1; },
                            [](const auto& each) { return each.out; }},
                      op);
}

bool is_depthwise(const Conv& op, const Program& program) {
    return op.groups > 1 && op.weight.shape[1] == 1 && op.weight.shape[0] == op.groups &&
           !program.values[op.out].wide;
}

MemoryPlan make_plan(const Program& program, bool automatic) {
    MemoryPlan plan;
    plan.live = needed(program, automatic);
    for (const Op& op : program.ops) plan.reads.push_back(reads(op));
    plan.values = layouts(program, plan.reads);
    plan.fused = fuse(program, plan.live);
    plan.offset.assign(program.values.size(), 0);
    plan.bytes = place(plan.values, lives(program, plan.live, plan.fused), plan.offset);
    for (const Op& op : program.ops) {
        if (const auto* conv = std::get_if<Conv>(&op)) {
            const Tensor& x = plan.values[conv->x];
            const int64_t inputs = is_depthwise(*conv, program) ? 1 : round_up(conv->weight.shape[1], 4);
            const int64_t regrouped = conv->groups > 1 ? x.image / x.pixel * inputs * conv->groups + LINE : 0;
            plan.stage = std::max({plan.stage, x.image, regrouped});
            plan.taps = std::max(plan.taps, static_cast<size_t>(conv->weight.shape[2] * conv->weight.shape[3]));
        } else if (const auto* linear = std::get_if<Linear>(&op)) {
            plan.stage = std::max(plan.stage, as_matrix(plan.values[linear->x]).image);
            if (plan.values[linear->out].planar)
                plan.landing = std::max(plan.landing, as_matrix(plan.values[linear->out]).image);
        }
    }
    plan.stage = round_up(plan.stage, LINE);
    return plan;
}

}  // namespace dqt
