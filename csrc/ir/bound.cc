#include "bound.h"

#include <algorithm>

#include "instructions.h"
#include "verify.h"

namespace dqt {
namespace {

using namespace ir;

void check_sizes(const Program& program, const std::map<std::string, int64_t>& sizes) {
    for (const auto& [name, size] : sizes) {
        const Dimension& dim = Scope{program}.dimension(name);
        bool inside = dim.least <= size && size <= dim.most;
        require(inside, "dimension ", shown(name), " is ", size, ": this program takes ", dim.least, " to ", dim.most);
    }
}

void resize(Shape& shape, const Texts& dims, const std::map<std::string, int64_t>& sizes) {
    for (size_t d = 0; d < dims.size(); ++d)
        if (const auto found = sizes.find(dims[d]); found != sizes.end()) shape[d] = found->second;
}

// The shape of what an instruction defines, from those of what it reads.
void infer(size_t index, const Program& before, Program& program) {
    const Op& op = program.ops[index];
    const Scope then{before}, now{program};
    try {
        const auto check = [&](const auto& each) {
            if constexpr (requires { each.rebound(then, now); }) each.rebound(then, now);
        };
        std::visit(check, op);
        const Shape shape = output_shape(op, now);
        if (!shape.empty()) check_shape(shape, "its output");
        if (const int out = writes(op); out >= 0) program.values[static_cast<size_t>(out)].shape = shape;
    } catch (const LoadError& error) {
        refuse(title(index, op, program), ": ", error.what());
    }
}

void recount(Program& program) {
    std::vector<Layer>&layers = program.space.layers, &own = program.space.controller;
    for (const Op& op : program.ops) {
        const int which = layer_of(op);
        if (which < 0) continue;
        const auto i = static_cast<size_t>(which);
        Layer& layer = i < layers.size() ? layers[i] : own[i - layers.size()];
        layer = counted(layer, op, program);
    }
}

}  // namespace

Program bound(const Program& program, const std::map<std::string, int64_t>& sizes) {
    check_sizes(program, sizes);
    Program result = program;
    for (Input& each : result.inputs) resize(each.shape, each.dims, sizes);
    for (State& each : result.states) resize(each.value.shape, each.dims, sizes);
    for (size_t i = 0; i < result.ops.size(); ++i) infer(i, program, result);
    recount(result);
    verify(result);
    return result;
}

}  // namespace dqt
