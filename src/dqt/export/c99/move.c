/* Operators that move integers: copies along strides, constants, gathered indices. */
#include "ops.h"

void dqt_copy(const dqt_walk *w, dqt_value out, ptrdiff_t i0, dqt_value x, ptrdiff_t j0) {
    int32_t at[DQT_RANK] = {0};
    ptrdiff_t i = i0, j = j0;
    for (size_t count = dqt_count(w); count > 0; count--) {
        dqt_put(out, (size_t)i, dqt_get(x, (size_t)j));
        dqt_next(w, at, &i, &j);
    }
}

void dqt_fill(dqt_value out, size_t count, int32_t q) {
    for (size_t i = 0; i < count; i++) dqt_put(out, i, q);
}

void dqt_gather(const dqt_walk *w, const int32_t *indices, size_t count, dqt_value x, int32_t from, dqt_value out,
                int32_t to) {
    for (size_t k = 0; k < count; k++) dqt_copy(w, out, (ptrdiff_t)k * to, x, (ptrdiff_t)indices[k] * from);
}

void dqt_reshape(const dqt_walk *from, const dqt_walk *to, dqt_value x, dqt_value out) {
    int32_t at[DQT_RANK] = {0}, there[DQT_RANK] = {0};
    ptrdiff_t i = 0, j = 0, none = 0;
    for (size_t count = dqt_count(from); count > 0; count--) {
        dqt_put(out, (size_t)j, dqt_get(x, (size_t)i));
        dqt_next(from, at, &i, &none);
        dqt_next(to, there, &j, &none);
    }
}
