/* Convolutions and matrix products at any pair of widths. */
#include <string.h>

#include "dot.h"
#include "ops.h"

void dqt_narrowed(int n, int b, int e, int32_t zero, int16_t *table) {
    for (int q = 0; q < 1 << n; q++) {
        const int t = e ? dqt_narrow_range((uint8_t)q, n, b, e, zero) : dqt_narrow_activation((uint8_t)q, n, n - b);
        table[q] = (int16_t)(t - zero);
    }
}

/* A layer at a pair of widths. */
typedef struct {
    const dqt_layer *layer;
    uint32_t mask, middle, half; /* of dot.h */
    int doubled;
    int down;   /* sums are 2^down times as large as they should be */
    size_t row; /* of m and c */
    int16_t inputs[256];
    int8_t *table;    /* T_b of a weight, first for even channels, then for odd ones; NULL: by mask and middle */
    uint32_t *narrow; /* a row of narrowed weights */
    int16_t *ones;    /* NULL, or a column of ones: the zero lies further out than 16 bits reach */
} product;

static dqt_row row_of(const product *p, int32_t o) {
    const dqt_layer *l = p->layer;
    dqt_row row = {l->weight + (size_t)o * l->words, l->words, l->stored, p->mask, p->middle, p->half, p->doubled};
    if (!p->table) return row;
    for (size_t i = 0; i < l->words; i++) {
        uint32_t word = 0;
        for (int byte = 0; byte < 4; byte++) {
            const uint8_t w = (uint8_t)(row.words[i] >> 8 * byte);
            word |= (uint32_t)(uint8_t)p->table[256 * (byte & 1) + w] << 8 * byte;
        }
        p->narrow[i] = word;
    }
    row.words = p->narrow;
    row.mask = UINT32_MAX;
    row.middle = row.half = 0;
    return row;
}

dqt_scale dqt_scale_of(const dqt_layer *l, size_t row, int32_t o) {
    const size_t i = row * (size_t)l->m_row + (size_t)o, j = row * (size_t)l->outputs + (size_t)o;
    dqt_scale s;
    s.m = l->m ? l->m[i] : l->m_base;
    if (l->m_low) s.m += (int32_t)((uint32_t)l->m_high[j] << 16 | l->m_low[j]);
    s.c = l->c ? l->c[j] : (int64_t)l->c_high[j] * l->c_unit;
    if (l->c_low) s.c += l->c_low[j];
    return s;
}

static int32_t sum_of(const product *p, const dqt_row *row, int32_t acc) {
    return (p->ones ? acc + (p->layer->near - p->layer->zero) * dqt_dot(row, p->ones) : acc) >> p->down;
}

/* Inputs `step` apart to places k to k + depth - 1 of a column. */
static void copy(const int16_t *inputs, const uint8_t *q, int32_t step, int32_t k, int32_t depth, int16_t *column) {
    const int32_t end = k + depth;
    for (; k % 4 == 0 && k + 4 <= end; k += 4) {
        int16_t *four = column + k;
        four[DQT_PLACE(0)] = inputs[q[0]];
        four[DQT_PLACE(1)] = inputs[q[step]];
        four[DQT_PLACE(2)] = inputs[q[2 * step]];
        four[DQT_PLACE(3)] = inputs[q[3 * step]];
        q += 4 * step;
    }
    for (; k < end; k++, q += step) column[DQT_PLACE(k)] = inputs[*q];
}

/* The inputs of one window of one group, whose first channel is at `x`; taps in the padding are 0. */
static void gather(const product *p, const dqt_window *g, const uint8_t *x, int32_t place, int16_t *column) {
    const int32_t y0 = place / g->columns * g->stride[0] - g->top, x0 = place % g->columns * g->stride[1] - g->left;
    const int32_t depth = p->layer->depth;
    int32_t k = 0;
    for (int32_t i = 0; i < g->kernel[0]; i++)
        for (int32_t j = 0; j < g->kernel[1]; j++, k += p->layer->step) {
            const int32_t y = y0 + i * g->dilation[0], at = x0 + j * g->dilation[1];
            if (y >= 0 && y < g->height && at >= 0 && at < g->width)
                copy(p->inputs, x + y * g->from[1] + at * g->from[2], g->from[0], k, depth, column);
            else
                for (int32_t d = k; d < k + depth; d++) column[DQT_PLACE(d)] = 0;
        }
}

/* A column of ones. */
static void fill_ones(const product *p, const dqt_window *g, int16_t *column) {
    const int32_t taps = g->kernel[0] * g->kernel[1];
    for (int32_t k = 0; k < taps * p->layer->step; k += p->layer->step)
        for (int32_t d = k; d < k + p->layer->depth; d++) column[DQT_PLACE(d)] = 1;
}

static int32_t place_of(const dqt_window *g, int32_t place) {
    return place / g->columns * g->to[1] + place % g->columns * g->to[2];
}

/* All outputs of two places, or of the last one. */
static void places(const product *p, const dqt_window *g, const uint8_t *x, dqt_value out, int32_t place, int32_t count,
                   int16_t *first, int16_t *second) {
    const int32_t each = p->layer->outputs / g->groups, at[2] = {place_of(g, place), place_of(g, place + 1)};
    for (int32_t group = 0; group < g->groups; group++, x += p->layer->depth * g->from[0]) {
        gather(p, g, x, place, first);
        if (count > 1) gather(p, g, x, place + 1, second);
        for (int32_t o = group * each, more; o < (group + 1) * each; o += more) {
            const dqt_row row = row_of(p, o);
            dqt_row next = row;
            int32_t sums[4];
            more = !p->table && o + 1 < (group + 1) * each ? 2 : 1;
            if (more > 1 && count > 1)
                dqt_four(&row, first, second, sums);
            else if (more > 1)
                dqt_pair(&row, first, sums);
            else if (count > 1)
                dqt_dots(&row, first, second, sums);
            else
                sums[0] = dqt_dot(&row, first);
            next.words += row.count;
            for (int32_t i = 0; i < more; i++) {
                const dqt_scale scale = dqt_scale_of(p->layer, p->row, o + i);
                for (int32_t k = 0; k < count; k++) {
                    const int32_t acc = sum_of(p, i ? &next : &row, sums[count * i + k]);
                    dqt_put(out, (size_t)(at[k] + (o + i) * g->to[0]), dqt_rounded(p->layer, scale, acc));
                }
            }
        }
    }
}

/* Of ranges 2^-e whose sums leave no room, and the nearest rule of less than 8 bits. Equations 34 and 35. */
static void weight_table(const dqt_layer *l, int b, int8_t *table) {
    for (int parity = 0; parity < 2; parity++)
        for (int w = -(1 << (l->n - 1)); w < 1 << (l->n - 1); w++)
            table[256 * parity + (uint8_t)w] =
                dqt_narrow_weight((int8_t)w, l->n, b, dqt_at(l, b)->weight_e, l->nearest, parity);
}

void dqt_layers(const dqt_layer *l, const dqt_window *g, const uint8_t *x, dqt_value out, int bw, int ba,
                void *scratch) {
    const int32_t count = g->rows * g->columns;
    const size_t length = l->words * (32 / (size_t)l->stored);
    int16_t *first = scratch, *second = first + (count > 1 ? length : 0), *ones = second + length;
    int8_t table[512];
    const int far = l->near != l->zero;
    const dqt_width *w = dqt_at(l, bw);
    product p = {l, dqt_four_of(w->mask), dqt_middles(w), dqt_four_of(w->half),
                 w->way == DQT_DOUBLED ? w->weight_e : 0, dqt_down(w),
                 dqt_row_at(l, bw, ba), {0}, NULL, NULL, NULL};
    p.narrow = (uint32_t *)(void *)(ones + (far ? length : 0));
    dqt_narrowed(l->n, ba, dqt_at(l, ba)->input_e, l->near, p.inputs);
    memset(first, 0, (size_t)(ones - first + (far ? (ptrdiff_t)length : 0)) * sizeof *first);
    if (w->way == DQT_TABLE) {
        weight_table(l, bw, table);
        p.table = table;
    }
    if (far) {
        fill_ones(&p, g, ones);
        p.ones = ones;
    }
    for (int32_t place = 0; place < count; place += 2)
        places(&p, g, x, out, place, count - place > 1 ? 2 : 1, first, second);
}
