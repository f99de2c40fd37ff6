/* Operators in which many integers become one: means, largest ones, pools; interpolation; the choice of widths. */
#include "ops.h"

void dqt_mean(const dqt_walk *kept, const dqt_walk *gone, dqt_value x, dqt_value out, int32_t zero, int64_t k,
              int64_t c, dqt_rounding r) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    const size_t count = dqt_count(kept), area = dqt_count(gone);
    for (size_t n = 0; n < count; n++) {
        int32_t inside[DQT_RANK] = {0};
        ptrdiff_t none = 0, place = j;
        int64_t acc = 0;
        for (size_t a = 0; a < area; a++) {
            acc += dqt_get(x, (size_t)place) - (int64_t)zero;
            dqt_next(gone, inside, &none, &place);
        }
        dqt_put(out, (size_t)i, dqt_round(acc * k + c, r));
        dqt_next(kept, at, &i, &j);
    }
}

void dqt_max(const dqt_walk *kept, const dqt_walk *gone, dqt_value x, dqt_value out) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    const size_t count = dqt_count(kept), area = dqt_count(gone);
    for (size_t n = 0; n < count; n++) {
        int32_t inside[DQT_RANK] = {0}, best = INT32_MIN;
        ptrdiff_t none = 0, place = j;
        for (size_t a = 0; a < area; a++) {
            const int32_t q = dqt_get(x, (size_t)place);
            best = q > best ? q : best;
            dqt_next(gone, inside, &none, &place);
        }
        dqt_put(out, (size_t)i, best);
        dqt_next(kept, at, &i, &j);
    }
}

static int32_t largest(const dqt_window *g, dqt_value x, size_t plane, int32_t y0, int32_t x0) {
    int32_t best = INT32_MIN;
    for (int32_t i = 0; i < g->kernel[0]; i++)
        for (int32_t j = 0; j < g->kernel[1]; j++) {
            const int32_t y = y0 + i * g->dilation[0], at = x0 + j * g->dilation[1];
            if (y < 0 || y >= g->height || at < 0 || at >= g->width) continue;
            const int32_t q = dqt_get(x, plane + (size_t)(y * g->width + at));
            best = q > best ? q : best;
        }
    return best;
}

void dqt_max_pool(const dqt_window *g, dqt_value x, dqt_value out) {
    size_t place = 0;
    for (int32_t c = 0; c < g->channels; c++)
        for (int32_t i = 0; i < g->rows; i++)
            for (int32_t j = 0; j < g->columns; j++) {
                const int32_t y0 = i * g->stride[0] - g->top, x0 = j * g->stride[1] - g->left;
                const size_t plane = (size_t)c * (size_t)g->height * (size_t)g->width;
                dqt_put(out, place++, largest(g, x, plane, y0, x0));
            }
}

void dqt_avg_pool(const dqt_window *g, dqt_value x, dqt_value out, const int32_t *rows, const int32_t *columns,
                  const int32_t *m, const int64_t *c, int32_t step, int32_t zero, dqt_rounding r) {
    size_t place = 0;
    for (int32_t n = 0; n < g->channels; n++)
        for (int32_t i = 0; i < g->rows; i++)
            for (int32_t j = 0; j < g->columns; j++) {
                const int32_t k = step * (i * g->columns + j);
                int64_t acc = 0;
                for (int32_t y = rows[2 * i]; y < rows[2 * i + 1]; y++)
                    for (int32_t at = columns[2 * j]; at < columns[2 * j + 1]; at++)
                        acc += dqt_get(x, (size_t)((n * g->height + y) * g->width + at)) - (int64_t)zero;
                dqt_put(out, place++, dqt_round(acc * m[k] + c[k], r));
            }
}

/* 2^11 times the number between two; of two sides, 2^22 times, which one rounding takes off. Equations 32 and 33. */
static int64_t between(int64_t first, int64_t second, int64_t weight) {
    return first * 2048 + (second - first) * weight;
}

void dqt_resize(const dqt_window *g, dqt_value x, dqt_value out, const int64_t *steps, int corners) {
    size_t place = 0;
    for (int32_t n = 0; n < g->channels; n++)
        for (int32_t i = 0; i < g->rows; i++) {
            const dqt_place y = dqt_neighbours(i, g->height, g->rows, steps[0], steps[1], corners);
            for (int32_t j = 0; j < g->columns; j++) {
                const dqt_place at = dqt_neighbours(j, g->width, g->columns, steps[2], steps[3], corners);
                const size_t above = (size_t)(n * g->height + y.first) * (size_t)g->width;
                const size_t below = (size_t)(n * g->height + y.second) * (size_t)g->width;
                const size_t left = (size_t)at.first, right = (size_t)at.second;
                const int64_t a = between(dqt_get(x, above + left), dqt_get(x, below + left), y.weight);
                const int64_t b = between(dqt_get(x, above + right), dqt_get(x, below + right), y.weight);
                dqt_put(out, place++, (int32_t)((between(a, b, at.weight) + (1 << 21)) >> 22));
            }
        }
}

void dqt_choose(const int32_t *logits, size_t layers, size_t choices, const uint8_t *widths, uint8_t *chosen) {
    for (size_t i = 0; i < layers; i++) {
        size_t best = 0;
        for (size_t k = 1; k < choices; k++)
            if (logits[i * choices + k] > logits[i * choices + best]) best = k;
        chosen[i] = widths[best];
    }
}
