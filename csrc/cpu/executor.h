// What runs one slice of a batch, and what its parts share.
#pragma once

#include "../ir/view.h"
#include "engine.h"

namespace dqt {

// A slice of a batch on its way through the network.
struct Context {
    const Program& program;
    const std::vector<PackedLayer>& layers;  // by op
    const Kernels& kernels;
    const MemoryPlan& plan;
    const Widths& widths;
    Arena& arena;
    Kernel forced;
    const Arrays& arrays;            // of the whole batch
    int64_t first, count;            // samples of it
    Trace* trace = nullptr;          // or null: nobody asks

    // Where the slice's samples of a [batch, size] array start.
    template <class T>
    T* samples(T* array, int64_t size) const {
        return array ? array + first * size : nullptr;
    }
};

// Columns of a panel that are stored in `out`: after the last channel also the bytes that fill its pixel.
inline int stored_columns(const PackedLayer& layer, const Panel& panel, const Tensor& out) {
    const bool last = panel.first + panel.columns == layer.out_channels;
    return panel.columns + (last && out.coded ? static_cast<int>(out.pixel - out.channels) : 0);
}

// executor.cc: every instruction that the plan needs.
void execute(const Context& run);

// layers.cc: instruction `i`, which is a layer; the name of its kernel.
const char* run_layer(const Context& run, int i);

// The widths of a layer for sample `n` of the slice: of weights and activations, or of the operands of a product.
inline std::pair<int, int> widths_of(const Context& run, int layer, int64_t n) {
    const bool automatic = run.widths.automatic && layer < static_cast<int>(run.program.space.layers.size());
    const int own = automatic ? run.arena.chosen[layer * run.count + n] : 0;  // 0: it is not chosen
    return own ? std::pair<int, int>{own, own} : std::pair<int, int>{run.widths.weight[layer], run.widths.activation[layer]};
}

// What the plain form of an operator sees of sample `n`.
inline View view_of(const Value& value, const Tensor& t, const Shape& strides, int64_t n) {
    return {t.at(n, 0, 0), t.shape, strides, t.zero, t.coded, static_cast<int32_t>(value.lo), static_cast<int32_t>(value.hi),
            value.scale};
}

// border.cc
void fill_border(const Tensor& t, int64_t n);
void clear_padding(const Tensor& t, int64_t n);                       // of each pixel, with zeros
void copy_elements(const Tensor& from, const Tensor& to, int64_t n);  // of the same logical shape

// ops/: operators that have kernels here, on every sample of the slice. All others but layers run in their plain form, and so
// do these where no kernel can: where execute() says false, or is none that does and a value is not codes.
bool execute(const Context& run, const Add& op);
void execute(const Context& run, const Multiply& op);
bool execute(const Context& run, const Rescale& op);
void execute(const Context& run, const MaxPool& op);
void execute(const Context& run, const AvgPool& op);
void execute(const Context& run, const Table& op);
inline bool execute(const Context&, const Constant&) { return true; }  // Engine has laid it out
bool execute(const Context& run, const Quantize& op);
bool execute(const Context& run, const Normalize& op);
bool execute(const Context& run, const Softmax& op);
bool execute(const Context& run, const Embedding& op);
void multiply_matrices(const Context& run, const MatMul& op);
void attend(const Context& run, const MatMul& second, const Attention& others);
// Bytes of Arena::scratch.
int64_t mat_mul_scratch(const Program& program, int threads);
int64_t attention_scratch(const Program& program, const MemoryPlan& plan, int threads);
int64_t softmax_scratch(const Program& program, int threads);
void dequantize(const Context& run, const Dequantize& op, int output);

// Whether Kernels::quantize writes whole pixels.
inline bool quantizes_pixels(const Quantize& op, const Tensor& t) {
    return t.planar && t.channels <= 4 && (op.axis == 0 || op.gain.data.size() == 1);
}
Residual residual(const Add& op, bool first);  // `first`: the kernel's own operand is `a`, not `b`
// Pixels side by side, those of `t` or laid out as they are, each code through 256 others; `in` may be `out`.
void look_up_pixels(const Kernels& kernels, const Tensor& t, const uint8_t* in, uint8_t* out, int64_t pixels,
                    const uint8_t* table);

}  // namespace dqt
