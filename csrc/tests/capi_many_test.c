/* What the C interface promises of programs with several inputs and outputs, states and named dimensions:
 *
 *     capi_many_test NET.dqt DIMENSION SIZE
 *
 * A program of float and integer inputs that takes zeros; SIZE: one that the dimension may have, another than it has.
 * Prints "ok". */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dqt.h"

static int failures = 0;

static void check(int holds, const char *what) {
    if (holds) return;
    fprintf(stderr, "not so: %s (last error: %s)\n", what, dqt_error());
    ++failures;
}

/* `code` as expected, and a text that says why. */
static void refused(int code, int expected, const char *text, const char *what) {
    check(code == expected, what);
    check(strstr(dqt_error(), text) != NULL, text);
}

static size_t elements(size_t rank, const int64_t *shape) {
    size_t size = 1, d;
    for (d = 0; d < rank; ++d) size *= (size_t)shape[d];
    return size;
}

/* The arrays of a run of `count` samples. */
typedef struct {
    void **x;
    float **y;
    size_t inputs, outputs, *sizes; /* of the outputs */
} arrays;

static arrays made(const dqt_program *p, size_t count) {
    arrays a;
    const int64_t *shape;
    size_t i;
    a.inputs = dqt_inputs(p);
    a.outputs = dqt_outputs(p);
    a.x = (void **)calloc(a.inputs, sizeof *a.x);
    a.y = (float **)calloc(a.outputs, sizeof *a.y);
    a.sizes = (size_t *)calloc(a.outputs, sizeof *a.sizes);
    for (i = 0; i < a.inputs; ++i) {
        const size_t rank = dqt_input_shape_of(p, i, &shape), size = elements(rank, shape);
        a.x[i] = calloc(count * size, dqt_input_is_integer(p, i) ? sizeof(int64_t) : sizeof(float));
    }
    for (i = 0; i < a.outputs; ++i) {
        const size_t rank = dqt_output_shape_of(p, i, &shape);
        a.sizes[i] = count * elements(rank, shape);
        a.y[i] = (float *)calloc(a.sizes[i], sizeof(float));
    }
    return a;
}

static void freed(arrays a) {
    size_t i;
    for (i = 0; i < a.inputs; ++i) free(a.x[i]);
    for (i = 0; i < a.outputs; ++i) free(a.y[i]);
    free(a.x);
    free(a.y);
    free(a.sizes);
}

/* A sum over all outputs that tells apart what they are. */
static double digest(arrays a) {
    double sum = 0;
    size_t i, j;
    for (i = 0; i < a.outputs; ++i)
        for (j = 0; j < a.sizes[i]; ++j) sum += a.y[i][j] * (double)(i + 1 + j % 13);
    return sum;
}

static int integer_input(const dqt_program *p) {
    size_t i;
    for (i = 0; i < dqt_inputs(p); ++i)
        if (dqt_input_is_integer(p, i)) return (int)i;
    return -1;
}

static void test_facts(const dqt_program *p) {
    size_t i;
    const int64_t *shape;
    check(dqt_inputs(p) > 1 && dqt_outputs(p) > 1, "several inputs and outputs");
    for (i = 0; i < dqt_inputs(p); ++i) check(strlen(dqt_input_name(p, i)) > 0, "an input's name");
    for (i = 0; i < dqt_outputs(p); ++i) check(strlen(dqt_output_name(p, i)) > 0, "an output's name");
    check(!dqt_input_name(p, i + 9) && !dqt_output_name(p, dqt_outputs(p)), "no name beyond the last");
    check(!dqt_input_name(NULL, 0) && !dqt_output_name(NULL, 0) && !dqt_inputs(NULL) && !dqt_outputs(NULL), "null");
    check(dqt_input_shape_of(p, 99, &shape) == 0 && dqt_output_shape_of(p, 99, NULL) == 0, "no shape beyond the last");
    check(dqt_input_size(p) == 0 && dqt_output_size(p) == 0 && dqt_input_shape(p, &shape) == 0, "not of several");
    check(integer_input(p) >= 0 && !dqt_input_is_integer(p, 99), "an integer input");
}

static void test_refusals(dqt_program *p, int width) {
    arrays a = made(p, 2);
    dqt_session *session;
    int64_t *tokens = (int64_t *)a.x[integer_input(p)];
    const void *const *x = (const void *const *)a.x;
    refused(dqt_run(p, (const float *)a.x[0], 2, width, a.y[0], NULL), DQT_SEVERAL, "inputs", "dqt_run");
    refused(dqt_run_plan(p, (const float *)a.x[0], 2, NULL, NULL, a.y[0], NULL), DQT_SEVERAL, "inputs", "dqt_run_plan");
    refused(dqt_run_many(p, x, 2, width, a.y, NULL), DQT_SEVERAL, "dqt_session_run", "dqt_run_many with states");
    refused(dqt_session_new(p, 0, &session), DQT_INVALID_ARGUMENT, "empty batch", "no sample");
    refused(dqt_session_new(NULL, 1, &session), DQT_INVALID_ARGUMENT, "program is null", "no program");
    refused(dqt_session_new(p, 2, NULL), DQT_INVALID_ARGUMENT, "session is null", "no place");
    refused(dqt_session_run(NULL, x, width, a.y, NULL), DQT_INVALID_ARGUMENT, "session is null", "no session");
    check(dqt_session_new(p, 2, &session) == DQT_OK, "a session");
    refused(dqt_session_run(session, NULL, width, a.y, NULL), DQT_INVALID_ARGUMENT, "input is null", "no inputs");
    refused(dqt_session_run(session, x, width, NULL, NULL), DQT_INVALID_ARGUMENT, "output is null", "no outputs");
    refused(dqt_session_run(session, x, 99, a.y, NULL), DQT_INVALID_ARGUMENT, "width 99", "width 99");
    tokens[0] = INT64_MAX;
    refused(dqt_session_run(session, x, width, a.y, NULL), DQT_INVALID_ARGUMENT, "outside of", "a token beyond all");
    tokens[0] = 0;
    free(a.x[0]);
    a.x[0] = NULL;
    refused(dqt_session_run(session, x, width, a.y, NULL), DQT_INVALID_ARGUMENT, "input is null", "an input is null");
    dqt_session_free(session);
    freed(a);
}

static void test_states(dqt_program *p, int width) {
    arrays a = made(p, 2);
    const void *const *x = (const void *const *)a.x;
    const size_t layers = dqt_layers(p);
    int *widths = (int *)calloc(layers, sizeof *widths);
    dqt_session *session, *other;
    double first, second;
    size_t i;
    for (i = 0; i < layers; ++i) widths[i] = width;
    check(dqt_session_new(p, 2, &session) == DQT_OK && dqt_session_new(p, 2, &other) == DQT_OK, "two sessions");
    check(dqt_session_run(session, x, width, a.y, NULL) == DQT_OK, "the first run");
    first = digest(a);
    check(dqt_session_run(session, x, width, a.y, NULL) == DQT_OK, "the second run");
    second = digest(a);
    check(first != second, "the states of the first run change the second");
    check(dqt_session_run(other, x, width, a.y, NULL) == DQT_OK && digest(a) == first, "states of its own");
    dqt_session_reset(session);
    check(dqt_session_run_plan(session, x, widths, widths, a.y, NULL) == DQT_OK && digest(a) == first, "reset");
    check(dqt_session_run(session, x, width, a.y, NULL) == DQT_OK && digest(a) == second, "and on");
    dqt_session_free(session);
    dqt_session_free(other);
    dqt_session_free(NULL);
    dqt_session_reset(NULL);
    free(widths);
    freed(a);
}

static void test_bound(dqt_program *p, int width, const char *name, int64_t size) {
    const char *names[] = {name}, *wrong[] = {"no such dimension"}, *nothing[] = {NULL};
    const int64_t far[] = {(int64_t)1 << 40};
    dqt_program *bound, *again;
    dqt_session *session;
    arrays a;
    refused(dqt_bind(p, names, far, 1, &bound), DQT_INVALID_ARGUMENT, name, "too large");
    check(bound == NULL, "no program after a failure");
    refused(dqt_bind(p, wrong, &size, 1, &bound), DQT_INVALID_ARGUMENT, "no such dimension", "an unknown name");
    refused(dqt_bind(p, nothing, &size, 1, &bound), DQT_INVALID_ARGUMENT, "null", "a name that is null");
    refused(dqt_bind(NULL, names, &size, 1, &bound), DQT_INVALID_ARGUMENT, "program is null", "program null");
    refused(dqt_bind(p, names, &size, 1, NULL), DQT_INVALID_ARGUMENT, "bound is null", "no place");
    check(dqt_bind(p, names, &size, 1, &bound) == DQT_OK, "bound");
    check(dqt_bind(bound, NULL, NULL, 0, &again) == DQT_OK, "bound to what it has");
    dqt_free(p); /* the weights stay, with those that share them */
    a = made(again, 3);
    check(dqt_session_new(again, 3, &session) == DQT_OK, "a session of a bound program");
    dqt_free(bound);
    check(dqt_session_run(session, (const void *const *)a.x, width, a.y, NULL) == DQT_OK, "a run of a bound program");
    dqt_session_free(session);
    dqt_free(again);
    freed(a);
}

int main(int argc, char **argv) {
    dqt_program *program;
    const int *widths;
    int width;
    if (argc != 4) return 2;
    if (dqt_load_file(argv[1], 1, &program)) {
        fprintf(stderr, "%s\n", dqt_error());
        return 1;
    }
    width = (int)dqt_widths(program, &widths);
    width = widths[width - 1];
    test_facts(program);
    test_refusals(program, width);
    test_states(program, width);
    test_bound(program, width, argv[2], (int64_t)atoi(argv[3]));
    if (!failures) printf("ok\n");
    return failures != 0;
}
