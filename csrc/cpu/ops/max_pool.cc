#include "../rows.h"

namespace dqt {
namespace {

// The taps of a window that lie inside, of `size` pixels: the first of them, how many, and the pixel that it reads.
struct Inside {
    int64_t pixel;
    int count;
    Inside(int64_t at, int kernel, int dilation, int64_t size) {
        const int64_t first = at < 0 ? (-at + dilation - 1) / dilation : 0;
        const int64_t end = at >= size ? 0 : std::min<int64_t>(kernel, (size - at + dilation - 1) / dilation);
        pixel = at + first * dilation;
        count = static_cast<int>(std::max<int64_t>(0, end - first));
    }
};

}  // namespace

void execute(const Context& run, const MaxPool& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const int64_t step = op.stride[1], reach = int64_t{op.kernel[1] - 1} * op.dilation[1];
    each_row(run, out, [&](int64_t n, int64_t y) {
        const Inside rows(y * op.stride[0] - op.padding[0], op.kernel[0], op.dilation[0], in.height);
        MaximumRow m{nullptr, op.dilation[0] * in.row, int64_t{op.dilation[1]} * in.pixel, step * in.pixel,
                     rows.count, 0, nullptr, out.pixel, out.channels, 0};
        for (int64_t x = 0; x < out.width; x += m.count) {
            const int64_t at = x * step - op.padding[2];
            const Inside columns(at, op.kernel[1], op.dilation[1], in.width);
            const bool whole = columns.count == op.kernel[1];  // as are those that follow, to the last that fits
            m.in = in.at(n, rows.pixel, columns.pixel);
            m.out = out.at(n, y, x);
            m.columns = columns.count;
            m.count = whole ? std::min((in.width - 1 - reach - at) / step + 1, out.width - x) : 1;
            run.kernels.maximum(m);
        }
    });
}

}  // namespace dqt
