/* Convolutions and matrix products at any pair of widths. */
#include "ops.h"

void dqt_weights(const dqt_layer *l, int32_t o, int b, int8_t *row) {
    const int8_t *weight = l->weight + (size_t)o * (size_t)l->depth * (size_t)l->taps;
    /* The midpoint alternates by input channel, or by tap in a filter of one channel. Equation 5. */
    for (int32_t i = 0; i < l->depth; i++)
        for (int32_t t = 0; t < l->taps; t++)
            *row++ = dqt_narrow_weight(*weight++, l->n, b, l->weight_e[b], l->nearest, l->depth == 1 ? t : i);
}

void dqt_narrowed(int n, int b, int e, int32_t zero, int32_t *table) {
    for (int q = 0; q < 1 << n; q++)
        table[q] = (e ? dqt_narrow_range((uint8_t)q, n, b, e, zero) : dqt_narrow_activation((uint8_t)q, n, n - b)) - zero;
}

static int32_t requantized(const dqt_layer *l, int32_t acc, int32_t o, int b) {
    const size_t i = (size_t)l->row[b] * (size_t)l->outputs + (size_t)o;
    return dqt_requantize(acc, l->m[i], l->c[i], l->rounding.shift, l->rounding.lo, l->rounding.hi);
}

/* The sum over one window; taps in the padding add 0. `x`: the first channel of the group. */
static int32_t window(const dqt_layer *l, const dqt_window *g, const uint8_t *x, const int8_t *row,
                      const int32_t *table, int32_t y0, int32_t x0) {
    const int32_t area = g->height * g->width;
    int32_t acc = 0;
    for (int32_t i = 0; i < g->kernel[0]; i++) {
        const int32_t y = y0 + i * g->dilation[0];
        if (y < 0 || y >= g->height) continue;
        for (int32_t j = 0; j < g->kernel[1]; j++) {
            const int32_t at = x0 + j * g->dilation[1];
            if (at < 0 || at >= g->width) continue;
            const uint8_t *q = x + y * g->width + at;
            const int8_t *w = row + i * g->kernel[1] + j;
            for (int32_t d = 0; d < l->depth; d++) acc += table[q[d * area]] * w[d * l->taps];
        }
    }
    return acc;
}

void dqt_conv(const dqt_layer *l, const dqt_window *g, const uint8_t *x, dqt_value out, int bw, int ba, int8_t *row) {
    const int32_t each = l->outputs / g->groups, area = g->height * g->width;
    int32_t table[256];
    size_t place = 0;
    dqt_narrowed(l->n, ba, l->input_e[ba], l->zero, table);
    for (int32_t o = 0; o < l->outputs; o++) {
        const uint8_t *group = x + (size_t)(o / each) * (size_t)l->depth * (size_t)area;
        dqt_weights(l, o, bw, row);
        for (int32_t i = 0; i < g->rows; i++)
            for (int32_t j = 0; j < g->columns; j++) {
                const int32_t y0 = i * g->stride[0] - g->top, x0 = j * g->stride[1] - g->left;
                const int32_t acc = window(l, g, group, row, table, y0, x0);
                dqt_put(out, place++, requantized(l, acc, o, bw < ba ? bw : ba));
            }
    }
}

void dqt_linear(const dqt_layer *l, size_t vectors, const uint8_t *x, dqt_value out, int bw, int ba, int8_t *row) {
    const size_t depth = (size_t)l->depth, outputs = (size_t)l->outputs;
    int32_t table[256];
    dqt_narrowed(l->n, ba, l->input_e[ba], l->zero, table);
    for (int32_t o = 0; o < l->outputs; o++) {
        dqt_weights(l, o, bw, row);
        for (size_t v = 0; v < vectors; v++) {
            int32_t acc = 0;
            for (size_t d = 0; d < depth; d++) acc += table[x[v * depth + d]] * row[d];
            dqt_put(out, v * outputs + (size_t)o, requantized(l, acc, o, bw < ba ? bw : ba));
        }
    }
}
