// How a layer at one pair of widths goes over its output pixels: geometry, where results go, the addresses of each block.
#pragma once

#include "executor.h"

namespace dqt {

// How a layer reads its input: geometry that does not depend on the widths.
struct Window {
    Tensor in, out;                  // `in` as staged
    int64_t stride[2], padding[2];
    std::span<const int64_t> taps;
    int depth;                       // bytes of a segment
    int64_t group_bytes;             // from group to group in a pixel
};

// Where a layer's results go: its own value, or through the residual that it adds.
struct Ending {
    const Tensor &out, &other;       // `other`: what the residual reads; `out` where there is none
    bool fused = false;
    Residual residual{};
    Narrow narrow;
    const uint8_t* table = nullptr;  // of 256 codes: every one that has been stored goes through it, or null
};

// A layer at one pair of widths.
struct LayerRun {
    const PackedLayer& packed;
    const int8_t* weights;
    const Window& w;
    Narrowing narrowing;
    const int32_t* start;            // initial accumulators
    int row;                         // of the requantization constants
    Ending end;
    bool narrowed;                   // whether the input's codes have been
    int input_shift, product_bits;   // as of a Block
    int weight, activation;          // widths
};

// blocks.cc: the layer by block kernels, its table too.
void run_blocks(const Context& run, const LayerRun& layer);
// Output pixels of a layer, some or all of this group's, through the table that it ends with, if any.
void through_table(const Context& run, const Ending& end, Range pixels);
void through_table(const Context& run, const Ending& end);

// Walks over the output pixels of the samples of one group, in order, with the addresses that a block needs.
struct Cursor {
    const int32_t* samples;
    int64_t count;                   // of the samples
    const Window& w;
    const Tensor &to, &from;         // the output; what a residual reads
    int64_t in_offset, out_offset;
    int64_t n = 0, y = 0, x = 0;
    const uint8_t *in = nullptr, *other = nullptr;
    uint8_t* out = nullptr;

    void move_to(int64_t pixel) {
        x = pixel % to.width;
        y = pixel / to.width % to.height;
        n = pixel / (to.width * to.height);
        place();
    }
    void place() {
        const int64_t sample = samples[n];
        in = w.in.at(sample, y * w.stride[0] - w.padding[0], x * w.stride[1] - w.padding[1]) + in_offset;
        out = to.at(sample, y, x) + out_offset;
        other = from.at(sample, y, x) + out_offset;
    }
    // Fills the addresses of the next `rows` pixels, and asks for the cache lines that are written or added two blocks on.
    void fill(Block& block, int64_t rows) {
        for (int64_t r = 0; r < rows;) {
            const int64_t some = std::min(rows - r, to.width - x), step = w.stride[1] * w.in.pixel;
            for (int64_t i = 0; i < some; ++i) {
                block.in[r + i] = in + i * step;
                block.out[r + i] = out + i * to.pixel;
                __builtin_prefetch(out + (2 * rows + i) * to.pixel, 1);
            }
            for (int64_t i = 0; i < some && block.residual; ++i) {
                block.other[r + i] = other + i * from.pixel;
                __builtin_prefetch(other + (2 * rows + i) * from.pixel);
            }
            r += some;
            skip(some);
        }
    }
    void skip(int64_t pixels) {  // not past the end of the row
        x += pixels;
        if (x < to.width) {
            in += pixels * w.stride[1] * w.in.pixel;
            out += pixels * to.pixel;
            other += pixels * from.pixel;
            return;
        }
        x = 0;
        if (++y == to.height) y = 0, ++n;
        if (n < count) place();
    }
};

}  // namespace dqt
