#include "products.h"

#include <algorithm>
#include <cstring>

#include "rows.h"

namespace dqt {
namespace {

constexpr int LINES = 4;  // of codes on their way; two more hold numbers

int32_t times(int64_t a, int64_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) * static_cast<uint32_t>(b)); }
int32_t plus(int32_t a, int32_t b) { return static_cast<int32_t>(static_cast<uint32_t>(a) + static_cast<uint32_t>(b)); }

// to[UNIT * j + i] = (from[i][j] >> shift) - less[i].
template <class T, int UNIT>
void interleave(const uint8_t* const (&from)[UNIT], const int (&less)[UNIT], int shift, T* __restrict to, int64_t count) {
    const uint8_t *__restrict p = from[0], *__restrict q = from[1];
    const int a = less[0], b = less[1];
    if constexpr (UNIT == 2) {
        for (int64_t j = 0; j < count; ++j) {
            to[2 * j] = static_cast<T>((p[j] >> shift) - a);
            to[2 * j + 1] = static_cast<T>((q[j] >> shift) - b);
        }
    } else {
        const uint8_t *__restrict r = from[2], *__restrict s = from[3];
        const int c = less[2], d = less[3];
        for (int64_t j = 0; j < count; ++j) {
            to[4 * j] = static_cast<T>((p[j] >> shift) - a);
            to[4 * j + 1] = static_cast<T>((q[j] >> shift) - b);
            to[4 * j + 2] = static_cast<T>((r[j] >> shift) - c);
            to[4 * j + 3] = static_cast<T>((s[j] >> shift) - d);
        }
    }
}

}  // namespace

Matrices::Matrices(const Context& run, int value)
    : t(run.arena.values[value]), strides(run.plan.strides[value]), row(strides[strides.size() - 2]), step(strides.back()) {}

uint8_t* Matrices::matrix(std::span<const int64_t> to, int64_t n, int64_t i) const {
    const size_t skip = to.size() - strides.size();
    int64_t offset = 0;
    for (size_t d = to.size() - 2; d-- > 0; i /= to[d])
        if (d >= skip && t.shape[d - skip] > 1) offset += i % to[d] * strides[d - skip];
    return t.at(n, 0, 0) + offset;
}

ProductSizes::ProductSizes(std::span<const int64_t> a, std::span<const int64_t> b)
    : rows(a[a.size() - 2]), depth(a.back()), columns(b.back()), padded(round_up(columns, Products::COLUMNS)) {
    // Blocks of six rows, whose sums stay in the first cache.
    constexpr int64_t SUMS = 4096, BLOCK = 6, MOST = 8;
    at_once = BLOCK * std::clamp<int64_t>(SUMS / padded / BLOCK, 1, MOST);
}

Multiplication::Multiplication(const Context& run, const MatMul& op, const ProductSizes& sizes, uint8_t* room)
    : kernels_(run.kernels), a_(run, op.a), b_(run, op.b), sizes_(sizes), n_(run.program.space.master),
      stored_{run.arena.readers[op.a], run.arena.readers[op.b]}, right_(room),
      left_(right_ + sizes.packed()), lines_(left_ + sizes.left()),
      sums_(reinterpret_cast<int32_t*>(lines_ + 6 * sizes.line())), start_(sums_ + sizes.sums() / 4),
      extra_(start_ + sizes.padded) {}

// Equation 21's sum, of T_a = 2^s a and T_b = 2^t b + 2^t less, where s, t are the shifts and a, b what is prepared:
//
//     2^(s+t) sum ab + 2^s (2^t less - z_b) sum a - z_a 2^t sum b - N z_a (2^t less - z_b)
//
// Differences in 16 bits lack nothing. A kernel that takes an offset off every a leaves that times sum b.
void Multiplication::set_widths(int first, int second) {
    if (first == first_ && second == second_) return;
    first_ = first, second_ = second, packed_ = nullptr;
    form_ = kernels_.rows.products.data();
    while (first + second > form_->bits) ++form_;
    left_how_ = {n_, n_ - first, 0, a_.t.zero};
    right_how_ = {n_, n_ - second, 0, b_.t.zero};
    shift_ = by_row_ = by_column_ = constant_ = 0;
    const int left_cut = left_how_.cut, right_cut = right_how_.cut;
    if (stored_[0] == Narrow{n_, left_cut}) left_how_.cut = 0;
    if (stored_[1] == Narrow{n_, right_cut}) right_how_.cut = 0;
    if (!form_->bytes) return;
    left_how_.less = 0;
    if (form_->shortened) left_how_.shift = left_cut, right_how_.shift = right_cut;
    right_how_.less = 1 << (n_ - 1) >> right_how_.shift;
    shift_ = left_how_.shift + right_how_.shift;
    const int off = (1 << (n_ - 1)) - b_.t.zero;
    by_row_ = off * (1 << left_how_.shift);
    by_column_ = (form_->offset - a_.t.zero) * (1 << right_how_.shift);
    constant_ = times(-sizes_.depth * a_.t.zero, off);
}

// T_b of some codes side by side.
const uint8_t* Multiplication::narrowed(const uint8_t* from, int64_t count, const Reading& how, uint8_t* to) const {
    if (how.cut == 0) return from;
    kernels_.narrow(from, to, count, how.n, how.cut);
    return to;
}

// Codes that lie `step` apart, as numbers side by side.
template <class T>
void Multiplication::prepare(const uint8_t* from, int64_t step, int64_t count, const Reading& how, T* to) {
    if (step != 1) {
        for (int64_t k = 0; k < count; ++k) lines_[k] = from[k * step];
        from = lines_;
    }
    from = narrowed(from, count, how, lines_);
    const int shift = how.shift, less = how.less;
    T* __restrict out = to;
    for (int64_t k = 0; k < count; ++k) out[k] = static_cast<T>((from[k] >> shift) - less);
}

// Columns side by side: rows of the depth, UNIT of them interleaved.
template <class T, int UNIT>
void Multiplication::pack_rows(const uint8_t* matrix) {
    T* to = reinterpret_cast<T*>(right_);
    for (int64_t k = 0; k < sizes_.depth; k += UNIT, to += UNIT * sizes_.padded) {
        const uint8_t* from[UNIT];
        int less[UNIT];
        for (int i = 0; i < UNIT; ++i) {
            uint8_t* line = lines_ + i * sizes_.line();
            const bool real = k + i < sizes_.depth;
            less[i] = real ? right_how_.less : 0;
            from[i] = real ? narrowed(matrix + (k + i) * b_.row, sizes_.columns, right_how_, line) : line;
            if (!real) std::memset(line, 0, static_cast<size_t>(sizes_.columns));
        }
        interleave<T, UNIT>(from, less, right_how_.shift, to, sizes_.columns);
        std::fill(to + UNIT * sizes_.columns, to + UNIT * sizes_.padded, T{0});
    }
}

// Column by column, whose depth lies side by side, or anywhere.
template <class T, int UNIT>
void Multiplication::pack_columns(const uint8_t* matrix) {
    T* line = reinterpret_cast<T*>(lines_ + LINES * sizes_.line());
    const int64_t count = units();
    std::fill(line + sizes_.depth, line + count * UNIT, T{0});
    for (int64_t j = 0; j < sizes_.padded; ++j) {
        if (j < sizes_.columns)
            prepare(matrix + j * b_.step, b_.row, sizes_.depth, right_how_, line);
        else if (j == sizes_.columns)
            std::fill_n(line, count * UNIT, T{0});
        uint8_t* to = right_ + 4 * j;
        for (int64_t k = 0; k < count; ++k) std::memcpy(to + 4 * k * sizes_.padded, line + k * UNIT, 4);
    }
}

template <class T, int UNIT>
void Multiplication::pack(const uint8_t* matrix) {
    b_.step == 1 ? pack_rows<T, UNIT>(matrix) : pack_columns<T, UNIT>(matrix);
}

void Multiplication::take(const uint8_t* matrix) {
    if (matrix == packed_) return;
    packed_ = matrix;
    form_->bytes ? pack<int8_t, 4>(matrix) : pack<int16_t, 2>(matrix);
    find_start();
}

// Sums of the columns are products with a row of ones.
void Multiplication::find_start() {
    std::fill_n(start_, sizes_.padded, by_column_ ? 0 : constant_);
    if (!by_column_) return;
    std::memset(left_, form_->offset + 1, static_cast<size_t>(4 * units()));
    form_->multiply({left_, 0, right_, sums_, 1, units(), sizes_.padded, start_, nullptr, 0, first_ + second_});
    for (int64_t j = 0; j < sizes_.padded; ++j) start_[j] = plus(times(by_column_, sums_[j]), constant_);
}

const int32_t* Multiplication::multiply_own(uint8_t* rows, int64_t row, int64_t count) {
    Reading how = left_how_;
    if (how.cut) kernels_.narrow(rows, rows, count * row, how.n, how.cut);
    how.cut = 0;
    return multiply(rows, row, 1, count, how, true);
}

const int32_t* Multiplication::multiply(const uint8_t* from, int64_t row, int64_t step, int64_t count, const Reading& how,
                                        bool readable) {
    const bool direct = form_->bytes && how.none() && step == 1 && readable;
    const int64_t bytes = direct ? row : 4 * units();
    const uint8_t* rows = direct ? from : left_;
    if (!direct)
        for (int64_t r = 0; r < count; ++r) {
            uint8_t* to = left_ + r * bytes;
            std::memset(to + bytes - 4, 0, 4);
            if (form_->bytes)
                prepare(from + r * row, step, sizes_.depth, how, to);
            else
                prepare(from + r * row, step, sizes_.depth, how, reinterpret_cast<int16_t*>(to));
        }
    for (int64_t r = 0; by_row_ && r < count; ++r) {
        const uint8_t* each = rows + r * bytes;
        uint32_t sum = 0;
        for (int64_t k = 0; k < sizes_.depth; ++k) sum += each[k];
        extra_[r] = times(by_row_, sum);
    }
    form_->multiply({rows, bytes, right_, sums_, count, units(), sizes_.padded, start_, by_row_ ? extra_ : nullptr, shift_,
                     first_ + second_});
    return sums_;
}

}  // namespace dqt
