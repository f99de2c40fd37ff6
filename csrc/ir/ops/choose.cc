#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Choose::output_shape(const Scope& scope) const {
    const Space& space = scope.space();
    const Value& value = scope.at(x);
    require(!value.coded(), "reads the codes ", shown(value.name), ": it takes integers, the outputs of a layer");
    std::vector<int> chosen;
    for (size_t i = 0; i < space.layers.size(); ++i) {
        if (!space.layers[i].edge) chosen.push_back(static_cast<int>(i));
    }
    bool all = std::equal(layers.begin(), layers.end(), chosen.begin(), chosen.end());
    require(all, "its layers are not those of the space that carry a chosen width, in order");
    bool same = std::equal(widths.begin(), widths.end(), space.choices.begin(), space.choices.end());
    require(same, "its widths are not the space's choices");
    const Shape logits{static_cast<int64_t>(layers.size() * widths.size())};
    require(value.shape == logits, "reads ", shown(value.name), " of shape ", shown(value.shape), ", need ", shown(logits));
    return value.shape;
}

// The first of the largest logits gives each layer its width.
void Choose::run(const Sample& sample) const {
    const View view = sample.view(x);
    const auto* logits = reinterpret_cast<const int32_t*>(view.data);  // a vector lies side by side
    for (const int layer : layers) {
        const int32_t* end = logits + widths.size();
        sample.choose(layer, widths[static_cast<size_t>(std::max_element(logits, end) - logits)]);
        logits = end;
    }
}

}  // namespace dqt
