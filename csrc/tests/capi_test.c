/* What the C interface promises beside results: capi_test NET.dqt, a program with a controller. Prints "ok". */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if !defined(_WIN32)
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>
#endif

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

static void test_load(const char *path) {
    dqt_program *program = (dqt_program *)&failures;
    check(strcmp(dqt_error(), "") == 0, "no error yet");
    refused(dqt_load("dqt", 3, 1, &program), DQT_INVALID_FILE, "", "three bytes");
    check(program == NULL, "no program after a failure");
    refused(dqt_load("", 0, 1, &program), DQT_INVALID_FILE, "", "no bytes");
    refused(dqt_load(NULL, 0, 1, &program), DQT_INVALID_ARGUMENT, "null", "data null");
    refused(dqt_load("dqt", 3, -1, &program), DQT_INVALID_ARGUMENT, "-1 threads", "threads");
    refused(dqt_load("dqt", 3, 1, NULL), DQT_INVALID_ARGUMENT, "null", "no place");
    refused(dqt_load_file("nowhere/net.dqt", 1, &program), DQT_UNREADABLE, "nowhere/net.dqt: No such file", "no file");
    refused(dqt_load_file(".", 1, &program), DQT_UNREADABLE, "directory", "a folder");
    refused(dqt_load_file(NULL, 1, &program), DQT_INVALID_ARGUMENT, "null", "path null");
    refused(dqt_load_file("/dev/null", 1, &program), DQT_UNREADABLE, "/dev/null", "a device");
    check(dqt_load_file(path, 1, &program) == DQT_OK && program, "the file loads");
    dqt_free(program);
    dqt_free(NULL);
}

static void test_null(void) {
    const int64_t *shape;
    const int *widths;
    check(dqt_input_size(NULL) == 0 && dqt_output_size(NULL) == 0 && dqt_layers(NULL) == 0, "sizes of null");
    check(dqt_input_shape(NULL, &shape) == 0 && dqt_output_shape(NULL, NULL) == 0, "shapes of null");
    check(dqt_widths(NULL, &widths) == 0 && dqt_layer_name(NULL, 0) == NULL, "names of null");
    check(dqt_has_controller(NULL) == 0 && strcmp(dqt_isa(NULL), "") == 0, "kernels of null");
}

static void test_facts(const dqt_program *p) {
    const int64_t *shape;
    const int *widths;
    size_t i, rank = dqt_input_shape(p, &shape), size = 1, known = dqt_widths(p, &widths);
    for (i = 0; i < rank; ++i) size *= (size_t)shape[i];
    check(size == dqt_input_size(p) && rank > 0, "the shape of the input");
    check(dqt_input_shape(p, NULL) == rank && dqt_widths(p, NULL) == known, "no shape wanted");
    size = 1;
    rank = dqt_output_shape(p, &shape);
    for (i = 0; i < rank; ++i) size *= (size_t)shape[i];
    check(size == dqt_output_size(p), "the shape of the output");
    for (i = 1; i < known; ++i) check(widths[i - 1] < widths[i], "widths ascend");
    for (i = 0; i < dqt_layers(p); ++i) check(strlen(dqt_layer_name(p, i)) > 0, "a layer's name");
    check(dqt_layer_name(p, dqt_layers(p)) == NULL, "no name beyond the last");
    check(dqt_has_controller(p) == 1 && strlen(dqt_isa(p)) > 0, "controller and kernels");
}

static void test_run(dqt_program *p) {
    const size_t size = dqt_input_size(p), layers = dqt_layers(p);
    const int *known;
    const size_t options = dqt_widths(p, &known);
    const int master = known[options - 1];
    float *x = (float *)calloc(3 * size, sizeof *x), *y = (float *)calloc(3 * dqt_output_size(p), sizeof *y);
    int *widths = (int *)calloc(layers, sizeof *widths);
    size_t i;
    check(dqt_run(p, x, 3, master, y, NULL) == DQT_OK, "a run without widths");
    check(dqt_run(p, x, 3, DQT_AUTO, y, NULL) == DQT_OK, "auto without widths");
    refused(dqt_run(p, x, 3, 9, y, NULL), DQT_INVALID_ARGUMENT, "width 9 of the plan", "width 9");
    refused(dqt_run(p, x, 3, -1, y, NULL), DQT_INVALID_ARGUMENT, "width -1", "width -1");
    refused(dqt_run(p, x, 3, master + 256, y, NULL), DQT_INVALID_ARGUMENT, "width", "width beyond a byte");
    refused(dqt_run(p, x, 0, master, y, NULL), DQT_INVALID_ARGUMENT, "empty batch", "no sample");
    refused(dqt_run(p, x, (size_t)-1, master, y, NULL), DQT_INVALID_ARGUMENT, "more than memory", "too many");
    refused(dqt_run(p, NULL, 1, master, y, NULL), DQT_INVALID_ARGUMENT, "input is null", "input null");
    refused(dqt_run(p, x, 1, master, NULL, NULL), DQT_INVALID_ARGUMENT, "output is null", "output null");
    refused(dqt_run(NULL, x, 1, master, y, NULL), DQT_INVALID_ARGUMENT, "program is null", "program null");
    refused(dqt_run_plan(p, x, 1, NULL, widths, y, NULL), DQT_INVALID_ARGUMENT, "weights are null", "weights null");
    refused(dqt_run_plan(p, x, 1, widths, NULL, y, NULL), DQT_INVALID_ARGUMENT, "activations are null", "null");
    refused(dqt_run_plan(p, x, 1, widths, widths, y, NULL), DQT_INVALID_ARGUMENT, "width 0 of layer", "width 0");
    for (i = 0; i < layers; ++i) widths[i] = master;
    check(dqt_run_plan(p, x, 3, widths, widths, y, NULL) == DQT_OK, "a plan");
    widths[layers - 1] = 77;
    refused(dqt_run_plan(p, x, 1, widths, widths, y, NULL), DQT_INVALID_ARGUMENT,
            dqt_layer_name(p, layers - 1), "the last width");
    x[2 * size] = nanf("");
    refused(dqt_run(p, x, 3, master, y, NULL), DQT_INVALID_ARGUMENT, "sample 2", "NaN");
    x[2 * size] = -HUGE_VALF;
    refused(dqt_run(p, x, 3, DQT_AUTO, y, NULL), DQT_INVALID_ARGUMENT, "infinity", "infinity");
    check(dqt_run(p, x, 2, master, y, NULL) == DQT_OK, "the samples before it");
    free(x);
    free(y);
    free(widths);
}

#if !defined(_WIN32)
/* Whether a forked child runs and frees its parent's program, and ends, as its parent does. */
static int child_runs(dqt_program *p, int width, const float *x, const float *expected) {
    const size_t bytes = dqt_output_size(p) * sizeof(float);
    int status = -1;
    const pid_t child = fork();
    if (child == 0) {
        float *y = (float *)calloc(1, bytes);
        const int same = dqt_run(p, x, 1, width, y, NULL) == DQT_OK && memcmp(y, expected, bytes) == 0;
        dqt_free(p);
        free(y);
        _exit(same ? 0 : 1);
    }
    return child > 0 && waitpid(child, &status, 0) == child && status == 0;
}

static void test_fork(const char *path) {
    dqt_program *p;
    const int *known;
    float *x, *y;
    int width, i;
    check(dqt_load_file(path, 2, &p) == DQT_OK, "two threads");
    i = (int)dqt_widths(p, &known);
    width = known[i - 1];
    x = (float *)calloc(dqt_input_size(p), sizeof *x);
    y = (float *)calloc(dqt_output_size(p), sizeof *y);
    for (i = 0; i < 3; ++i) {
        check(dqt_run(p, x, 1, width, y, NULL) == DQT_OK, "a run of the parent");
        check(child_runs(p, width, x, y), "a run of a forked child");
    }
    dqt_free(p);
    free(x);
    free(y);
}
#endif

int main(int argc, char **argv) {
    dqt_program *program;
    if (argc != 2) return 2;
    test_load(argv[1]);
    test_null();
    check(dqt_load_file(argv[1], 0, &program) == DQT_OK, "every core");
    test_facts(program);
    test_run(program);
    dqt_free(program);
#if !defined(_WIN32)
    test_fork(argv[1]);
#endif
    if (!failures) printf("ok\n");
    return failures != 0;
}
