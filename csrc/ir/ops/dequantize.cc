#include "../scope.h"

namespace dqt {

using namespace ir;

Shape Dequantize::output_shape(const Scope& scope) const { return scope.at(x).shape; }

}  // namespace dqt
