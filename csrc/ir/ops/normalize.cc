#include "../../arith.h"
#include "../scope.h"
#include "../tables.h"
#include "../view.h"
#include "../walk.h"

namespace dqt {

using namespace ir;

namespace {

constexpr int64_t kMostFraction = 62;
constexpr int64_t kMostValues = int64_t{1} << DQT_UNIT_BITS;  // of a row: what is normalized fits int32

// How many values a row has.
int64_t count_of(const Normalize& op, std::span<const int64_t> shape) {
    int64_t count = 1;
    for (size_t d = static_cast<size_t>(op.axis); d < shape.size(); ++d) count *= shape[d];
    return count / op.groups;
}

// The largest magnitude of a normalized value: sqrt(count), rounded up, and what roots are off.
int64_t most_of(int64_t count) {
    int64_t root = 0;
    while (root * root < count) ++root;
    return (root << DQT_UNIT_BITS) + root;
}

// Steps along the dimensions from `first` on: of a value in bytes, or of constants that repeat along those of length 1.
struct Steps {
    std::span<const int64_t> strides;  // of a value; empty: of constants of `shape`
    std::span<const int64_t> shape;
    size_t first;

    int64_t operator[](size_t d) const {
        if (!strides.empty()) return strides[first + d];
        if (shape[first + d] == 1) return 0;
        int64_t step = 1;
        for (size_t inner = first + d + 1; inner < shape.size(); ++inner) step *= shape[inner];
        return step;
    }
};

// The values of one sample, and their constants.
class Rows {
  public:
    Rows(const Normalize& op, const Sample& sample)
        : op_(op), from_(sample.view(op.x)), to_(sample.view(op.out)), along_(static_cast<size_t>(op.axis)),
          count_(count_of(op, from_.shape)), added_(static_cast<int64_t>(added(op, count_))) {}

    void all() const {
        Walk<3> rows(from_.shape.first(along_), {from(0), to(0), constants(0)});
        do
            for (int64_t g = 0; g < op_.groups; ++g) one(rows.at, g);
        while (rows.next());
    }

  private:
    Steps from(size_t first) const { return {from_.strides, {}, first}; }
    Steps to(size_t first) const { return {to_.strides, {}, first}; }
    Steps constants(size_t first) const { return {{}, op_.m.shape, first}; }

    // f(from, to, constant) of every value of group g of a row that begins at `at`.
    template <class F>
    void each(const int64_t (&at)[3], int64_t g, const F& f) const {
        const int64_t length = from_.shape[along_] / op_.groups;
        const Steps steps[] = {from(along_), to(along_), constants(along_)};
        for (int64_t i = g * length; i < (g + 1) * length; ++i) {
            Walk<3> rest(from_.shape.subspan(along_ + 1), {from(along_ + 1), to(along_ + 1), constants(along_ + 1)});
            do f(at[0] + i * steps[0][0] + rest.at[0], at[1] + i * steps[1][0] + rest.at[1],
                 at[2] + i * steps[2][0] + rest.at[2]);
            while (rest.next());
        }
    }

    void one(const int64_t (&at)[3], int64_t g) const {
        int64_t total = 0, squares = 0, most = 0;
        each(at, g, [&](int64_t p, int64_t, int64_t) {
            most = std::max<int64_t>(most, std::abs(int64_t{from_.get(p)} - from_.zero));
        });
        const int shift = dqt_row_shift(most, count_);
        const auto v = [&](int64_t p) { return dqt_shifted(int64_t{from_.get(p)} - from_.zero, shift); };
        each(at, g, [&](int64_t p, int64_t, int64_t) { total += v(p), squares += v(p) * v(p); });
        if (!op_.center) total = 0;
        const dqt_root root = dqt_inverse_root(dqt_energy(squares, total, count_, added_, shift), kRoots.table);
        each(at, g, [&](int64_t p, int64_t q, int64_t k) {
            const int64_t u = dqt_normalize(v(p) * count_ - total, root);
            const auto i = static_cast<size_t>(k);
            to_.set(q, dqt_clamp((u * op_.m.data[i] + op_.c.data[i]) >> op_.shift, op_.lo, op_.hi));
        });
    }

    const Normalize& op_;
    const View from_, to_;
    size_t along_;
    int64_t count_, added_;
};

}  // namespace

Int128 ir::added(const Normalize& op, int64_t count) {
    return (Int128{count} * count * op.epsilon + ((Int128{1} << op.fraction) >> 1)) >> op.fraction;
}

Shape Normalize::output_shape(const Scope& scope) const {
    check_rounding(scope, out, shift, lo, hi);
    const Shape& shape = scope.ranked(x).shape;
    const size_t rank = shape.size();
    require(axis >= 0 && axis < static_cast<int64_t>(rank), "axis ", axis, ", need 0 to ", rank - 1);
    const int64_t length = shape[static_cast<size_t>(axis)];
    bool divides = groups >= 1 && groups <= length && length % groups == 0;
    require(divides, groups, " groups do not divide dimension ", axis, " of ", shown(shape));
    require(epsilon >= 0, "epsilon ", epsilon, ", need 0 or more");
    require(fraction >= 0 && fraction <= kMostFraction, "fraction ", fraction, ", need 0 to ", kMostFraction);
    bool fits = m.shape.size() == rank;
    for (size_t d = 0; fits && d < rank; ++d) fits = m.shape[d] == 1 || m.shape[d] == shape[d];
    require(fits, "m of shape ", shown(m.shape), ", need the dimensions of ", shown(shape), ", each as long or 1");
    require(c.shape == m.shape, "m has shape ", shown(m.shape), " and c ", shown(c.shape), ": need the same");
    return shape;
}

void Normalize::prove(const Scope& scope) const {
    const int64_t count = count_of(*this, scope.at(x).shape);
    require(count <= kMostValues, "the values of a row are ", count, ", the most is ", kMostValues);
    require(added(*this, count) < Int128{1} << (DQT_ENERGY_BITS - 1), "eps is beyond 61 bits");
    Largest k;
    for (size_t i = 0; i < m.data.size(); ++i) k.include(m.data[i], c.data[i]);
    require(k.fits(most_of(count)), "acc * m + c does not fit int64: its scale or bias is too large");
}

void Normalize::run(const Sample& sample) const { Rows(*this, sample).all(); }

}  // namespace dqt
