#include "../rows.h"

namespace dqt {
namespace {

// Of one sample: `integer(i)` is its i-th, in the order of indices. The outputs that are null are not wanted.
template <class F>
void write(int64_t size, int32_t* codes, float* floats, int32_t zero, float scale, const F& integer) {
    if (codes)
        for (int64_t i = 0; i < size; ++i) codes[i] = integer(i);
    if (floats)
        for (int64_t i = 0; i < size; ++i) floats[i] = static_cast<float>(integer(i) - zero) * scale;
}

}  // namespace

void dequantize(const Context& run, const Dequantize& op, int output) {
    const Tensor& t = run.arena.values[op.x];
    const Value& value = run.program.values[op.x];
    const auto scale = static_cast<float>(value.scale);
    const int64_t size = product(t.shape);
    const Outcome& to = run.arrays.outputs[output];
    const bool dense = !t.planar && t.pixel == t.channels * t.element();  // rows with nothing between them
    each_sample(run, [&](int64_t n) {
        const uint8_t* from = t.at(n, 0, 0);
        const auto* integers = reinterpret_cast<const int32_t*>(from);
        int32_t* codes = to.codes ? to.codes + (run.first + n) * size : nullptr;
        float* floats = to.floats ? to.floats + (run.first + n) * size : nullptr;
        if (dense && t.coded)
            return write(size, codes, floats, value.zero, scale, [&](int64_t i) { return int32_t{from[i]}; });
        if (dense) return write(size, codes, floats, 0, scale, [&](int64_t i) { return integers[i]; });
        int64_t i = 0;
        each_element(t.shape, {{t}}, [&](const int64_t* at) {
            const int32_t q = t.coded ? from[at[0]] : *reinterpret_cast<const int32_t*>(from + at[0]);
            if (codes) codes[i] = q;
            if (floats) floats[i] = static_cast<float>(q - value.zero) * scale;
            ++i;
        });
    });
}

}  // namespace dqt
