#include "../scope.h"

namespace dqt {

using namespace ir;

namespace {

// The smallest and the largest of T_b(q) - zero at any width: codes stay in their interval.
Int128 reach_low(const Value& value) { return value.lo - value.zero; }
Int128 reach_high(const Value& value) { return value.hi - value.zero; }

}  // namespace

Shape MatMul::output_shape(const Scope& scope) const {
    check_rounding(scope, out, shift, lo, hi);
    require(magnitude(m) <= kInt32, "m is beyond int32");
    Shape first = scope.codes(a).shape, second = scope.codes(b).shape;
    for (const int index : {a.value, b.value}) {
        const Value& value = scope.at(index);
        bool inside = value.zero >= 0 && value.zero <= value.hi;
        require(inside, "the zero ", value.zero, " of ", shown(value.name), " is no code");
    }
    bool matrices = first.size() >= 2 && second.size() >= 2 && first.back() == second[second.size() - 2];
    require(matrices, "shapes ", shown(first), " and ", shown(second), " do not multiply: need (.., I, K) and (.., K, J)");
    const Shape one{first.end() - 2, first.end()}, other{second.end() - 2, second.end()};
    first.resize(first.size() - 2);
    second.resize(second.size() - 2);
    const Shape lead = broadcast_shape(first, second);
    for (const Shape* matrix : {&one, &other}) {
        Shape whole = lead;
        whole.insert(whole.end(), matrix->begin(), matrix->end());
        check_shape(whole, "an operand, broadcast,");
    }
    Shape shape = lead;
    shape.push_back(one[0]);
    shape.push_back(other[1]);
    return shape;
}

// The accumulator's bound over every input and every width (equation 21).
void MatMul::prove(const Scope& scope) const {
    const Value &first = scope.at(a), &second = scope.at(b);
    const Int128 count = first.shape.back();
    const Int128 corners[] = {
        reach_low(first) * reach_low(second), reach_low(first) * reach_high(second),
        reach_high(first) * reach_low(second), reach_high(first) * reach_high(second)};
    Int128 reach = 0;
    for (const Int128 corner : corners) reach = std::max(reach, count * (corner < 0 ? -corner : corner));
    require(reach <= kInt32, "the accumulator is beyond int32: split the product");
    Largest k;
    k.include(static_cast<int32_t>(m), c);
    require(k.fits(reach), "acc * m + c does not fit int64: its scale or bias is too large");
}

}  // namespace dqt
