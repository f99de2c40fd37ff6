// Element by element through tensors that lie differently in memory. Nothing here allocates.
#pragma once

#include "tensor.h"

namespace dqt {

// Bytes between neighbours along each dimension of an index that has `skip` more leading dimensions than the tensor and
// goes `steps` (or null: 1) elements at a time. Along a dimension of length 1 the tensor broadcasts: 0.
struct Strides {
    const Tensor& tensor;
    size_t skip = 0;
    const int64_t* steps = nullptr;

    int64_t operator[](size_t d) const {
        if (d < skip || tensor.shape[d - skip] == 1) return 0;
        return tensor.stride(d - skip) * (steps ? steps[d - skip] : 1);
    }
};

// An index over a shape, outermost dimension first, and where it is in K tensors: byte offsets from their origins.
template <size_t K>
class Walk {
  public:
    int64_t at[K] = {};

    Walk(std::span<const int64_t> shape, const Strides (&strides)[K]) {
        for (size_t d = 0; d < shape.size(); ++d) {
            if (shape[d] == 1) continue;
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

// Calls f(at) for every element, as a Walk goes.
template <size_t K, class F>
void each_element(std::span<const int64_t> shape, const Strides (&strides)[K], const F& f) {
    Walk<K> walk(shape, strides);
    do f(walk.at);
    while (walk.next());
}

}  // namespace dqt
