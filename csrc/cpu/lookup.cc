#include "lookup.h"

#include <algorithm>

#include "../arith.h"

namespace dqt {
namespace {

constexpr int64_t COLUMNS = 64;                // of a panel
constexpr int64_t MOST_SUM = UINT16_MAX;       // of products

// Indices of all panels that are no larger than this stay in the cache: then a 1x1 layer goes through in strips of pixels,
// whose records stay there too, and what the panels write of a pixel lies side by side.
constexpr int64_t CACHED = 128 << 10, STRIP_BYTES = 32 << 10, LEAST_STRIP = 32, MOST_STRIP = 192;

// Where everything lies in the scratch: indices and constants of units of two panels (of all, or of one for each thread),
// then records of each thread's strip, then its clipped weights.
struct Layout {
    int64_t units, index, unit;                // how many; bytes of the indices of one, and with its constants
    bool pointwise, strips;
    int64_t strip, records;                    // pixels of a strip; bytes of its records
    int64_t clipped, one_clipped, bytes;       // where each thread clips a tap's weights; bytes of one; of everything

    Layout(const LookupKernel& kernel, const PackedLayer& layer, int threads) {
        const int64_t taps = int64_t{layer.kernel_height} * layer.kernel_width;
        units = split_up(static_cast<int64_t>(layer.panels.size()), kernel.panels);
        index = taps * kernel.codes(layer.depth) * kernel.panels * COLUMNS;
        unit = index + kernel.panels * COLUMNS * static_cast<int64_t>(sizeof(int64_t)) + LINE;
        pointwise = taps == 1;
        strips = pointwise && units * unit <= CACHED;
        const int64_t record = kernel.record(layer.depth);
        strip = std::clamp(STRIP_BYTES / record / LOOKUP_ROWS * LOOKUP_ROWS, LEAST_STRIP, MOST_STRIP);
        records = round_up(strip * record, LINE) + LINE;
        clipped = round_up(strips ? units * unit + threads * records : threads * unit, LINE);
        one_clipped = int64_t{layer.depth} * COLUMNS + LINE;
        bytes = clipped + threads * one_clipped;
    }
};

class Lookup {
  public:
    Lookup(const Context& run, const Conv* conv, const LayerRun& layer, const LookupKernel& kernel)
        : run_(run), layer_(layer), packed_(layer.packed), kernel_(kernel), from_(layer.w.in), window_(layer.w),
          threads_(run.arena.threads.count()), at_(kernel, layer.packed, threads_),
          range_(layer.packed.input(layer.activation).narrow), weight_shift_(layer.packed.weight_shift(layer.weight)),
          activation_shift_(range_.s) {
        Tensor& in = window_.in;  // of records: those of 1x1 layers are of output pixels
        const bool staged = in.data == run.arena.stage.data();  // then they go behind what has been
        in.data = run.arena.stage.data() + (staged ? run.count * in.image : 0);
        if (at_.pointwise) {
            in.height = window_.out.height;
            in.width = window_.out.width;
            in.top = in.left = in.bottom = in.right = 0;
            window_.stride[0] = window_.stride[1] = 1;
            window_.padding[0] = window_.padding[1] = 0;
        }
        in.lay_out(kernel_.record(packed_.depth));
        // Not Arena::taps: those are the layer's, and the samples of its next group may go through another kernel.
        std::vector<int64_t>& taps = run.arena.record_taps;
        taps.clear();
        const int64_t down = conv ? conv->dilation[0] * in.row : 0, across = conv ? conv->dilation[1] * in.pixel : 0;
        for (int64_t y = 0; y < packed_.kernel_height; ++y)
            for (int64_t x = 0; x < packed_.kernel_width; ++x) taps.push_back(y * down + x * across);
        window_.taps = taps;
    }

    void all() {
        const int64_t samples = static_cast<int64_t>(run_.arena.order.size());
        const int64_t pixels = samples * window_.out.height * window_.out.width;
        run_.arena.threads.each([&](int t) {
            if (at_.strips)
                for (int64_t u = t; u < at_.units; u += threads_) prepare(u, u, t);
            else if (at_.pointwise)
                encode_pixels(split(pixels, t, threads_), nullptr);
            else
                encode_rows(split(samples * from_.rows(), t, threads_));
        });
        run_.arena.threads.each([&](int t) { at_.strips ? strips(split(pixels, t, threads_), t) : units(pixels, t); });
    }

  private:
    // This thread's pixels, strip by strip.
    void strips(Range mine, int t) const {
        uint8_t* records = run_.arena.scratch.data() + at_.units * at_.unit + t * at_.records;
        for (int64_t first = mine.first; first < mine.last; first += at_.strip) {
            const Range some{first, std::min(first + at_.strip, mine.last)};
            encode_pixels(some, records);
            for (int64_t u = 0; u < at_.units; ++u) blocks(u, u, some, records);
        }
    }

    // Threads share the units, or where there are too few, the pixels.
    void units(int64_t pixels, int t) const {
        const Part part(at_.units >= threads_, at_.units, pixels, t, threads_);
        if (part.rows.first >= part.rows.last) return;
        for (int64_t u = part.panels.first; u < part.panels.last; ++u) {
            prepare(u, t, t);
            blocks(u, t, part.rows, nullptr);
        }
    }

    void encode(const uint8_t* in, int64_t step, int64_t count, uint8_t* out) const {
        const int even = packed_.midpoint(layer_.weight, 0), odd = packed_.midpoint(layer_.weight, 1);
        const int low = 1 << (kernel_.weight_bits - 1 + weight_shift_);  // what made the fields unsigned, in master units
        kernel_.encode[layer_.narrowed](in, step, count, packed_.depth, range_.n, activation_shift_, even - low, odd - low,
                                        out);
    }

    // Rows of the samples, border and all.
    void encode_rows(Range rows) const {
        for (int64_t i = rows.first; i < rows.last; ++i) {
            const int64_t n = run_.arena.order[i / from_.rows()], y = i % from_.rows();
            encode(from_.data + n * from_.image + y * from_.row, from_.pixel, from_.columns(),
                   window_.in.data + n * window_.in.image + y * window_.in.row);
        }
    }

    // What a 1x1 layer reads for some output pixels: to `records`, or (null) to their place.
    void encode_pixels(Range pixels, uint8_t* records) const {
        const Window& w = layer_.w;
        const int64_t height = w.out.height, width = w.out.width;
        for (int64_t i = pixels.first; i < pixels.last;) {
            const int64_t x = i % width, y = i / width % height, n = run_.arena.order[i / (width * height)];
            const int64_t count = std::min(width - x, pixels.last - i);
            uint8_t* to = records ? records + (i - pixels.first) * window_.in.pixel : window_.in.at(n, y, x);
            encode(from_.at(n, y * w.stride[0] - w.padding[0], x * w.stride[1] - w.padding[1]),
                   w.stride[1] * from_.pixel, count, to);
            i += count;
        }
    }

    uint8_t* indices(int64_t slot) const { return run_.arena.scratch.data() + slot * at_.unit; }
    int64_t* constants(int64_t slot) const { return reinterpret_cast<int64_t*>(indices(slot) + at_.index); }

    int64_t panels_of(int64_t unit) const {
        return std::min<int64_t>(kernel_.panels, static_cast<int64_t>(packed_.panels.size()) - unit * kernel_.panels);
    }

    const int8_t* weights(int64_t panel) const {
        return reinterpret_cast<const int8_t*>(packed_.weight.data()) + packed_.panels[panel].weight;
    }

    // Of a panel, to indices that lie `stride` apart; weights of a part of their range are clipped first, tap by tap.
    void index(int64_t panel, uint8_t* to, int64_t stride, int t) const {
        const auto taps = static_cast<int>(window_.taps.size());
        const int8_t* from = weights(panel);
        if (!packed_.clips(layer_.weight)) return kernel_.index(from, taps, packed_.depth, weight_shift_, to, stride);
        const int64_t bytes = int64_t{packed_.depth} * COLUMNS, one = kernel_.codes(packed_.depth) * stride;
        auto* clipped = reinterpret_cast<int8_t*>(run_.arena.scratch.data() + at_.clipped + t * at_.one_clipped);
        const Clip clip = packed_.clip(layer_.weight);
        for (int i = 0; i < taps; ++i) {
            run_.kernels.clips.weights(from + i * bytes, clipped, bytes, clip);
            kernel_.index(clipped, 1, packed_.depth, weight_shift_, to + i * one, stride);
        }
    }

    // Indices of a unit, and its constants c with what sums start from: (acc + start) * m + c; in thread `t`.
    void prepare(int64_t unit, int64_t slot, int t) const {
        const int64_t first = unit * kernel_.panels, count = panels_of(unit);
        for (int64_t p = 0; p < count; ++p) {
            index(first + p, indices(slot) + p * COLUMNS, count * COLUMNS, t);
            const int64_t at = packed_.panels[first + p].at;
            const Rounding rounding = packed_.rounding(layer_.row, at);
            int64_t* c = constants(slot) + p * COLUMNS;
            for (int lane = 0; lane < COLUMNS; ++lane) {  // c: of each vector the even lanes, then the odd ones
                const int half = lane / LANES * LANES + lane % 2 * (LANES / 2) + lane % LANES / 2;
                c[half] = rounding.c[half] + int64_t{layer_.start[at + lane]} * rounding.m[lane];
            }
        }
    }

    // A unit over a range of output pixels, in blocks of nearly equal height; `records` of these, or (null) in their place.
    void blocks(int64_t unit, int64_t slot, Range pixels, const uint8_t* records) const {
        const Ending& end = layer_.end;
        const int64_t first = unit * kernel_.panels, count = panels_of(unit);
        LookupBlock block{};
        block.index = indices(slot);
        block.shift = weight_shift_ + activation_shift_;
        block.middle_shift = activation_shift_;
        for (int64_t p = 0; p < count; ++p) {
            const Panel& panel = packed_.panels[first + p];
            Block& to = block.ends[p];
            to.rounding = packed_.rounding(layer_.row, panel.at);
            to.rounding.c = constants(slot) + p * COLUMNS;
            to.residual = end.fused ? &end.residual : nullptr;
            to.narrow = end.narrow;
            to.wide = !end.out.coded;
            to.columns = panel.columns;
            to.stored = stored_columns(packed_, panel, end.out);
        }
        Block& left = block.ends[0];
        left.taps = window_.taps.data();
        left.tap_count = static_cast<int>(window_.taps.size());
        left.depth = kernel_.codes(packed_.depth);
        Cursor cursor{run_.arena.order.data(), static_cast<int64_t>(run_.arena.order.size()), window_, end.out, end.other,
                      0, int64_t{packed_.panels[first].first} * end.out.element()};
        cursor.move_to(pixels.first);
        // The next panels' weights come from behind the second-level cache: they are asked for, as long as there are lines.
        const bool asks = kernel_.codes_to_line && !at_.strips && unit + 1 < at_.units;
        const int8_t* next = asks ? weights(first + count) : nullptr;
        const int8_t* last = asks ? next + count * (int64_t{left.tap_count} * packed_.depth * COLUMNS + LINE) : nullptr;
        const int64_t lines = asks ? split_up(left.depth, kernel_.codes_to_line) * left.tap_count * LINE : 0;
        const int64_t total = pixels.last - pixels.first, steps = split_up(total, kernel_.rows[count - 1]);
        for (int64_t k = 0; k < steps; ++k) {
            const int64_t from = total * k / steps, rows = total * (k + 1) / steps - from;
            cursor.fill(left, rows);
            for (int64_t i = 0; i < rows && records; ++i) left.in[i] = records + (from + i) * window_.in.pixel;
            for (int64_t i = 0; i < rows && count > 1; ++i) {
                block.ends[1].out[i] = left.out[i] + COLUMNS * end.out.element();
                block.ends[1].other[i] = left.other[i] + COLUMNS;
                __builtin_prefetch(block.ends[1].out[i] + 2 * rows * end.out.pixel, 1);
                if (end.fused) __builtin_prefetch(block.ends[1].other[i] + 2 * rows * end.other.pixel);
            }
            left.next = next < last ? next : nullptr;
            next += lines;
            kernel_.block(block, static_cast<int>(count), static_cast<int>(rows));
        }
    }

    const Context& run_;
    const LayerRun& layer_;
    const PackedLayer& packed_;
    const LookupKernel& kernel_;
    const Tensor& from_;
    Window window_;                  // over records
    int threads_;
    Layout at_;
    Narrow range_;                   // of the activations
    int weight_shift_, activation_shift_;  // from master codes
};

}  // namespace

bool lookup_fits(const PackedLayer& layer, const LookupKernel& kernel) {
    if (layer.groups != 1 || layer.depthwise || layer.slice || layer.by_tap || layer.row_taps) return false;
    if (kernel.record(layer.depth) > layer.depth) return false;  // records go where a narrowed input would
    const int64_t codes = int64_t{layer.kernel_height} * layer.kernel_width * kernel.codes(layer.depth);
    return codes * kernel.channels * kernel.most() <= MOST_SUM &&
           std::all_of(layer.panels.begin(), layer.panels.end(), [](const Panel& p) { return p.vectors == MAX_VECTORS; });
}

int64_t lookup_scratch(const Program& program, const std::vector<PackedLayer>& layers, const Kernels& kernels,
                       int threads) {
    const std::vector<int>& widths = program.space.widths;
    const auto chosen = [&](int b) { return std::find(widths.begin(), widths.end(), b) != widths.end(); };
    int64_t most = 0;
    for (const LookupKernel& kernel : kernels.lookups)
        for (size_t i = 0; i < program.ops.size(); ++i) {
            const bool layer = layers[i].weight.size() && chosen(kernel.weight_bits) && chosen(kernel.activation_bits);
            if (layer && lookup_fits(layers[i], kernel))
                most = std::max(most, Layout(kernel, layers[i], threads).bytes);
        }
    return most;
}

void run_lookup(const Context& run, const Conv* conv, const LayerRun& layer, const LookupKernel& kernel) {
    Lookup(run, conv, layer, kernel).all();
}

}  // namespace dqt
