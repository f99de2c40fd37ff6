// Element by element through values that lie differently in memory. Nothing here allocates.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

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

}  // namespace dqt
