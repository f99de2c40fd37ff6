// Products of two matrices of codes, which lie anywhere: the second packed for the kernels, then some rows at a time.
#pragma once

#include "executor.h"

namespace dqt {

// How the matrices of a value lie: those of each sample in row-major order of the leading dimensions of `to`.
struct Matrices {
    const Tensor& t;
    std::span<const int64_t> strides;
    int64_t row, step;               // bytes between neighbours along the last two dimensions

    Matrices(const Context& run, int value);
    // Where matrix `i` of sample `n` begins.
    uint8_t* matrix(std::span<const int64_t> to, int64_t n, int64_t i) const;
};

// Sizes of a product, and the room of one thread that takes `at_once` rows at a time.
struct ProductSizes {
    int64_t rows, depth, columns, padded, at_once;

    ProductSizes(std::span<const int64_t> a, std::span<const int64_t> b);
    int64_t row_bytes() const { return 4 * split_up(depth, 2); }  // of a prepared row in the form that takes most
    int64_t packed() const { return round_up(row_bytes() * padded, LINE); }
    int64_t left() const { return round_up(row_bytes() * at_once, LINE); }
    int64_t line() const { return round_up(std::max(depth, columns), LINE); }
    int64_t sums() const { return round_up(4 * at_once * padded, LINE); }
    int64_t bytes() const { return packed() + left() + 6 * line() + sums() + 4 * padded + round_up(4 * at_once, LINE); }
};

// How codes become the numbers of a prepared operand: (T_b(q) >> shift) - less, where T_b takes `cut` bits of n off.
struct Reading {
    int n = 8, cut = 0, shift = 0, less = 0;
    bool none() const { return cut == 0 && shift == 0 && less == 0; }
};

// A product at one pair of widths at a time, in one thread.
class Multiplication {
  public:
    // `room`: so many bytes as the sizes say.
    Multiplication(const Context& run, const MatMul& op, const ProductSizes& sizes, uint8_t* room);

    void set_widths(int first, int second);
    // Packs a matrix of the second operand.
    void take(const uint8_t* matrix);
    // The sums of some rows of the first operand, at most as many as are taken at once, ProductSizes::padded apart. They
    // stay until the next call.
    const int32_t* multiply(const uint8_t* from, int64_t row, int64_t step, int64_t count) {
        return multiply(from, row, step, count, left_how_, sizes_.depth % 4 == 0);
    }
    // The same of rows that may be narrowed where they lie, `row` bytes apart: a multiple of four.
    const int32_t* multiply_own(uint8_t* rows, int64_t row, int64_t count);

  private:
    template <class T, int UNIT>
    void pack(const uint8_t* matrix);
    template <class T, int UNIT>
    void pack_rows(const uint8_t* matrix);
    template <class T, int UNIT>
    void pack_columns(const uint8_t* matrix);
    template <class T>
    void prepare(const uint8_t* from, int64_t step, int64_t count, const Reading& how, T* to);
    const uint8_t* narrowed(const uint8_t* from, int64_t count, const Reading& how, uint8_t* to) const;
    void find_start();
    // `readable`: so many bytes follow each row that there are a multiple of four.
    const int32_t* multiply(const uint8_t* from, int64_t row, int64_t step, int64_t count, const Reading& how, bool readable);
    int64_t units() const { return split_up(sizes_.depth, form_->bytes ? 4 : 2); }

    const Kernels& kernels_;
    const Matrices a_, b_;
    const ProductSizes sizes_;
    const int n_;
    const Narrow stored_[2];         // how the codes of the operands have been narrowed
    int first_ = 0, second_ = 0;     // widths
    const ProductForm* form_ = nullptr;
    Reading left_how_, right_how_;
    int shift_ = 0;                  // of sums of prepared numbers, and what they lack besides:
    int32_t by_row_ = 0, by_column_ = 0, constant_ = 0;
    const uint8_t* packed_ = nullptr;  // the matrix that has been
    uint8_t *right_, *left_, *lines_;
    int32_t *sums_, *start_, *extra_;
};

// Requantizes a row of sums to where its results lie, `step` bytes apart.
void store_products(const Context& run, const MatMul& op, const Tensor& out, const int32_t* sums, uint8_t* to, int64_t step,
                    int64_t count);

}  // namespace dqt
