// The memory plan of this target: how values are laid out, where each lies, what runs and what is fused.
#pragma once

#include <cstdint>
#include <vector>

#include "../compile/fusion.h"
#include "../ir/program.h"
#include "tensor.h"

namespace dqt {

// Where each value lies, for one sample; images of a value are `Tensor::image` apart.
struct MemoryPlan {
    std::vector<Tensor> values;      // data: offset for one sample
    std::vector<Shape> strides;      // of each value, bytes between neighbours along each dimension
    std::vector<int64_t> offset;     // of each value, in bytes per sample of the arena
    std::vector<int64_t> inside;     // of a view: bytes from the first element of the value that it shows
    int64_t bytes = 0;               // of one sample
    int64_t stage = 0;               // of the narrowed input of a layer, per sample
    int64_t landing = 0;             // of a linear layer's rows on their way into an image, per sample
    size_t taps = 1;                 // of the largest kernel
    std::vector<char> live;          // by op: whether it runs at all
    std::vector<std::vector<int>> reads;  // by op
    std::vector<int> fused;          // by op: see compile/fusion.h
    std::vector<Attention> attention;  // by op
    std::vector<char> moved;         // by op: whether it has nothing to do, because its result is a view
    std::vector<char> coded;         // by op: whether it reads and writes codes alone, which kernels are for
    std::vector<int> output;         // by op: of a Dequantize, the index of its output
    uint64_t serial = 0;             // another one for each plan
};

MemoryPlan make_plan(const Program& program, bool automatic);

Tensor as_matrix(const Tensor& t);  // the same elements row-major, its last dimension innermost, nowhere yet
bool is_depthwise(const Conv& op, const Program& program);

}  // namespace dqt
