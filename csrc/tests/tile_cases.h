// Random blocks of tiles for kernels_test.cc.
#pragma once

#include "block_cases.h"

namespace dqt {
namespace {

// Rows for tiles: those of a block, which lie equally far apart in one input, each with what is read of it; any of them are
// stored, in order.
struct TileCase : BlockCase {
    int tiles, each;                 // rows of a tile
    int step;                        // bytes, which divide a segment
    std::vector<int> kept;           // rows that are stored

    TileCase(int vectors, int tiles, int each, bool narrowed)
        : BlockCase(vectors, tiles * each, narrowed), tiles(tiles), each(each), step(std::min(depth, TILE_BYTES)) {
        while (depth % step) step -= 4;
        for (int i = 0; i < rows; ++i)
            if (chance(80)) kept.push_back(i);
        if (kept.empty()) kept.push_back(rows - 1);
    }
    // Of the block, or of the same block after it, each stored while another is multiplied or by itself.
    std::vector<Codes> got(const TileKernels& kernels) const {
        std::vector<Codes> out(rows, Codes(out_bytes(), UNTOUCHED)), out_again = out;
        std::vector<int8_t> cut = panel;
        const auto row = static_cast<int64_t>(in[0].size());
        std::vector<Codes> images(tiles);  // of each tile
        TileBlock b{};
        b.ends = filled(out);
        kernels.narrow(panel.data(), cut.data(), tap_count, int64_t{depth} * 16 * vectors, b.ends);
        b.ends.panel = cut.data();
        for (int t = 0; t < tiles; ++t) {
            for (int i = 0; i < each; ++i) images[t].insert(images[t].end(), in[t * each + i].begin(), in[t * each + i].end());
            b.in[t] = images[t].data();
        }
        b.row = row;
        b.bytes = step;
        b.steps = depth / step;
        std::vector<Codes> gathered(tiles, Codes(int64_t{each} * tap_count * depth + GATHER_SLACK));
        const int64_t none = 0;
        if (chance(30)) {
            for (int t = 0; t < tiles; ++t) {
                kernels.gather(b.in[t], row, each, b.ends, gathered[t].data(), int64_t{tap_count} * depth);
                b.in[t] = gathered[t].data();
            }
            b.row = int64_t{tap_count} * depth;
            b.steps *= tap_count;
            b.ends.taps = &none;
            b.ends.tap_count = 1;
        }
        b.tiles = tiles;
        b.rows = each;
        b.last = int64_t{tap_count} * depth * 16 * vectors;
        b.outputs = static_cast<int>(kept.size());
        for (int k = 0; k < b.outputs; ++k) {
            b.of[k] = static_cast<uint8_t>(kept[k]);
            b.ends.out[k] = out[kept[k]].data() + GUARD;
            b.ends.other[k] = other[kept[k]].data();
        }
        b.ends.next = cut.data();
        b.lines = integer(0, 2);
        kernels.configure(each, step);
        TileBlock again = b;
        for (int k = 0; k < b.outputs; ++k) again.ends.out[k] = out_again[kept[k]].data() + GUARD;
        alignas(64) int32_t sums[2][MAX_OUTPUTS * 64];
        const auto run = kernels.block[vectors / 2];
        run(&b, sums[0], nullptr, nullptr);
        run(&again, sums[1], &b, sums[0]);
        run(nullptr, nullptr, &again, sums[1]);
        kernels.release();
        return chance(50) ? out : out_again;
    }
    std::vector<Codes> expected(bool narrows) const {  // nothing of rows that are not stored
        std::vector<Codes> out = BlockCase::expected(narrows);
        for (int i = 0; i < rows; ++i)
            if (std::find(kept.begin(), kept.end(), i) == kept.end()) out[i].assign(out[i].size(), UNTOUCHED);
        return out;
    }
    std::string name() const {
        return std::to_string(tiles) + " tiles in steps of " + std::to_string(step) + ", " + BlockCase::name();
    }
};

}  // namespace
}  // namespace dqt
