#include "verify.h"

#include <algorithm>
#include <cmath>
#include <iterator>

namespace dqt::loader {
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

// The value that an instruction defines, or -1.
int out_of(const Op& op) {
    return std::visit(
        [](const auto& o) {
            if constexpr (requires { o.out; }) {
                return o.out;
            } else {
                return -1;
            }
        },
        op);
}

// How messages name an instruction: position, operator, and output.
std::string title(size_t index, const Op& op, const Program& program) {
    static constexpr const char* names[] = {"Quantize", "Conv",    "Linear",  "Add",     "Multiply",
                                            "Rescale",  "Concat",  "MaxPool", "AvgPool", "Table",
                                            "Reshape",  "Slice",   "Pad",     "Choose",  "Dequantize"};
    static_assert(std::size(names) == std::variant_size_v<Op>);
    const int out = out_of(op);
    const std::string result = out >= 0 ? " " + shown(value_of(program, out).name) : "";
    return "op " + std::to_string(index) + " " + names[op.index()] + result;
}

void check_op(size_t index, const Op& op, const Program& program) {
    try {
        const Shape shape = output_shape(op, program);
        if (int out = out_of(op); out >= 0) {
            const Value& declared = value_of(program, out);
            require(shape == declared.shape, "its output has shape ", shown(shape), ", but ", shown(declared.name),
                    " is declared as ", shown(declared.shape));
        }
        prove(op, program);
    } catch (const LoadError& error) {
        refuse(title(index, op, program), ": ", error.what());
    }
}

// The layer of the space that an instruction is, counted from its weight and its values.
template <class Layered>
void check_counts(const Layer& stated, const Layered& op, const Program& program) {
    const int64_t outputs = elements(value_of(program, op.out).shape), inputs = elements(value_of(program, op.x).shape);
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
    auto governed = [&](const auto& op) {
        if constexpr (requires { op.layer; }) {
            const size_t which = static_cast<size_t>(op.layer);
            return which < space.layers.size() && !space.layers[which].edge;
        }
        return false;
    };
    auto choose = std::find_if(program.ops.begin(), program.ops.end(), is<Choose>);
    auto count = std::count_if(program.ops.begin(), program.ops.end(), is<Choose>);
    require(count == (space.choices.empty() ? 0 : 1), count, " Choose instructions, need one where there are choices");
    if (!count) return;
    for (auto op = program.ops.begin(); op != choose; ++op) {
        const size_t index = static_cast<size_t>(op - program.ops.begin());
        bool late = std::visit(governed, *op);
        require(!late, title(index, *op, program), ": comes before the Choose that sets its width");
    }
}

}  // namespace

void verify(const Program& program) {
    check_space(program.space);
    check_shape(program.input_shape, "input_shape");
    for (const Value& value : program.values) check_value(value, program.space);
    check_ends(program.ops);
    for (size_t i = 0; i < program.ops.size(); ++i) check_op(i, program.ops[i], program);
    check_layers(program);
    check_choose(program);
}

}  // namespace dqt::loader
