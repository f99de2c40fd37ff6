/* Runs a .dqt program: run NET.dqt [INPUT] [PLAN] [OUTPUT]
 *
 *   INPUT   a file of float32, samples one after another as the float model takes them; "-" for one sample of zeros
 *   PLAN    a width for all layers, "auto", or a width for each layer: 8,4,4,8, or 8:8,4:2,4:2,8:8 for weights:activations
 *   OUTPUT  a file for the float32 results
 *
 * Prints the class of each sample (the largest output) and the width of each layer. Build: docs/c-api.md. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dqt.h"

static int complain(const char *what, const char *where) {
    fprintf(stderr, "run: %s: %s\n", where, what);
    return 1;
}

/* Whole samples from a file, or one of zeros; NULL with a message on failure. */
static float *read_input(const char *path, size_t size, size_t *count) {
    FILE *file;
    float *data = NULL;
    long bytes = 0;
    *count = 1;
    if (strcmp(path, "-") == 0) return (float *)calloc(size, sizeof(float));
    file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END) || (bytes = ftell(file)) < 0 || fseek(file, 0, SEEK_SET)) {
        complain("cannot be read", path);
    } else if (bytes == 0 || (size_t)bytes % (size * sizeof(float))) {
        complain("not a whole number of samples of float32", path);
    } else {
        *count = (size_t)bytes / (size * sizeof(float));
        data = (float *)malloc((size_t)bytes);
        if (data && fread(data, 1, (size_t)bytes, file) != (size_t)bytes) {
            free(data);
            data = NULL;
        }
        if (!data) complain("cannot be read", path);
    }
    if (file) fclose(file);
    return data;
}

/* Widths from text such as "8,4:2,8"; how many there are, or 0 where it is something else. */
static size_t parse_plan(const char *text, int *weights, int *activations, size_t most) {
    size_t count = 0;
    for (;;) {
        char *end;
        const long weight = strtol(text, &end, 10);
        long activation = weight;
        if (end == text || count == most) return 0;
        if (*end == ':') {
            text = end + 1;
            activation = strtol(text, &end, 10);
            if (end == text) return 0;
        }
        weights[count] = (int)weight;
        activations[count++] = (int)activation;
        if (*end == '\0') return count;
        if (*end != ',') return 0;
        text = end + 1;
    }
}

static int run_as_told(dqt_program *program, const float *input, size_t count, const char *plan, float *output,
                       int8_t *chosen) {
    const size_t layers = dqt_layers(program);
    int *widths = (int *)calloc(2 * layers + 2, sizeof(int));
    int code = DQT_OUT_OF_MEMORY;
    size_t given;
    if (!widths) return code;
    given = parse_plan(plan, widths, widths + layers + 1, layers + 1);
    if (strcmp(plan, "auto") == 0) {
        code = dqt_run(program, input, count, DQT_AUTO, output, chosen);
    } else if (given == 1 && !strchr(plan, ':') && widths[0] != DQT_AUTO) {
        code = dqt_run(program, input, count, widths[0], output, chosen);
    } else if (given == layers && layers) {
        code = dqt_run_plan(program, input, count, widths, widths + layers + 1, output, chosen);
    } else {
        complain("pass a width, \"auto\", or a width for each layer", plan);
        code = -1;
    }
    if (code > 0) complain(dqt_error(), "failed");
    free(widths);
    return code;
}

static void print(const dqt_program *program, size_t count, const float *output, const int8_t *chosen) {
    const size_t classes = dqt_output_size(program), layers = dqt_layers(program);
    size_t n, i;
    for (n = 0; n < count; ++n) {
        size_t best = 0;
        for (i = 1; i < classes; ++i)
            if (output[n * classes + i] > output[n * classes + best]) best = i;
        printf("sample %lu: class %lu, widths", (unsigned long)n, (unsigned long)best);
        for (i = 0; i < layers; ++i) printf(" %d", chosen[n * layers + i]);
        printf("\n");
    }
}

static int write_output(const char *path, const float *output, size_t count) {
    FILE *file = fopen(path, "wb");
    const size_t written = file ? fwrite(output, sizeof(float), count, file) : 0;
    if (file && fclose(file) == 0 && written == count) return 0;
    return complain("cannot be written", path);
}

int main(int argc, char **argv) {
    char master[16];
    const char *plan = argc > 3 ? argv[3] : master;
    const int *widths;
    dqt_program *program;
    float *input, *output;
    int8_t *chosen;
    size_t count = 0, known;
    int failed = 1;
    if (argc < 2 || argc > 5) return complain("run NET.dqt [INPUT] [PLAN] [OUTPUT]", "usage");
    if (dqt_load_file(argv[1], 0, &program)) return complain(dqt_error(), "failed");
    known = dqt_widths(program, &widths);
    sprintf(master, "%d", widths[known - 1]);
    input = read_input(argc > 2 ? argv[2] : "-", dqt_input_size(program), &count);
    output = (float *)malloc((count * dqt_output_size(program) + 1) * sizeof(float));
    chosen = (int8_t *)malloc(count * dqt_layers(program) + 1);
    if (input && output && chosen && run_as_told(program, input, count, plan, output, chosen) == DQT_OK) {
        print(program, count, output, chosen);
        failed = argc > 4 ? write_output(argv[4], output, count * dqt_output_size(program)) : 0;
    }
    free(input);
    free(output);
    free(chosen);
    dqt_free(program);
    return failed;
}
