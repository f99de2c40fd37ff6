// Layers: the widths of each sample, the stage, and which kernels run.
#include <algorithm>
#include <cstring>
#include <numeric>

#include "../arith.h"
#include "choice.h"
#include "cut.h"
#include "lookup.h"
#include "rows.h"
#include "sliced.h"
#include "window.h"
#include "winograd.h"

namespace dqt {
namespace {

int small(int64_t number) { return static_cast<int>(number); }  // of a geometry: below 2^24

// One layer of one slice of the batch.
class LayerExecution {
  public:
    explicit LayerExecution(const Context& run) : run_(run), arena_(run.arena), plan_(run.plan), widths_(run.widths) {}

    const char* all(int i) {
        const auto go = [&](const auto& op) {
            if constexpr (requires { op.weight; }) layer(op.layer, i, window(op, i));
        };
        std::visit(go, run_.program.ops[i]);
        return used_;
    }

  private:
    Narrow narrow_of(int value) const {
        const Narrow& narrow = arena_.readers[value];
        return narrow.n ? narrow : Narrow{run_.program.space.master, 0};
    }

    Window window(const Conv& op, int i) {
        const PackedLayer& packed = run_.layers[i];
        Window w{arena_.values[op.x], arena_.values[op.out], {op.stride[0], op.stride[1]},
                 {op.padding[0], op.padding[2]}, {}, packed.depth, 0};
        std::vector<int64_t>& taps = arena_.taps;
        taps.clear();
        const int inputs = static_cast<int>(op.weight.shape[1]);
        if (op.groups > 1 && !packed.depthwise) {
            w.group_bytes = packed.depth;
            if (inputs != packed.depth) w.in.lay_out(int64_t{packed.depth} * op.groups);  // each padded to 4 channels
        }
        const int64_t down = op.dilation[0] * w.in.row, across = op.dilation[1] * w.in.pixel;
        const bool rows = op.groups == 1 && op.dilation[1] == 1 && !packed.by_tap;  // a row of taps is contiguous
        for (int y = 0; y < packed.kernel_height; ++y)
            for (int x = 0; x < (rows ? 1 : packed.kernel_width); ++x)
                taps.push_back(y * down + x * across);
        w.taps = taps;
        if (rows) w.depth *= packed.kernel_width;
        return w;
    }

    Window window(const Linear& op, int) {
        const Tensor &x = arena_.values[op.x], &out = arena_.values[op.out];
        static constexpr int64_t HERE[] = {0};
        Window w{x, out, {1, 1}, {0, 0}, HERE, 0, 0};
        if (x.planar) w.in = as_matrix(x);
        if (out.planar) {
            w.out = as_matrix(out);
            w.out.data = arena_.landing.data();
        }
        w.depth = static_cast<int>(round_up(w.in.channels, 4));
        return w;
    }

    // Every sample of the slice at its widths: grouped by them where the plan is automatic.
    void layer(int index, int i, Window w) {
        const auto& space = run_.program.space;
        std::vector<int32_t>& order = arena_.order;
        const bool chosen = widths_.automatic && index < static_cast<int>(space.layers.size()) &&
                            arena_.chosen[index * run_.count] != 0;
        if (!chosen) {
            order.resize(run_.count);
            std::iota(order.begin(), order.end(), 0);
            return at_widths(i, w, widths_.weight[index], widths_.activation[index]);
        }
        for (const int b : space.choices) {
            order.clear();
            for (int n = 0; n < run_.count; ++n)
                if (arena_.chosen[index * run_.count + n] == b) order.push_back(n);
            if (!order.empty()) at_widths(i, w, b, b);
        }
    }

    // The groups of one layer may have several kernels.
    void use(const char* name) { used_ = used_ && used_ != name ? "several" : name; }

    void at_widths(int i, Window w, int weight, int activation) {
        const Op& op = run_.program.ops[i];
        const auto* conv = std::get_if<Conv>(&op);
        const PackedLayer& packed = run_.layers[i];
        const Space& space = run_.program.space;
        const int row = space.row_of(static_cast<int64_t>(packed.m.size()), weight, activation);
        const int32_t* start = packed.starts(space.index_of(weight), activation);
        const bool staged = !packed.input(activation).by_kernels();  // whatever the kernel
        const LayerRun layer{packed, weights_of(packed, weight), w, packed.narrowing(weight), start, row, ending(i, w.out),
                             staged || narrow_of(plan_.reads[i][0]).s > 0, packed.input_shift(activation),
                             packed.product_bits(weight, activation), weight, activation};
        const Tensor &from = arena_.values[plan_.reads[i][0]], &out = arena_.values[writes(op)];
        const bool lands = w.in.planar != from.planar || w.out.planar != out.planar;  // rows of an image
        const auto estimates = run_.trace ? &run_.trace->estimates[i] : nullptr;
        const Choice choice = lands ? Choice{} : kernel_for(run_, conv, w.in, w.out, packed, weight, activation, estimates);
        if (choice.kernel != Kernel::block) use(name_of(choice.kernel));
        const Ending& end = layer.end;
        const bool few = choice.winograd || choice.lookup;
        if (staged || !few) stage(i, w, packed, activation);
        if (choice.winograd)
            run_winograd(run_, {*choice.winograd, packed, w.in, end.out, end.other, end.fused ? &end.residual : nullptr,
                                small(w.padding[0]), small(w.padding[1]), weight, activation, start, row, end.narrow});
        if (choice.lookup) run_lookup(run_, conv, layer, *choice.lookup);
        if (few) return through_table(run_, end);
        use(packed.depthwise ? "depthwise" : name_of(packed.slice ? Kernel::slices : Kernel::block));
        if (packed.depthwise) return depthwise(*conv, layer);
        if (packed.slice) {
            run_sliced(run_, layer);
            through_table(run_, end);
        } else {
            run_blocks(run_, layer);
        }
        if (out.planar && !w.out.planar)
            for (const int32_t n : arena_.order) copy_elements(w.out, out, n);
    }

    // Weights that a kernel cannot narrow where it loads them are narrowed here; those of depthwise layers clipped, which
    // are few: others are, panel by panel, where they are wanted.
    const int8_t* weights_of(const PackedLayer& packed, int width) {
        const auto* weights = reinterpret_cast<const int8_t*>(packed.weight.data());
        auto* out = reinterpret_cast<int8_t*>(arena_.scratch.data());
        if (packed.depthwise && packed.clips(width))
            run_.kernels.clips.weights(weights, out, static_cast<int64_t>(packed.weight.size()), packed.clip(width));
        else if (packed.aside(width))
            arena_.threads.each([&](int t) {
                const Range some = split(static_cast<int64_t>(packed.panels.size()), t, arena_.threads.count());
                for (int64_t p = some.first; p < some.last; ++p)
                    packed.narrow_aside(width, packed.panels[p], run_.kernels, arena_.scratch.data());
            });
        else
            return weights;
        return out;
    }

    Ending ending(int i, const Tensor& own) {
        const int value = writes(run_.program.ops[i]);
        if (plan_.fused[i] < 0) return {own, own, false, {}, narrow_of(value)};
        if (const auto* table = std::get_if<Table>(&run_.program.ops[plan_.fused[i]])) {
            const Tensor& out = arena_.values[table->out];
            const Narrow narrow = narrow_of(table->out);
            const Shared<uint8_t>& codes = table->table.data;
            for (size_t q = 0; q < codes.size(); ++q) table_[q] = dqt_narrow_activation(codes[q], narrow.n, narrow.s);
            return {out, out, false, {}, {}, table_};
        }
        const auto& add = std::get<Add>(run_.program.ops[plan_.fused[i]]);
        const bool first = add.a == value;
        return {arena_.values[add.out], arena_.values[first ? add.b : add.a], true, residual(add, first), narrow_of(add.out)};
    }

    // Narrows the input's samples of this group, and pads its groups of channels where the kernel wants that.
    void stage(int i, Window& w, const PackedLayer& packed, int activation) {
        const int x = plan_.reads[i][0];
        const Tensor& from = arena_.values[x];
        const bool cut = activation < packed.master && narrow_of(x).s == 0;
        const bool matrix = w.in.planar != from.planar;
        const bool regroup = w.group_bytes && from.channels != int64_t{packed.depth} * packed.groups;
        if (!matrix && !regroup && !cut) return;
        if (w.in.image == 0) w.in.lay_out(w.in.pixel);  // of a constant: one for all samples until here
        w.in.data = arena_.stage.data();
        const Cut how(run_.kernels, packed, cut ? activation : packed.master, regroup);
        if (matrix) {
            std::memset(w.in.data, 0, run_.count * w.in.image);
            for (const int32_t n : arena_.order) {
                copy_elements(from, w.in, n);
                uint8_t* p = w.in.at(n, 0, 0);
                how.pixels(p, p, w.in, w.in.image / w.in.pixel);
            }
            return;
        }
        arena_.threads.each([&](int t) {
            const Range rows = split(static_cast<int64_t>(arena_.order.size()) * from.rows(), t, arena_.threads.count());
            for (int64_t at = rows.first; at < rows.last; ++at) {
                const int64_t n = arena_.order[at / from.rows()], y = at % from.rows();
                const uint8_t* in = from.data + n * from.image + y * from.row;
                uint8_t* out = w.in.data + n * w.in.image + y * w.in.row;
                if (regroup)
                    how.groups(in, out, from, w.in, packed);
                else
                    how.pixels(in, out, from, from.columns());
            }
        });
    }

    void depthwise(const Conv& op, const LayerRun& layer) {
        const PackedLayer& packed = layer.packed;
        const Window& w = layer.w;
        const auto& order = arena_.order;
        DepthwiseRow common{};
        common.in_row = op.dilation[0] * w.in.row;
        common.in_column = op.dilation[1] * w.in.pixel;
        common.in_pixel = op.stride[1] * w.in.pixel;
        const Tensor& out = layer.end.out;
        common.out_pixel = out.pixel;
        common.channels = static_cast<int32_t>(out.channels);
        common.count = static_cast<int32_t>(out.width);
        common.kernel_height = packed.kernel_height;
        common.kernel_width = packed.kernel_width;
        common.weight = layer.weights;
        common.mask = layer.narrowing.mask;
        std::copy_n(layer.narrowing.middle, 2, common.middle);
        common.start = layer.start;
        common.rounding = packed.rounding(layer.row, 0);
        common.narrow = layer.end.narrow;
        arena_.threads.each([&](int t) {
            DepthwiseRow each = common;
            const Range range = split(static_cast<int64_t>(order.size()) * out.height, t, arena_.threads.count());
            for (int64_t at = range.first; at < range.last; ++at) {
                const int64_t n = order[at / out.height], y = at % out.height;
                each.in = w.in.at(n, y * op.stride[0] - op.padding[0], -op.padding[2]);
                each.out = out.at(n, y, 0);
                run_.kernels.depthwise(each);
                if (layer.end.table) through_table(run_, layer.end, {at * out.width, (at + 1) * out.width});
            }
        });
    }

    const Context& run_;
    Arena& arena_;
    const MemoryPlan& plan_;
    const Widths& widths_;
    const char* used_ = nullptr;     // the kernel
    uint8_t table_[256] = {};        // that the layer ends with
};

}  // namespace

const char* run_layer(const Context& run, int i) { return LayerExecution(run).all(i); }

}  // namespace dqt
