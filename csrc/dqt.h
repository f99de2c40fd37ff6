/* The native engine for C: load a .dqt file once, run it at any width. docs/c-api.md has an example.
 *
 * Functions that can fail return 0 (DQT_OK) or one of the other codes; dqt_error() then says what, where and what to do.
 * No function throws, prints or exits. A loaded program never changes: several threads may run one at once. */
#ifndef DQT_H
#define DQT_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define DQT_API
#else
#define DQT_API __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

enum {
    DQT_OK = 0,
    DQT_INVALID_ARGUMENT = 1, /* a null pointer, a width that the program does not have, an input that is not finite */
    DQT_INVALID_FILE = 2,     /* bytes that are no legal program of a version that this library reads */
    DQT_UNREADABLE = 3,       /* a path that cannot be read */
    DQT_OUT_OF_MEMORY = 4,
    DQT_INTERNAL = 5,         /* the system refused something else, such as a thread */
    DQT_SEVERAL = 6           /* a program of several inputs or outputs, or one of integers, is for dqt_run_many; one with
                                 states for dqt_session_run */
};

#define DQT_AUTO 0 /* as a width: each input chooses its own; needs a program with a controller */

/* A program, verified and packed for this processor. */
typedef struct dqt_program dqt_program;

/* Loads a program from the `size` bytes of a .dqt file, which are not needed afterwards, or from a file. `threads`: of
 * one run; 0 for all the cores that this process may use, by its affinity and the CPU quota of its cgroup: a run never
 * takes more. A forked child may use and free the programs of its parent. On failure *program is NULL. */
DQT_API int dqt_load(const void *data, size_t size, int threads, dqt_program **program);
DQT_API int dqt_load_file(const char *path, int threads, dqt_program **program);

/* Frees a program that nothing runs; NULL is ignored. */
DQT_API void dqt_free(dqt_program *program);

/* Runs `count` samples, at least 1, with one width for all layers: one of dqt_widths(), or DQT_AUTO. The first and the
 * last layer keep the program's own edge width.
 *   input   [count, dqt_input_size()], row-major, finite: what the float model takes
 *   output  [count, dqt_output_size()], step * (q - zero) of the integer output
 *   chosen  NULL, or [count, dqt_layers()]: the width that each layer had for each sample
 * Equal inputs give equal bits, on every processor, with any number of threads, in any batch. */
DQT_API int dqt_run(dqt_program *program, const float *input, size_t count, int width, float *output, int8_t *chosen);

/* The same with a width for each layer, [dqt_layers()], for its weights and for its activations; edges are not special.
 * `chosen` is the smaller of the two. */
DQT_API int dqt_run_plan(dqt_program *program, const float *input, size_t count, const int *weights,
                         const int *activations, float *output, int8_t *chosen);

/* Runs a program of any inputs and outputs, in their declared order.
 *   inputs  [dqt_inputs()], each [count, ...], row-major: float numbers, finite, or where dqt_input_is_integer() int64_t
 *           within the input's interval
 *   outputs [dqt_outputs()], each [count, ...]
 * Everything else is as of dqt_run and dqt_run_plan. */
DQT_API int dqt_run_many(dqt_program *program, const void *const *inputs, size_t count, int width, float *const *outputs,
                         int8_t *chosen);
DQT_API int dqt_run_many_plan(dqt_program *program, const void *const *inputs, size_t count, const int *weights,
                              const int *activations, float *const *outputs, int8_t *chosen);

/* `count` samples whose states live from run to run; they start as zeros. The program must outlive it. One call at a time
 * uses a session. On failure *session is NULL. */
typedef struct dqt_session dqt_session;
DQT_API int dqt_session_new(dqt_program *program, size_t count, dqt_session **session);
DQT_API int dqt_session_run(dqt_session *session, const void *const *inputs, int width, float *const *outputs,
                            int8_t *chosen);
DQT_API int dqt_session_run_plan(dqt_session *session, const void *const *inputs, const int *weights,
                                 const int *activations, float *const *outputs, int8_t *chosen);
DQT_API void dqt_session_reset(dqt_session *session); /* back to the start; NULL is ignored, here and below */
DQT_API void dqt_session_free(dqt_session *session);

/* The program for other sizes of `count` named dimensions, the others as they are. It shares the packed weights, is freed
 * by itself, in any order, and has sessions of its own. On failure *bound is NULL. */
DQT_API int dqt_bind(const dqt_program *program, const char *const *names, const int64_t *sizes, size_t count,
                     dqt_program **bound);

/* Inputs and outputs in their declared order: how many, the name of each in UTF-8 (NULL beyond the last), and the shape of
 * one sample, as below. */
DQT_API size_t dqt_inputs(const dqt_program *program);
DQT_API size_t dqt_outputs(const dqt_program *program);
DQT_API const char *dqt_input_name(const dqt_program *program, size_t input);
DQT_API const char *dqt_output_name(const dqt_program *program, size_t output);
DQT_API size_t dqt_input_shape_of(const dqt_program *program, size_t input, const int64_t **shape);
DQT_API size_t dqt_output_shape_of(const dqt_program *program, size_t output, const int64_t **shape);
DQT_API int dqt_input_is_integer(const dqt_program *program, size_t input); /* 1: int64_t, 0: float */

/* Of a program of one input or one output: numbers in one sample of it, and its shape without the batch: the rank is
 * returned, and *shape, which may be NULL, is the program's own memory. An output of one number a sample has the rank 0.
 * A NULL program gives 0, and so does one of several. */
DQT_API size_t dqt_input_size(const dqt_program *program);
DQT_API size_t dqt_output_size(const dqt_program *program);
DQT_API size_t dqt_input_shape(const dqt_program *program, const int64_t **shape);
DQT_API size_t dqt_output_shape(const dqt_program *program, const int64_t **shape);

/* The widths of a uniform plan, ascending, the last the master: their number is returned. Of a packed file those that its
 * weights hold; its activations and edge layers may have wider ones of the program, in dqt_run_plan. */
DQT_API size_t dqt_widths(const dqt_program *program, const int **widths);

/* Layers that carry a width, and the name of each in UTF-8; NULL beyond the last. Names live as long as the program. */
DQT_API size_t dqt_layers(const dqt_program *program);
DQT_API const char *dqt_layer_name(const dqt_program *program, size_t layer);

/* 1 where DQT_AUTO may be used, else 0. */
DQT_API int dqt_has_controller(const dqt_program *program);

/* The name of the kernels in use, such as "avx512vnni" or "portable". */
DQT_API const char *dqt_isa(const dqt_program *program);

/* What went wrong in the last call of this thread that failed; "" before the first. Valid until this thread fails
 * again. */
DQT_API const char *dqt_error(void);

#ifdef __cplusplus
}
#endif

#endif
