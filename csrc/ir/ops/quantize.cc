#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Quantize::output_shape(const Scope& scope) const {
    require(x == "input", "reads ", shown(x), ", need \"input\": the sample, no value of the program");
    scope.narrow(out);
    return scope.program.input_shape;
}

}  // namespace dqt
