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

// The instruction that convolution `i` may do in its epilogue, or -1.
int epilogue_of(const Program& program, const std::vector<char>& live, const std::vector<int>& defined, size_t i,
                const CanFuse& can) {
    const auto* conv = std::get_if<Conv>(&program.ops[i]);
    if (!conv || !program.values[conv->out].coded()) return -1;
    const int last = only_reader(program, live, conv->out, i);
    if (last < 0) return -1;
    const Op& op = program.ops[last];
    const auto* add = std::get_if<Add>(&op);
    const auto* table = std::get_if<Table>(&op);
    const bool fits = add ? adds(program, defined, *conv, *add, static_cast<int>(i)) : table && table->table.shape.size() == 1;
    return fits && can(*conv, op) ? last : -1;
}

}  // namespace

std::vector<int> fuse(const Program& program, const std::vector<char>& live, const CanFuse& can) {
    std::vector<int> defined(program.values.size(), -1), fused(program.ops.size(), NOT_FUSED);
    for (size_t i = 0; i < program.ops.size(); ++i)
        if (writes(program.ops[i]) >= 0) defined[writes(program.ops[i])] = static_cast<int>(i);
    for (size_t i = 0; i < program.ops.size(); ++i) {
        if (!live[i] || fused[i] != NOT_FUSED) continue;
        const int last = epilogue_of(program, live, defined, i, can);
        if (last < 0 || fused[last] == FUSED_BEFORE) continue;
        fused[i] = last;
        fused[last] = FUSED_BEFORE;
        defined[writes(program.ops[last])] = static_cast<int>(i);
    }
    return fused;
}

}  // namespace dqt
