// What a kernel of rows gets and does: norms, softmax, embeddings, products of activations.
#pragma once

#include <cstdint>
#include <span>

#include "../arith.h"

namespace dqt {

struct Rounding;  // kernels.h

// A row of a norm, whose root is found, and the constants of its elements; or (`single`) one of each for all.
struct NormRow {
    dqt_root root;
    int64_t total;                   // of the row's values
    const int32_t* m;
    const int64_t* c;
    int32_t values, k;               // in the row, and how far they are shifted
    int32_t zero, shift, lo, hi;
    bool single;
};

struct SoftmaxRow {
    const int32_t* table;            // of powers
    int32_t m, shift, bits;          // `bits`: dqt_row_bits of its length
    int64_t levels, most;
};

// Sums of products of some rows by a packed matrix. Both are in units of four bytes along the depth: four codes each,
// those of `a` unsigned, those of `b` signed; or two 16-bit numbers each. What is past the depth is 0 in `b`.
struct Products {
    static constexpr int64_t COLUMNS = 16;
    const uint8_t* a;                // [rows][units], `a_row` bytes from row to row
    int64_t a_row;
    const uint8_t* b;                // [units][columns]
    int32_t* out;                    // [rows][columns]
    int64_t rows, units, columns;    // `columns`: a multiple of COLUMNS
    const int32_t* start;            // [columns], what sums start from
    const int32_t* extra;            // [rows], added to a row's sums; or null
    int shift = 0;                   // a product counts 2^shift
    int bits = 16;                   // of two codes together
};

// How a kernel set multiplies codes of so many bits together, at most. `bytes`: codes, else differences from the zero
// points in 16 bits. `shortened`: codes without their low bits, which are 0. `offset` is taken off every code of `a`.
struct ProductForm {
    int bits;
    bool bytes, shortened;
    void (*multiply)(const Products&);
    int offset = 0;
};

// Of elements side by side, by kind of operands and result, 0: codes, bytes; 1: integers, int32.
struct RowKernels {
    // The largest |q - zero|.
    uint32_t (*reach[2])(const void* q, int64_t count, int32_t zero);
    // Of v = q - zero, shifted right by k: the sum, and that of the squares.
    void (*sums[2])(const void* q, int64_t count, int32_t zero, int k, int64_t* total, int64_t* squares);
    void (*normalize[2][2])(const void* q, void* out, int64_t count, const NormRow& row);
    void (*softmax[2][2])(const void* q, void* out, int64_t count, const SoftmaxRow& row, int32_t* room);
    // clamp((q*m + c) >> shift, lo, hi) of signed bytes, with one m and one c.
    void (*embed[2])(const int8_t* q, void* out, int64_t count, const Rounding& r);
    // The first form that takes enough bits is used; the last takes all.
    std::span<const ProductForm> products;
};

}  // namespace dqt
