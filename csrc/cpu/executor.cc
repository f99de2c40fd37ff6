// Runs a program: instruction by instruction.
#include <chrono>
#include <concepts>
#include <ctime>

#include "rows.h"

namespace dqt {
namespace {

// One sample of the slice, for the plain form of an operator.
class Lane final : public Sample {
  public:
    Lane(const Context& run, int64_t n) : run_(run), n_(n) {}

    View view(int value) const override {
        return view_of(run_.program.values[value], run_.arena.values[value], run_.plan.strides[value], n_);
    }
    const void* input(int index) const override {
        const Input& given = run_.program.inputs[index];
        const int64_t bytes = product(given.shape) * (given.integer ? sizeof(int64_t) : sizeof(float));
        return static_cast<const uint8_t*>(run_.arrays.inputs[index]) + (run_.first + n_) * bytes;
    }
    const int32_t* state(int index) const override {
        return run_.arrays.states.empty() ? nullptr : sample(index, run_.arrays.states[index]);
    }
    int32_t* next_state(int index) const override {
        return run_.arrays.after.empty() ? nullptr : sample(index, run_.arrays.after[index]);
    }
    void choose(int layer, int64_t width) const override {
        run_.arena.chosen[layer * run_.count + n_] = static_cast<int8_t>(width);
    }

  private:
    template <class T>
    T* sample(int state, T* array) const {
        return array + (run_.first + n_) * product(run_.program.states[state].value.shape);
    }

    const Context& run_;
    int64_t n_;
};

// One run of one slice of the batch.
class Execution {
  public:
    explicit Execution(const Context& run) : run_(run), arena_(run.arena), plan_(run.plan), widths_(run.widths) {}

    void all() {
        Trace* const trace = run_.trace;
        const auto& ops = run_.program.ops;
        find_readers();
        for (size_t i = 0; i < ops.size(); ++i) {
            if (!plan_.live[i] || plan_.moved[i] || runs_elsewhere(plan_.fused[i])) continue;
            const int out = plan_.fused[i] >= 0 ? writes(ops[plan_.fused[i]]) : writes(ops[i]);
            const double began = trace ? now() : 0;
            if (out >= 0) border(ops[i], arena_.values[out]);
            used_ = nullptr;
            std::visit([&](const auto& op) { step(op, static_cast<int>(i)); }, ops[i]);
            if (!trace) continue;
            trace->seconds[i] += now() - began;
            const char*& used = trace->kernels[i];
            used = used && used_ != used ? "several" : used_;
        }
    }

  private:
    // Seconds: of one thread alone those that it had a processor, so that what else the machine does is not counted.
    double now() const {
        if (arena_.threads.count() == 1) {
            timespec time;
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
            return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
        }
        return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
    }

    static bool has_weights(const Op& op) { return layer_of(op) >= 0 && !std::holds_alternative<MatMul>(op); }

    // How instruction `i` narrows its operand `k`, if that is all that it wants of it; a view as its own readers do.
    Narrow wanted(size_t i, size_t k) const {
        const Op& op = run_.program.ops[i];
        const int master = run_.program.space.master, layer = layer_of(op);
        if (plan_.moved[i]) return arena_.readers[writes(op)];
        if (layer < 0 || widths_.automatic || !run_.kernels.narrows) return {master, 0};
        if (!has_weights(op)) return {master, master - (k == 0 ? widths_.weight : widths_.activation)[layer]};
        const InputRange own = run_.layers[i].input(widths_.activation[layer]);
        return own.by_kernels() ? own.narrow : Narrow{master, 0};
    }

    // A value that layers and products alone read, all at one width, is stored at that width: nothing narrows it again.
    void find_readers() {
        const auto& ops = run_.program.ops;
        const Narrow none{0, 0}, whole{run_.program.space.master, 0};  // of values that nobody reads; that somebody reads whole
        arena_.readers.assign(run_.program.values.size(), none);
        for (size_t i = ops.size(); i-- > 0;)
            for (size_t k = 0; plan_.live[i] && k < plan_.reads[i].size(); ++k) {
                Narrow& before = arena_.readers[plan_.reads[i][k]];
                const Narrow narrow = wanted(i, k);
                before = before == none || before == narrow ? narrow : whole;
            }
        for (size_t i = 0; i < ops.size(); ++i) {  // only layers with weights narrow what they write
            const bool ends = runs_elsewhere(plan_.fused[i]) && !std::holds_alternative<Softmax>(ops[i]);  // such a layer
            if (!plan_.live[i] || writes(ops[i]) < 0 || has_weights(ops[i]) || ends) continue;
            arena_.readers[writes(ops[i])] = plan_.moved[i] ? arena_.readers[plan_.reads[i][0]] : whole;
        }
    }

    void border(const Op& op, const Tensor& t) {
        if (std::holds_alternative<Constant>(op)) return;
        if (t.top + t.left + t.bottom + t.right > 0)
            for (int64_t n = 0; n < run_.count; ++n) fill_border(t, n);
        const auto* quantize = std::get_if<Quantize>(&op);
        const bool whole =  // pixels, padding and all
            std::holds_alternative<Conv>(op) || (quantize && quantizes_pixels(*quantize, t));
        if (!whole && t.coded && t.pixel > t.channels)
            for (int64_t n = 0; n < run_.count; ++n) clear_padding(t, n);
    }

    template <class Operator>
    void step(const Operator& op, int i) {
        if constexpr (requires { op.weight; }) {
            used_ = run_layer(run_, i);
        } else if constexpr (std::is_same_v<Operator, MatMul>) {
            plan_.attention[i].any() ? attend(run_, op, plan_.attention[i]) : multiply_matrices(run_, op);
        } else if constexpr (std::is_same_v<Operator, Dequantize>) {
            dequantize(run_, op, plan_.output[i]);
        } else if constexpr (requires { { execute(run_, op) } -> std::same_as<bool>; }) {
            if (!execute(run_, op)) plainly(op);
        } else if constexpr (requires { execute(run_, op); }) {
            plan_.coded[i] ? execute(run_, op) : plainly(op);
        } else {
            plainly(op);
        }
    }

    template <class Operator>
    void plainly(const Operator& op) {
        each_sample(run_, [&](int64_t n) { op.run(Lane(run_, n)); });
    }

    const Context& run_;
    Arena& arena_;
    const MemoryPlan& plan_;
    const Widths& widths_;
    const char* used_ = nullptr;     // kernel of the layer that runs
};

}  // namespace

void execute(const Context& run) { Execution(run).all(); }

}  // namespace dqt
