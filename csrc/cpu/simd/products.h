// Products of activations: blocks of rows and vectors of columns, and their plain form.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <cstring>

#include "../kernels.h"

namespace dqt {
namespace {

inline int32_t four_bytes(const uint8_t* p) {
    int32_t four;
    std::memcpy(&four, p, sizeof four);
    return four;
}

// The plain form: pairs of 16-bit numbers.
inline void plain_products(const Products& p) {
    for (int64_t r = 0; r < p.rows; ++r) {
        int32_t* __restrict acc = p.out + r * p.columns;
        const int32_t* __restrict start = p.start;
        const int32_t extra = p.extra ? p.extra[r] : 0;
        for (int64_t j = 0; j < p.columns; ++j) acc[j] = start[j] + extra;
        for (int64_t k = 0; k < p.units; ++k) {
            const auto* __restrict b = reinterpret_cast<const int16_t*>(p.b) + 2 * k * p.columns;
            const auto* a = reinterpret_cast<const int16_t*>(p.a + r * p.a_row) + 2 * k;
            const int32_t first = a[0], second = a[1];
            for (int64_t j = 0; j < p.columns; ++j) acc[j] += first * b[2 * j] + second * b[2 * j + 1];
        }
    }
}

// Blocks of ROWS rows and V vectors of columns. Vector: load(), both(four bytes), add_products(acc, a, b), plus(), store().
template <class Vector, int ROWS, int V>
inline void product_block(const Products& p, int64_t r, int64_t j) {
    Vector acc[ROWS][V];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[i][v] = Vector::load(p.start + j + v * Vector::LANES);
    const uint8_t *a = p.a + r * p.a_row, *from = p.b + 4 * j;
    for (int64_t k = 0; k < p.units; ++k, a += 4, from += 4 * p.columns) {
        Vector b[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) b[v] = Vector::load(from + 4 * v * Vector::LANES);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) {
            const Vector both = Vector::both(four_bytes(a + i * p.a_row));
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) acc[i][v] = Vector::add_products(acc[i][v], both, b[v]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
            if (p.extra) acc[i][v] = acc[i][v].plus(p.extra[r + i]);
            acc[i][v].store(p.out + (r + i) * p.columns + j + v * Vector::LANES);
        }
}

// V is the most vectors of a block; what is left of the columns takes smaller ones.
template <class Vector, int ROWS, int V>
inline void product_rows(const Products& p, int64_t r, int64_t j = 0) {
    for (; j + V * Vector::LANES <= p.columns; j += V * Vector::LANES) product_block<Vector, ROWS, V>(p, r, j);
    if constexpr (V > 1)
        if (j < p.columns) product_rows<Vector, ROWS, V / 2>(p, r, j);
}

template <class Vector, int ROWS, int V>
void products(const Products& p) {
    int64_t r = 0;
    for (; r + ROWS <= p.rows; r += ROWS) product_rows<Vector, ROWS, V>(p, r);
    if constexpr (ROWS > 2)
        for (; r + 2 <= p.rows; r += 2) product_rows<Vector, 2, V>(p, r);
    for (; r < p.rows; ++r) product_rows<Vector, 1, V>(p, r);
}

constexpr ProductForm PLAIN_PRODUCTS[] = {{16, false, false, plain_products}};

}  // namespace
}  // namespace dqt
