// The C interface.
#include "capi.h"

extern "C" {

int dqt_load(const void* data, size_t size, int threads, dqt_program** program) {
    if (const int code = check_load(data, threads, program)) return code;
    return guarded([&] { return made(dqt::load(static_cast<const uint8_t*>(data), size), threads, program); });
}

int dqt_load_file(const char* path, int threads, dqt_program** program) {
    if (const int code = check_load(path, threads, program)) return code;
    return guarded([&] {
        try {
            return made(program_of(path), threads, program);
        } catch (const dqt::LoadError& error) {
            return fail(DQT_INVALID_FILE, "%s: %s", path, error.what());
        }
    });
}

void dqt_free(dqt_program* program) { delete program; }

int dqt_run(dqt_program* program, const float* input, size_t count, int width, float* output, int8_t* chosen) {
    return run_simple(program, input, count, output, chosen, width);
}

int dqt_run_plan(dqt_program* program, const float* input, size_t count, const int* weights, const int* activations,
                 float* output, int8_t* chosen) {
    return run_simple(program, input, count, output, chosen, weights, activations);
}

int dqt_run_many(dqt_program* program, const void* const* inputs, size_t count, int width, float* const* outputs,
                 int8_t* chosen) {
    if (const int code = check_stateless(program)) return code;
    return run(program, nullptr, inputs, count, outputs, chosen, width);
}

int dqt_run_many_plan(dqt_program* program, const void* const* inputs, size_t count, const int* weights,
                      const int* activations, float* const* outputs, int8_t* chosen) {
    if (const int code = check_stateless(program)) return code;
    return run(program, nullptr, inputs, count, outputs, chosen, weights, activations);
}

int dqt_session_new(dqt_program* program, size_t count, dqt_session** session) {
    if (!session) return fail(DQT_INVALID_ARGUMENT, "session is null: pass the place for the result");
    *session = nullptr;
    if (const int code = check_count(program, count)) return code;
    return guarded([&] {
        auto made = std::make_unique<dqt_session>(dqt_session{program, static_cast<int64_t>(count), {}, false});
        for (const dqt::State& each : program->program().states)
            made->states.emplace_back(count * size_of(each.value.shape));
        *session = made.release();
        return static_cast<int>(DQT_OK);
    });
}

int dqt_session_run(dqt_session* session, const void* const* inputs, int width, float* const* outputs, int8_t* chosen) {
    return run_session(session, inputs, outputs, chosen, width);
}

int dqt_session_run_plan(dqt_session* session, const void* const* inputs, const int* weights, const int* activations,
                         float* const* outputs, int8_t* chosen) {
    return run_session(session, inputs, outputs, chosen, weights, activations);
}

void dqt_session_reset(dqt_session* session) {
    if (session) session->started = false;
}

void dqt_session_free(dqt_session* session) { delete session; }

int dqt_bind(const dqt_program* program, const char* const* names, const int64_t* sizes, size_t count,
             dqt_program** bound) {
    if (!bound) return fail(DQT_INVALID_ARGUMENT, "bound is null: pass the place for the result");
    *bound = nullptr;
    if (!program || (count && (!names || !sizes)))
        return fail(DQT_INVALID_ARGUMENT, "%s is null", !program ? "program" : names ? "sizes" : "names");
    return guarded([&] {
        std::map<std::string, int64_t> wanted;
        for (size_t i = 0; i < count; ++i) {
            if (!names[i]) return fail(DQT_INVALID_ARGUMENT, "name %zu is null", i);
            wanted[names[i]] = sizes[i];
        }
        try {
            *bound = new dqt_program{program->engine->bound(wanted)};
        } catch (const dqt::LoadError& error) {
            return fail(DQT_INVALID_ARGUMENT, "%s", error.what());
        }
        return static_cast<int>(DQT_OK);
    });
}

size_t dqt_inputs(const dqt_program* program) { return program ? program->program().inputs.size() : 0; }

size_t dqt_outputs(const dqt_program* program) { return program ? program->engine->outputs().size() : 0; }

const char* dqt_input_name(const dqt_program* program, size_t input) {
    return input < dqt_inputs(program) ? program->program().inputs[input].name.c_str() : nullptr;
}

const char* dqt_output_name(const dqt_program* program, size_t output) {
    if (!program) return nullptr;
    for (const dqt::Op& op : program->program().ops)
        if (const auto* each = std::get_if<dqt::Dequantize>(&op))
            if (output-- == 0) return each->name.c_str();
    return nullptr;
}

size_t dqt_input_shape_of(const dqt_program* program, size_t input, const int64_t** shape) {
    return input < dqt_inputs(program) ? borrow(program->program().inputs[input].shape, shape) : 0;
}

size_t dqt_output_shape_of(const dqt_program* program, size_t output, const int64_t** shape) {
    return output < dqt_outputs(program) ? borrow(program->engine->outputs()[output]->shape, shape) : 0;
}

int dqt_input_is_integer(const dqt_program* program, size_t input) {
    return input < dqt_inputs(program) && program->program().inputs[input].integer;
}

size_t dqt_input_size(const dqt_program* program) {
    return dqt_inputs(program) == 1 ? size_of(program->program().inputs[0].shape) : 0;
}

size_t dqt_output_size(const dqt_program* program) {
    return dqt_outputs(program) == 1 ? size_of(program->engine->outputs()[0]->shape) : 0;
}

size_t dqt_input_shape(const dqt_program* program, const int64_t** shape) {
    return dqt_inputs(program) == 1 ? dqt_input_shape_of(program, 0, shape) : 0;
}

size_t dqt_output_shape(const dqt_program* program, const int64_t** shape) {
    return dqt_outputs(program) == 1 ? dqt_output_shape_of(program, 0, shape) : 0;
}

size_t dqt_widths(const dqt_program* program, const int** widths) {
    if (!program) return 0;
    if (widths) *widths = program->program().space.widths.data();
    return program->program().space.held();
}

size_t dqt_layers(const dqt_program* program) { return program ? program->program().space.layers.size() : 0; }

const char* dqt_layer_name(const dqt_program* program, size_t layer) {
    return layer < dqt_layers(program) ? program->program().space.layers[layer].name.c_str() : nullptr;
}

int dqt_has_controller(const dqt_program* program) {
    return program && program->program().space.automatic();
}

const char* dqt_isa(const dqt_program* program) { return program ? program->engine->kernels().name : ""; }

const char* dqt_error(void) { return last_error; }

}  // extern "C"
