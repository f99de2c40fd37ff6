/* The operators of a dqt program in C99, on one sample. No allocation, no state; arith.h has the integer rules. */
#ifndef DQT_OPS_H
#define DQT_OPS_H

#include <stddef.h>

#include "arith.h"

#define DQT_RANK 8 /* the most dimensions of a value that is read by strides */

/* Integers of a value, row-major: int32 where wide, uint8 codes where not. */
typedef struct {
    void *data;
    int wide;
} dqt_value;

static inline int32_t dqt_get(dqt_value v, size_t i) {
    return v.wide ? ((const int32_t *)v.data)[i] : (int32_t)((const uint8_t *)v.data)[i];
}

static inline void dqt_put(dqt_value v, size_t i, int32_t q) {
    if (v.wide)
        ((int32_t *)v.data)[i] = q;
    else
        ((uint8_t *)v.data)[i] = (uint8_t)q;
}

/* The last rounding: clamp((acc * m + c) >> shift, lo, hi). */
typedef struct {
    int shift;
    int32_t lo, hi;
} dqt_rounding;

static inline int32_t dqt_round(int64_t v, dqt_rounding r) { return (int32_t)dqt_clamp(v >> r.shift, r.lo, r.hi); }

/* A walk over `rank` dimensions, and how far each of two operands moves along each of them. */
typedef struct {
    int rank;
    const int32_t *dims, *first, *second;
} dqt_walk;

/* The next place of a walk; `at` are its counters, `i` and `j` the places in both operands. */
static inline void dqt_next(const dqt_walk *w, int32_t *at, ptrdiff_t *i, ptrdiff_t *j) {
    for (int d = w->rank - 1; d >= 0; d--) {
        *i += w->first[d];
        *j += w->second[d];
        if (++at[d] < w->dims[d]) return;
        *i -= (ptrdiff_t)w->first[d] * w->dims[d];
        *j -= (ptrdiff_t)w->second[d] * w->dims[d];
        at[d] = 0;
    }
}

static inline size_t dqt_count(const dqt_walk *w) {
    size_t count = 1;
    for (int d = 0; d < w->rank; d++) count *= (size_t)w->dims[d];
    return count;
}

/* How a layer runs at a width: T_b(w) by mask, middle and half, as in dot.h but of one weight, and in what way; `row` of m
   and c; the exponents of the ranges that weights and inputs read. */
typedef struct {
    uint8_t mask, middle, half, way, row, weight_e, input_e;
} dqt_width;

/* Weights are read as they are stored; through a table; or of a range 2^-e, 2^e times as large. */
enum { DQT_STORED, DQT_TABLE, DQT_DOUBLED };

/* Sums are 2^e times as large where weights are. */
static inline int dqt_down(const dqt_width *w) { return w->way == DQT_TABLE ? 0 : w->weight_e; }

/* A byte in each of the four places of a word. */
static inline uint32_t dqt_four_of(uint8_t byte) { return byte * 0x01010101u; }

/* The middles of four weights: those of odd channels are one less, equation 5, times 2^e. */
static inline uint32_t dqt_middles(const dqt_width *w) {
    return dqt_four_of(w->middle) - (w->middle ? 0x01000100u << w->weight_e : 0);
}

/* A product with weights of n bits. `widths` has an entry for each width from `lowest` to n. */
typedef struct {
    const uint32_t *weight; /* [outputs, words], `stored` bits each: dot.h */
    const int32_t *m;       /* [outputs], with `m_row` [rows, outputs]; NULL: m_base for all */
    const uint16_t *m_low;  /* NULL, or m_high * 2^16 + m_low is added, [rows, outputs] */
    const uint8_t *m_high;
    const int64_t *c;       /* [rows, outputs], or NULL: c_high * c_unit + c_low */
    const int32_t *c_high;
    const uint16_t *c_low;  /* NULL: 0 */
    const dqt_width *widths;
    size_t words;
    int32_t outputs, depth, step;  /* a tap has `depth` weights, and begins `step` after the one before */
    int32_t m_base, m_row, c_unit; /* `m_row`: outputs, or 0 where m has one row for every width */
    int32_t zero, near;            /* `near`: the zero, or the closest to it that leaves inputs less zero in 16 bits */
    uint8_t stored, n, nearest, lowest, unlike; /* `unlike`: 0, or how many rows lie before those of unlike widths */
    dqt_rounding rounding;
} dqt_layer;

/* `from`, `to`: how far the next channel, row and column are in the input and in the result. */
typedef struct {
    int32_t height, width;   /* of what it reads */
    int32_t rows, columns;   /* of the result */
    int32_t from[3], to[3];
    int32_t kernel[2], stride[2], top, left, dilation[2], groups;
} dqt_window;

/* T_b(q) - zero of every code of n bits, int16 [256]. */
void dqt_narrowed(int n, int b, int e, int32_t zero, int16_t *table);

/* A convolution, or with one row of windows of one tap a product with a matrix. Inputs at `scratch`, int16: those of two
   places; with `near` other than the zero as many ones; then a row of weights where a width reads them by table. */
void dqt_layers(const dqt_layer *l, const dqt_window *g, const uint8_t *x, dqt_value out, int bw, int ba,
                void *scratch);

/* A filter for each channel, channels side by side: `weight` is [taps, words], no width reads it by table. */
void dqt_depthwise(const dqt_layer *l, const dqt_window *g, const uint8_t *x, dqt_value out, int bw, int ba);

static inline const dqt_width *dqt_at(const dqt_layer *l, int b) { return &l->widths[b - l->lowest]; }

/* The row of m and c that serves weights of `bw` and inputs of `ba` bits. */
static inline size_t dqt_row_at(const dqt_layer *l, int bw, int ba) {
    const size_t row = dqt_at(l, bw < ba ? bw : ba)->row;
    return bw == ba || !l->unlike ? row : row + (bw < ba ? l->unlike : 2u * l->unlike - 1);
}

/* m and c of an output. */
typedef struct {
    int64_t c;
    int32_t m;
} dqt_scale;

/* Of output `o`; `row`: of m and c. */
dqt_scale dqt_scale_of(const dqt_layer *l, size_t row, int32_t o);

/* The integer of an output whose sum is `acc`. */
static inline int32_t dqt_rounded(const dqt_layer *l, dqt_scale s, int32_t acc) {
    const int64_t v = (int64_t)acc * s.m + s.c;
    if (l->rounding.shift != 32) return dqt_round(v, l->rounding);
    const int32_t high = (int32_t)(v >> 32); /* the high word */
    return high < l->rounding.lo ? l->rounding.lo : high > l->rounding.hi ? l->rounding.hi : high;
}

/* `out[i] = x[j]` along a walk, from the elements `i0` and `j0` on. */
void dqt_copy(const dqt_walk *w, dqt_value out, ptrdiff_t i0, dqt_value x, ptrdiff_t j0);
void dqt_fill(dqt_value out, size_t count, int32_t q);
/* Elements of one dimension, picked by index; `w` walks over the others, from[0] and to[0] are steps along it. */
void dqt_gather(const dqt_walk *w, const int32_t *indices, size_t count, dqt_value x, int32_t from, dqt_value out,
                int32_t to);
/* The same integers in another shape: each walk is over one of the values, first. */
void dqt_reshape(const dqt_walk *from, const dqt_walk *to, dqt_value x, dqt_value out);

/* Walks over the input or output, which is row-major: first, the value; second, the gains. */
void dqt_quantize(const dqt_walk *w, const float *x, dqt_value out, const float *gain, const float *bias, float zero,
                  float lo, float hi);
void dqt_read(const dqt_walk *w, const int32_t *x, dqt_value out);
void dqt_dequantize(const dqt_walk *w, dqt_value x, int32_t zero, float scale, float *out);

/* Walks in the order of the result. k: k1, k2, k3 of Add; k1 to k4 of Multiply. */
void dqt_add(const dqt_walk *w, dqt_value a, dqt_value b, dqt_value out, const int64_t *k, dqt_rounding r);
void dqt_multiply(const dqt_walk *w, dqt_value a, dqt_value b, dqt_value out, const int64_t *k, dqt_rounding r);
/* Second: m and c, or the rows of the table. */
void dqt_rescale(const dqt_walk *w, dqt_value x, dqt_value out, const int32_t *m, const int64_t *c, dqt_rounding r);
void dqt_look_up(const dqt_walk *w, const uint8_t *x, uint8_t *out, const uint8_t *table);

/* Reductions: one walk over the result (second: the input), one over the elements that become one. */
void dqt_mean(const dqt_walk *kept, const dqt_walk *gone, dqt_value x, dqt_value out, int32_t zero, int64_t k,
              int64_t c, dqt_rounding r);
void dqt_max(const dqt_walk *kept, const dqt_walk *gone, dqt_value x, dqt_value out);
/* The `count` largest of each row of `length` elements, the largest first. */
void dqt_top_k(size_t rows, size_t length, size_t count, dqt_value x, dqt_value out);
void dqt_max_pool(const dqt_window *g, int32_t channels, dqt_value x, dqt_value out);
void dqt_avg_pool(const dqt_window *g, int32_t channels, dqt_value x, dqt_value out, const int32_t *rows,
                  const int32_t *columns, const int32_t *m, const int64_t *c, int32_t step, int32_t zero, dqt_rounding r);
void dqt_resize(const dqt_window *g, int32_t channels, dqt_value x, dqt_value out, const int64_t *steps, int corners);

void dqt_embed(dqt_value x, size_t tokens, dqt_value out, size_t features, const int8_t *table, const int32_t *m,
               const int64_t *c, size_t step, dqt_rounding r);

/* Matrices [rows, depth] and [depth, columns] of codes of n bits. */
typedef struct {
    int32_t rows, depth, columns, zero_a, zero_b;
    int n;
    int32_t m;
    int64_t c;
    dqt_rounding rounding;
} dqt_product;

/* `lead` walks over the matrices of both operands; `ba`, `bb`: their widths. */
void dqt_multiply_matrices(const dqt_walk *lead, const dqt_product *g, const uint8_t *a, const uint8_t *b,
                           dqt_value out, int ba, int bb);

typedef struct {
    int32_t zero;
    int center;
    int64_t added; /* what eps adds to the energy of a row */
    const int32_t *m;
    const int64_t *c;
    const int32_t *roots; /* dqt_root_table */
    dqt_rounding rounding;
} dqt_norm;

/* `rows` and, inside of each, `row` walk over the input and, second, over the constants. */
void dqt_norms(const dqt_walk *rows, const dqt_walk *row, const dqt_norm *g, dqt_value x, dqt_value out);
/* Over the last dimension, of `count` elements; `levels` stands for 1, what is above `hi` saturates. */
void dqt_softmax(size_t rows, size_t count, dqt_value x, dqt_value out, int64_t m, int shift, int32_t levels,
                 int32_t hi, const int32_t *powers);

/* The width of each layer: that of the first largest logit. */
void dqt_choose(const int32_t *logits, size_t layers, size_t choices, const uint8_t *widths, uint8_t *chosen);

#endif
