#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape ChooseLate::output_shape(const Scope& scope) const {
    const Space& space = scope.space();
    const Value& value = scope.at(x);
    require(!value.coded(), "reads the codes ", shown(value.name), ": it takes integers, the outputs of a layer");
    int before = -1;
    for (const int layer : layers) {
        const bool known = layer < static_cast<int>(space.layers.size());
        const bool legal = known && layer > before && !space.layers[static_cast<size_t>(layer)].edge;
        require(legal, "its layers are not some of the space's that carry a chosen width, in order");
        before = layer;
    }
    require(!layers.empty(), "its layers are not some of the space's that carry a chosen width, in order");
    bool same = std::equal(widths.begin(), widths.end(), space.choices.begin(), space.choices.end());
    require(same, "its widths are not the space's choices");
    const Shape logits{static_cast<int64_t>(widths.size())};
    require(value.shape == logits, "reads ", shown(value.name), " of shape ", shown(value.shape), ", need ", shown(logits));
    require(std::find(widths.begin(), widths.end(), first) != widths.end(), "first ", first, ", need one of its widths");
    if (again) {
        const auto edge = [](const Layer& layer) { return layer.edge; };
        const auto edges = static_cast<size_t>(std::count_if(space.layers.begin(), space.layers.end(), edge));
        require(layers.size() + edges == space.layers.size(), "runs samples again: need all layers that carry a chosen width");
        require(first == widths[0], "first ", first, ", need ", widths[0], ", the least of its widths");
        require(scope.program.states.empty(), "runs samples again, and this program has states, which every run changes");
    }
    return value.shape;
}

// The first of the largest logits gives all layers their width.
void ChooseLate::run(const Sample& sample) const {
    const View view = sample.view(x);
    const auto* logits = reinterpret_cast<const int32_t*>(view.data);  // a vector lies side by side
    const int64_t width = widths[static_cast<size_t>(std::max_element(logits, logits + widths.size()) - logits)];
    for (const int layer : layers) sample.choose(layer, width);
}

}  // namespace dqt
