#include "fusion.h"

#include "liveness.h"

namespace dqt {
namespace {

// Whether convolution `i` may add the residual: of the same shape, with the other operand already there.
bool adds(const Program& program, const std::vector<int>& defined, const Conv& conv, const Add& add, int i) {
    if (add.a == add.b) return false;
    const int other = add.a == conv.out ? add.b : add.a;
    const Shape& shape = program.values[add.out].shape;
    return program.values[other].shape == shape && program.values[conv.out].shape == shape && defined[other] < i;
}

// The instruction that layer `i` may do in its epilogue, or -1.
int epilogue_of(const Program& program, const std::vector<char>& live, const std::vector<int>& defined, size_t i,
                const CanFuse& can) {
    const Op& layer = program.ops[i];
    const auto* conv = std::get_if<Conv>(&layer);
    if ((!conv && !std::holds_alternative<Linear>(layer)) || !program.values[writes(layer)].coded()) return -1;
    const int last = only_reader(program, live, writes(layer), i);
    if (last < 0) return -1;
    const Op& op = program.ops[last];
    const auto* add = std::get_if<Add>(&op);
    const auto* table = std::get_if<Table>(&op);
    const bool fits = add ? conv && adds(program, defined, *conv, *add, static_cast<int>(i))
                          : table && table->table.shape.size() == 1;
    return fits && can.epilogue(layer, op) ? last : -1;
}

Shape leading(const Shape& shape) { return {shape.begin(), shape.end() - 2}; }

// What product `i` of shares with values does besides, if it may.
Attention attention_of(const Program& program, const std::vector<char>& live, const std::vector<int>& defined, size_t i,
                       const CanFuse& can) {
    const auto* second = std::get_if<MatMul>(&program.ops[i]);
    if (!second || second->a == second->b) return {};
    const auto alone = [&](int value) { return defined[value] >= 0 && only_reader(program, live, value, defined[value]) >= 0; };
    Attention found;
    const int softmax = defined[second->a];
    const auto* shares = softmax >= 0 ? std::get_if<Softmax>(&program.ops[softmax]) : nullptr;
    if (!shares || !alone(shares->out)) return {};
    found.softmax = softmax;
    int scores = shares->x;
    if (!alone(scores)) return {};
    if (const auto* mask = std::get_if<Add>(&program.ops[defined[scores]])) {
        const auto made = [&](int v) { return defined[v] >= 0 && std::holds_alternative<MatMul>(program.ops[defined[v]]); };
        const int product = made(mask->a) ? mask->a : mask->b, other = made(mask->a) ? mask->b : mask->a;
        const bool fits = mask->a != mask->b && program.values[product].shape == program.values[scores].shape;
        if (!fits || !alone(product) || !can.mask(*mask, other)) return {};
        found.mask = defined[scores];
        scores = product;
    }
    const int first = defined[scores];
    const bool ends = std::holds_alternative<MatMul>(program.ops[first]) &&
                      leading(program.values[second->out].shape) == leading(program.values[scores].shape);
    if (!ends) return {};
    found.scores = first;
    return found;
}

void fuse_attention(const Program& program, const std::vector<char>& live, const std::vector<int>& defined,
                    const CanFuse& can, Fusions& result) {
    for (size_t i = 0; i < program.ops.size(); ++i) {
        if (!live[i]) continue;
        const Attention found = attention_of(program, live, defined, i, can);
        if (!found.any() || result.attention[found.scores].any()) continue;
        result.attention[i] = found;
        for (const int each : {found.scores, found.mask, found.softmax})
            if (each >= 0) result.fused[each] = FUSED_AFTER;
    }
}

}  // namespace

Fusions fuse(const Program& program, const std::vector<char>& live, const CanFuse& can) {
    Fusions result{std::vector<int>(program.ops.size(), NOT_FUSED), std::vector<Attention>(program.ops.size())};
    std::vector<int> defined(program.values.size(), -1), &fused = result.fused;
    for (size_t i = 0; i < program.ops.size(); ++i)
        if (writes(program.ops[i]) >= 0) defined[writes(program.ops[i])] = static_cast<int>(i);
    fuse_attention(program, live, defined, can, result);
    for (size_t i = 0; i < program.ops.size(); ++i) {
        if (!live[i] || fused[i] != NOT_FUSED) continue;
        const int last = epilogue_of(program, live, defined, i, can);
        if (last < 0 || fused[last] == FUSED_BEFORE) continue;
        fused[i] = last;
        fused[last] = FUSED_BEFORE;
        defined[writes(program.ops[last])] = static_cast<int>(i);
    }
    return result;
}

}  // namespace dqt
