// A loaded program, ready to run. The program and the packed weights are shared and never change; each run borrows one
// Arena, so several threads may run one engine at once.
#pragma once

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "../ir/program.h"
#include "../ir/shared.h"
#include "cores.h"
#include "kernels.h"
#include "layer.h"
#include "plan.h"
#include "tensor.h"
#include "threads.h"

namespace dqt {

// The widths of a run: of each layer (controller layers after them), weights and activations; or those of a choice.
struct Widths {
    std::vector<uint8_t> weight, activation;
    bool automatic = false;
};

// Every layer at `b` bits, the first and last at the edge width, the controller's at the master width.
DQT_SHARED Widths uniform(const Space& space, int b);

// What a run needs, whatever its plan: bytes per sample, bytes of scratch, counts.
struct Needs {
    int64_t memory = 0, stage = 0, landing = 0, scratch = 0;
    size_t values = 0, layers = 0, taps = 0;
};

// What a run reads and writes, in the order of the program.
struct Outcome {
    int32_t* codes;                  // one of both
    float* floats;
};
struct Arrays {
    std::span<const void* const> inputs;         // float32 or int64 [count, *shape], finite
    std::span<const Outcome> outputs;             // [count, *shape]
    std::span<const int32_t* const> states = {};  // [count, *shape]; none: all start
    std::span<int32_t* const> after = {};        // what the states become, may be the same; none: nobody asks
};

// Numbers that are not what the program takes: an integer beyond the interval of its input or state.
struct DQT_SHARED RangeError : std::invalid_argument {
    using std::invalid_argument::invalid_argument;
};

// Samples that run again, gathered side by side: what they read, and where their results wait.
struct Again {
    std::vector<int8_t> widths;                  // of the first run, where nobody else wants them
    std::vector<int64_t> samples;                // those of one width
    std::vector<std::vector<char>> inputs, outputs;
    std::vector<const void*> given;
    std::vector<Outcome> taken;
};

// Memory and threads of one run at a time. Once it has grown, a run allocates nothing.
struct Arena {
    explicit Arena(int threads) : threads(threads) {}
    // Makes room for so many samples at once, if there is less.
    void grow(const Needs& needs, int64_t samples);

    Threads threads;
    Arena* next = nullptr;           // of those that are idle
    Bytes memory, stage, landing, scratch;
    Bytes unpacked;                  // by thread: whole weights of a panel that is stored in slices
    uint64_t plan = 0;               // the serial number of that which laid out `values`
    std::vector<Tensor> values;      // those of the plan, with real addresses
    std::vector<int8_t> chosen;      // [layers][samples] width, where automatic
    std::vector<int32_t> order;      // samples of one group of widths
    std::vector<Narrow> readers;     // by value: how it is stored, because every reader takes it so
    std::vector<int64_t> taps;       // of the layer that runs: the byte offset of each segment of its window
    Again again;
    std::vector<int64_t> record_taps;  // the same over the records of lookup.cc, for one group of the layer's samples
};

// What a kernel that is exact for a layer does there, by counts, and what each of them costs by the model: nanoseconds on the
// processor where bench/kernels.py fitted the costs. A layer takes the kernel with the least sum (choice.cc).
struct Estimate {
    Kernel kernel;
    Costs counts{}, costs{};

    double nanoseconds() const;
};

// What a run did, by instruction of the program.
struct Trace {
    std::vector<double> seconds;                  // of one thread alone: on the processor; 0 where it did not run itself
    std::vector<const char*> kernels;             // of a layer that ran, otherwise null; "several" of groups of samples
    std::vector<std::vector<Estimate>> estimates;  // of the kernels that a layer chose among

    explicit Trace(size_t instructions) : seconds(instructions), kernels(instructions), estimates(instructions) {}
};

// What an engine shares with those bound from it: packed weights, and arenas that nobody uses.
struct Family {
    ~Family();
    std::unique_ptr<Arena> borrow(int threads);
    void give_back(std::unique_ptr<Arena> arena);

    std::vector<PackedLayer> layers;  // by op; empty where the op is no layer
    Arena* idle = nullptr;            // a list, guarded by ForkLock: lending and taking back allocate nothing
};

class Engine {
  public:
    DQT_SHARED Engine(Program program, int threads, const Kernels& kernels, Kernel forced = Kernel::cheapest);
    DQT_SHARED ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    // An engine for other sizes of the program's named dimensions, with a memory plan of its own and the same packed
    // weights. Throws LoadError where the program cannot take them.
    DQT_SHARED std::unique_ptr<Engine> bound(const std::map<std::string, int64_t>& sizes) const;

    const Program& program() const { return program_; }
    const Kernels& kernels() const { return *kernels_; }
    // Of one run that has the process to itself: no more than the calling thread may use cores now.
    int threads() const { return std::min(thread_count_, usable_cores()); }
    // Of so many samples, without the scratch that does not grow with them.
    int64_t arena_bytes(int64_t samples) const { return samples * (needs_.memory + needs_.stage + needs_.landing); }
    DQT_SHARED int64_t weight_bytes() const;
    // The values that leave the program, in order.
    std::span<const Value* const> outputs() const { return outputs_; }
    // Whether samples whose controller asks for more bits than the first run has run again, under an automatic plan.
    bool again() const { return late_ && late_->again; }

    // `widths` (or null) gets int8 [count, layers]. Throws RangeError before anything runs.
    // With `trace` (or null), what every instruction did is added there.
    DQT_SHARED void run(const Arrays& arrays, int64_t count, const Widths& plan, int8_t* widths, Trace* trace = nullptr);

  private:
    Engine(const Engine& other, Program program);
    void check(const Arrays& arrays, int64_t count) const;
    // Every sample once, in slices.
    void pass(Arena& arena, const Arrays& arrays, int64_t count, const Widths& plan, int8_t* widths, Trace* trace) const;
    void gather(Again& again, const Arrays& arrays, std::span<const int64_t> samples) const;
    // again.cc: those whose `widths` are above the first, once more, at these.
    void run_again(Arena& arena, const Arrays& arrays, int64_t count, const int8_t* widths, Trace* trace) const;
    Needs needs() const;
    void lay_out();

    Program program_;
    std::vector<const Value*> outputs_;
    const ChooseLate* late_;           // or null
    std::vector<int> wider_;           // what samples may run again at
    std::vector<Widths> at_wider_;
    const Kernels* kernels_;
    int thread_count_;
    Kernel forced_;
    MemoryPlan plan_, plan_auto_;
    std::shared_ptr<Family> family_;
    std::vector<std::pair<int, Bytes>> constants_;  // values, and their images, which all samples share
    Needs needs_;
    int64_t slice_ = 1;                // most samples that run together
};

// peak.cc: products a second of the block kernel of one thread, on operands that stay in the cache.
DQT_SHARED double peak(const Kernels& kernels);

}  // namespace dqt
