#include "sliced.h"

#include <algorithm>

#include "tiles.h"

namespace dqt {
namespace {

constexpr int64_t LEAST_BYTES = int64_t{1} << 20, LEAST_COLUMNS = 64;
// By slices: from so many rows on, whole bytes are made once for the plain blocks. One or two slices are merged as fast
// as whole bytes are read, so that never pays.
constexpr int64_t NEVER = INT64_MAX, LEAST_UNPACKED[SLICES] = {NEVER, NEVER, 32, 16};
constexpr int64_t LEAST_FOR_TILES = 32;  // whatever the slices

int64_t unpacked_bytes(const PackedLayer& layer) { return int64_t{layer.depth} * 64 + LINE; }

class Sliced {
  public:
    Sliced(const Context& run, const LayerRun& s)
        : run_(run), s_(s),
          kernels_(s.packed.clips(s.weight) ? run.kernels.sliced->clipping : run.kernels.sliced->plain),
          narrowing_(s.packed.narrowing(s.weight)), slices_((8 - s.packed.unread(s.weight) + 1) / 2),
          rows_(static_cast<int64_t>(run.arena.order.size()) * s.end.out.height),
          unpacks_(rows_ >= (run.kernels.tiles ? LEAST_FOR_TILES : LEAST_UNPACKED[slices_ - 1])),
          on_tiles_(unpacks_ && fits_tiles(run, s) && !TileSteps(s.packed.depth, 1).gathered) {}

    // Threads share the panels, or where there are too few, the rows.
    void all() {
        const int parts = run_.arena.threads.count();
        const auto panels = static_cast<int64_t>(s_.packed.panels.size());
        const size_t scratch = unpacks_ ? parts * unpacked_bytes(s_.packed) : 0;
        if (run_.arena.unpacked.size() < scratch) run_.arena.unpacked = Bytes(scratch);
        run_.arena.threads.each([&](int t) {
            TileState tiles(run_.kernels.tiles);
            const Part part(panels >= parts, panels, rows_, t, parts);
            for (int64_t p = part.panels.first; p < part.panels.last && part.rows.first < part.rows.last; ++p)
                panel(s_.packed.panels[p], part.rows, t, tiles);
        });
    }

  private:
    void panel(const Panel& panel, Range some, int t, TileState& tiles) {
        Block block{};
        const int64_t tap = 0;
        block.taps = &tap;
        block.tap_count = 1;
        block.depth = s_.packed.depth;
        block.panel = reinterpret_cast<const int8_t*>(s_.packed.weight.data()) + panel.weight;
        block.slice = s_.packed.slice;
        block.mask = narrowing_.mask;
        block.clip = s_.packed.clip(s_.weight);
        std::copy_n(narrowing_.middle, 2, block.middle);
        block.start = s_.start + panel.at;
        block.rounding = s_.packed.rounding(s_.row, panel.at);
        block.wide = !s_.end.out.coded;
        block.narrow = s_.end.narrow;
        block.columns = panel.columns;
        block.stored = stored_columns(s_.packed, panel, s_.end.out);
        const BlockKernel* kernels = kernels_.block[slices_ - 1];
        int64_t most = SLICED_ROWS;
        if (unpacks_) {
            auto* whole = reinterpret_cast<int8_t*>(run_.arena.unpacked.data() + t * unpacked_bytes(s_.packed));
            kernels_.unpack[slices_ - 1](block, whole);
            block.panel = whole;
            if (on_tiles_) return run_tiles(run_, s_, panel, some, block, nullptr, nullptr, false, tiles);
            kernels = run_.kernels.block[2][0];
            most = run_.kernels.most_rows[2];
        }
        const int64_t total = some.last - some.first, count = (total + most - 1) / most;
        for (int64_t k = 0; k < count; ++k) {
            const int64_t first = some.first + total * k / count, last = some.first + total * (k + 1) / count;
            for (int64_t r = first; r < last; ++r) place(block, r, r - first, panel.first);
            kernels[last - first - 1](block);
        }
    }

    void place(Block& block, int64_t row, int64_t i, int channel) const {
        const int64_t n = run_.arena.order[row / s_.end.out.height], y = row % s_.end.out.height;
        block.in[i] = s_.w.in.at(n, y, 0);
        block.out[i] = s_.end.out.at(n, y, 0) + int64_t{channel} * s_.end.out.element();
    }

    const Context& run_;
    const LayerRun& s_;
    const SlicedForms& kernels_;
    Narrowing narrowing_;
    int slices_;
    int64_t rows_;
    bool unpacks_, on_tiles_;
};

}  // namespace

bool takes_slices(const Linear& op, const Shape& input, const Kernels& kernels, Kernel forced) {
    if (!kernels.sliced || (forced != Kernel::cheapest && forced != Kernel::slices)) return false;
    if (forced == Kernel::slices) return true;
    const int64_t columns = op.weight.shape[0], depth = op.weight.shape[1];
    const bool many = columns >= LEAST_COLUMNS && columns * depth >= LEAST_BYTES;
    return many && (input.size() == 1 || !kernels.sliced->vectors);
}

void run_sliced(const Context& run, const LayerRun& s) { Sliced(run, s).all(); }

}  // namespace dqt
