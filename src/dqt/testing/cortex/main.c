/* A Cortex-M without an operating system runs an exported network on the samples of `cases.bin`, a file of the host
   (semihosting), and writes its answers to `answers.bin`: what the call returned, ticks of the processor's clock during
   the call, outputs. `cases.h` says how many words each input and output has. */
#include <stddef.h>
#include <stdint.h>

#include "cases.h"
#include "net.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern uint32_t stack_top[], data_start[], data_end[], data_load[], bss_start[], bss_end[];
int main(void);
void reset(void);

enum { SYS_OPEN = 1, SYS_CLOSE = 2, SYS_WRITE = 5, SYS_READ = 6, SYS_EXIT = 0x18 };
enum { READ_BINARY = 1, WRITE_BINARY = 5 };

static uintptr_t host(uintptr_t reason, const void *block) {
    register uintptr_t r0 __asm__("r0") = reason;
    register const void *r1 __asm__("r1") = block;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static uintptr_t open_file(const char *name, uintptr_t length, uintptr_t mode) {
    const uintptr_t block[3] = {(uintptr_t)name, mode, length};
    return host(SYS_OPEN, block);
}

/* Bytes that were not read or written. */
static uintptr_t transfer(uintptr_t reason, uintptr_t file, void *data, uintptr_t bytes) {
    const uintptr_t block[3] = {file, (uintptr_t)data, bytes};
    return host(reason, block);
}

static void leave(int failed) { (void)host(SYS_EXIT, (const void *)(uintptr_t)(failed ? 0x20023 : 0x20026)); }

static void fault(void) {
    for (;;) leave(1);
}

static const struct {
    uint32_t *stack;
    void (*handlers[6])(void);
} vectors __attribute__((section(".vectors"), used)) = {stack_top, {reset, fault, fault, fault, fault, fault}};

#define CCR (*(volatile uint32_t *)0xE000ED14u)
#define CPACR (*(volatile uint32_t *)0xE000ED88u)

/* SysTick counts down from 2^24 - 1 with the processor's clock. */
#define SYST ((volatile uint32_t *)0xE000E010u)
#define TICKS 0xFFFFFFu

void reset(void) {
    const uint32_t *from = data_load;
    for (uint32_t *to = data_start; to < data_end;) *to++ = *from++;
    for (uint32_t *to = bss_start; to < bss_end;) *to++ = 0;
#ifdef __ARM_FP
    CPACR |= 0xFu << 20; /* floating point and MVE */
    __asm__ volatile("dsb\n isb");
#endif
#if __ARM_ARCH == 6
    CCR |= 1u << 3; /* an access that is not aligned is a fault, as on a Cortex-M0+ */
#endif
    for (;;) leave(main());
}

static net_t net;
/* A pair a layer, and one that says whether the network chooses. */
static struct {
    uint8_t weights, activations;
} chosen[NET_LAYERS + 1];
static uint32_t given[INPUT_WORDS], answers[2 + OUTPUT_WORDS];

/* Where each part of a buffer begins. */
static void split(uint32_t *buffer, const uint32_t *words, size_t parts, uint32_t **starts) {
    for (size_t i = 0; i < parts; i++) {
        starts[i] = buffer;
        buffer += words[i];
    }
}

int main(void) {
    static const uint32_t input_words[] = INPUTS, output_words[] = OUTPUTS;
    uint32_t *in[COUNT(input_words)], *out[COUNT(output_words)];
    const uintptr_t cases = open_file("cases.bin", 9, READ_BINARY);
    const uintptr_t written = open_file("answers.bin", 11, WRITE_BINARY);
    split(given, input_words, COUNT(input_words), in);
    split(answers + 2, output_words, COUNT(output_words), out);
    net_init(&net);
    while (transfer(SYS_READ, cases, chosen, sizeof chosen) == 0) {
        if (transfer(SYS_READ, cases, given, sizeof given)) return 1;
        SYST[1] = TICKS;
        SYST[2] = 0;
        SYST[0] = 5; /* on, with the processor's clock */
        answers[0] = (uint32_t)RUN(in, out);
        answers[1] = TICKS - SYST[2];
        if (transfer(SYS_WRITE, written, answers, sizeof answers)) return 1;
    }
    (void)host(SYS_CLOSE, &written);
    return 0;
}
