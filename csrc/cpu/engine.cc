// A loaded program: packs it once, cuts batches into slices, lends each run an arena.
#include "engine.h"

#include <algorithm>
#include <utility>

#include "executor.h"
#include "lookup.h"
#include "sliced.h"
#include "strides.h"
#include "winograd.h"

namespace dqt {
namespace {

// A slice of the batch runs through the whole network before the next: what its layers hand on stays in the cache. But
// each slice reads all the weights anew: where these are many, more samples share them.
constexpr int64_t SLICE_SAMPLES = 64, SLICE_BYTES = int64_t{1} << 20, WEIGHTS_TO_SLICE = 2;

void read_output(const Tensor& t, const Value& value, int64_t count, int32_t* codes, float* floats) {
    const auto step = static_cast<float>(value.step);
    const int64_t size = product(t.shape);
    for (int64_t n = 0; n < count; ++n) {
        const uint8_t* from = t.at(n, 0, 0);
        int64_t i = n * size;
        each_element(t.shape, {{t}}, [&](const int64_t* at) {
            const int32_t q = t.wide ? *reinterpret_cast<const int32_t*>(from + at[0]) : from[at[0]];
            if (codes) codes[i] = q;
            if (floats) floats[i] = static_cast<float>(q - value.zero) * step;
            ++i;
        });
    }
}

Packing packing_of(const Conv& op, const Program& program, const MemoryPlan& plan) {
    if (is_depthwise(op, program)) return Packing::depthwise;
    return plan.values[op.x].dense() ? Packing::rows : Packing::panels;
}

int64_t narrowed_rows(const std::vector<PackedLayer>& layers) {
    int64_t most = 0;
    for (const PackedLayer& layer : layers)
        if (layer.row_taps) most = std::max(most, static_cast<int64_t>(layer.weight.size()));
    return most;
}

}  // namespace

void Arena::grow(const Needs& needs, int64_t samples) {
    if (samples <= capacity) return;
    capacity = 0;
    for (Bytes* each : {&memory, &stage, &landing}) *each = Bytes();  // free first what is too small
    memory = Bytes(samples * needs.memory);
    stage = Bytes(samples * needs.stage);
    if (needs.landing) landing = Bytes(samples * needs.landing);
    if (needs.scratch && scratch.size() == 0) scratch = Bytes(needs.scratch);
    values.reserve(needs.values);
    readers.reserve(needs.values);
    taps.reserve(needs.taps);
    record_taps.reserve(needs.taps);
    chosen.reserve(needs.layers * samples);
    order.reserve(samples);
    capacity = samples;
}

Engine::Engine(Program program, int threads, const Kernels& kernels, Kernel forced)
    : program_(std::move(program)), kernels_(&kernels), thread_count_(std::clamp(threads, 1, machine_cores())), forced_(forced),
      plan_(make_plan(program_, false)), plan_auto_(make_plan(program_, true)), layers_(program_.ops.size()) {
    const auto packed = [&](const auto& op, int groups, Packing packing) {
        return pack(op.weight, Requant(op), groups, packing, program_.values[op.x].zero, program_.space);
    };
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        const Op& op = program_.ops[i];
        if (const auto* conv = std::get_if<Conv>(&op))
            layers_[i] = packed(*conv, static_cast<int>(conv->groups), packing_of(*conv, program_, plan_));
        else if (const auto* linear = std::get_if<Linear>(&op))
            layers_[i] = packed(*linear, 1, takes_slices(*linear, kernels, forced) ? Packing::slices : Packing::panels);
    }
    needs_ = {std::max(plan_.bytes, plan_auto_.bytes), std::max(plan_.stage, plan_auto_.stage),
              std::max(plan_.landing, plan_auto_.landing),
              std::max({winograd_scratch(program_, plan_, layers_, kernels, thread_count_),
                        lookup_scratch(program_, layers_, kernels, thread_count_), narrowed_rows(layers_)}),
              program_.values.size(), program_.space.layers.size(), plan_.taps};
    const int64_t bytes = std::max(SLICE_BYTES, weight_bytes() / WEIGHTS_TO_SLICE);
    slice_ = std::clamp<int64_t>(bytes / std::max<int64_t>(1, arena_bytes(1)), 1, SLICE_SAMPLES);
    const auto drop = [](auto& layer) {  // the packed form is the only copy of a layer's constants
        std::vector<int8_t>().swap(layer.weight.data);
        std::vector<int32_t>().swap(layer.m.data);
        std::vector<int64_t>().swap(layer.c.data);
    };
    for (Op& op : program_.ops) {
        if (auto* conv = std::get_if<Conv>(&op)) drop(*conv);
        if (auto* linear = std::get_if<Linear>(&op)) drop(*linear);
    }
}

const Value& Engine::output() const { return program_.values[std::get<Dequantize>(program_.ops.back()).x]; }

int64_t Engine::weight_bytes() const {
    int64_t total = 0;
    for (const PackedLayer& layer : layers_) total += static_cast<int64_t>(layer.weight.size());
    return total;
}

Engine::~Engine() {
    while (idle_) delete std::exchange(idle_, idle_->next);
}

std::unique_ptr<Arena> Engine::borrow() {
    {
        const ForkLock lock;
        if (idle_) return std::unique_ptr<Arena>(std::exchange(idle_, idle_->next));
    }
    return std::make_unique<Arena>(thread_count_);
}

void Engine::give_back(std::unique_ptr<Arena> arena) {
    const ForkLock lock;
    arena->next = idle_;
    idle_ = arena.release();
}

void Engine::run(const float* x, int64_t count, const Widths& plan, int32_t* codes, float* floats, int8_t* widths,
                 double* seconds, const char** used) {
    const MemoryPlan& memory = plan.automatic ? plan_auto_ : plan_;
    const auto layers = static_cast<int64_t>(program_.space.layers.size());
    const int64_t in_size = product(program_.input_shape), out_size = product(output().shape);
    const Share share(thread_count_);
    std::unique_ptr<Arena> arena = borrow();
    arena->threads.use(share.count());
    const int64_t capacity = std::min(count, slice_);
    arena->grow(needs_, capacity);
    for (int64_t first = 0; first < count; first += capacity) {
        const int64_t some = std::min(capacity, count - first);
        if (arena->plan != &memory) arena->values = memory.values;
        arena->plan = &memory;
        for (size_t v = 0; v < arena->values.size(); ++v)
            arena->values[v].data = arena->memory.data() + some * memory.offset[v];
        arena->chosen.assign(layers * some, 0);
        execute({program_, layers_, *kernels_, memory, plan, *arena, forced_, some, x + first * in_size}, seconds, used);
        const int last = std::get<Dequantize>(program_.ops.back()).x;
        read_output(arena->values[last], output(), some, codes ? codes + first * out_size : nullptr,
                    floats ? floats + first * out_size : nullptr);
        for (int64_t n = 0; widths && n < some; ++n)
            for (int64_t i = 0; i < layers; ++i) {
                const int8_t chosen = arena->chosen[i * some + n];
                const auto fixed = static_cast<int8_t>(std::min(plan.weight[i], plan.activation[i]));
                widths[(first + n) * layers + i] = chosen ? chosen : fixed;
            }
    }
    give_back(std::move(arena));
}

}  // namespace dqt
