/* Runs an exported network `argv[1]` times at width `argv[2]`, for a count of the instructions of one run. */
#include <stdlib.h>

#include "net.h"

static net_t net;
static float input[INPUTS], output[OUTPUTS];

int main(int count, char **words) {
    net_width widths[NET_LAYERS];
    if (count < 3) return 2;
    for (int i = 0; i < INPUTS; i++) input[i] = (float)(rand() % 256);
    for (int i = 0; i < NET_LAYERS; i++) widths[i].weights = widths[i].activations = (uint8_t)atoi(words[2]);
    net_init(&net);
    for (int i = 0; i < atoi(words[1]); i++)
        if (net_run(&net, input, widths, output)) return 1;
    return 0;
}
