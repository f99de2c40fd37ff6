#include "verify.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>

#include "instructions.h"

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
    bool legal = space.packed == 0 || (space.packed < space.master && among(space.packed, space.widths));
    require(legal, "space: packed ", space.packed, ", need one of the widths below the master");
    require(ascending(space.choices), "space: choices, need an ascending list without repeats");
    for (int b : space.choices) require(among(b, space.widths), "space: choice ", b, " is not among the widths");
    require(!space.choices.empty() || space.controller.empty(), "space: controller layers, but no choices");
}

void check_value(const Value& value, const Space& space, const char* what) {
    const std::string title = what + (" " + shown(value.name));
    if (!value.shape.empty()) check_shape(value.shape, title);  // of none, a value is a number for each sample
    bool usable = value.scale >= std::ldexp(1.0, -100) && value.scale <= std::ldexp(1.0, 100);
    require(usable, title, ": scale ", value.scale, " is not in [2^-100, 2^100]");
    bool within = -kInt32 <= value.lo && value.lo <= value.hi && value.hi <= kInt32;
    require(within, title, ": its interval [", value.lo, ", ", value.hi, "] is empty or beyond int32");
    const int64_t highest = (int64_t{1} << space.master) - 1, farthest = value.coded() ? kMaxZero : 0;
    require(!value.coded() || value.hi <= highest, title, ": codes of ", space.master, " bits lie in [0, ", highest,
            "], not in [0, ", value.hi, "]");
    require(std::abs(int64_t{value.zero}) <= farthest, title, ": zero ", value.zero, ", need ", -farthest, " to ", farthest);
}

void check_state(const Value& state, const Space& space) {
    check_value(state, space, "state");
    bool inside = state.lo <= state.zero && state.zero <= state.hi;
    require(inside, "state ", shown(state.name), ": its start, ", state.zero, ", is not in [", state.lo, ", ", state.hi, "]");
}

void check_input(const Input& given) {
    const std::string title = "input " + shown(given.name);
    check_shape(given.shape, title);
    bool legal = given.integer ? -kInt32 <= given.lo && given.lo <= given.hi && given.hi <= kInt32
                               : given.lo == 0 && given.hi == 0;
    require(legal, title, ": its interval [", given.lo, ", ", given.hi, "], need 0 of a float input, or one within int32");
}

// Every named dimension has one size, within its range.
void check_dims(const Program& program) {
    const Scope scope{program};
    for (const Dimension& dim : program.dims) {
        bool legal = 1 <= dim.least && dim.least <= dim.most && dim.most <= kMaxDim;
        require(legal, "dimension ", shown(dim.name), ": ", dim.least, " to ", dim.most, ", need 1 to ", kMaxDim);
    }
    const auto check = [&](const std::string& title, const Texts& dims, const Shape& shape) {
        bool fits = dims.empty() || dims.size() == shape.size();
        require(fits, title, ": ", dims.size(), " dims, need none or one for each dimension of ", shown(shape));
        for (size_t d = 0; d < dims.size(); ++d) {
            if (dims[d].empty()) continue;
            const Dimension& dim = scope.dimension(dims[d]);
            bool inside = dim.least <= shape[d] && shape[d] <= dim.most && shape[d] == scope.size_of(dim.name);
            require(inside, title, ": dimension ", shown(dim.name), " is ", shape[d], ", need one size everywhere, ",
                    dim.least, " to ", dim.most);
        }
    };
    for (const Input& each : program.inputs) check("input " + shown(each.name), each.dims, each.shape);
    for (const State& each : program.states) check("state " + shown(each.value.name), each.dims, each.value.shape);
    for (const Dimension& dim : program.dims) scope.size_of(dim.name);
}

template <class Kind>
bool is(const Op& op) {
    return std::holds_alternative<Kind>(op);
}

// Every input is read; at least one output, each of another name; each state recalled, and then stored once.
void check_ends(const Program& program) {
    std::set<std::string> names;
    std::vector<int> read(program.inputs.size());
    std::vector<int> recalled(program.states.size()), stored(program.states.size());
    for (const Op& op : program.ops) {
        if (const auto* end = std::get_if<Dequantize>(&op))
            require(names.insert(end->name).second, "output ", shown(end->name), ": several instructions, need one");
        if (const auto* entry = std::get_if<Quantize>(&op)) ++read[static_cast<size_t>(entry->x)];
        if (const auto* entry = std::get_if<Read>(&op)) ++read[static_cast<size_t>(entry->x)];
        const auto *recall = std::get_if<Recall>(&op);
        const auto *store = std::get_if<Store>(&op);
        if (!recall && !store) continue;
        const auto which = static_cast<size_t>(recall ? recall->state : store->state);
        require(!stored[which], "state ", shown(program.states[which].value.name), ": named after its Store");
        ++(recall ? recalled : stored)[which];
    }
    require(!program.inputs.empty(), "inputs: need at least one");
    require(!names.empty(), "ops: need at least one Dequantize");
    for (size_t i = 0; i < read.size(); ++i)
        require(read[i], "input ", shown(program.inputs[i].name), ": no instruction reads it");
    for (size_t i = 0; i < recalled.size(); ++i)
        require(recalled[i] && stored[i], "state ", shown(program.states[i].value.name), ": need a Recall and a Store");
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

// What an instruction says of the layer that it is.
void check_counts(const Layer& stated, const Layer& counted) {
    auto check = [&](const char* what, int64_t a, int64_t b) {
        require(a == b, "layer ", shown(stated.name), ": the space states ", a, " ", what, ", its instruction has ", b);
    };
    check("macs", stated.macs, counted.macs);
    check("weights", stated.weights, counted.weights);
    check("inputs", stated.inputs, counted.inputs);
    check("outputs", stated.outputs, counted.outputs);
}

// Every layer of the space has one instruction, with the counts that the space states.
void check_layers(const Program& program) {
    const Space& space = program.space;
    std::vector<const Layer*> layers;
    for (const Layer& layer : space.layers) layers.push_back(&layer);
    for (const Layer& layer : space.controller) layers.push_back(&layer);
    std::vector<int> found(layers.size());
    for (const Op& op : program.ops) {
        const int layer = layer_of(op);
        if (layer < 0) continue;
        const auto which = static_cast<size_t>(layer);
        require(++found[which] == 1, "layer ", shown(layers[which]->name), ": several instructions, need one");
        check_counts(*layers[which], counted(*layers[which], op, program));
    }
    for (size_t i = 0; i < layers.size(); ++i) {
        require(found[i] == 1, "layer ", shown(layers[i]->name), ": in the space, but no instruction is this layer");
    }
}

// One Choose where the space has choices, and none of the layers that it governs before it. Where it has samples run again,
// all of them have run before it.
void check_choose(const Program& program) {
    const Space& space = program.space;
    auto choose = std::find_if(program.ops.begin(), program.ops.end(), decides);
    auto count = std::count_if(program.ops.begin(), program.ops.end(), decides);
    require(count == (space.choices.empty() ? 0 : 1), count, " Choose instructions, need one where there are choices");
    if (!count) return;
    const ChooseLate* late = late_choice(program);
    const auto& layers = late ? late->layers : std::get<Choose>(*choose).layers;
    const bool again = late && late->again;
    for (auto op = program.ops.begin(); op != program.ops.end(); ++op) {
        if (std::find(layers.begin(), layers.end(), layer_of(*op)) == layers.end()) continue;
        const bool legal = (op < choose) == again;
        require(legal, title(static_cast<size_t>(op - program.ops.begin()), *op, program), ": comes ",
                again ? "after the ChooseLate that reads what it gave" : "before the Choose that sets its width");
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
    for (const Input& given : program.inputs) check_input(given);
    for (const State& state : program.states) check_state(state.value, program.space);
    check_dims(program);
    for (const Value& value : program.values) check_value(value, program.space, "value");
    check_ends(program);
    for (size_t i = 0; i < program.ops.size(); ++i) check_op(i, program.ops[i], program);
    check_borders(program);
    check_layers(program);
    check_choose(program);
}

}  // namespace dqt::ir
