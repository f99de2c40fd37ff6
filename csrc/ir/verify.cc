#include "verify.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "scope.h"

namespace dqt::ir {
namespace {

bool among(int width, const std::vector<int>& widths) {
    return std::find(widths.begin(), widths.end(), width) != widths.end();
}

bool ascending(const std::vector<int>& widths) {
    return std::adjacent_find(widths.begin(), widths.end(), [](int a, int b) { return a >= b; }) == widths.end();
}

void check_space(const Space& space) {
    require(space.master >= 1 && space.master <= 8, "space: master ", space.master, ", need 1 to 8");
    require(!space.widths.empty() && ascending(space.widths), "space: widths, need an ascending list without repeats");
    for (int b : space.widths) {
        require(b >= 1 && b <= space.master, "space: width ", b, ", need 1 to the master ", space.master);
    }
    require(among(space.master, space.widths), "space: master ", space.master, " is not among the widths");
    require(among(space.edge_width, space.widths), "space: edge_width ", space.edge_width, " is not among the widths");
    require(ascending(space.choices), "space: choices, need an ascending list without repeats");
    for (int b : space.choices) require(among(b, space.widths), "space: choice ", b, " is not among the widths");
    require(!space.choices.empty() || space.controller.empty(), "space: controller layers, but no choices");
}

void check_value(const Value& value, const Space& space) {
    const std::string title = "value " + shown(value.name);
    if (!value.shape.empty()) check_shape(value.shape, title);  // of none, a value is a number for each sample
    bool usable = value.step >= std::ldexp(1.0, -100) && value.step <= std::ldexp(1.0, 100);
    require(usable, title, ": step ", value.step, " is not in [2^-100, 2^100]");
    bool legal = value.zero == 0 || (!value.wide && value.zero == 1 << (space.master - 1));
    require(legal, title, ": zero ", value.zero, ", need 0, or for codes 2^(n-1)");
}

template <class Kind>
bool is(const Op& op) {
    return std::holds_alternative<Kind>(op);
}

void check_ends(const std::vector<Op>& ops) {
    auto count = std::count_if(ops.begin(), ops.end(), is<Quantize>);
    count += std::count_if(ops.begin(), ops.end(), is<Dequantize>);
    bool legal = !ops.empty() && is<Quantize>(ops.front()) && is<Dequantize>(ops.back()) && count == 2;
    require(legal, "ops: need one Quantize, as the first, and one Dequantize, as the last");
}

// How messages name an instruction: position, operator, and output.
std::string title(size_t index, const Op& op, const Program& program) {
    const int out = writes(op);
    const std::string result = out >= 0 ? " " + shown(Scope{program}.at(out).name) : "";
    return "op " + std::to_string(index) + " " + name_of(op) + result;
}

Shape output_shape(const Op& op, const Scope& scope) {
    return std::visit([&](const auto& each) { return each.output_shape(scope); }, op);
}

void prove(const Op& op, const Scope& scope) {
    std::visit(
        [&](const auto& each) {
            if constexpr (requires { each.prove(scope); }) each.prove(scope);
        },
        op);
}

void check_op(size_t index, const Op& op, const Program& program) {
    const Scope scope{program};
    try {
        const Shape shape = output_shape(op, scope);
        if (int out = writes(op); out >= 0) {
            const Value& declared = scope.at(out);
            require(shape == declared.shape, "its output has shape ", shown(shape), ", but ", shown(declared.name),
                    " is declared as ", shown(declared.shape));
        }
        prove(op, scope);
    } catch (const LoadError& error) {
        refuse(title(index, op, program), ": ", error.what());
    }
}

// The layer of the space that an instruction is, counted from its weight and its values.
template <class Layered>
void check_counts(const Layer& stated, const Layered& op, const Program& program) {
    const Scope scope{program};
    const int64_t outputs = elements(scope.at(op.out).shape), inputs = elements(scope.at(op.x).shape);
    const int64_t weights = elements(op.weight.shape), taps = weights / op.weight.shape[0];
    auto check = [&](const char* what, int64_t a, int64_t b) {
        require(a == b, "layer ", shown(stated.name), ": the space states ", a, " ", what, ", its instruction has ", b);
    };
    check("macs", stated.macs, outputs * taps);
    check("weights", stated.weights, weights);
    check("inputs", stated.inputs, inputs);
    check("outputs", stated.outputs, outputs);
}

// Every layer of the space has one instruction, with the counts that the space states.
void check_layers(const Program& program) {
    const Space& space = program.space;
    std::vector<const Layer*> layers;
    for (const Layer& layer : space.layers) layers.push_back(&layer);
    for (const Layer& layer : space.controller) layers.push_back(&layer);
    std::vector<int> found(layers.size());
    auto check = [&](const auto& op) {
        if constexpr (requires { op.layer; }) {
            const size_t which = static_cast<size_t>(op.layer);
            require(++found[which] == 1, "layer ", shown(layers[which]->name), ": several instructions, need one");
            check_counts(*layers[which], op, program);
        }
    };
    for (const Op& op : program.ops) std::visit(check, op);
    for (size_t i = 0; i < layers.size(); ++i) {
        require(found[i] == 1, "layer ", shown(layers[i]->name), ": in the space, but no instruction is this layer");
    }
}

// One Choose where the space has choices, and none of the layers that it governs before it.
void check_choose(const Program& program) {
    const Space& space = program.space;
    auto governed = [&](const Op& op) {
        const int which = layer_of(op);
        return which >= 0 && which < static_cast<int>(space.layers.size()) && !space.layers[static_cast<size_t>(which)].edge;
    };
    auto choose = std::find_if(program.ops.begin(), program.ops.end(), is<Choose>);
    auto count = std::count_if(program.ops.begin(), program.ops.end(), is<Choose>);
    require(count == (space.choices.empty() ? 0 : 1), count, " Choose instructions, need one where there are choices");
    if (!count) return;
    for (auto op = program.ops.begin(); op != choose; ++op) {
        const size_t index = static_cast<size_t>(op - program.ops.begin());
        require(!governed(*op), title(index, *op, program), ": comes before the Choose that sets its width");
    }
}

// A value lies in memory with a border for all the convolutions that read it, each of which needs no more than it pads.
void check_borders(const Program& program) {
    std::vector<std::array<int64_t, 4>> borders(program.values.size());
    for (const Op& op : program.ops) {
        const auto* conv = std::get_if<Conv>(&op);
        for (size_t i = 0; conv && i < 4; ++i) {
            int64_t& most = borders[static_cast<size_t>(conv->x)][i];
            most = std::max<int64_t>(most, conv->padding[i]);
        }
    }
    for (size_t v = 0; v < borders.size(); ++v) {
        const auto& [top, bottom, left, right] = borders[v];
        if (top + bottom + left + right == 0) continue;
        const Shape& shape = program.values[v].shape;
        check_shape({shape[0], shape[1] + top + bottom, shape[2] + left + right},
                    "value " + shown(program.values[v].name) + ", padded for all its readers");
    }
}

}  // namespace

void verify(const Program& program) {
    check_space(program.space);
    check_shape(program.input_shape, "input_shape");
    for (const Value& value : program.values) check_value(value, program.space);
    check_ends(program.ops);
    for (size_t i = 0; i < program.ops.size(); ++i) check_op(i, program.ops[i], program);
    check_borders(program);
    check_layers(program);
    check_choose(program);
}

}  // namespace dqt::ir
