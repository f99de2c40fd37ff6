/* Convolutions with a filter for each channel: words hold the weights of four channels, tap by tap. */
#include "dot.h"
#include "ops.h"

/* The taps of a window along one side that are no padding: from, to. */
static void inside(int32_t start, int32_t dilation, int32_t taps, int32_t size, int32_t *range) {
    range[0] = start < 0 ? (-start + dilation - 1) / dilation : 0;
    range[1] = start < size ? (size - start + dilation - 1) / dilation : 0;
    range[1] = range[1] < taps ? range[1] : taps;
}

/* Sums of four channels, whose weights stand `up` bits below the top of their bytes. */
static void sums_of(const dqt_layer *l, const dqt_window *g, const dqt_width *w, const uint32_t *words, int up,
                    const uint8_t *x, const int16_t *inputs, const int32_t *start, const int32_t *rows,
                    const int32_t *columns, int32_t *sums) {
    const uint32_t first = dqt_four_of(w->middle);
    const uint32_t middles[2] = {first, w->middle ? first - (0x01010101u << w->weight_e) : 0};
    const uint32_t mask = dqt_four_of(w->mask), half = dqt_four_of(w->half);
    const int doubled = w->way == DQT_DOUBLED ? w->weight_e : 0;
    const int32_t step = g->dilation[1] * g->from[2];
    for (int32_t i = rows[0]; i < rows[1]; i++) {
        int32_t tap = i * g->kernel[1] + columns[0];
        const int32_t y = start[0] + i * g->dilation[0], at = start[1] + columns[0] * g->dilation[1];
        const uint8_t *q = x + y * g->from[1] + at * g->from[2];
        for (int32_t j = columns[0]; j < columns[1]; j++, tap++, q += step) {
            const uint32_t word = dqt_doubled(words[(size_t)tap * l->words] << up, doubled);
            const uint32_t four = ((half ? dqt_added(word, half) : word) & mask) | middles[tap & 1];
            sums[0] += (int8_t)four * inputs[q[0]];
            sums[1] += (int8_t)(four >> 8) * inputs[q[1]];
            sums[2] += (int8_t)(four >> 16) * inputs[q[2]];
            sums[3] += (int8_t)(four >> 24) * inputs[q[3]];
        }
    }
}

void dqt_depthwise(const dqt_layer *l, const dqt_window *g, const uint8_t *x, dqt_value out, int bw, int ba) {
    const dqt_width *w = dqt_at(l, bw);
    const size_t row = dqt_row_at(l, bw, ba);
    int16_t inputs[256];
    dqt_narrowed(l->n, ba, dqt_at(l, ba)->input_e, l->zero, inputs);
    for (int32_t i = 0; i < g->rows; i++)
        for (int32_t j = 0; j < g->columns; j++) {
            const int32_t start[2] = {i * g->stride[0] - g->top, j * g->stride[1] - g->left};
            int32_t rows[2], columns[2], o = 0;
            inside(start[0], g->dilation[0], g->kernel[0], g->height, rows);
            inside(start[1], g->dilation[1], g->kernel[1], g->width, columns);
            for (const uint32_t *words = l->weight; o < l->outputs; words++)
                for (int up = 0; up < 8; up += l->stored, o += 4) {
                    int32_t sums[4] = {0};
                    sums_of(l, g, w, words, up, x + o, inputs, start, rows, columns, sums);
                    for (int32_t k = 0; k < 4; k++) {
                        const int32_t place = i * g->to[1] + j * g->to[2] + (o + k) * g->to[0];
                        dqt_put(out, (size_t)place, dqt_rounded(l, dqt_scale_of(l, row, o + k), sums[k] >> dqt_down(w)));
                    }
                }
        }
}
