// A loaded program: packs it once, cuts batches into slices, lends each run an arena.
#include "engine.h"

#include <algorithm>
#include <utility>

#include "../ir/bound.h"
#include "executor.h"
#include "lookup.h"
#include "pairs.h"
#include "sliced.h"
#include "tiles.h"
#include "winograd.h"

namespace dqt {
namespace {

// A slice of the batch runs through the whole network before the next: what its layers hand on stays in the cache. But
// each slice reads all the weights anew: where these are many, more samples share them.
constexpr int64_t SLICE_SAMPLES = 64, SLICE_BYTES = int64_t{1} << 20, WEIGHTS_TO_SLICE = 2;

// Throws unless so many integers lie in [lo, hi].
template <class T>
void check_range(const T* numbers, int64_t count, int64_t lo, int64_t hi, const std::string& name) {
    bool inside = true;
    for (int64_t i = 0; i < count; ++i) inside &= (numbers[i] >= lo) & (numbers[i] <= hi);
    if (!inside)
        throw RangeError(name + " holds an integer outside of [" + std::to_string(lo) + ", " + std::to_string(hi) + "]");
}

Packing packing_of(const Conv& op, const Program& program, const MemoryPlan& plan) {
    if (is_depthwise(op, program)) return Packing::depthwise;
    return plan.values[op.x].dense() ? Packing::rows : Packing::panels;
}

// The one value that a Constant writes.
class One final : public Sample {
  public:
    One(const Program& program, const MemoryPlan& plan, const Tensor& t) : program_(program), plan_(plan), tensor_(t) {}

    View view(int value) const override { return view_of(program_.values[value], tensor_, plan_.strides[value], 0); }
    void choose(int, int64_t) const override {}
    const void* input(int) const override { return nullptr; }
    const int32_t* state(int) const override { return nullptr; }
    int32_t* next_state(int) const override { return nullptr; }

  private:
    const Program& program_;
    const MemoryPlan& plan_;
    const Tensor& tensor_;
};

// The weights of a layer that narrows them aside at some width, or clips or keeps them: those of a depthwise layer at once,
// others panel by panel in each thread. With tiles, rows that are gathered, too.
int64_t narrowed_aside(const std::vector<PackedLayer>& layers, const Space& space, const Kernels& kernels, int threads) {
    int64_t most = 0;
    for (const PackedLayer& layer : layers) {
        if (layer.weight.size() == 0 || layer.slice) continue;  // no layer at all, which has no widths; or read by slices
        for (const int b : space.widths) {
            const bool keeps = kernels.keeps && layer.narrowing(b).narrowed && !layer.depthwise;
            if (!(layer.aside(b) || layer.clips(b) || keeps)) continue;
            const bool whole = layer.aside(b) || layer.depthwise;
            most = std::max(most, whole ? static_cast<int64_t>(layer.weight.size()) : threads * layer.clip_scratch());
        }
        if (kernels.tiles && !layer.depthwise) {
            const int64_t whole = round_up(static_cast<int64_t>(layer.weight.size()), LINE);
            const int64_t before = std::max(threads * layer.clip_scratch(), layer.row_taps ? whole : 0);
            most = std::max(most, before + threads * gathered_bytes(layer.products()));
        }
    }
    return most;
}

// Bytes of the weights of all layers.
size_t all_weights(const Program& program) {
    size_t total = 0;
    const auto add = [&](const auto& op) {
        if constexpr (requires { op.weight; }) total += op.weight.data.size();
    };
    for (const Op& op : program.ops) std::visit(add, op);
    return total;
}

// A layer's constants are held in their packed form alone: its memory serves the next layer's.
void drop_packed(Op& op) {
    const auto drop = [](auto& each) {
        if constexpr (requires { each.weight; }) {
            each.weight.data = {};
            each.m.data = {};
            each.c.data = {};
        }
    };
    std::visit(drop, op);
}

}  // namespace

void Arena::grow(const Needs& needs, int64_t samples) {
    const std::pair<Bytes*, int64_t> all[] = {{&memory, samples * needs.memory},
                                              {&stage, samples * needs.stage},
                                              {&landing, samples * needs.landing},
                                              {&scratch, needs.scratch}};
    for (const auto& [bytes, need] : all)  // free first what is too small
        if (!bytes->holds(need)) *bytes = Bytes();
    for (const auto& [bytes, need] : all)
        if (need && !bytes->holds(need)) *bytes = Bytes(need);
    values.reserve(needs.values);
    readers.reserve(needs.values);
    taps.reserve(needs.taps);
    record_taps.reserve(needs.taps);
    chosen.reserve(needs.layers * samples);
    order.reserve(samples);
}

Family::~Family() {
    while (idle) delete std::exchange(idle, idle->next);
}

std::unique_ptr<Arena> Family::borrow(int threads) {
    {
        const ForkLock lock;
        if (idle) return std::unique_ptr<Arena>(std::exchange(idle, idle->next));
    }
    return std::make_unique<Arena>(threads);
}

void Family::give_back(std::unique_ptr<Arena> arena) {
    const ForkLock lock;
    arena->next = idle;
    idle = arena.release();
}

Engine::Engine(Program program, int threads, const Kernels& kernels, Kernel forced)
    : program_(std::move(program)), outputs_(dqt::outputs(program_)), late_(late_choice(program_)), kernels_(&kernels),
      thread_count_(std::clamp(threads, 1, machine_cores())), forced_(forced), plan_(make_plan(program_, false)),
      plan_auto_(make_plan(program_, true)), family_(std::make_shared<Family>()) {
    std::vector<PackedLayer>& layers = family_->layers;
    layers.resize(program_.ops.size());
    Slab slab(all_weights(program_));
    const auto packed = [&](const auto& op, int groups, Packing packing) {
        return pack(Packed(op), groups, packing, program_.values[op.x].zero, program_.space, slab);
    };
    for (size_t i = 0; i < program_.ops.size(); ++i) {
        Op& op = program_.ops[i];
        if (const auto* conv = std::get_if<Conv>(&op)) {
            layers[i] = packed(*conv, static_cast<int>(conv->groups), packing_of(*conv, program_, plan_));
        } else if (const auto* linear = std::get_if<Linear>(&op)) {
            const bool slices = takes_slices(*linear, program_.values[linear->x].shape, kernels, forced);
            layers[i] = packed(*linear, 1, slices ? Packing::slices : Packing::panels);
        }
        drop_packed(op);
        if (kernels.pair) choose_pairs(layers[i]);
    }
    lay_out();
}

Engine::Engine(const Engine& other, Program program)
    : program_(std::move(program)), outputs_(dqt::outputs(program_)), late_(late_choice(program_)), kernels_(other.kernels_),
      thread_count_(other.thread_count_), forced_(other.forced_), plan_(make_plan(program_, false)),
      plan_auto_(make_plan(program_, true)), family_(other.family_) {
    lay_out();
}

// What a run needs, once the weights are packed; and constants, laid out once for all samples of all runs.
void Engine::lay_out() {
    needs_ = needs();
    for (const int b : program_.space.choices) {
        if (!again() || b == late_->first) continue;
        wider_.push_back(b);
        at_wider_.push_back(uniform(program_.space, b));
    }
    const int64_t bytes = std::max(SLICE_BYTES, weight_bytes() / WEIGHTS_TO_SLICE);
    slice_ = std::clamp<int64_t>(bytes / std::max<int64_t>(1, arena_bytes(1)), 1, SLICE_SAMPLES);
    for (const Op& op : program_.ops) {
        const auto* constant = std::get_if<Constant>(&op);
        if (!constant) continue;
        Tensor t = plan_.values[constant->out];
        Bytes image(t.image);
        t.data = image.data();
        fill_border(t, 0);
        constant->run(One(program_, plan_, t));
        constants_.emplace_back(constant->out, std::move(image));
    }
}

std::unique_ptr<Engine> Engine::bound(const std::map<std::string, int64_t>& sizes) const {
    return std::unique_ptr<Engine>(new Engine(*this, dqt::bound(program_, sizes)));
}

Needs Engine::needs() const {
    const std::vector<PackedLayer>& layers = family_->layers;
    return {std::max(plan_.bytes, plan_auto_.bytes), std::max(plan_.stage, plan_auto_.stage),
            std::max(plan_.landing, plan_auto_.landing),
            std::max({winograd_scratch(program_, plan_, layers, *kernels_, thread_count_),
                      lookup_scratch(program_, layers, *kernels_, thread_count_), mat_mul_scratch(program_, thread_count_),
                      softmax_scratch(program_, thread_count_), attention_scratch(program_, plan_, thread_count_),
                      attention_scratch(program_, plan_auto_, thread_count_), narrowed_aside(layers, program_.space, *kernels_, thread_count_),
                      pair_scratch(layers, thread_count_)}),
            program_.values.size(), program_.space.layers.size(), plan_.taps};
}

Engine::~Engine() = default;

int64_t Engine::weight_bytes() const {
    int64_t total = 0;
    for (const PackedLayer& layer : family_->layers) total += static_cast<int64_t>(layer.weight.size());
    return total;
}

void Engine::check(const Arrays& arrays, int64_t count) const {
    for (size_t i = 0; i < program_.inputs.size(); ++i) {
        const Input& given = program_.inputs[i];
        if (given.integer)
            check_range(static_cast<const int64_t*>(arrays.inputs[i]), count * product(given.shape), given.lo, given.hi,
                        "input " + given.name);
    }
    for (size_t i = 0; i < arrays.states.size(); ++i) {
        const Value& state = program_.states[i].value;
        check_range(arrays.states[i], count * product(state.shape), state.lo, state.hi, "state " + state.name);
    }
}

Widths uniform(const Space& space, int b) {
    Widths widths;
    for (const Layer& layer : space.layers)
        widths.weight.push_back(static_cast<uint8_t>(layer.edge ? space.edge_width : b));
    widths.weight.resize(space.layers.size() + space.controller.size(), static_cast<uint8_t>(space.master));
    widths.activation = widths.weight;
    return widths;
}

void Engine::run(const Arrays& arrays, int64_t count, const Widths& plan, int8_t* widths, Trace* trace) {
    check(arrays, count);
    const Share share(thread_count_);
    std::unique_ptr<Arena> arena = family_->borrow(thread_count_);
    arena->threads.use(share.count());
    const bool twice = plan.automatic && again();
    if (twice && !widths) {
        arena->again.widths.resize(static_cast<size_t>(count) * program_.space.layers.size());
        widths = arena->again.widths.data();
    }
    pass(*arena, arrays, count, plan, widths, trace);
    if (twice) run_again(*arena, arrays, count, widths, trace);
    family_->give_back(std::move(arena));
}

void Engine::pass(Arena& arena, const Arrays& arrays, int64_t count, const Widths& plan, int8_t* widths, Trace* trace) const {
    const MemoryPlan& memory = plan.automatic ? plan_auto_ : plan_;
    const auto layers = static_cast<int64_t>(program_.space.layers.size());
    const int64_t capacity = std::min(count, slice_);
    arena.grow(needs_, capacity);
    for (int64_t first = 0; first < count; first += capacity) {
        const int64_t some = std::min(capacity, count - first);
        if (arena.plan != memory.serial) arena.values = memory.values;
        arena.plan = memory.serial;
        for (size_t v = 0; v < arena.values.size(); ++v)
            arena.values[v].data = arena.memory.data() + some * memory.offset[v] + memory.inside[v];
        for (const auto& [v, image] : constants_) {
            arena.values[v].data = image.data();
            arena.values[v].image = 0;
        }
        arena.chosen.assign(layers * some, 0);
        execute({program_, family_->layers, *kernels_, memory, plan, arena, forced_, arrays, first, some, trace});
        for (int64_t n = 0; widths && n < some; ++n)
            for (int64_t i = 0; i < layers; ++i) {
                const int8_t chosen = arena.chosen[i * some + n];
                const auto fixed = static_cast<int8_t>(std::min(plan.weight[i], plan.activation[i]));
                widths[(first + n) * layers + i] = chosen ? chosen : fixed;
            }
    }
}

}  // namespace dqt
