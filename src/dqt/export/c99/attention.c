/* What transformers are made of: rows of tables, products of two activations, norms, softmax. */
#include "ops.h"

void dqt_embed(dqt_value x, size_t tokens, dqt_value out, size_t features, const int8_t *table, const int32_t *m,
               const int64_t *c, size_t step, dqt_rounding r) {
    size_t place = 0;
    for (size_t t = 0; t < tokens; t++) {
        const size_t row = (size_t)dqt_get(x, t);
        for (size_t i = 0; i < features; i++)
            dqt_put(out, place++, dqt_round((int64_t)table[row * features + i] * m[row * step] + c[row * step], r));
    }
}

/* Equation 21: row i of `a` times column j of `b`, whose elements are `g->columns` apart. */
static int32_t product(const dqt_product *g, const uint8_t *a, const uint8_t *b, const int16_t *first,
                       const int16_t *second) {
    int32_t acc = 0;
    for (int32_t k = 0; k < g->depth; k++) acc += first[a[k]] * second[b[k * g->columns]];
    return acc;
}

void dqt_multiply_matrices(const dqt_walk *lead, const dqt_product *g, const uint8_t *a, const uint8_t *b,
                           dqt_value out, int ba, int bb) {
    int32_t at[DQT_RANK] = {0};
    int16_t first[256], second[256];
    ptrdiff_t p = 0, q = 0;
    size_t place = 0;
    dqt_narrowed(g->n, ba, 0, g->zero_a, first);
    dqt_narrowed(g->n, bb, 0, g->zero_b, second);
    for (size_t count = dqt_count(lead); count > 0; count--) {
        for (int32_t i = 0; i < g->rows; i++)
            for (int32_t j = 0; j < g->columns; j++) {
                const int64_t acc = product(g, a + p + i * g->depth, b + q + j, first, second);
                dqt_put(out, place++, dqt_round(acc * g->m + g->c, g->rounding));
            }
        dqt_next(lead, at, &p, &q);
    }
}

/* How a row is scaled: its integers are shifted right by `shift`, `total` is their sum. Equations 22 and 23. */
typedef struct {
    int shift;
    int64_t total, count;
    dqt_root root;
} row_scale;

static int64_t largest(const dqt_walk *row, dqt_value x, ptrdiff_t first, int32_t zero) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = first, none = 0;
    int64_t most = 0;
    for (size_t count = dqt_count(row); count > 0; count--) {
        const int64_t v = (int64_t)dqt_get(x, (size_t)i) - zero;
        most = v > most ? v : -v > most ? -v : most;
        dqt_next(row, at, &i, &none);
    }
    return most;
}

static row_scale scale_of(const dqt_walk *row, dqt_value x, ptrdiff_t first, const dqt_norm *g) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = first, none = 0;
    int64_t squares = 0;
    row_scale s = {0, 0, (int64_t)dqt_count(row), {0, 0}};
    s.shift = dqt_row_shift(largest(row, x, first, g->zero), s.count);
    for (int64_t k = 0; k < s.count; k++) {
        const int64_t v = dqt_shifted((int64_t)dqt_get(x, (size_t)i) - g->zero, s.shift);
        s.total += v;
        squares += v * v;
        dqt_next(row, at, &i, &none);
    }
    if (!g->center) s.total = 0;
    s.root = dqt_inverse_root(dqt_energy(squares, s.total, s.count, g->added, s.shift), g->roots);
    return s;
}

void dqt_norms(const dqt_walk *rows, const dqt_walk *row, const dqt_norm *g, dqt_value x, dqt_value out) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t first = 0, constants = 0;
    for (size_t n = dqt_count(rows); n > 0; n--) {
        const row_scale s = scale_of(row, x, first, g);
        int32_t inside[DQT_RANK] = {0};
        ptrdiff_t i = first, k = constants;
        for (int64_t each = 0; each < s.count; each++) {
            const int64_t v = dqt_shifted((int64_t)dqt_get(x, (size_t)i) - g->zero, s.shift);
            const int64_t u = dqt_normalize(v * s.count - s.total, s.root); /* equation 24 */
            dqt_put(out, (size_t)i, dqt_round(u * g->m[k] + g->c[k], g->rounding));
            dqt_next(row, inside, &i, &k);
        }
        dqt_next(rows, at, &first, &constants);
    }
}

void dqt_softmax(size_t rows, size_t count, dqt_value x, dqt_value out, int64_t m, int shift, int32_t levels,
                 int32_t hi, const int32_t *powers) {
    const int bits = dqt_row_bits((int64_t)count);
    for (size_t first = 0; first < rows * count; first += count) {
        int64_t most = INT32_MIN, total = 0;
        for (size_t i = first; i < first + count; i++) most = dqt_get(x, i) > most ? dqt_get(x, i) : most;
        for (size_t i = first; i < first + count; i++)
            total += dqt_power(most - dqt_get(x, i), m, shift, bits, powers);
        const int64_t factor = dqt_row_factor(total, bits, levels);
        for (size_t i = first; i < first + count; i++) {
            const int64_t power = dqt_power(most - dqt_get(x, i), m, shift, bits, powers);
            dqt_put(out, i, (int32_t)dqt_clamp(dqt_probability(power, factor, bits), 0, hi));
        }
    }
}
