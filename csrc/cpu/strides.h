// Element by element through tensors that lie differently in memory. Nothing here allocates.
#pragma once

#include "../ir/walk.h"
#include "tensor.h"

namespace dqt {

// Bytes between neighbours along each dimension of an index that has `skip` more leading dimensions than the tensor.
// Along a dimension of length 1 the tensor broadcasts: 0.
struct Strides {
    const Tensor& tensor;
    size_t skip = 0;

    int64_t operator[](size_t d) const {
        return d < skip || tensor.shape[d - skip] == 1 ? 0 : tensor.stride(d - skip);
    }
};

// Calls f(at) for every element, as a Walk goes.
template <size_t K, class F>
void each_element(std::span<const int64_t> shape, const Strides (&strides)[K], const F& f) {
    Walk<K> walk(shape, strides);
    do f(walk.at);
    while (walk.next());
}

}  // namespace dqt
