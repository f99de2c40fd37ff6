#include "plan.h"

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <atomic>

#include "../compile/liveness.h"
#include "../compile/memory.h"
#include "views.h"

namespace dqt {
namespace {

void widen_border(Tensor& t, const Conv& op) {
    t.top = std::max(t.top, static_cast<int32_t>(op.padding[0]));
    t.bottom = std::max(t.bottom, static_cast<int32_t>(op.padding[1]));
    t.left = std::max(t.left, static_cast<int32_t>(op.padding[2]));
    t.right = std::max(t.right, static_cast<int32_t>(op.padding[3]));
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

// What an instruction wants of values of three dimensions: images for windows, rows for products and what attention is made
// of, nothing where it moves integers, and of all other instructions that operands and result lie alike.
enum class Wants { alike, image, rows, nothing };

Wants wants(const Op& op) {
    return std::visit(
        []<class Operator>(const Operator& each) {
            if constexpr (std::is_same_v<Operator, Reshape> || std::is_same_v<Operator, Transpose> ||
                          std::is_same_v<Operator, Dequantize>)
                return Wants::nothing;
            if constexpr (std::is_same_v<Operator, Linear> || std::is_same_v<Operator, MatMul> ||
                          std::is_same_v<Operator, Softmax> || std::is_same_v<Operator, Embedding>)
                return Wants::rows;
            if constexpr (std::is_same_v<Operator, Conv> || std::is_same_v<Operator, MaxPool> ||
                          std::is_same_v<Operator, AvgPool>)
                return Wants::image;
            if constexpr (std::is_same_v<Operator, Normalize>)
                if (each.axis > 0) return Wants::rows;
            return Wants::alike;
        },
        op);
}

// By value: whether it lies row by row even if it has three dimensions, such as the heads of attention. Values that an
// instruction ties lie alike: as rows where one of them is wanted so and none as an image, or where they are only moved.
std::vector<char> lie_in_rows(const Program& program, const std::vector<std::vector<int>>& reads) {
    std::vector<int> group(program.values.size());
    std::iota(group.begin(), group.end(), 0);
    const auto root = [&](int v) {
        while (group[v] != v) v = group[v] = group[group[v]];
        return v;
    };
    const auto each_value = [&](size_t i, const auto& f) {
        for (const int v : reads[i]) f(v);
        if (const int out = writes(program.ops[i]); out >= 0) f(out);
    };
    for (size_t i = 0; i < program.ops.size(); ++i) {
        const int out = writes(program.ops[i]);
        const Wants kind = wants(program.ops[i]);
        if (out < 0 || kind == Wants::nothing || std::holds_alternative<Linear>(program.ops[i]) ||
            std::holds_alternative<MatMul>(program.ops[i]))
            continue;
        for (const int v : reads[i]) group[root(v)] = root(out);
    }
    std::vector<char> rows(group.size()), image(group.size()), used(group.size()), result(group.size());
    for (size_t i = 0; i < program.ops.size(); ++i) {
        const Wants kind = wants(program.ops[i]);
        each_value(i, [&](int v) {
            used[root(v)] |= kind != Wants::nothing;
            rows[root(v)] |= kind == Wants::rows;
            image[root(v)] |= kind == Wants::image;
        });
    }
    for (size_t v = 0; v < result.size(); ++v) {
        const int of = root(static_cast<int>(v));
        result[v] = !image[of] && (rows[of] || !used[of]);
    }
    return result;
}

std::vector<Tensor> layouts(const Program& program, const std::vector<std::vector<int>>& reads) {
    std::vector<Tensor> result(program.values.size());
    const std::vector<char> in_rows = lie_in_rows(program, reads);
    for (size_t v = 0; v < result.size(); ++v) {
        Tensor& t = result[v];
        const Value& value = program.values[v];
        t.shape = value.shape;
        t.zero = value.zero;
        t.coded = value.coded();
        if (value.shape.size() != 3 || in_rows[v]) {
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
    for (const Op& op : program.ops) {
        if (!std::holds_alternative<Quantize>(op)) continue;
        Tensor& input = result[writes(op)];
        if (input.planar && input.channels < 4 && reads_dense_rows(program, reads, writes(op)))
            input.lay_out(input.channels);
    }
    return result;
}

// What the plain form of an operator sees of the values.
std::vector<Shape> strides_of(const std::vector<Tensor>& values) {
    std::vector<Shape> result(values.size());
    for (size_t v = 0; v < values.size(); ++v)
        for (size_t d = 0; d < values[v].shape.size(); ++d) result[v].push_back(values[v].stride(d));
    return result;
}

// Bytes of each value in the arena: constants lie elsewhere.
std::vector<int64_t> images(const Program& program, const std::vector<Tensor>& values) {
    std::vector<int64_t> result;
    for (const Tensor& t : values) result.push_back(t.image);
    for (const Op& op : program.ops)
        if (const auto* constant = std::get_if<Constant>(&op)) result[constant->out] = 0;
    return result;
}

// What the kernels can fuse: depthwise ones read no residual, masks are read row by row.
CanFuse can_fuse(const Program& program, const MemoryPlan& plan) {
    const auto coded = [&](int v) { return program.values[v].coded(); };
    const auto epilogue = [&, coded](const Op& layer, const Op& last) {
        const auto* conv = std::get_if<Conv>(&layer);
        if (!conv) return !plan.values[writes(layer)].planar && !plan.values[writes(last)].planar;
        const auto* add = std::get_if<Add>(&last);
        return !add || (coded(add->a) && coded(add->b) && coded(add->out) && !is_depthwise(*conv, program));
    };
    const auto mask = [&](const Add& add, int other) {
        const Shape &shape = program.values[other].shape, &to = program.values[add.out].shape;
        return !plan.values[other].planar && shape.size() >= 2 && shape.back() == to.back();
    };
    return {epilogue, mask};
}

bool lie_alike(const Tensor& a, const Tensor& b) {
    return a.row == b.row && a.pixel == b.pixel && a.top == b.top && a.left == b.left &&
           a.planar && b.planar && a.coded && b.coded;
}

// By value: the one whose place it takes. What a convolution adds a residual to goes where the residual lies, if nothing reads
// that afterwards: each output is read before it is written, by the same block, and what is written is in the cache already.
// `bytes`: of each value in the arena, where constants have none.
std::vector<int> places(const Program& program, const MemoryPlan& plan, const Fusions& fusions, const std::vector<int>& root,
                        const std::vector<int64_t>& bytes) {
    const std::vector<Life> life = lives(program, plan.live, fusions, root);
    std::vector<int> result = root;
    for (int i = 0; i < static_cast<int>(program.ops.size()); ++i) {
        if (!plan.live[i] || fusions.fused[i] < 0) continue;
        const auto* add = std::get_if<Add>(&program.ops[fusions.fused[i]]);
        if (!add) continue;
        const int out = add->out, other = add->a == writes(program.ops[i]) ? add->b : add->a, x = plan.reads[i][0];
        const bool last = root[out] == out && root[other] == other && life[other].value >= 0 && life[other].last == i;
        const bool alike = bytes[out] == bytes[other] && lie_alike(plan.values[out], plan.values[other]);
        if (last && alike && result[root[x]] != result[other]) result[out] = result[other];
    }
    for (size_t v = 0; v < result.size(); ++v) result[v] = result[root[v]];
    return result;
}

// Value `v` lies in `root`.
void show(MemoryPlan& plan, size_t v, int root) {
    if (static_cast<int>(v) == root) return;
    Tensor& t = plan.values[v];
    t.image = plan.values[root].image;
    t.pixel = static_cast<int32_t>(t.channels * t.element());  // nothing pads it
}

}  // namespace

Tensor as_matrix(const Tensor& t) {
    Tensor result;
    result.shape = t.shape;
    result.zero = t.zero;
    result.coded = t.coded;
    result.channels = t.shape.empty() ? 1 : t.shape.back();  // a number for each sample
    result.height = product(t.shape) / result.channels;
    result.lay_out(result.pixel_bytes());
    return result;
}

bool is_depthwise(const Conv& op, const Program& program) {
    return op.groups > 1 && op.weight.shape[1] == 1 && op.weight.shape[0] == op.groups &&
           program.values[op.out].coded();
}

// Images of the stage that a layer may need: its narrowed input; and where kernels for few bits cannot narrow a part of the
// range themselves (InputRange::by_kernels), what they make of that.
template <class Operator>
int64_t staged_images(const Operator& op, const Program& program) {
    const Space& space = program.space;
    for (size_t i = 0; i < op.input_exponents.size(); ++i) {
        const int64_t e = op.input_exponents[i];
        if (e > 0 && (program.values[op.x].zero != 0 || space.widths[i] + e == space.master)) return 2;
    }
    return 1;
}

MemoryPlan make_plan(const Program& program, bool automatic) {
    static std::atomic<uint64_t> made{0};
    MemoryPlan plan;
    plan.serial = ++made;
    int outputs = 0;
    plan.live = needed(program, automatic);
    for (const Op& op : program.ops) plan.reads.push_back(reads(op));
    plan.values = layouts(program, plan.reads);
    plan.strides = strides_of(plan.values);
    const auto coded = [&](int v) { return program.values[v].coded(); };
    for (size_t i = 0; i < program.ops.size(); ++i) {
        const int out = writes(program.ops[i]);
        plan.coded.push_back(std::ranges::all_of(plan.reads[i], coded) && (out < 0 || coded(out)));
        const bool leaves = std::holds_alternative<Dequantize>(program.ops[i]);
        plan.output.push_back(leaves ? outputs++ : -1);
    }
    const Fusions fusions = fuse(program, plan.live, can_fuse(program, plan));
    plan.fused = fusions.fused;
    plan.attention = fusions.attention;
    Views views = find_views(program, plan.live, plan.reads, plan.values, plan.strides);
    plan.moved = std::move(views.moved);
    plan.strides = std::move(views.strides);
    plan.inside = std::move(views.inside);
    plan.offset.assign(program.values.size(), 0);
    const std::vector<int64_t> bytes = images(program, plan.values);
    const std::vector<int> at = places(program, plan, fusions, views.root, bytes);
    plan.bytes = place(bytes, lives(program, plan.live, fusions, at), plan.offset);
    for (size_t v = 0; v < at.size(); ++v) plan.offset[v] = plan.offset[at[v]];
    for (size_t v = 0; v < views.root.size(); ++v) show(plan, v, views.root[v]);
    for (const Op& op : program.ops) {
        if (const auto* conv = std::get_if<Conv>(&op)) {
            const Tensor& x = plan.values[conv->x];
            const int64_t inputs = is_depthwise(*conv, program) ? 1 : round_up(conv->weight.shape[1], 4);
            const int64_t regrouped = conv->groups > 1 ? x.image / x.pixel * inputs * conv->groups + LINE : 0;
            plan.stage = std::max({plan.stage, staged_images(*conv, program) * x.image, regrouped});
            plan.taps = std::max(plan.taps, static_cast<size_t>(conv->weight.shape[2] * conv->weight.shape[3]));
        } else if (const auto* linear = std::get_if<Linear>(&op)) {
            const int64_t image = as_matrix(plan.values[linear->x]).image;
            plan.stage = std::max(plan.stage, staged_images(*linear, program) * image);
            if (plan.values[linear->out].planar)
                plan.landing = std::max(plan.landing, as_matrix(plan.values[linear->out]).image);
        }
    }
    plan.stage = round_up(plan.stage, LINE);
    return plan;
}

}  // namespace dqt
