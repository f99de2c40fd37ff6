// Values that are other values seen in another way: what only moves elements moves nothing where its readers can take
// them from where they lie.
#pragma once

#include <vector>

#include "../ir/program.h"
#include "tensor.h"

namespace dqt {

struct Views {
    std::vector<int> root;           // by value: the one that holds its elements; itself where it is no view
    std::vector<int64_t> inside;     // by value: bytes from the root's first element
    std::vector<Shape> strides;      // by value, in bytes
    std::vector<char> moved;         // by op: whether it has nothing to do
};

// `strides`: of the values as they are laid out.
Views find_views(const Program& program, const std::vector<char>& live, const std::vector<std::vector<int>>& reads,
                 const std::vector<Tensor>& values, std::vector<Shape> strides);

// Bytes between neighbours of elements in another shape, row-major in both; false where there are none.
bool reshape_strides(const Shape& from, const Shape& strides, const Shape& to, int64_t element, Shape& result);

}  // namespace dqt
