/* Operators element by element: the borders to float, sums, products, tables. */
#include <math.h>

#include "ops.h"

void dqt_quantize(const float *x, dqt_value out, size_t outer, size_t axis, size_t inner, const float *gain,
                  const float *bias, float zero, float lo, float hi) {
    for (size_t o = 0; o < outer; o++)
        for (size_t a = 0; a < axis; a++)
            for (size_t i = 0; i < inner; i++) {
                const size_t place = (o * axis + a) * inner + i;
                volatile float v = x[place] * gain[a]; /* two roundings, whatever the compiler may fuse */
                v = rintf(v + bias[a]) + zero;
                dqt_put(out, place, (int32_t)(v > lo ? v < hi ? v : hi : lo));
            }
}

void dqt_dequantize(dqt_value x, size_t count, int32_t zero, float scale, float *out) {
    for (size_t i = 0; i < count; i++) out[i] = (float)(dqt_get(x, i) - zero) * scale;
}

void dqt_add(const dqt_walk *w, dqt_value a, dqt_value b, dqt_value out, const int64_t *k, dqt_rounding r) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    const size_t count = dqt_count(w);
    for (size_t place = 0; place < count; place++) {
        const int64_t p = dqt_get(a, (size_t)i), q = dqt_get(b, (size_t)j);
        dqt_put(out, place, dqt_round(k[0] * p + k[1] * q + k[2], r));
        dqt_next(w, at, &i, &j);
    }
}

void dqt_multiply(const dqt_walk *w, dqt_value a, dqt_value b, dqt_value out, const int64_t *k, dqt_rounding r) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    const size_t count = dqt_count(w);
    for (size_t place = 0; place < count; place++) {
        const int64_t p = dqt_get(a, (size_t)i), q = dqt_get(b, (size_t)j);
        dqt_put(out, place, dqt_round(k[0] * p * q + k[1] * p + k[2] * q + k[3], r));
        dqt_next(w, at, &i, &j);
    }
}

void dqt_rescale(dqt_value x, dqt_value out, size_t channels, size_t inner, const int32_t *m, const int64_t *c,
                 int32_t step, dqt_rounding r) {
    for (size_t n = 0; n < channels; n++)
        for (size_t i = 0; i < inner; i++) {
            const size_t place = n * inner + i, row = n * (size_t)step;
            dqt_put(out, place, dqt_round((int64_t)dqt_get(x, place) * m[row] + c[row], r));
        }
}

void dqt_look_up(const uint8_t *x, uint8_t *out, size_t channels, size_t inner, const uint8_t *table, size_t step) {
    for (size_t n = 0; n < channels; n++)
        for (size_t i = 0; i < inner; i++) out[n * inner + i] = table[n * step + x[n * inner + i]];
}
