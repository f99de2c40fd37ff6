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

// f(p, q) of the integers of two values that broadcast, element by element.
template <class F>
void each_pair(const Sample& sample, int a, int b, int out, const F& f) {
    const View first = sample.view(a), second = sample.view(b), to = sample.view(out);
    const size_t rank = to.shape.size();
    Walk<3> walk(to.shape, {Broadcast(first, rank), Broadcast(second, rank), Broadcast(to, rank)});
    if (first.coded && second.coded && to.coded) {  // the usual case, without a question for each element
        do to.data[walk.at[2]] = static_cast<uint8_t>(f(first.data[walk.at[0]], second.data[walk.at[1]]));
        while (walk.next());
        return;
    }
    do to.set(walk.at[2], f(first.get(walk.at[0]), second.get(walk.at[1])));
    while (walk.next());
}

}  // namespace dqt
