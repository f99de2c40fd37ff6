// A loaded program, ready to run. The program and the packed weights are shared and never change; each run borrows one
// Arena, so several threads may run one engine at once.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "../ir/program.h"
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

// What a run needs, whatever its plan: bytes per sample, bytes of scratch, counts.
struct Needs {
    int64_t memory = 0, stage = 0, landing = 0, scratch = 0;
    size_t values = 0, layers = 0, taps = 0;
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
    int64_t capacity = 0;            // samples
    const MemoryPlan* plan = nullptr;
    std::vector<Tensor> values;      // those of `plan`, with real addresses
    std::vector<int8_t> chosen;      // [layers][samples] width, where automatic
    std::vector<int32_t> order;      // samples of one group of widths
    std::vector<int> readers;        // by value: the activation width that every reader takes it at, or the master
    std::vector<int64_t> taps;       // of the layer that runs: the byte offset of each segment of its window
    std::vector<int64_t> record_taps;  // the same over the records of lookup.cc, for one group of the layer's samples
};

class Engine {
  public:
    Engine(Program program, int threads, const Kernels& kernels, Kernel forced = Kernel::cheapest);
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    const Program& program() const { return program_; }
    const Kernels& kernels() const { return *kernels_; }
    // Of one run that has the process to itself: no more than the calling thread may use cores now.
    int threads() const { return std::min(thread_count_, usable_cores()); }
    // Of so many samples, without the scratch that does not grow with them.
    int64_t arena_bytes(int64_t samples) const { return samples * (needs_.memory + needs_.stage + needs_.landing); }
    int64_t weight_bytes() const;
    const Value& output() const;

    // x: [count, *input_shape] float32, finite. One of `codes` (int32) and `floats` gets [count, *output shape]; `widths`
    // (or null) gets int8 [count, layers].
    // With `seconds` (or null), [instructions], the time that each took is added there; with `used` (or null), too, the
    // name of the kernel of each layer that ran.
    void run(const float* x, int64_t count, const Widths& plan, int32_t* codes, float* floats, int8_t* widths,
             double* seconds = nullptr, const char** used = nullptr);

  private:
    std::unique_ptr<Arena> borrow();
    void give_back(std::unique_ptr<Arena> arena);

    Program program_;
    const Kernels* kernels_;
    int thread_count_;
    Kernel forced_;
    MemoryPlan plan_, plan_auto_;
    std::vector<PackedLayer> layers_;  // by op; empty where the op is no layer
    Needs needs_;
    int64_t slice_ = 1;                // most samples that run together
    Arena* idle_ = nullptr;            // a list, guarded by ForkLock: lending and taking back allocate nothing
};

// peak.cc: products a second of the block kernel of one thread, on operands that stay in the cache.
double peak(const Kernels& kernels);

}  // namespace dqt
