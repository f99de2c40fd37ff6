// The C interface: arguments are checked here, exceptions end here.
#include <algorithm>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <string>
#include <vector>

#include "dqt.h"
#include "cpu/engine.h"
#include "ir/load.h"

struct dqt_program {
    dqt::Engine engine;
    size_t input, output;
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

int load(const void* data, size_t size, int threads, dqt_program** program) {
    dqt::Program loaded = dqt::load(static_cast<const uint8_t*>(data), size);
    const auto input = static_cast<size_t>(dqt::product(loaded.input_shape));
    *program = new dqt_program{{std::move(loaded), threads ? threads : dqt::usable_cores(), *dqt::choose_kernels(nullptr)},
                               input, 0};
    (*program)->output = static_cast<size_t>(dqt::product((*program)->engine.output().shape));
    return DQT_OK;
}

std::vector<char> read(const char* path) {
    std::vector<char> data(std::filesystem::file_size(path));  // refuses what is not a regular file
    std::ifstream file(path, std::ios::binary);
    if (!file.read(data.data(), static_cast<std::streamsize>(data.size())))
        throw std::filesystem::filesystem_error("", path, std::make_error_code(std::errc::io_error));
    return data;
}

int check_load(const void* source, int threads, dqt_program** program) noexcept {
    if (!program) return fail(DQT_INVALID_ARGUMENT, "program is null: pass the place for the result");
    *program = nullptr;
    if (!source) return fail(DQT_INVALID_ARGUMENT, "no file: the data or the path is null");
    if (threads < 0) return fail(DQT_INVALID_ARGUMENT, "%d threads: pass 1 or more, or 0 for every core", threads);
    return DQT_OK;
}

int check_run(const dqt_program* program, const float* input, size_t count, const float* output) noexcept {
    if (!program) return fail(DQT_INVALID_ARGUMENT, "program is null: load one first");
    if (!input || !output) return fail(DQT_INVALID_ARGUMENT, "%s is null: pass an array", input ? "output" : "input");
    if (count == 0) return fail(DQT_INVALID_ARGUMENT, "an empty batch: pass 1 sample or more");
    const size_t largest = std::max({program->input, program->output, program->engine.program().space.layers.size()});
    if (count > std::numeric_limits<int64_t>::max() / sizeof(float) / largest)
        return fail(DQT_INVALID_ARGUMENT, "%zu samples are more than memory has addresses", count);
    for (size_t i = 0; i < count * program->input; ++i)
        if (!std::isfinite(input[i]))
            return fail(DQT_INVALID_ARGUMENT, "sample %zu of the input holds a NaN or an infinity: clean the data first",
                        i / program->input);
    return DQT_OK;
}

int check_width(const dqt::Space& space, int width, const std::string& where) {
    if (std::find(space.widths.begin(), space.widths.end(), width) != space.widths.end()) return DQT_OK;
    std::string known;
    for (const int b : space.widths) known += (known.empty() ? "" : ", ") + std::to_string(b);
    return fail(DQT_INVALID_ARGUMENT, "width %d of %s is not one of the program's widths: %s", width, where.c_str(),
                known.c_str());
}

// Every layer at `b` bits, the first and last at the edge width, the controller's at the master width.
dqt::Widths uniform(const dqt::Space& space, int b) {
    dqt::Widths widths;
    for (const dqt::Layer& layer : space.layers)
        widths.weight.push_back(static_cast<uint8_t>(layer.edge ? space.edge_width : b));
    widths.weight.resize(space.layers.size() + space.controller.size(), static_cast<uint8_t>(space.master));
    widths.activation = widths.weight;
    return widths;
}

size_t borrow(const dqt::Shape& shape, const int64_t** out) {
    if (out) *out = shape.data();
    return shape.size();
}

}  // namespace

extern "C" {

int dqt_load(const void* data, size_t size, int threads, dqt_program** program) {
    if (const int code = check_load(data, threads, program)) return code;
    return guarded([&] { return load(data, size, threads, program); });
}

int dqt_load_file(const char* path, int threads, dqt_program** program) {
    if (const int code = check_load(path, threads, program)) return code;
    return guarded([&] {
        const std::vector<char> data = read(path);
        try {
            return load(data.data(), data.size(), threads, program);
        } catch (const dqt::LoadError& error) {
            return fail(DQT_INVALID_FILE, "%s: %s", path, error.what());
        }
    });
}

void dqt_free(dqt_program* program) { delete program; }

int dqt_run(dqt_program* program, const float* input, size_t count, int width, float* output, int8_t* chosen) {
    if (const int code = check_run(program, input, count, output)) return code;
    return guarded([&] {
        const dqt::Space& space = program->engine.program().space;
        const bool automatic = width == DQT_AUTO;
        if (automatic && space.choices.empty())
            return fail(DQT_INVALID_ARGUMENT, "this program has no controller to choose widths: pass a width");
        if (!automatic)
            if (const int code = check_width(space, width, "the plan")) return code;
        dqt::Widths widths = uniform(space, automatic ? space.master : width);
        widths.automatic = automatic;
        program->engine.run(input, static_cast<int64_t>(count), widths, nullptr, output, chosen);
        return static_cast<int>(DQT_OK);
    });
}

int dqt_run_plan(dqt_program* program, const float* input, size_t count, const int* weights, const int* activations,
                 float* output, int8_t* chosen) {
    if (const int code = check_run(program, input, count, output)) return code;
    return guarded([&] {
        const dqt::Space& space = program->engine.program().space;
        const size_t layers = space.layers.size();
        if (layers && (!weights || !activations))
            return fail(DQT_INVALID_ARGUMENT, "%s are null: pass %zu widths", weights ? "activations" : "weights", layers);
        dqt::Widths widths = uniform(space, space.master);
        for (size_t i = 0; i < layers; ++i) {
            for (const int b : {weights[i], activations[i]})
                if (const int code = check_width(space, b, "layer " + space.layers[i].name)) return code;
            widths.weight[i] = static_cast<uint8_t>(weights[i]);
            widths.activation[i] = static_cast<uint8_t>(activations[i]);
        }
        program->engine.run(input, static_cast<int64_t>(count), widths, nullptr, output, chosen);
        return static_cast<int>(DQT_OK);
    });
}

size_t dqt_input_size(const dqt_program* program) { return program ? program->input : 0; }

size_t dqt_output_size(const dqt_program* program) { return program ? program->output : 0; }

size_t dqt_input_shape(const dqt_program* program, const int64_t** shape) {
    return program ? borrow(program->engine.program().input_shape, shape) : 0;
}

size_t dqt_output_shape(const dqt_program* program, const int64_t** shape) {
    return program ? borrow(program->engine.output().shape, shape) : 0;
}

size_t dqt_widths(const dqt_program* program, const int** widths) {
    if (!program) return 0;
    if (widths) *widths = program->engine.program().space.widths.data();
    return program->engine.program().space.widths.size();
}

size_t dqt_layers(const dqt_program* program) { return program ? program->engine.program().space.layers.size() : 0; }

const char* dqt_layer_name(const dqt_program* program, size_t layer) {
    return layer < dqt_layers(program) ? program->engine.program().space.layers[layer].name.c_str() : nullptr;
}

int dqt_has_controller(const dqt_program* program) {
    return program && !program->engine.program().space.choices.empty();
}

const char* dqt_isa(const dqt_program* program) { return program ? program->engine.kernels().name : ""; }

const char* dqt_error(void) { return last_error; }

}  // extern "C"
