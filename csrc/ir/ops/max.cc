#include "../reduce.h"
#include "../scope.h"

namespace dqt {

using namespace ir;

namespace {

template <class T>
void largest(const View& from, const View& to, const Numbers& axes) {
    const auto fold = [](T a, T b) { return std::max(a, b); };
    reduce<T>(from, to, axes, std::numeric_limits<T>::lowest(), fold, [](uint8_t* p, T a) { *reinterpret_cast<T*>(p) = a; });
}

}  // namespace

Shape Max::output_shape(const Scope& scope) const {
    const Value& value = scope.ranked(x);
    check_same_scale(value, scope.at(out));
    return check_axes(value, axes);
}

void Max::run(const Sample& sample) const {
    const View from = sample.view(x), to = sample.view(out);
    to.coded ? largest<uint8_t>(from, to, axes) : largest<int32_t>(from, to, axes);
}

}  // namespace dqt
