// Changing the width of stored weights, as a toolkit with float scales does it at best: one pass, vectorized.
#include <math.h>
#include <stdint.h>

// Codes of step a become codes of step b, in [lo, hi], through float: one output channel.
static void channel(const int8_t *restrict from, int8_t *restrict to, int64_t n, float a, float b, float lo, float hi) {
    const float inverse = 1.0f / b;
    for (int64_t i = 0; i < n; ++i) {
        const float real = (float)from[i] * a;
        float q = nearbyintf(real * inverse);
        q = q < lo ? lo : q > hi ? hi : q;
        to[i] = (int8_t)q;
    }
}

void fused_float(const int8_t *from, int8_t *to, int64_t channels, int64_t n, const float *a, const float *b) {
    for (int64_t o = 0; o < channels; ++o) channel(from + o * n, to + o * n, n, a[o], b[o], -8.0f, 7.0f);
}

void shift_to(const int8_t *restrict from, int8_t *restrict to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = (int8_t)(from[i] >> 4);
}

void shift_in_place(int8_t *to, int64_t n) {
    for (int64_t i = 0; i < n; ++i) to[i] = (int8_t)(to[i] >> 4);
}
