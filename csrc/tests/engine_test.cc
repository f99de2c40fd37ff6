// Runs the engine for the tests under sanitizers, which compare its integers with the interpreter's.
//
//   engine_test ISA THREADS CALLERS NET.dqt INPUT WIDTHS OUTPUT
//
// ISA: kernels by name. CALLERS: threads that call one engine at the same time, each some times. INPUT: float32 samples.
// WIDTHS: a text file, a plan on each line: weights:activations of each layer (the controller's after them), or auto.
// OUTPUT: for each plan the int32 codes [count, output], as every caller got them.
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

// Every allocation of the program is counted; posix_memalign is what the engine's buffers are made with.
void* operator new(size_t size) { return required(size, alignof(std::max_align_t)); }
void* operator new[](size_t size) { return required(size, alignof(std::max_align_t)); }
void* operator new(size_t size, const std::nothrow_t&) noexcept { return allocated(size, alignof(std::max_align_t)); }
void* operator new(size_t size, std::align_val_t alignment) { return required(size, static_cast<size_t>(alignment)); }
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }
void operator delete[](void* p, size_t) noexcept { std::free(p); }
void operator delete(void* p, const std::nothrow_t&) noexcept { std::free(p); }
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }
void operator delete(void* p, size_t, std::align_val_t) noexcept { std::free(p); }
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

// Every caller runs every plan, each starting at another; all must get the same.
std::vector<std::vector<int32_t>> all(dqt::Engine& engine, const std::vector<float>& x, int64_t count, int64_t size,
                                      const std::vector<dqt::Widths>& plans, int callers) {
    std::vector<std::vector<int32_t>> first(plans.size());
    for (size_t i = 0; i < plans.size(); ++i) {
        first[i].resize(count * size);
        std::vector<int8_t> chosen(count * engine.program().space.layers.size());
        engine.run(x.data(), count, plans[i], first[i].data(), nullptr, chosen.data());
        const int64_t before = allocations;
        engine.run(x.data(), count, plans[i], first[i].data(), nullptr, chosen.data());
        if (allocations != before) throw std::runtime_error("a second run allocated memory");
    }
    std::vector<std::thread> threads;
    std::vector<int> differ(callers);
    for (int caller = 0; callers > 1 && caller < callers; ++caller)
        threads.emplace_back([&, caller] {
            std::vector<int32_t> codes(count * size);
            for (size_t k = 0; k < ROUNDS * plans.size(); ++k) {
                const size_t i = (k + caller) % plans.size();
                engine.run(x.data(), count, plans[i], codes.data(), nullptr, nullptr);
                differ[caller] += codes != first[i];
            }
        });
    for (std::thread& each : threads) each.join();
    for (const int d : differ)
        if (d) throw std::runtime_error("callers got other integers");
    return first;
}

int run(char** argv) {
    const dqt::Kernels* kernels = dqt::choose_kernels(argv[1]);
    if (!kernels) throw std::runtime_error(std::string("this processor has no kernels ") + argv[1]);
    dqt::assume_cores(std::stoi(argv[2]) * std::stoi(argv[3]));  // so many threads, also on a machine of fewer
    const std::vector<char> file = read(argv[4]), input = read(argv[5]);
    dqt::Engine engine(dqt::load(reinterpret_cast<const uint8_t*>(file.data()), file.size()), std::stoi(argv[2]),
                       *kernels);
    const int64_t in = dqt::product(engine.program().input_shape), out = dqt::product(engine.output().shape);
    std::vector<float> x(input.size() / sizeof(float));
    std::memcpy(x.data(), input.data(), x.size() * sizeof(float));
    std::vector<dqt::Widths> plans;
    std::ifstream lines(argv[6]);
    for (std::string line; std::getline(lines, line);) plans.push_back(parse(line, engine.program().space));
    std::ofstream output(argv[7], std::ios::binary);
    for (const auto& codes : all(engine, x, static_cast<int64_t>(x.size()) / in, out, plans, std::stoi(argv[3])))
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
    if (argc != 8) return 2;
    try {
        return run(argv);
    } catch (const std::exception& error) {
        std::fprintf(stderr, "engine_test: %s\n", error.what());
        return 1;
    }
}
