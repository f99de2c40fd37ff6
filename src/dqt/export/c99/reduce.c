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

static size_t place_in(const int32_t *steps, int32_t channel, int32_t row, int32_t column) {
    return (size_t)(channel * steps[0] + row * steps[1] + column * steps[2]);
}

static int32_t largest(const dqt_window *g, dqt_value x, int32_t c, int32_t y0, int32_t x0) {
    int32_t best = INT32_MIN;
    for (int32_t i = 0; i < g->kernel[0]; i++)
        for (int32_t j = 0; j < g->kernel[1]; j++) {
            const int32_t y = y0 + i * g->dilation[0], at = x0 + j * g->dilation[1];
            if (y < 0 || y >= g->height || at < 0 || at >= g->width) continue;
            const int32_t q = dqt_get(x, place_in(g->from, c, y, at));
            best = q > best ? q : best;
        }
    return best;
}

void dqt_max_pool(const dqt_window *g, int32_t channels, dqt_value x, dqt_value out) {
    for (int32_t i = 0; i < g->rows; i++)
        for (int32_t j = 0; j < g->columns; j++)
            for (int32_t c = 0; c < channels; c++) {
                const int32_t y0 = i * g->stride[0] - g->top, x0 = j * g->stride[1] - g->left;
                dqt_put(out, place_in(g->to, c, i, j), largest(g, x, c, y0, x0));
            }
}

void dqt_avg_pool(const dqt_window *g, int32_t channels, dqt_value x, dqt_value out, const int32_t *rows,
                  const int32_t *columns, const int32_t *m, const int64_t *c, int32_t step, int32_t zero,
                  dqt_rounding r) {
    for (int32_t n = 0; n < channels; n++)
        for (int32_t i = 0; i < g->rows; i++)
            for (int32_t j = 0; j < g->columns; j++) {
                const int32_t k = step * (i * g->columns + j);
                int64_t acc = 0;
                for (int32_t y = rows[2 * i]; y < rows[2 * i + 1]; y++)
                    for (int32_t at = columns[2 * j]; at < columns[2 * j + 1]; at++)
                        acc += dqt_get(x, place_in(g->from, n, y, at)) - (int64_t)zero;
                dqt_put(out, place_in(g->to, n, i, j), dqt_round(acc * m[k] + c[k], r));
            }
}

/* 2^11 times the number between two; of two sides, 2^22 times, which one rounding takes off. Equations 32 and 33. */
static int64_t between(int64_t first, int64_t second, int64_t weight) {
    return first * 2048 + (second - first) * weight;
}

void dqt_resize(const dqt_window *g, int32_t channels, dqt_value x, dqt_value out, const int64_t *steps,
                int corners) {
    for (int32_t i = 0; i < g->rows; i++) {
        const dqt_place y = dqt_neighbours(i, g->height, g->rows, steps[0], steps[1], corners);
        const int32_t above = (int32_t)y.first, below = (int32_t)y.second;
        for (int32_t j = 0; j < g->columns; j++) {
            const dqt_place at = dqt_neighbours(j, g->width, g->columns, steps[2], steps[3], corners);
            const int32_t left = (int32_t)at.first, right = (int32_t)at.second;
            for (int32_t c = 0; c < channels; c++) {
                const int64_t a = between(dqt_get(x, place_in(g->from, c, above, left)),
                                          dqt_get(x, place_in(g->from, c, below, left)), y.weight);
                const int64_t b = between(dqt_get(x, place_in(g->from, c, above, right)),
                                          dqt_get(x, place_in(g->from, c, below, right)), y.weight);
                const int64_t q = (between(a, b, at.weight) + (1 << 21)) >> 22;
                dqt_put(out, place_in(g->to, c, i, j), (int32_t)q);
            }
        }
    }
}

void dqt_top_k(size_t rows, size_t length, size_t count, dqt_value x, dqt_value out) {
    for (size_t row = 0; row < rows; row++)
        for (size_t i = 0; i < length; i++) {
            const int32_t q = dqt_get(x, row * length + i);
            size_t k = i < count ? i : count;
            if (k == count && q <= dqt_get(out, row * count + count - 1)) continue;
            for (k = k < count ? k : count - 1; k > 0 && dqt_get(out, row * count + k - 1) < q; k--)
                dqt_put(out, row * count + k, dqt_get(out, row * count + k - 1));
            dqt_put(out, row * count + k, q);
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
