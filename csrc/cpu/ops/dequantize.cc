#include "../../ir/view.h"
#include "../rows.h"

namespace dqt {

void dequantize(const Context& run, const Dequantize& op, int output) {
    const Tensor& t = run.arena.values[op.x];
    const Value& value = run.program.values[op.x];
    const auto scale = static_cast<float>(value.scale);
    const int64_t size = product(t.shape);
    const Outcome& to = run.arrays.outputs[output];
    int32_t* codes = run.samples(to.codes, size);
    float* floats = run.samples(to.floats, size);
    each_sample(run, [&](int64_t n) {
        const uint8_t* from = t.at(n, 0, 0);
        int64_t i = n * size;
        each_element(t.shape, {{t}}, [&](const int64_t* at) {
            const int32_t q = t.coded ? from[at[0]] : *reinterpret_cast<const int32_t*>(from + at[0]);
            if (codes) codes[i] = q;
            if (floats) floats[i] = static_cast<float>(q - value.zero) * scale;
            ++i;
        });
    });
}

}  // namespace dqt
