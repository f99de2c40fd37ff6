// Element by element through values that lie differently in memory. Nothing here allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "view.h"

namespace dqt {

// An index over a shape, outermost dimension first, and where it is in K tensors: byte offsets from their origins.
template <size_t K>
class Walk {
  public:
    int64_t at[K] = {};

    // strides[k][d]: bytes between neighbours of tensor k along dimension d. Only along those that `picks` names.
    template <class Strides, class Picks = bool (*)(size_t)>
    Walk(std::span<const int64_t> shape, const Strides (&strides)[K], const Picks& picks = [](size_t) { return true; }) {
        for (size_t d = 0; d < shape.size(); ++d) {
            if (shape[d] == 1 || !picks(d)) continue;
            Dimension& to = dimensions_[count_++];
            to.length = shape[d];
            for (size_t k = 0; k < K; ++k) to.stride[k] = strides[k][d];
        }
    }
    // False after the last element.
    bool next() {
        for (int d = count_; d-- > 0;) {
            Dimension& each = dimensions_[d];
            for (size_t k = 0; k < K; ++k) at[k] += each.stride[k];
            if (++each.index < each.length) return true;
            for (size_t k = 0; k < K; ++k) at[k] -= each.stride[k] * each.length;
            each.index = 0;
        }
        return false;
    }

  private:
    struct Dimension {
        int64_t length, index = 0, stride[K];
    };
    Dimension dimensions_[30];  // those longer than 1: no value has 2^31 elements
    int count_ = 0;
};

// Calls f with a pointer of the type in which a value's integers are stored; it points nowhere.
template <class F>
void as_stored(const View& view, const F& f) {
    view.coded ? f(static_cast<uint8_t*>(nullptr)) : f(static_cast<int32_t*>(nullptr));
}

// The integers of one row, so many bytes apart: to[i] = f(first[i], second[i]).
template <class A, class B, class Out, class F>
void pair_row(const uint8_t* first, const uint8_t* second, uint8_t* to, const int64_t (&steps)[3], int64_t count, const F& f) {
    for (int64_t i = 0; i < count; ++i) {
        const int64_t p = *reinterpret_cast<const A*>(first + i * steps[0]);
        const int64_t q = *reinterpret_cast<const B*>(second + i * steps[1]);
        *reinterpret_cast<Out*>(to + i * steps[2]) = static_cast<Out>(f(p, q));
    }
}

// f(p, q) of the integers of two values that broadcast, row by row along the dimension in which results lie closest.
template <class F>
void each_pair(const Sample& sample, int a, int b, int out, const F& f) {
    const View first = sample.view(a), second = sample.view(b), to = sample.view(out);
    const size_t rank = to.shape.size();
    const Broadcast strides[] = {{first, rank}, {second, rank}, {to, rank}};
    size_t along = 0;
    for (size_t d = 1; d < rank; ++d) {
        bool closer = to.shape[along] == 1 || to.strides[d] < to.strides[along];
        if (to.shape[d] > 1 && closer) along = d;
    }
    const int64_t steps[] = {strides[0][along], strides[1][along], strides[2][along]}, count = to.shape[along];
    Walk<3> walk(to.shape, strides, [&](size_t d) { return d != along; });
    as_stored(first, [&]<class A>(A*) {
        as_stored(second, [&]<class B>(B*) {
            as_stored(to, [&]<class Out>(Out*) {
                do pair_row<A, B, Out>(first.data + walk.at[0], second.data + walk.at[1], to.data + walk.at[2], steps, count, f);
                while (walk.next());
            });
        });
    });
}

}  // namespace dqt
