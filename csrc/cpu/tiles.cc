#include "tiles.h"

#include <algorithm>
#include <cstring>
#include <limits>

namespace dqt {
namespace {

constexpr int64_t LEAST_ROWS = 4;    // of a tile; fewer are for the kernels of vectors
constexpr int64_t TILE_COST = 16;    // of a tile, whatever its rows, in rows
constexpr int64_t AHEAD = 2 * MAX_OUTPUTS;  // pixels whose cache lines are asked for

// A run of so many places in tiles of equal height, the last of which overlaps the one before.
struct Cut {
    int64_t tiles, rows;
    explicit Cut(int64_t places) : tiles(split_up(places, TILE_ROWS)), rows(split_up(places, tiles)) {}
    int64_t cost() const { return tiles * (TILE_COST + rows); }
};

bool side_by_side(const std::vector<int32_t>& order) {
    return order.back() - order.front() + 1 == static_cast<int32_t>(order.size());
}

// The tiles of one panel, two at a time.
class Tiling {
  public:
    Tiling(const Context& run, const LayerRun& layer, const Panel& panel, const Block& block, uint8_t* rows, bool fresh,
           TileState& state)
        : kernels_(*run.kernels.tiles), vectors_(panel.vectors), w_(layer.w), out_(layer.end.out), other_(layer.end.other),
          samples_(run.arena.order.data()), runs_(run, layer), steps_(layer.w.depth, block.tap_count), gathered_(rows),
          fresh_(fresh && block.tap_count == 1), state_(state), in_offset_(panel.group * w_.group_bytes),
          out_offset_(int64_t{panel.first} * out_.element()), ends_(block) {
        products_ = int64_t{block.tap_count} * block.depth;
        if (steps_.gathered) {
            ends_.taps = &HERE;
            ends_.tap_count = 1;
        }
        begin();
    }

    // `lines`: cache lines of the next panel that are wanted meanwhile.
    void all(Range pixels, int64_t lines) {
        const int64_t asks = split_up(pixels.last - pixels.first, MAX_OUTPUTS) * steps_.steps * ends_.tap_count;
        at_once_ = static_cast<int>(split_up(lines, asks));
        lines_ = lines;
        for (int64_t first = pixels.first; first < pixels.last;) {
            const int64_t end = std::min((first / runs_.unit + 1) * runs_.unit, pixels.last);
            run(first, end - 1);
            first = end;
        }
        flush();
    }

  private:
    // Another block: of two, which the panel's other blocks use in turn.
    void begin() {
        b_ = &state_.next();
        if (begun_++ < 2) {
            b_->ends = ends_;
            b_->bytes = steps_.bytes;
            b_->steps = steps_.steps;
            b_->last = steps_.last * vectors_ * LANES;
            b_->row = steps_.gathered ? steps_.row : runs_.step;
        }
        b_->tiles = b_->outputs = 0;
    }

    void run(int64_t first, int64_t last) {
        const int64_t begin = runs_.place(first, out_), places = runs_.place(last, out_) + 1 - begin;
        const int64_t x = first % out_.width, y = first / out_.width % out_.height;
        const int32_t sample = samples_[first / (out_.width * out_.height)];
        const uint8_t* in =
            w_.in.at(sample, y * w_.stride[0] - w_.padding[0], x * w_.stride[1] - w_.padding[1]) + in_offset_;
        const Cut cut(places);
        if (b_->tiles && cut.rows != rows_) flush();
        rows_ = static_cast<int>(cut.rows);
        for (int64_t t = 0; t < cut.tiles; ++t) {
            const int64_t fresh = t * cut.rows, at = std::min(fresh, places - cut.rows);
            b_->in[b_->tiles] = in + at * runs_.step;
            if (fresh_) ask_for(b_->in[b_->tiles] + AHEAD * runs_.step);
            outputs(begin, fresh, at);
            if (++b_->tiles == 2) flush();
        }
    }

    // Where the rows of a tile, from place `at` of a run on, are stored: those from `fresh` on that are pixels.
    void outputs(int64_t begin, int64_t fresh, int64_t at) {
        const int64_t end = begin + at + rows_, before = int64_t{b_->tiles} * rows_ - begin - at;
        int64_t place = begin + fresh, n = place / runs_.image, first = n * runs_.image;  // `first`: of image, then of row
        int64_t y = (place - first) / runs_.pitch;
        first += y * runs_.pitch;
        for (; place < end; place = std::max(place, first)) {
            const int64_t x = place - first, some = y < out_.height ? std::min(end - place, out_.width - x) : 0;
            if (some > 0) store(samples_[n], y, x, some, before + place), place += some;
            if (++y < out_.height) {
                first += runs_.pitch;
            } else {
                first = ++n * runs_.image;
                y = 0;
            }
        }
    }

    void store(int32_t sample, int64_t y, int64_t x, int64_t count, int64_t row) {
        Block& ends = b_->ends;
        uint8_t* out = out_.at(sample, y, x) + out_offset_;
        for (int64_t i = 0; i < count; ++i, out += out_.pixel) {
            ends.out[b_->outputs + i] = out;
            b_->of[b_->outputs + i] = static_cast<uint8_t>(row + i);
            __builtin_prefetch(out + AHEAD * out_.pixel, 1);
        }
        if (ends.residual) {
            const uint8_t* other = other_.at(sample, y, x) + out_offset_;
            for (int64_t i = 0; i < count; ++i, other += other_.pixel) {
                ends.other[b_->outputs + i] = other;
                __builtin_prefetch(other + AHEAD * other_.pixel);
            }
        }
        b_->outputs += static_cast<int>(count);
    }

    void flush() {
        if (b_->tiles == 0) return;
        b_->rows = rows_;
        b_->ends.next = ends_.next;
        b_->lines = lines_ > 0 ? at_once_ : 0;
        if (steps_.gathered) gather();
        state_.run(vectors_);
        const int64_t asked = int64_t{b_->lines} * steps_.steps * ends_.tap_count;
        ends_.next += asked * LINE;
        lines_ -= asked;
        begin();
    }

    void ask_for(const uint8_t* rows) const {
        for (int i = 0; i < rows_; ++i, rows += runs_.step)
            for (int at = 0; at < w_.depth; at += LINE) __builtin_prefetch(rows + at);
    }

    // Every row's segments one after the other. Where the last step reads weights of the one before again, it is by zeros.
    void gather() {
        Block by = ends_;
        by.taps = w_.taps.data();
        by.tap_count = static_cast<int>(w_.taps.size());
        const int64_t again = int64_t{steps_.bytes} * steps_.steps - products_, whole = int64_t{steps_.bytes} * (steps_.steps - 1);
        for (int t = 0; t < b_->tiles; ++t) {
            uint8_t* const to = gathered_ + t * TILE_ROWS * b_->row;
            kernels_.gather(b_->in[t], runs_.step, rows_, by, to, b_->row);
            b_->in[t] = to;
            for (int i = 0; i < rows_ && again; ++i) {
                uint8_t* const last = to + i * b_->row + whole;
                std::memmove(last + again, last, products_ - whole);
                std::memset(last, 0, again);
            }
        }
    }

    static constexpr int64_t HERE = 0;
    const TileKernels& kernels_;
    const int vectors_;
    const Window& w_;
    const Tensor &out_, &other_;
    const int32_t* samples_;
    const TileRuns runs_;
    const TileSteps steps_;
    uint8_t* gathered_;
    const bool fresh_;
    TileState& state_;
    const int64_t in_offset_, out_offset_;
    Block ends_;                     // what all blocks have in common
    int64_t products_ = 0, lines_ = 0;
    int rows_ = 0, at_once_ = 0, begun_ = 0;
    TileBlock* b_ = nullptr;         // that is filled
};

}  // namespace

TileSteps::TileSteps(int64_t segment, int64_t taps) {
    const int64_t fours = segment / 4, products = segment * taps, least = split_up(products, TILE_BYTES);
    int64_t most = std::min<int64_t>(TILE_BYTES / 4, fours);
    while (fours % most) --most;
    const int64_t direct = taps * (fours / most);
    gathered = 2 * direct > 3 * least;
    const int64_t even = products % (4 * least) ? std::min<int64_t>(TILE_BYTES, products) : products / least;
    bytes = static_cast<int>(gathered ? even : 4 * most);
    steps = static_cast<int>(gathered ? least : fours / most);
    last = products - bytes;
    row = round_up(products, TILE_BYTES);
}

TileRuns::TileRuns(const Context& run, const Tensor& in, const Tensor& out, int64_t down, int64_t across) {
    const auto samples = static_cast<int64_t>(run.arena.order.size());
    const int64_t right = across * in.pixel, below = down * in.row;
    int64_t least = std::numeric_limits<int64_t>::max();
    // Whether `runs` of so many places are the cheapest so far.
    const auto take = [&](int64_t runs, int64_t places) {
        const Cut cut(places);
        if (runs * cut.cost() > least) return false;
        least = runs * cut.cost(), tiles = runs * cut.tiles, rows = cut.rows;
        return true;
    };
    step = std::max<int64_t>(1, out.width > 1 ? right : out.height > 1 ? below : in.image);
    pitch = unit = out.width, image = out.width * out.height;
    take(samples * out.height, out.width);
    if (out.height > 1 && below % step) return;
    const int64_t line = out.height > 1 ? below / step : out.width, places = (out.height - 1) * line + out.width;
    if (!take(samples, places)) return;
    pitch = line, image = std::max(line * out.height, places), unit = out.width * out.height;
    if (samples == 1 || in.image % step || !side_by_side(run.arena.order)) return;
    if (take(1, (samples - 1) * (in.image / step) + places)) image = in.image / step, unit *= samples;
}

bool fits_tiles(const Context& run, const LayerRun& layer) {
    if (!run.kernels.tiles) return false;
    return TileRuns(run, layer).rows >= LEAST_ROWS;
}

void run_tiles(const Context& run, const LayerRun& layer, const Panel& panel, Range pixels, Block block, int8_t* narrowed,
               uint8_t* rows, bool fresh, TileState& state) {
    const int64_t segment = int64_t{block.depth} * panel.vectors * LANES;
    if (narrowed && layer.narrowing.narrowed) {
        run.kernels.tiles->narrow(block.panel, narrowed, block.tap_count, segment, block);
        block.panel = narrowed;
    }
    const int64_t lines = block.next ? segment * block.tap_count / LINE : 0;
    Tiling(run, layer, panel, block, rows, fresh, state).all(pixels, lines);
}

}  // namespace dqt
