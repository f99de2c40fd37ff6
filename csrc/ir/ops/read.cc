#include "../scope.h"
#include "../view.h"

namespace dqt {

using namespace ir;

Shape Read::output_shape(const Scope& scope) const {
    const Input& given = scope.input(x, true);
    const Value& value = scope.at(out);
    bool same = value.scale == 1 && value.zero == 0 && value.lo == given.lo && value.hi == given.hi;
    require(same, shown(value.name), " must have scale 1, zero 0 and [", given.lo, ", ", given.hi, "], as the input ",
            shown(given.name));
    return given.shape;
}

void Read::run(const Sample& sample) const {
    dqt::read(static_cast<const int64_t*>(sample.input(x)), sample.view(out));
}

}  // namespace dqt
