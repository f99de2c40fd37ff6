// What operators share: rows and samples split over the threads, layouts compared.
#pragma once

#include <algorithm>

#include "executor.h"
#include "strides.h"

namespace dqt {

// The strides of an operand that broadcasts to another.
inline Strides broadcast(const Tensor& t, const Tensor& to) { return {t, to.shape.size() - t.shape.size()}; }

inline bool same_layout(const Tensor& a, const Tensor& b) {
    return std::ranges::equal(a.shape, b.shape) && a.planar == b.planar;
}

// f(n) for every sample, split over the threads.
template <class F>
void each_sample(const Context& run, const F& f) {
    run.arena.threads.each([&](int t) {
        const Range range = split(run.count, t, run.arena.threads.count());
        for (int64_t n = range.first; n < range.last; ++n) f(n);
    });
}

// f(n, y) for every row of every sample of `t`, split over the threads.
template <class F>
void each_row(const Context& run, const Tensor& t, const F& f) {
    run.arena.threads.each([&](int part) {
        const Range range = split(run.count * t.height, part, run.arena.threads.count());
        for (int64_t i = range.first; i < range.last; ++i) f(i / t.height, i % t.height);
    });
}

}  // namespace dqt
