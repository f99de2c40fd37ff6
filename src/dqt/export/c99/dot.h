/* Inner products of packed weights with columns of inputs, the one loop that all layers share. A column holds int16
   inputs less their zero, as many as a row of weights has, with zeros where the row is padded. */
#ifndef DQT_DOT_H
#define DQT_DOT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#include <arm_acle.h>
#endif

/* Where input k of a column is: Cortex-M's DSP instructions take bytes 0 and 2 of a word, then 1 and 3. */
#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_FEATURE_MVE)
#define DQT_PLACE(k) (((k) ^ (k) >> 1) & 1 ? (k) ^ 3 : (k))
#else
#define DQT_PLACE(k) (k)
#endif

/* How a row of weights is read at a width. A word of it holds the bytes of 4 weights, the first in its low byte; where
   weights are stored in 4 (2) bits it holds 2 (4) times as many: the next 4 stand 4 (2, 4, 6) bits below.
   T_b(w) = (w & mask) | middle, equation 4; with `half`, (w + half, at most 127) & mask, the nearest rule, equation 35. Of
   a range 2^-e, w is first `doubled` e times, within a byte: all is 2^e times as large as in equations 34 and 35. The next
   row follows. */
typedef struct {
    const uint32_t *words;
    size_t count; /* of words in a row */
    int stored;   /* bits of a weight: 8, 4 or 2 */
    uint32_t mask, middle, half;
    int doubled;
} dqt_row;

/* Four signed bytes and four that are not negative, added one by one and at most 127. */
static inline uint32_t dqt_added(uint32_t w, uint32_t half) {
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
    return (uint32_t)__qadd8((int8x4_t)w, (int8x4_t)half);
#else
    const uint32_t sums = ((w & 0x7F7F7F7Fu) + half) ^ (w & 0x80808080u), beyond = ~w & sums & 0x80808080u;
    return (sums & ~beyond) | (beyond - (beyond >> 7));
#endif
}

/* Four signed bytes, doubled within a byte, so many times. */
static inline uint32_t dqt_doubled(uint32_t w, int times) {
    for (; times > 0; times--) {
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
        w = (uint32_t)__qadd8((int8x4_t)w, (int8x4_t)w);
#else
        const uint32_t beyond = ((w ^ w << 1) >> 7 & 0x01010101u) * 0xFF, most = 0x7F7F7F7Fu + (w >> 7 & 0x01010101u);
        w = ((w & 0x7F7F7F7Fu) << 1 & ~beyond) | (most & beyond);
#endif
    }
    return w;
}

/* Sums of weights times inputs, int32, whose bounds are proved before a program is written: of one row and one column, of
   two columns, which share the work of reading the weights, of two rows, which share that of reading the column, and of
   two rows with two columns: (row, first), (row, second), (next row, first), (next row, second). */
int32_t dqt_dot(const dqt_row *row, const int16_t *column);
void dqt_pair(const dqt_row *row, const int16_t *column, int32_t *sums);
void dqt_dots(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums);
void dqt_four(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums);
/* dqt_four of a range of its own; for dqt_four alone. */
void dqt_four_doubled(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums);

#endif
