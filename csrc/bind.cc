// The Python module dqt._native: the only file that knows Python.
//
//     engine(data: bytes, threads, isa, kernel) -> Engine
//     Engine.run(inputs: list, widths, outputs: list, chosen, states: list | None = None, after: list | None = None)
//         inputs    in the order of the program: float32 or int64 [N, *shape], in C order
//         outputs   in the order of the program: int32 codes or float32 reals [N, *shape], each as its dtype says
//         chosen    int8 [N, layers]
//         states    int32 [N, *shape] in the order of the program, None: all start; after: what they become, may be the same
//     Engine.profile(inputs: list, widths, states: list | None = None) -> (seconds, kernels)
//     Engine.bound(sizes: dict[str, int]) -> Engine      a size for every named dimension; shares the packed weights
//     Engine.widths(weight, activation, automatic), .isa, .threads, .weight_bytes, .arena_bytes(samples), .peak()
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <string>

#include "cpu/engine.h"
#include "ir/load.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Input = nb::ndarray<const float, nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;
using Floats = nb::ndarray<float, nb::c_contig, nb::device::cpu>;
using Chosen = nb::ndarray<int8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

dqt::Kernel kernel_of(const std::string& name) {
    const auto* found = std::find(std::begin(dqt::KERNEL_NAMES), std::end(dqt::KERNEL_NAMES), name);
    if (found == std::end(dqt::KERNEL_NAMES)) throw nb::value_error(("no kernel called '" + name + "'").c_str());
    return static_cast<dqt::Kernel>(found - std::begin(dqt::KERNEL_NAMES));
}

std::unique_ptr<dqt::Engine> make(nb::bytes data, int threads, const std::string& isa, const std::string& kernel) {
    const dqt::Kernels* kernels = dqt::choose_kernels(isa.empty() ? nullptr : isa.c_str());
    if (!kernels) throw nb::value_error(("no kernels called '" + isa + "' that this processor runs").c_str());
    const dqt::Kernel forced = kernel_of(kernel);
    const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
    const size_t size = data.size();
    const nb::gil_scoped_release release;
    return std::make_unique<dqt::Engine>(dqt::load(bytes, size), threads, *kernels, forced);
}

// `weight` and `activation`: a width for each layer, the controller's own after them.
dqt::Widths widths_of(const dqt::Engine& engine, const std::vector<int>& weight, const std::vector<int>& activation,
                      bool automatic) {
    const auto& space = engine.program().space;
    const size_t layers = space.layers.size() + space.controller.size();
    if (weight.size() != layers || activation.size() != layers) throw nb::value_error("one width for each layer");
    for (const auto* widths : {&weight, &activation})
        for (const int b : *widths)
            if (std::find(space.widths.begin(), space.widths.end(), b) == space.widths.end())
                throw nb::value_error("a width that the program does not have");
    return {{weight.begin(), weight.end()}, {activation.begin(), activation.end()}, automatic};
}

void run(dqt::Engine& engine, const Input& x, const dqt::Widths& widths, int32_t* codes, float* floats, Chosen& chosen) {
    const int64_t size = dqt::product(engine.program().input_shape);
    const auto count = static_cast<int64_t>(x.shape(0));
    if (static_cast<int64_t>(x.size()) != count * size ||
        static_cast<int64_t>(chosen.size()) != count * static_cast<int64_t>(engine.program().space.layers.size()))
        throw nb::value_error("arrays of the wrong size");
    const nb::gil_scoped_release release;
    engine.run(x.data(), count, widths, codes, floats, chosen.data());
}

size_t output_size(const dqt::Engine& engine) {
    return static_cast<size_t>(dqt::product(engine.output().shape));
}

// The C library keeps what was freed once it has seen large blocks come and go, as they do while a program loads.
void trim() {
#if defined(__GLIBC__)
    malloc_trim(0);
#endif
}

std::vector<std::string> kernel_sets() {
    std::vector<std::string> names;
#define DQT_KERNELS(each) \
    if (dqt::kernels_##each.usable()) names.emplace_back(dqt::kernels_##each.name);
#include "cpu/kernels.inc"
#undef DQT_KERNELS
    return names;
}

std::vector<std::string> kernel_names() { return {std::begin(dqt::KERNEL_NAMES) + 1, std::end(dqt::KERNEL_NAMES)}; }

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The native engine: a program's integers, run fast.";
    nb::exception<dqt::LoadError>(m, "LoadError", PyExc_ValueError);
    m.def("kernel_sets", &kernel_sets, "Names of the kernel sets that this processor runs, best first.");
    m.def("kernel_names", &kernel_names, "Kernels among which layers have a choice.");
    m.def("cores", &dqt::usable_cores, "Cores that this thread may use, by its affinity and its cgroups.");
    m.def("quota_cores", &dqt::quota_cores, "root"_a, "Whole cores that the cgroups below `root` allow; 0: no limit.");
    m.def("assume_cores", &dqt::assume_cores, "count"_a, "Take so many cores for usable, for tests; 0: count them.");
    m.def("trim", &trim, "Give memory that is free back to the system.");
    nb::class_<dqt::Widths>(m, "Widths");
    nb::class_<dqt::Engine>(m, "Engine")
        .def("widths", &widths_of, "weight"_a, "activation"_a, "automatic"_a)
        .def("codes",
             [](dqt::Engine& engine, const Input& x, const dqt::Widths& widths, Codes out, Chosen chosen) {
                 if (out.size() != x.shape(0) * output_size(engine)) throw nb::value_error("an output of the wrong size");
                 run(engine, x, widths, out.data(), nullptr, chosen);
             })
        .def("floats",
             [](dqt::Engine& engine, const Input& x, const dqt::Widths& widths, Floats out, Chosen chosen) {
                 if (out.size() != x.shape(0) * output_size(engine)) throw nb::value_error("an output of the wrong size");
                 run(engine, x, widths, nullptr, out.data(), chosen);
             })
        .def("profile",
             [](dqt::Engine& engine, const Input& x, const dqt::Widths& widths) {
                 const auto count = static_cast<int64_t>(x.shape(0));
                 std::vector<float> out(count * output_size(engine));
                 std::vector<double> seconds(engine.program().ops.size());
                 std::vector<const char*> used(seconds.size());
                 {
                     const nb::gil_scoped_release release;
                     engine.run(x.data(), count, widths, nullptr, out.data(), nullptr, seconds.data(), used.data());
                 }
                 std::vector<std::string> names;
                 for (const char* name : used) names.emplace_back(name ? name : "");
                 return std::make_pair(seconds, names);
             },
             "Seconds of each instruction in one run, 0 where another instruction does its work; kernels of layers.")
        .def("peak", [](const dqt::Engine& engine) { return dqt::peak(engine.kernels()); },
             nb::call_guard<nb::gil_scoped_release>(),
             "Products a second that the block kernel reaches in the cache, on one thread.")
        .def_prop_ro("isa", [](const dqt::Engine& engine) { return std::string(engine.kernels().name); })
        .def_prop_ro("threads", &dqt::Engine::threads)
        .def_prop_ro("weight_bytes", &dqt::Engine::weight_bytes)
        .def("arena_bytes", &dqt::Engine::arena_bytes);
    m.def("engine", &make, "data"_a, "threads"_a, "isa"_a, "kernel"_a, "An engine from the bytes of a .dqt file.");
}
