// Runs the engine for the tests under sanitizers, which compare its integers with the interpreter's.
//
//   engine_test ISA THREADS CALLERS NET.dqt COUNT INPUT WIDTHS OUTPUT [DIMENSION SIZE]...
//
// ISA: kernels by name. CALLERS: threads that call one engine at the same time, each some times. INPUT: the inputs of COUNT
// samples, one array after the other, then the states as int32. WIDTHS: a text file, a plan on each line:
// weights:activations of each layer (the controller's after them), or auto. OUTPUT: for each plan the int32 codes of the
// outputs, one array after the other, then of the states after the run, as every caller got them. DIMENSION: named ones
// that are bound to other sizes.
//
// It fails too where a run allocates memory though the same plan ran on as many samples before.
#include <malloc.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <new>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "../cpu/engine.h"
#include "../ir/load.h"

namespace {

std::atomic<int64_t> allocations{0};

void* allocated(size_t size, size_t alignment) noexcept {
    ++allocations;
    return memalign(alignment, size ? size : 1);
}

void* required(size_t size, size_t alignment) {
    if (void* p = allocated(size, alignment)) return p;
    throw std::bad_alloc();
}

}  // namespace

// Every allocation of the program is counted; posix_memalign is what the engine's buffers are made with. Not inlined: the
// compiler takes a free() in sight of an operator new for a mistake.
[[gnu::noinline]] void* operator new(size_t size) { return required(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new[](size_t size) { return required(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocated(size, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(size_t size, std::align_val_t alignment) { return required(size, static_cast<size_t>(alignment)); }
[[gnu::noinline]] void operator delete(void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete[](void* p, size_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
[[gnu::noinline]] void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
extern "C" int posix_memalign(void** p, size_t alignment, size_t size) noexcept {
    *p = allocated(size, alignment);
    return *p ? 0 : ENOMEM;
}

namespace {

constexpr int ROUNDS = 3;  // runs of each plan by each of several callers

std::vector<char> read(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string(path) + ": cannot be read");
    return {std::istreambuf_iterator<char>(file), {}};
}

dqt::Widths parse(const std::string& line, const dqt::Space& space) {
    dqt::Widths widths;
    widths.automatic = line.rfind("auto ", 0) == 0;
    std::istringstream text(widths.automatic ? line.substr(5) : line);
    for (int weight, activation; text >> weight && text.get() == ':' && text >> activation;) {
        widths.weight.push_back(static_cast<uint8_t>(weight));
        widths.activation.push_back(static_cast<uint8_t>(activation));
    }
    if (widths.weight.size() != space.layers.size() + space.controller.size())
        throw std::runtime_error("a plan of the wrong length: " + line);
    return widths;
}

// What the runs of one engine read, and where its integers go to.
class Run {
  public:
    Run(dqt::Engine& engine, int64_t count, std::vector<char> input) : engine_(engine), count_(count), input_(std::move(input)) {
        const char* at = input_.data();
        for (const dqt::Input& each : engine.program().inputs) {
            inputs_.push_back(at);
            at += count * dqt::product(each.shape) * (each.integer ? 8 : 4);
        }
        for (const dqt::State& each : engine.program().states) {
            states_.push_back(reinterpret_cast<const int32_t*>(at));
            at += count * dqt::product(each.value.shape) * 4;
        }
        if (at != input_.data() + input_.size()) throw std::runtime_error("an input of the wrong size");
        for (const dqt::Value* each : engine.outputs()) sizes_.push_back(count * dqt::product(each->shape));
        for (const dqt::State& each : engine.program().states) sizes_.push_back(count * dqt::product(each.value.shape));
        for (const int64_t size : sizes_) total_ += size;
    }
    // The integers of a run, and how often it allocated.
    int64_t operator()(const dqt::Widths& plan, std::vector<int32_t>& codes) {
        codes.resize(total_);
        std::vector<dqt::Outcome> outputs;
        std::vector<int32_t*> after;
        int32_t* at = codes.data();
        for (size_t i = 0; i < sizes_.size(); at += sizes_[i++]) {
            if (i < engine_.outputs().size())
                outputs.push_back({at, nullptr});
            else
                after.push_back(at);
        }
        std::vector<int8_t> chosen(count_ * engine_.program().space.layers.size());
        const int64_t before = allocations;
        engine_.run({inputs_, outputs, states_, after}, count_, plan, chosen.data());
        return allocations - before;
    }

  private:
    dqt::Engine& engine_;
    int64_t count_, total_ = 0;
    std::vector<char> input_;
    std::vector<const void*> inputs_;
    std::vector<const int32_t*> states_;
    std::vector<int64_t> sizes_;     // of outputs, then of states
};

// Every caller runs every plan, each starting at another; all must get the same.
std::vector<std::vector<int32_t>> all(Run& run, const std::vector<dqt::Widths>& plans, int callers) {
    std::vector<std::vector<int32_t>> first(plans.size());
    for (size_t i = 0; i < plans.size(); ++i) {
        run(plans[i], first[i]);
        if (run(plans[i], first[i]) != 0) throw std::runtime_error("a second run allocated memory");
    }
    std::vector<std::thread> threads;
    std::vector<int> differ(callers);
    for (int caller = 0; callers > 1 && caller < callers; ++caller)
        threads.emplace_back([&, caller] {
            std::vector<int32_t> codes;
            for (size_t k = 0; k < ROUNDS * plans.size(); ++k) {
                const size_t i = (k + caller) % plans.size();
                run(plans[i], codes);
                differ[caller] += codes != first[i];
            }
        });
    for (std::thread& each : threads) each.join();
    for (const int d : differ)
        if (d) throw std::runtime_error("callers got other integers");
    return first;
}

int test(int argc, char** argv) {
    const dqt::Kernels* kernels = dqt::choose_kernels(argv[1]);
    if (!kernels) throw std::runtime_error(std::string("this processor has no kernels ") + argv[1]);
    dqt::assume_cores(std::stoi(argv[2]) * std::stoi(argv[3]));  // so many threads, also on a machine of fewer
    const std::vector<char> file = read(argv[4]);
    dqt::Engine loaded(dqt::load(reinterpret_cast<const uint8_t*>(file.data()), file.size()), std::stoi(argv[2]), *kernels);
    std::map<std::string, int64_t> sizes;
    for (int i = 9; i + 1 < argc; i += 2) sizes[argv[i]] = std::stoll(argv[i + 1]);
    const std::unique_ptr<dqt::Engine> bound = sizes.empty() ? nullptr : loaded.bound(sizes);
    dqt::Engine& engine = bound ? *bound : loaded;
    std::vector<dqt::Widths> plans;
    std::ifstream lines(argv[7]);
    for (std::string line; std::getline(lines, line);) plans.push_back(parse(line, engine.program().space));
    std::ofstream output(argv[8], std::ios::binary);
    Run run(engine, std::stoll(argv[5]), read(argv[6]));
    for (const auto& codes : all(run, plans, std::stoi(argv[3])))
        output.write(reinterpret_cast<const char*>(codes.data()), static_cast<std::streamsize>(codes.size() * 4));
    return output ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc == 2 && std::strcmp(argv[1], "--isa") == 0) {
#define DQT_KERNELS(each) \
    if (dqt::kernels_##each.usable()) std::printf("%s\n", dqt::kernels_##each.name);
#include "../cpu/kernels.inc"
#undef DQT_KERNELS
        return 0;
    }
    if (argc < 9) return 2;
    try {
        return test(argc, argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "engine_test: %s\n", error.what());
        return 1;
    }
}
