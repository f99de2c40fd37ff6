// The Python module dqt._native: the only file that knows Python.
//
//     engine(data: bytes, or the descriptor of an open file, threads, isa, kernel) -> Engine
//     Engine.run(input, widths, output, chosen)          of one input and one output
//     Engine.run(inputs: list, widths, outputs: list, chosen)
//     Engine.run(inputs: list, widths, outputs: list, chosen, states: list, after: list)      all by position
//         inputs    in the order of the program: float32 or int64 [N, *shape], in C order
//         outputs   in the order of the program: int32 codes or float32 reals [N, *shape], each as its dtype says
//         chosen    int8 [N, layers]
//         states    int32 [N, *shape] in the order of the program, or []: all start
//         after     what they become, may be the same arrays; or []
//     Engine.profile(inputs: list, widths, states: list = []) -> (seconds, kernels, estimates)
//     Engine.bound(sizes: dict[str, int]) -> Engine      a size for every named dimension; shares the packed weights
//     Engine.output_shapes                              of one sample, in the order of the program
//     Engine.widths(weight, activation, automatic), .isa, .threads, .weight_bytes, .arena_bytes(samples), .peak()
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/map.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#if defined(__GLIBC__)
#include <malloc.h>
#endif

#include <algorithm>
#include <cerrno>
#include <span>
#include <string>
#include <system_error>

#include "cpu/engine.h"
#include "ir/load.h"

namespace nb = nanobind;
using namespace nb::literals;

namespace {

using Given = nb::ndarray<nb::ro, nb::c_contig, nb::device::cpu>;
using Place = nb::ndarray<nb::c_contig, nb::device::cpu>;
using Codes = nb::ndarray<int32_t, nb::c_contig, nb::device::cpu>;
using Chosen = nb::ndarray<int8_t, nb::ndim<2>, nb::c_contig, nb::device::cpu>;

dqt::Kernel kernel_of(const std::string& name) {
    const auto* found = std::find(std::begin(dqt::KERNEL_NAMES), std::end(dqt::KERNEL_NAMES), name);
    if (found == std::end(dqt::KERNEL_NAMES)) throw nb::value_error(("no kernel called '" + name + "'").c_str());
    return static_cast<dqt::Kernel>(found - std::begin(dqt::KERNEL_NAMES));
}

// Of the program that `load` gives.
template <class Load>
std::unique_ptr<dqt::Engine> make(const Load& load, int threads, const std::string& isa, const std::string& kernel) {
    const dqt::Kernels* kernels = dqt::choose_kernels(isa.empty() ? nullptr : isa.c_str());
    if (!kernels) throw nb::value_error(("no kernels called '" + isa + "' that this processor runs").c_str());
    const dqt::Kernel forced = kernel_of(kernel);
    const nb::gil_scoped_release release;
    return std::make_unique<dqt::Engine>(load(), threads, *kernels, forced);
}

std::unique_ptr<dqt::Engine> make_of_bytes(const nb::bytes& data, int threads, const std::string& isa, const std::string& kernel) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
    return make([&] { return dqt::load(bytes, data.size()); }, threads, isa, kernel);
}

std::unique_ptr<dqt::Engine> make_of_file(int descriptor, int threads, const std::string& isa, const std::string& kernel) {
    try {
        return make([&] { return dqt::load_file(descriptor); }, threads, isa, kernel);
    } catch (const std::system_error& error) {
        errno = error.code().value();
        PyErr_SetFromErrno(PyExc_OSError);
        throw nb::python_error();
    }
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
    for (size_t i = 0; i < space.layers.size(); ++i)
        if (weight[i] > space.widest_of(space.layers[i])) throw nb::value_error("weights are packed to fewer bits");
    return {{weight.begin(), weight.end()}, {activation.begin(), activation.end()}, automatic};
}

void require(bool legal, const char* message) {
    if (!legal) throw nb::value_error(message);
}

// Whether an array is [count, *shape].
template <class Array>
bool fits(const Array& array, int64_t count, const dqt::Shape& shape) {
    return array.ndim() > 0 && static_cast<int64_t>(array.shape(0)) == count &&
           static_cast<int64_t>(array.size()) == count * dqt::product(shape);
}

// One item for each array of a call: most programs have one, and then nothing is allocated.
template <class T>
class Items {
  public:
    explicit Items(size_t count) : count_(count) {
        if (count > 1) many_.resize(count);
    }
    T& operator[](size_t i) { return count_ > 1 ? many_[i] : one_; }
    operator std::span<const T>() const { return {count_ > 1 ? many_.data() : &one_, count_}; }

  private:
    size_t count_;
    T one_{};
    std::vector<T> many_;
};

// The arrays of one call, checked against the program.
struct Call {
    int64_t count = 0;
    Items<Given> kept;               // inputs may be copies that live as long as this
    Items<const void*> inputs;
    Items<dqt::Outcome> outputs;
    std::vector<int32_t*> states, after;

    explicit Call(const dqt::Engine& engine)
        : kept(engine.program().inputs.size()), inputs(engine.program().inputs.size()), outputs(engine.outputs().size()) {}
    Call(const dqt::Engine& engine, const nb::list& given) : Call(engine) {
        require(given.size() == engine.program().inputs.size(), "one array for each input");
        for (size_t i = 0; i < given.size(); ++i) put_input(engine, i, kept[i] = nb::cast<Given>(given[i]));
    }

    void put_input(const dqt::Engine& engine, size_t i, const Given& array) {
        const dqt::Input& wanted = engine.program().inputs[i];
        if (i == 0 && array.ndim() > 0) count = static_cast<int64_t>(array.shape(0));
        require(array.dtype() == (wanted.integer ? nb::dtype<int64_t>() : nb::dtype<float>()), "an input of the wrong dtype");
        require(fits(array, count, wanted.shape), "an input of the wrong size");
        inputs[i] = array.data();
    }

    void put_output(const dqt::Engine& engine, size_t i, const Place& array) {
        require(fits(array, count, engine.outputs()[i]->shape), "an output of the wrong size");
        const bool floats = array.dtype() == nb::dtype<float>();
        require(floats || array.dtype() == nb::dtype<int32_t>(), "an output of the wrong dtype");
        outputs[i] = {floats ? nullptr : static_cast<int32_t*>(array.data()),
                      floats ? static_cast<float*>(array.data()) : nullptr};
    }

    // Of states, before or after the run, or none.
    void put_states(const dqt::Engine& engine, const nb::list& list, std::vector<int32_t*>& to) const {
        if (list.size() == 0) return;
        const auto& wanted = engine.program().states;
        require(list.size() == wanted.size(), "one array for each state");
        for (size_t i = 0; i < wanted.size(); ++i) {
            const auto array = nb::cast<Codes>(list[i]);
            require(fits(array, count, wanted[i].value.shape), "a state of the wrong size");
            to.push_back(array.data());
        }
    }

    dqt::Arrays arrays() const { return {inputs, outputs, states, after}; }
};

void run(dqt::Engine& engine, const Call& call, const dqt::Widths& widths, const Chosen& chosen) {
    require(static_cast<int64_t>(chosen.size()) == call.count * static_cast<int64_t>(engine.program().space.layers.size()),
            "widths of the wrong size");
    int8_t* const to = chosen.data();
    const nb::gil_scoped_release release;
    engine.run(call.arrays(), call.count, widths, to);
}

void run_one(dqt::Engine& engine, const Given& input, const dqt::Widths& widths, const Place& output, const Chosen& chosen) {
    Call call(engine);
    require(engine.program().inputs.size() == 1 && engine.outputs().size() == 1, "need lists of several inputs and outputs");
    call.put_input(engine, 0, input);
    call.put_output(engine, 0, output);
    run(engine, call, widths, chosen);
}

void run_many(dqt::Engine& engine, const nb::list& inputs, const dqt::Widths& widths, const nb::list& outputs,
              const Chosen& chosen, const nb::list& states, const nb::list& after) {
    Call call(engine, inputs);
    require(outputs.size() == engine.outputs().size(), "one array for each output");
    for (size_t i = 0; i < outputs.size(); ++i) call.put_output(engine, i, nb::cast<Place>(outputs[i]));
    call.put_states(engine, states, call.states);
    call.put_states(engine, after, call.after);
    run(engine, call, widths, chosen);
}

// A kernel's name, its counts, and nanoseconds of each.
using Considered = std::tuple<std::string, std::vector<double>, std::vector<double>>;

std::vector<Considered> considered(const std::vector<dqt::Estimate>& estimates) {
    std::vector<Considered> found;
    for (const auto& [kernel, counts, costs] : estimates)
        found.emplace_back(name_of(kernel), std::vector(counts.begin(), counts.end()), std::vector(costs.begin(), costs.end()));
    return found;
}

using Profile = std::tuple<std::vector<double>, std::vector<std::string>, std::vector<std::vector<Considered>>>;

Profile profile(dqt::Engine& engine, const nb::list& inputs, const dqt::Widths& widths, const nb::list& states) {
    Call call(engine, inputs);
    call.put_states(engine, states, call.states);
    std::vector<std::vector<float>> out;
    for (const dqt::Value* value : engine.outputs()) {
        out.emplace_back(call.count * dqt::product(value->shape));
        call.outputs[out.size() - 1] = {nullptr, out.back().data()};
    }
    dqt::Trace trace(engine.program().ops.size());
    {
        const nb::gil_scoped_release release;
        engine.run(call.arrays(), call.count, widths, nullptr, &trace);
    }
    std::vector<std::string> names;
    for (const char* name : trace.kernels) names.emplace_back(name ? name : "");
    std::vector<std::vector<Considered>> estimates;
    for (const auto& each : trace.estimates) estimates.push_back(considered(each));
    return {trace.seconds, names, estimates};
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
        // Without names of arguments and defaults: nanobind then dispatches a call faster.
        .def("run", &run_one)
        .def("run",
             [](dqt::Engine& engine, const nb::list& inputs, const dqt::Widths& widths, const nb::list& outputs,
                const Chosen& chosen) { run_many(engine, inputs, widths, outputs, chosen, nb::list(), nb::list()); })
        .def("run", &run_many)
        .def("profile", &profile, "inputs"_a, "widths"_a, "states"_a = nb::list(),
             "Seconds of each instruction in one run, 0 where another instruction does its work; kernels of layers; and the\n"
             "kernels that each layer chose among: name, counts, nanoseconds of each count.")
        .def("bound", [](const dqt::Engine& engine, const std::map<std::string, int64_t>& sizes) {
                 const nb::gil_scoped_release release;
                 return engine.bound(sizes);
             }, "sizes"_a,
             "An engine for other sizes of the named dimensions, which shares the packed weights.")
        .def("peak", [](const dqt::Engine& engine) { return dqt::peak(engine.kernels()); },
             nb::call_guard<nb::gil_scoped_release>(),
             "Products a second that the block kernel reaches in the cache, on one thread.")
        .def_prop_ro("output_shapes", [](const dqt::Engine& engine) {
                         std::vector<dqt::Shape> shapes;
                         for (const dqt::Value* value : engine.outputs()) shapes.push_back(value->shape);
                         return shapes;
                     }, "Shape of one sample of each output.")
        .def_prop_ro("isa", [](const dqt::Engine& engine) { return std::string(engine.kernels().name); })
        .def_prop_ro("first", [](const dqt::Engine& engine) { return dqt::first_width(engine.program()); },
                     "The uniform width that a run under \"auto\" begins at.")
        .def_prop_ro("again", &dqt::Engine::again, "Whether samples may run again, under \"auto\".")
        .def_prop_ro("threads", &dqt::Engine::threads)
        .def_prop_ro("weight_bytes", &dqt::Engine::weight_bytes)
        .def("arena_bytes", &dqt::Engine::arena_bytes);
    m.def("engine", &make_of_file, "descriptor"_a, "threads"_a, "isa"_a, "kernel"_a, "An engine from an open .dqt file.");
    m.def("engine", &make_of_bytes, "data"_a, "threads"_a, "isa"_a, "kernel"_a, "An engine from the bytes of a .dqt file.");
}
