#include <cmath>

#include "../rows.h"

namespace dqt {

void execute(const Context& run, const Quantize& op) {
    const Tensor& t = run.arena.values[op.out];
    const Value& value = run.program.values[op.out];
    const auto inverse = static_cast<float>(1 / value.step);
    const int highest = (1 << run.program.space.master) - 1;
    const int64_t size = t.size();
    if (quantizes_pixels(t)) {
        each_row(run, t, [&](int64_t n, int64_t y) {
            const float* in = run.x + n * size + y * t.width;
            run.kernels.quantize(in, t.height * t.width, static_cast<int>(t.channels), t.at(n, y, 0), t.pixel, t.width,
                                 inverse, t.zero, highest);
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const float* in = run.x + n * size;
        uint8_t* out = t.at(n, 0, 0);
        each_element(t.shape, {{t}}, [&](const int64_t* at) {
            float v = std::nearbyint(*in++ * inverse) + static_cast<float>(t.zero);
            v = v < 0.0f ? 0.0f : v > static_cast<float>(highest) ? static_cast<float>(highest) : v;
            out[at[0]] = static_cast<uint8_t>(v);
        });
    });
}

}  // namespace dqt
