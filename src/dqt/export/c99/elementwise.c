/* Operators element by element: the borders to float, sums, products, tables. */
#include <math.h>

#include "ops.h"

void dqt_quantize(const dqt_walk *w, const float *x, dqt_value out, const float *gain, const float *bias, float zero,
                  float lo, float hi) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    for (size_t count = dqt_count(w); count > 0; count--) {
        volatile float v = *x++ * gain[j]; /* two roundings, whatever the compiler may fuse */
        v = rintf(v + bias[j]) + zero;
        dqt_put(out, (size_t)i, (int32_t)(v > lo ? v < hi ? v : hi : lo));
        dqt_next(w, at, &i, &j);
    }
}

void dqt_read(const dqt_walk *w, const int32_t *x, dqt_value out) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, none = 0;
    for (size_t count = dqt_count(w); count > 0; count--) {
        dqt_put(out, (size_t)i, *x++);
        dqt_next(w, at, &i, &none);
    }
}

void dqt_dequantize(const dqt_walk *w, dqt_value x, int32_t zero, float scale, float *out) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, none = 0;
    for (size_t count = dqt_count(w); count > 0; count--) {
        *out++ = (float)(dqt_get(x, (size_t)i) - zero) * scale;
        dqt_next(w, at, &i, &none);
    }
}

/* product * p * q + k[0] * p + k[1] * q + k[2], rounded. */
static inline void pairs(const dqt_walk *w, dqt_value a, dqt_value b, dqt_value out, int64_t product, const int64_t *k,
                         dqt_rounding r) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    const size_t count = dqt_count(w);
    for (size_t place = 0; place < count; place++) {
        const int64_t p = dqt_get(a, (size_t)i), q = dqt_get(b, (size_t)j);
        dqt_put(out, place, dqt_round(product * p * q + k[0] * p + k[1] * q + k[2], r));
        dqt_next(w, at, &i, &j);
    }
}

void dqt_add(const dqt_walk *w, dqt_value a, dqt_value b, dqt_value out, const int64_t *k, dqt_rounding r) {
    pairs(w, a, b, out, 0, k, r);
}

void dqt_multiply(const dqt_walk *w, dqt_value a, dqt_value b, dqt_value out, const int64_t *k, dqt_rounding r) {
    pairs(w, a, b, out, k[0], k + 1, r);
}

void dqt_rescale(const dqt_walk *w, dqt_value x, dqt_value out, const int32_t *m, const int64_t *c, dqt_rounding r) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    const size_t count = dqt_count(w);
    for (size_t place = 0; place < count; place++) {
        dqt_put(out, place, dqt_round((int64_t)dqt_get(x, (size_t)i) * m[j] + c[j], r));
        dqt_next(w, at, &i, &j);
    }
}

void dqt_look_up(const dqt_walk *w, const uint8_t *x, uint8_t *out, const uint8_t *table) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0;
    for (size_t count = dqt_count(w); count > 0; count--) {
        *out++ = table[j + x[i]];
        dqt_next(w, at, &i, &j);
    }
}
