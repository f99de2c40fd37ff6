// Blocks of output pixels by kernels on tiles, whose rows lie equally far apart in the input.
#pragma once

#include "window.h"

namespace dqt {

// Tiles of one thread: configured where their shape changes, and released at the end. What a block's sums become is computed
// while the tiles of the next block multiply, so two blocks are held.
class TileState {
  public:
    explicit TileState(const TileKernels* kernels) : kernels_(kernels) {}
    ~TileState() {
        end();
        if (rows_) kernels_->release();
    }
    TileState(const TileState&) = delete;
    TileState& operator=(const TileState&) = delete;

    TileBlock& next() { return blocks_[now_]; }
    // Multiplies the next block, of so many vectors, and stores the one before.
    void run(int vectors) {
        const TileBlock& block = next();
        const auto kernel = kernels_->block[vectors / 2];
        const bool few = int64_t{block.ends.tap_count} * block.steps < LEAST_TURNS;
        if (vectors != vectors_ || few) end();
        if (block.rows != rows_ || block.bytes != bytes_) kernels_->configure(rows_ = block.rows, bytes_ = block.bytes);
        kernel(&block, sums_[now_], vectors_ ? &blocks_[1 - now_] : nullptr, sums_[1 - now_]);
        if (few) return kernel(nullptr, nullptr, &block, sums_[now_]);
        vectors_ = vectors;
        now_ = 1 - now_;
    }
    // Stores the last block.
    void end() {
        if (vectors_) kernels_->block[vectors_ / 2](nullptr, nullptr, &blocks_[1 - now_], sums_[1 - now_]);
        vectors_ = 0;
    }

  private:
    // A block of fewer steps is stored at once: its sums are still where the kernel left them.
    static constexpr int64_t LEAST_TURNS = 8;

    const TileKernels* kernels_;
    int rows_ = 0, bytes_ = 0, now_ = 0;
    int vectors_ = 0;                // of the block whose sums wait, or 0
    TileBlock blocks_[2];
    alignas(LINE) int32_t sums_[2][MAX_OUTPUTS * 4 * LANES];
};

// How a layer's products are cut into steps, each within a segment of the input; or, where a segment has no good divisor,
// within rows that are gathered.
struct TileSteps {
    int bytes, steps;
    int64_t last;                    // as of a TileBlock, in bytes of one column
    bool gathered;
    int64_t row = 0;                 // of rows that are gathered, bytes from one to the next

    TileSteps(int64_t segment, int64_t taps);
};
// Bytes of the rows that a thread gathers at once, of so many products each.
constexpr int64_t gathered_bytes(int64_t products) {
    return MAX_OUTPUTS * round_up(products, TILE_BYTES) + round_up(GATHER_SLACK, LINE);
}

// Output pixels in runs whose rows lie equally far apart: of an image row, of an image, of all. Places are counted in steps
// between neighbours of a row; places between the rows of an image, and between images, are pixels of nothing.
struct TileRuns {
    int64_t step, pitch, image;      // bytes; places from row to row, from image to image
    int64_t unit;                    // output pixels of a run
    int64_t tiles, rows;             // of all runs together, and of each tile

    // `down`, `across`: strides of the layer.
    TileRuns(const Context& run, const Tensor& in, const Tensor& out, int64_t down, int64_t across);
    TileRuns(const Context& run, const LayerRun& layer)
        : TileRuns(run, layer.w.in, layer.end.out, layer.w.stride[0], layer.w.stride[1]) {}
    int64_t place(int64_t pixel, const Tensor& out) const {
        const int64_t x = pixel % out.width, y = pixel / out.width % out.height, n = pixel / (out.width * out.height);
        return n * image + y * pitch + x;
    }
};

// Whether a layer has as many rows for tiles that they are worth it.
bool fits_tiles(const Context& run, const LayerRun& layer);

// One panel of channels over a range of output pixels. `block`: what all blocks have in common, its panel as it is;
// `narrowed`: room for narrowed weights, or null where they have been; `rows`: room for rows that are gathered; `fresh`:
// whether no other panel has read the input.
void run_tiles(const Context& run, const LayerRun& layer, const Panel& panel, Range pixels, Block block, int8_t* narrowed,
               uint8_t* rows, bool fresh, TileState& state);

}  // namespace dqt
