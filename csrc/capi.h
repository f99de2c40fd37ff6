// Behind the C interface, for capi.cc alone: arguments are checked, and exceptions become codes.
#pragma once

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <system_error>
#include <vector>

#include <fcntl.h>
#include <unistd.h>

#include "dqt.h"
#include "cpu/engine.h"
#include "ir/load.h"

struct dqt_program {
    std::unique_ptr<dqt::Engine> engine;

    const dqt::Program& program() const { return engine->program(); }
};

struct dqt_session {
    dqt_program* program;
    int64_t count;
    std::vector<std::vector<int32_t>> states;  // empty: they start
    bool started;
};

namespace {

thread_local char last_error[3000];  // the name of a layer alone may have 2048 bytes

#if defined(__GNUC__)
[[gnu::format(printf, 2, 3)]]
#endif
int fail(int code, const char* format, ...) noexcept {
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(last_error, sizeof last_error, format, arguments);
    va_end(arguments);
    return code;
}

// Runs `body`, which returns a code, and turns what it throws into one.
template <class F>
int guarded(const F& body) noexcept {
    try {
        return body();
    } catch (const dqt::LoadError& error) {
        return fail(DQT_INVALID_FILE, "%s", error.what());
    } catch (const dqt::RangeError& error) {
        return fail(DQT_INVALID_ARGUMENT, "%s: clean the data first", error.what());
    } catch (const std::filesystem::filesystem_error& error) {
        return fail(DQT_UNREADABLE, "%s: %s", error.path1().c_str(), error.code().message().c_str());
    } catch (const std::bad_alloc&) {
        return fail(DQT_OUT_OF_MEMORY, "out of memory: free some, or run fewer samples at once");
    } catch (const std::exception& error) {
        return fail(DQT_INTERNAL, "the system refused: %s", error.what());
    } catch (...) {
        return fail(DQT_INTERNAL, "an error without a name");
    }
}

int made(dqt::Program loaded, int threads, dqt_program** program) {
    auto engine = std::make_unique<dqt::Engine>(std::move(loaded), threads ? threads : dqt::usable_cores(),
                                                *dqt::choose_kernels(nullptr));
    *program = new dqt_program{std::move(engine)};
    return DQT_OK;
}

// The program of a file. Throws filesystem_error of what is not a regular file, or cannot be read.
dqt::Program program_of(const char* path) {
    (void)std::filesystem::file_size(path);  // refuses a folder or a pipe, which would wait for its other end
    struct Closed {
        int descriptor;
        ~Closed() { if (descriptor >= 0) close(descriptor); }
    };
    const Closed file{open(path, O_RDONLY | O_CLOEXEC)};
    try {
        if (file.descriptor < 0) throw std::system_error(errno, std::generic_category());
        return dqt::load_file(file.descriptor);
    } catch (const std::system_error& error) {
        throw std::filesystem::filesystem_error("", path, error.code());
    }
}

size_t size_of(const dqt::Shape& shape) { return static_cast<size_t>(dqt::product(shape)); }

int check_load(const void* source, int threads, dqt_program** program) noexcept {
    if (!program) return fail(DQT_INVALID_ARGUMENT, "program is null: pass the place for the result");
    *program = nullptr;
    if (!source) return fail(DQT_INVALID_ARGUMENT, "no file: the data or the path is null");
    if (threads < 0) return fail(DQT_INVALID_ARGUMENT, "%d threads: pass 1 or more, or 0 for every core", threads);
    return DQT_OK;
}

// Numbers in one sample of the largest array of a run.
size_t largest(const dqt_program* program) {
    size_t most = program->program().space.layers.size();
    for (const dqt::Input& each : program->program().inputs) most = std::max(most, size_of(each.shape));
    for (const dqt::Value* each : program->engine->outputs()) most = std::max(most, size_of(each->shape));
    for (const dqt::State& each : program->program().states) most = std::max(most, size_of(each.value.shape));
    return most;
}

// `name`: " NAME", or "" of the only input.
int check_finite(const float* input, size_t size, size_t count, const std::string& name) noexcept {
    for (size_t i = 0; i < count * size; ++i)
        if (!std::isfinite(input[i]))
            return fail(DQT_INVALID_ARGUMENT, "sample %zu of the input%s holds a NaN or an infinity: clean the data first",
                        i / size, name.c_str());
    return DQT_OK;
}

int check_count(const dqt_program* program, size_t count) noexcept {
    if (!program) return fail(DQT_INVALID_ARGUMENT, "program is null: load one first");
    if (count == 0) return fail(DQT_INVALID_ARGUMENT, "an empty batch: pass 1 sample or more");
    if (count > std::numeric_limits<int64_t>::max() / sizeof(int64_t) / largest(program))
        return fail(DQT_INVALID_ARGUMENT, "%zu samples are more than memory has addresses", count);
    return DQT_OK;
}

// The arrays of a run, but for their number of samples.
int check_arrays(const dqt_program* program, const void* const* inputs, float* const* outputs) noexcept {
    if (!inputs || !outputs) return fail(DQT_INVALID_ARGUMENT, "%s is null: pass an array", inputs ? "output" : "input");
    const std::vector<dqt::Input>& wanted = program->program().inputs;
    for (size_t i = 0; i < wanted.size(); ++i)
        if (!inputs[i])
            return fail(DQT_INVALID_ARGUMENT, "input is null: pass an array for the input %s", wanted[i].name.c_str());
    for (size_t i = 0; i < program->engine->outputs().size(); ++i)
        if (!outputs[i]) return fail(DQT_INVALID_ARGUMENT, "output is null: pass an array for the output %zu", i);
    return DQT_OK;
}

int check_run(const dqt_program* program, const void* const* inputs, size_t count, float* const* outputs) {
    if (!program) return fail(DQT_INVALID_ARGUMENT, "program is null: load one first");
    if (const int code = check_arrays(program, inputs, outputs)) return code;
    if (const int code = check_count(program, count)) return code;
    const std::vector<dqt::Input>& wanted = program->program().inputs;
    for (size_t i = 0; i < wanted.size(); ++i) {
        if (wanted[i].integer) continue;
        const std::string name = wanted.size() > 1 ? " " + wanted[i].name : "";
        const auto* input = static_cast<const float*>(inputs[i]);
        if (const int code = check_finite(input, size_of(wanted[i].shape), count, name)) return code;
    }
    return DQT_OK;
}

// Whether dqt_run and dqt_run_plan are for the program.
int check_simple(const dqt_program* program) noexcept {
    if (!program) return DQT_OK;     // check_run says so
    const dqt::Program& each = program->program();
    if (each.inputs.size() == 1 && !each.inputs[0].integer && program->engine->outputs().size() == 1) return DQT_OK;
    return fail(DQT_SEVERAL, "this program has %zu inputs and %zu outputs, or one of integers: use dqt_run_many or a session",
                each.inputs.size(), program->engine->outputs().size());
}

int check_stateless(const dqt_program* program) noexcept {
    if (!program || program->program().states.empty()) return DQT_OK;
    return fail(DQT_SEVERAL, "this program has states: use dqt_session_new and dqt_session_run");
}

// `widest`: that there is, of weights that are packed.
int check_width(const dqt::Space& space, int width, int widest, const std::string& where) {
    const bool known_width = std::find(space.widths.begin(), space.widths.end(), width) != space.widths.end();
    if (known_width && width <= widest) return DQT_OK;
    if (known_width)
        return fail(DQT_INVALID_ARGUMENT,
                    "width %d of %s: this program is packed to %d bits and holds %d there; add bits with dqt upgrade, or load "
                    "the file that was packed", width, where.c_str(), space.packed, widest);
    std::string known;
    for (const int b : space.widths) known += (known.empty() ? "" : ", ") + std::to_string(b);
    return fail(DQT_INVALID_ARGUMENT, "width %d of %s is not one of the program's widths: %s", width, where.c_str(),
                known.c_str());
}

int widths_of(const dqt_program* program, int width, dqt::Widths& widths) {
    const dqt::Space& space = program->program().space;
    widths.automatic = width == DQT_AUTO;
    if (widths.automatic && space.choices.empty())
        return fail(DQT_INVALID_ARGUMENT, "this program has no controller to choose widths: pass a width");
    const int asked = widths.automatic ? space.choices.back() : width;
    const char* where = widths.automatic ? "the controller's choices" : "the plan";
    if (const int code = check_width(space, asked, space.widest(), where)) return code;
    const bool automatic = widths.automatic;
    widths = dqt::uniform(space, automatic ? dqt::first_width(program->program()) : width);
    widths.automatic = automatic;
    return DQT_OK;
}

int widths_of(const dqt_program* program, const int* weights, const int* activations, dqt::Widths& widths) {
    const dqt::Space& space = program->program().space;
    const size_t layers = space.layers.size();
    if (layers && (!weights || !activations))
        return fail(DQT_INVALID_ARGUMENT, "%s are null: pass %zu widths", weights ? "activations" : "weights", layers);
    widths = dqt::uniform(space, space.master);
    for (size_t i = 0; i < layers; ++i) {
        const std::string where = "layer " + space.layers[i].name;
        if (const int code = check_width(space, weights[i], space.widest_of(space.layers[i]), where)) return code;
        if (const int code = check_width(space, activations[i], space.master, where)) return code;
        widths.weight[i] = static_cast<uint8_t>(weights[i]);
        widths.activation[i] = static_cast<uint8_t>(activations[i]);
    }
    return DQT_OK;
}

// A run at the widths that `plan` stands for; `session`, or null.
template <class... Plan>
int run(dqt_program* program, dqt_session* session, const void* const* inputs, size_t count, float* const* outputs,
        int8_t* chosen, Plan... plan) {
    return guarded([&] {
        if (const int code = check_run(program, inputs, count, outputs)) return code;
        dqt::Widths widths;
        if (const int code = widths_of(program, plan..., widths)) return code;
        std::vector<dqt::Outcome> places;
        for (size_t i = 0; i < program->engine->outputs().size(); ++i) places.push_back({nullptr, outputs[i]});
        std::vector<int32_t*> states;
        for (size_t i = 0; session && i < session->states.size(); ++i) states.push_back(session->states[i].data());
        dqt::Arrays arrays{{inputs, program->program().inputs.size()}, places};
        if (session && session->started) arrays.states = states;
        if (session) arrays.after = states;
        program->engine->run(arrays, static_cast<int64_t>(count), widths, chosen);
        if (session) session->started = true;
        return static_cast<int>(DQT_OK);
    });
}

template <class... Plan>
int run_simple(dqt_program* program, const float* input, size_t count, float* output, int8_t* chosen, Plan... plan) {
    if (const int code = check_simple(program)) return code;
    if (const int code = check_stateless(program)) return code;
    const void* inputs[] = {input};
    return run(program, nullptr, inputs, count, &output, chosen, plan...);
}

template <class... Plan>
int run_session(dqt_session* session, const void* const* inputs, float* const* outputs, int8_t* chosen, Plan... plan) {
    if (!session) return fail(DQT_INVALID_ARGUMENT, "session is null: make one first");
    return run(session->program, session, inputs, static_cast<size_t>(session->count), outputs, chosen, plan...);
}

size_t borrow(const dqt::Shape& shape, const int64_t** out) {
    if (out) *out = shape.data();
    return shape.size();
}

}  // namespace
