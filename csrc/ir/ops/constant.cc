#include <algorithm>

#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Constant::output_shape(const Scope& scope) const {
    scope.narrow(out);
    check_shape(data.shape, "data");
    bool legal = *std::max_element(data.data.begin(), data.data.end()) <= scope.highest();
    require(legal, "a code is above ", scope.highest());
    return data.shape;
}

void Constant::run(const Sample& sample) const {
    const View to = sample.view(out);
    Loops loops(to.element());
    int64_t stride = to.element();
    for (size_t d = data.shape.size(); d-- > 0; stride *= data.shape[d]) loops.add(data.shape[d], stride, to.strides[d]);
    loops.copy(data.data.data(), to.data);
}

}  // namespace dqt
