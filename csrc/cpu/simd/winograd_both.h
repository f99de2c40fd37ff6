// Both dimensions of a transform, for any kind of vector.
#pragma once

namespace dqt {
namespace {

// Of DOWN_FROM x ACROSS_FROM vectors to DOWN_TO x ACROSS_TO: get(i, j) reads one, put(i, j, x) takes one. `DOWN` transforms
// a column, then `ACROSS` a row.
template <int DOWN_FROM, int DOWN_TO, int ACROSS_FROM, int ACROSS_TO, auto DOWN, auto ACROSS, class Get, class Put>
[[gnu::always_inline]] inline void both_dimensions(const Get& get, const Put& put) {
    using Vector = decltype(get(0, 0));
    Vector t[DOWN_TO][ACROSS_FROM];
#pragma GCC unroll 6
    for (int j = 0; j < ACROSS_FROM; ++j) {
        Vector column[DOWN_FROM], r[DOWN_TO];
#pragma GCC unroll 6
        for (int i = 0; i < DOWN_FROM; ++i) column[i] = get(i, j);
        DOWN(column, r);
#pragma GCC unroll 6
        for (int i = 0; i < DOWN_TO; ++i) t[i][j] = r[i];
    }
#pragma GCC unroll 6
    for (int i = 0; i < DOWN_TO; ++i) {
        Vector r[ACROSS_TO];
        ACROSS(t[i], r);
#pragma GCC unroll 6
        for (int j = 0; j < ACROSS_TO; ++j) put(i, j, r[j]);
    }
}

}  // namespace
}  // namespace dqt
