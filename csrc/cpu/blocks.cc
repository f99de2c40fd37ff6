// Blocks of output pixels times panels of output channels.
#include <algorithm>

#include "pairs.h"
#include "rows.h"
#include "tiles.h"

namespace dqt {
namespace {

// Where all weights stay in the cache, a strip of pixels goes through every panel before the next strip: what the panels
// read and write of a pixel lies side by side.
constexpr size_t CACHED_WEIGHTS = 256 << 10;
constexpr int64_t STRIP = 192;

// Panels of so many products come from behind the second-level cache: the next one is asked for meanwhile.
constexpr int64_t STREAMED = 1024;

int kind_of(int vectors) { return vectors == 1 ? 0 : vectors == 2 ? 1 : 2; }

// Where this thread clips or keeps the weights of a panel.
int8_t* own_panel(const Context& run, const LayerRun& layer, int thread) {
    return reinterpret_cast<int8_t*>(run.arena.scratch.data() + thread * layer.packed.clip_scratch());
}

// Where it gathers rows for tiles: behind the panels of all threads, or behind the weights that are narrowed aside.
uint8_t* gathered_rows(const Context& run, const LayerRun& layer, int thread) {
    const PackedLayer& packed = layer.packed;
    const int64_t before = packed.aside(layer.weight) ? round_up(static_cast<int64_t>(packed.weight.size()), LINE)
                                                      : run.arena.threads.count() * packed.clip_scratch();
    return run.arena.scratch.data() + before + thread * gathered_bytes(packed.products());
}

// The weights of a panel, clipped in the scratch of this thread where that is wanted.
const int8_t* clipped(const Context& run, const LayerRun& layer, const Panel& panel, int thread) {
    const int8_t* weights = layer.weights + panel.weight;
    if (!layer.packed.clips(layer.weight)) return weights;
    int8_t* to = own_panel(run, layer, thread);
    run.kernels.clips.weights(weights, to, layer.packed.panel_bytes(panel), layer.packed.clip(layer.weight));
    return to;
}

// What all blocks of a panel have in common; `next` is the panel after it where that is worth asking for, or null.
Block block_of(const Context& run, const LayerRun& layer, int64_t p, int thread) {
    const std::vector<Panel>& panels = layer.packed.panels;
    const Panel& panel = panels[p];
    const Window& w = layer.w;
    const Ending& end = layer.end;
    Block block{};
    block.taps = w.taps.data();
    block.tap_count = static_cast<int>(w.taps.size());
    block.depth = w.depth;
    block.panel = clipped(run, layer, panel, thread);
    const bool streams = int64_t{block.tap_count} * block.depth >= STREAMED && p + 1 < static_cast<int64_t>(panels.size());
    block.next = streams ? layer.weights + panels[p + 1].weight : nullptr;
    block.mask = layer.narrowing.mask;
    std::copy_n(layer.narrowing.middle, 2, block.middle);
    block.start = layer.start + panel.at;
    block.rounding = layer.packed.rounding(layer.row, panel.at);
    block.residual = end.fused ? &end.residual : nullptr;
    block.wide = !end.out.coded;
    block.narrow = end.narrow;
    block.input_shift = layer.input_shift;
    block.product_bits = layer.product_bits;
    block.columns = panel.columns;
    block.stored = stored_columns(layer.packed, panel, end.out);
    return block;
}

// One panel of channels over a range of output pixels, in blocks of nearly equal height.
void run_panel(const Context& run, const LayerRun& layer, int64_t p, Range pixels, int thread) {
    const Panel& panel = layer.packed.panels[p];
    const Window& w = layer.w;
    const Ending& end = layer.end;
    const int kind = kind_of(panel.vectors), most = run.kernels.most_rows[kind];
    Block block = block_of(run, layer, p, thread);
    const int64_t lines = block.next ? int64_t{block.tap_count} * block.depth / 4 * LINE : 0;
    if (!block.next) block.next = block.panel;
    const std::optional<PairedPanel> in_pairs = paired(run, layer, panel, pixels.last - pixels.first, thread);
    block.paired = in_pairs ? &*in_pairs : nullptr;
    const int64_t total = pixels.last - pixels.first, count = (total + most - 1) / most;
    Cursor cursor{run.arena.order.data(), static_cast<int64_t>(run.arena.order.size()), w, end.out, end.other,
                  panel.group * w.group_bytes, int64_t{panel.first} * end.out.element()};
    cursor.move_to(pixels.first);
    const int64_t least = total / count, more = total % count;
    bool narrowed = layer.narrowing.narrowed;
    if (narrowed && run.kernels.keeps && count >= run.kernels.keeps) block.kept = own_panel(run, layer, thread);
    for (int64_t k = 0; k < count; ++k) {
        const int64_t rows = least + (k < more);
        cursor.fill(block, rows);
        run.kernels.block[kind][narrowed][rows - 1](block);
        block.next += lines;
        if (block.kept) block.panel = block.kept, narrowed = false;  // the first block has narrowed them for the others
    }
}

// Strips of about so many pixels.
Range strip_of(Range pixels, int64_t strip, int64_t i) {
    const Range within = split(pixels.last - pixels.first, static_cast<int>(i), static_cast<int>(strip));
    return {pixels.first + within.first, pixels.first + within.last};
}

}  // namespace

void run_blocks(const Context& run, const LayerRun& layer) {
    const PackedLayer& packed = layer.packed;
    const int parts = run.arena.threads.count();
    const Ending& end = layer.end;
    const int64_t pixels = static_cast<int64_t>(run.arena.order.size()) * end.out.height * end.out.width;
    const auto panels = static_cast<int64_t>(packed.panels.size());
    const bool by_pixel = pixels >= int64_t{MAX_ROWS} * parts * 2 || panels < parts;
    const bool on_tiles = fits_tiles(run, layer);
    run.arena.threads.each([&](int t) {
        const Part part(!by_pixel, panels, pixels, t, parts);
        const int64_t some = part.rows.last - part.rows.first;
        const bool small = packed.weight.size() <= CACHED_WEIGHTS;
        const int64_t strips = some == 0 ? 0 : small ? std::max<int64_t>(1, (some + STRIP / 2) / STRIP) : 1;
        TileState tiles(run.kernels.tiles);
        for (int64_t i = 0; i < strips; ++i) {
            const Range these = strip_of(part.rows, strips, i);
            for (int64_t p = part.panels.first; p < part.panels.last; ++p) {
                if (!on_tiles) run_panel(run, layer, p, these, t);
                else
                    run_tiles(run, layer, packed.panels[p], these, block_of(run, layer, p, t), own_panel(run, layer, t),
                              gathered_rows(run, layer, t), p == part.panels.first, tiles);
            }
            if (by_pixel && end.table) {
                tiles.end();
                through_table(run, end, these);
            }
        }
    });
    if (!by_pixel) through_table(run, end);
}

void through_table(const Context& run, const Ending& end, Range pixels) {
    const Tensor& out = end.out;
    for (int64_t i = pixels.first; i < pixels.last;) {
        const int64_t x = i % out.width, y = i / out.width % out.height, n = run.arena.order[i / (out.width * out.height)];
        const int64_t some = std::min(out.width - x, pixels.last - i);
        uint8_t* p = out.at(n, y, x);
        look_up_pixels(run.kernels, out, p, p, some, end.table);
        i += some;
    }
}

void through_table(const Context& run, const Ending& end) {
    if (!end.table) return;
    const int64_t pixels = static_cast<int64_t>(run.arena.order.size()) * end.out.height * end.out.width;
    run.arena.threads.each([&](int t) { through_table(run, end, split(pixels, t, run.arena.threads.count())); });
}

}  // namespace dqt
