// What the block kernel reaches where nothing but products counts: the yardstick of a profile.
#include <algorithm>
#include <chrono>
#include <vector>

#include "engine.h"

namespace dqt {
namespace {

// A long sum over operands that stay in the cache, so that start and end of a block do not count.
constexpr int DEPTH = 2048, COLUMNS = 64, KIND = 2, CALLS = 20, TURNS = 60;

}  // namespace

double peak(const Kernels& kernels) {
    const int rows = kernels.most_rows[KIND];
    Bytes in(int64_t{MAX_ROWS} * DEPTH), panel(int64_t{DEPTH} * COLUMNS), out(MAX_ROWS * COLUMNS);
    const Constants<int32_t> zeros(COLUMNS);
    const Constants<int64_t> wide_zeros(COLUMNS);
    const int64_t tap = 0;
    Block block{};
    for (int r = 0; r < rows; ++r) {
        block.in[r] = in.data() + r * DEPTH;
        block.other[r] = block.out[r] = out.data() + r * COLUMNS;
    }
    block.taps = &tap;
    block.tap_count = 1;
    block.depth = DEPTH;
    block.panel = reinterpret_cast<const int8_t*>(panel.data());
    block.start = zeros.data();
    block.rounding = {zeros.data(), wide_zeros.data(), 32, 0, 255};
    block.columns = block.stored = COLUMNS;
    double best = 0;
    for (int turn = 0; turn < TURNS; ++turn) {
        const auto began = std::chrono::steady_clock::now();
        for (int call = 0; call < CALLS; ++call) kernels.block[KIND][0][rows - 1](block);
        const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
        best = std::max(best, static_cast<double>(CALLS) * rows * COLUMNS * DEPTH / seconds);
    }
    return best;
}

}  // namespace dqt
