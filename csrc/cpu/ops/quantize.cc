#include "../rows.h"

namespace dqt {
namespace {

// Row by row where they lie side by side and all have one gain.
bool quantizes_rows(const Quantize& op, const Tensor& t) { return !t.planar && op.gain.data.size() == 1; }

}  // namespace

bool execute(const Context& run, const Quantize& op) {
    const Tensor& t = run.arena.values[op.out];
    const bool pixels = quantizes_pixels(op, t);
    if (!pixels && !quantizes_rows(op, t)) return false;
    constexpr int MOST = 4;          // channels of a pixel
    float gain[MOST], bias[MOST];
    for (size_t c = 0; c < MOST; ++c) {
        const size_t k = std::min(c, op.gain.data.size() - 1);
        gain[c] = op.gain.data[k];
        bias[c] = op.bias.data[k];
    }
    const auto highest = static_cast<int>(run.program.values[op.out].hi);  // may lie below the largest code
    const int64_t size = t.size(), plane = t.height * t.width;
    const float* x = run.samples(static_cast<const float*>(run.arrays.inputs[op.x]), size);
    each_row(run, t, [&](int64_t n, int64_t y) {
        if (pixels)
            run.kernels.quantize(x + n * size + y * t.width, plane, static_cast<int>(t.channels), t.at(n, y, 0), t.pixel,
                                 t.width, {gain, bias, t.zero, highest});
        else
            run.kernels.quantize(x + n * size + y * t.channels, 0, 1, t.at(n, y, 0), 1, t.channels,
                                 {gain, bias, t.zero, highest});
    });
    return true;
}

}  // namespace dqt
