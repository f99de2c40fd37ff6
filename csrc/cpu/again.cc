// Samples whose controller asks for more bits than the first run had: they run again from their inputs.
#include <algorithm>
#include <cstring>

#include "engine.h"

namespace dqt {
namespace {

// Bytes of one sample of an input.
int64_t bytes_of(const Input& input) {
    return product(input.shape) * static_cast<int64_t>(input.integer ? sizeof(int64_t) : sizeof(float));
}

int64_t bytes_of(const Value& output) { return product(output.shape) * static_cast<int64_t>(sizeof(int32_t)); }

char* place(const Outcome& outcome) {
    return outcome.codes ? reinterpret_cast<char*>(outcome.codes) : reinterpret_cast<char*>(outcome.floats);
}

}  // namespace

// As many as a slice holds at once: their inputs are copied side by side, their results go back to where they belong.
void Engine::run_again(Arena& arena, const Arrays& arrays, int64_t count, const int8_t* widths, Trace* trace) const {
    Again& a = arena.again;
    const auto layers = static_cast<int64_t>(program_.space.layers.size());
    const int column = late_->layers[0];
    a.inputs.resize(program_.inputs.size());
    a.outputs.resize(outputs_.size());
    a.given.resize(a.inputs.size());
    a.taken.resize(a.outputs.size());
    for (size_t k = 0; k < wider_.size(); ++k) {
        a.samples.clear();
        for (int64_t n = 0; n < count; ++n)
            if (widths[n * layers + column] == wider_[k]) a.samples.push_back(n);
        const auto all = static_cast<int64_t>(a.samples.size());
        for (int64_t first = 0; first < all; first += slice_) {
            const std::span<const int64_t> some(a.samples.data() + first, static_cast<size_t>(std::min(slice_, all - first)));
            gather(a, arrays, some);
            const auto these = static_cast<int64_t>(some.size());
            pass(arena, {a.given, a.taken}, these, at_wider_[k], nullptr, trace);
            for (size_t i = 0; i < outputs_.size(); ++i) {
                const int64_t bytes = bytes_of(*outputs_[i]);
                for (int64_t n = 0; n < these; ++n)
                    std::memcpy(place(arrays.outputs[i]) + some[static_cast<size_t>(n)] * bytes,
                                a.outputs[i].data() + n * bytes, static_cast<size_t>(bytes));
            }
        }
    }
}

void Engine::gather(Again& a, const Arrays& arrays, std::span<const int64_t> samples) const {
    for (size_t i = 0; i < program_.inputs.size(); ++i) {
        const auto bytes = static_cast<size_t>(bytes_of(program_.inputs[i]));
        a.inputs[i].resize(samples.size() * bytes);
        for (size_t n = 0; n < samples.size(); ++n)
            std::memcpy(a.inputs[i].data() + n * bytes,
                        static_cast<const char*>(arrays.inputs[i]) + static_cast<size_t>(samples[n]) * bytes, bytes);
        a.given[i] = a.inputs[i].data();
    }
    for (size_t i = 0; i < outputs_.size(); ++i) {
        a.outputs[i].resize(samples.size() * static_cast<size_t>(bytes_of(*outputs_[i])));
        char* data = a.outputs[i].data();
        const bool codes = arrays.outputs[i].codes != nullptr;
        a.taken[i] = {codes ? reinterpret_cast<int32_t*>(data) : nullptr, codes ? nullptr : reinterpret_cast<float*>(data)};
    }
}

}  // namespace dqt
