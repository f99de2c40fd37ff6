#include "instructions.h"

#include <type_traits>

namespace dqt::ir {

std::string title(size_t index, const Op& op, const Program& program) {
    const int out = writes(op);
    const std::string result = out >= 0 ? " " + shown(Scope{program}.at(out).name) : "";
    return "op " + std::to_string(index) + " " + name_of(op) + result;
}

Shape output_shape(const Op& op, const Scope& scope) {
    return std::visit([&](const auto& each) { return each.output_shape(scope); }, op);
}

Layer counted(const Layer& layer, const Op& op, const Program& program) {
    const Scope scope{program};
    return std::visit(
        [&](const auto& each) -> Layer {
            if constexpr (std::is_same_v<std::decay_t<decltype(each)>, MatMul>) {
                const Shape &a = scope.at(each.a).shape, &b = scope.at(each.b).shape, &out = scope.at(each.out).shape;
                return {layer.name, elements(out) * a.back(), 0, elements(a) + elements(b), elements(out), layer.edge};
            } else if constexpr (requires { each.layer; }) {
                const int64_t outputs = elements(scope.at(each.out).shape), inputs = elements(scope.at(each.x).shape);
                const int64_t weights = elements(each.weight.shape), taps = weights / each.weight.shape[0];
                return {layer.name, outputs * taps, weights, inputs, outputs, layer.edge};
            } else {
                return layer;
            }
        },
        op);
}

}  // namespace dqt::ir
