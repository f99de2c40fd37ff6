/* Inner products, in plain C and with the vector instructions of Cortex-M processors. */
#include "dot.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)
#include <arm_mve.h>

static size_t length(const dqt_row *row) { return row->count * (32 / (size_t)row->stored); }

static int16x8_t spread(uint32_t word) { /* its bytes, twice */
    const uint16x8_t places = vandq_u16(vidupq_n_u16(0, 1), vdupq_n_u16(3));
    return vldrbq_gather_offset_s16((const int8_t *)&word, places);
}

/* Weights k to k + 7, of which `inside` are in the row. Of words of 4 (2) bits both halves of the vector read the same
   bytes, and shift them further up. */
static int16x8_t eight(const dqt_row *row, size_t k, mve_pred16_t inside) {
    const int8_t *bytes = (const int8_t *)row->words;
    if (row->stored == 8) return vldrbq_z_s16(bytes + k, inside);
    const size_t each = 32 / (size_t)row->stored;
    const uint16x8_t lanes = vidupq_n_u16(0, 1), places = vandq_u16(lanes, vdupq_n_u16(3));
    const int16x8_t half = vreinterpretq_s16_u16(vshrq_n_u16(lanes, 2));
    const int16_t first = (int16_t)(k % each / 4 * (size_t)row->stored);
    const int16x8_t up = vaddq_n_s16(vmulq_n_s16(half, (int16_t)row->stored), first);
    return vshlq_s16(vldrbq_gather_offset_s16(bytes + k / each * 4, places), up);
}

static int16x8_t narrow(int16x8_t bytes, int up, int16x8_t mask, int16x8_t middle) {
    const int16x8_t w = vmovlbq_s8(vreinterpretq_s8_s16(vshlq_r_s16(bytes, up))); /* the sign of the low byte */
    return vorrq_s16(vandq_s16(w, mask), middle);
}

/* Weights k to k + 7 at a width. */
static int16x8_t weights(const dqt_row *row, size_t k, mve_pred16_t inside, int16x8_t mask, int16x8_t middle) {
    const int16x8_t w = eight(row, k, inside);
    if (!row->half) return narrow(w, 0, mask, middle);
    return vandq_s16(vminq_s16(vaddq_s16(w, spread(row->half)), vdupq_n_s16(127)), mask);
}

/* dqt_dots of a range of its own. */
static void doubled_dots(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums) {
    const int16x8_t mask = spread(row->mask), middle = spread(row->middle), half = spread(row->half);
    const size_t count = length(row);
    int32_t p = 0, q = 0;
    for (size_t k = 0; k < count; k += 8) {
        const mve_pred16_t inside = vctp16q((uint32_t)(count - k));
        const int16x8_t large = vmaxq_s16(vshlq_r_s16(eight(row, k, inside), row->doubled), vdupq_n_s16(-128));
        const int16x8_t w = vorrq_s16(vandq_s16(vminq_s16(vaddq_s16(large, half), vdupq_n_s16(127)), mask), middle);
        p = vmladavaq_s16(p, w, vldrhq_z_s16(first + k, inside));
        q = vmladavaq_s16(q, w, vldrhq_z_s16(second + k, inside));
    }
    sums[0] = p;
    sums[1] = q;
}

void dqt_four_doubled(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums) {
    dqt_row next = *row;
    next.words += row->count;
    doubled_dots(row, first, second, sums);
    doubled_dots(&next, first, second, sums + 2);
}

int32_t dqt_dot(const dqt_row *row, const int16_t *column) {
    if (row->doubled) {
        int32_t sums[2];
        doubled_dots(row, column, column, sums);
        return sums[0];
    }
    const int16x8_t mask = spread(row->mask), middle = spread(row->middle);
    const size_t count = length(row);
    int32_t p = 0;
    for (size_t k = 0; k < count; k += 8) {
        const mve_pred16_t inside = vctp16q((uint32_t)(count - k));
        const int16x8_t w = weights(row, k, inside, mask, middle);
        p = vmladavaq_s16(p, w, vldrhq_z_s16(column + k, inside));
    }
    return p;
}

void dqt_pair(const dqt_row *row, const int16_t *column, int32_t *sums) {
    if (row->doubled) {
        int32_t four[4];
        dqt_four_doubled(row, column, column, four);
        sums[0] = four[0];
        sums[1] = four[2];
        return;
    }
    const dqt_row next = {row->words + row->count, row->count, row->stored, row->mask, row->middle, row->half, row->doubled};
    const int16x8_t mask = spread(row->mask), middle = spread(row->middle);
    const size_t count = length(row);
    int32_t p = 0, q = 0;
    for (size_t k = 0; k < count; k += 8) {
        const mve_pred16_t inside = vctp16q((uint32_t)(count - k));
        const int16x8_t x = vldrhq_z_s16(column + k, inside);
        p = vmladavaq_s16(p, weights(row, k, inside, mask, middle), x);
        q = vmladavaq_s16(q, weights(&next, k, inside, mask, middle), x);
    }
    sums[0] = p;
    sums[1] = q;
}

void dqt_dots(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums) {
    if (row->doubled) {
        doubled_dots(row, first, second, sums);
        return;
    }
    const int16x8_t mask = spread(row->mask), middle = spread(row->middle);
    const size_t count = length(row);
    int32_t p = 0, q = 0;
    for (size_t k = 0; k < count; k += 8) {
        const mve_pred16_t inside = vctp16q((uint32_t)(count - k));
        const int16x8_t w = weights(row, k, inside, mask, middle);
        p = vmladavaq_s16(p, w, vldrhq_z_s16(first + k, inside));
        q = vmladavaq_s16(q, w, vldrhq_z_s16(second + k, inside));
    }
    sums[0] = p;
    sums[1] = q;
}

void dqt_four(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums) {
    const dqt_row next = {row->words + row->count, row->count, row->stored, row->mask, row->middle, row->half, row->doubled};
    const int8_t *a = (const int8_t *)row->words, *b = (const int8_t *)next.words, *const end = b;
    const size_t each = 32 / (size_t)row->stored; /* weights of a word */
    const int16x8_t mask = spread(row->mask), middle = spread(row->middle);
    int32_t p = 0, q = 0, r = 0, s = 0;
    if (row->doubled) {
        dqt_four_doubled(row, first, second, sums);
        return;
    }
    if (row->count % 2 || row->half) { /* no whole vectors, or not by mask and middle alone */
        dqt_dots(row, first, second, sums);
        dqt_dots(&next, first, second, sums + 2);
        return;
    }
    if (row->stored == 8)
        for (; a < end; a += 8, b += 8, first += 8, second += 8) {
            const int16x8_t v = vorrq_s16(vandq_s16(vldrbq_s16(a), mask), middle), x = vldrhq_s16(first);
            const int16x8_t w = vorrq_s16(vandq_s16(vldrbq_s16(b), mask), middle), y = vldrhq_s16(second);
            p = vmladavaq_s16(p, v, x);
            q = vmladavaq_s16(q, v, y);
            r = vmladavaq_s16(r, w, x);
            s = vmladavaq_s16(s, w, y);
        }
    else
        for (; a < end; a += 8, b += 8, first += each, second += each) { /* two words, whose inputs are `each` apart */
            const uint32_t places[4] = {0, 0, 2 * each, 0}; /* two offsets of 64 bits */
            const uint64x2_t apart = vreinterpretq_u64_u32(vld1q_u32(places));
            for (int up = 0; up < 8; up += row->stored, first += 4, second += 4) {
                const int64_t *one = (const int64_t *)(const void *)first, *two = (const int64_t *)(const void *)second;
                const int16x8_t v = narrow(vldrbq_s16(a), up, mask, middle);
                const int16x8_t w = narrow(vldrbq_s16(b), up, mask, middle);
                const int16x8_t x = vreinterpretq_s16_s64(vldrdq_gather_offset_s64(one, apart));
                const int16x8_t y = vreinterpretq_s16_s64(vldrdq_gather_offset_s64(two, apart));
                p = vmladavaq_s16(p, v, x);
                q = vmladavaq_s16(q, v, y);
                r = vmladavaq_s16(r, w, x);
                s = vmladavaq_s16(s, w, y);
            }
        }
    sums[0] = p;
    sums[1] = q;
    sums[2] = r;
    sums[3] = s;
}

#else

/* SPLIT names the signed bytes of a word, INPUTS four inputs, FOUR adds their products. */
#if defined(__ARM_FEATURE_DSP) && defined(__ARM_FEATURE_SIMD32)
#include <string.h>

static inline int16x2_t two(const int16_t *x) {
    int16x2_t pair;
    memcpy(&pair, x, sizeof pair);
    return pair;
}

static inline int16x2_t odd_bytes(uint32_t w) {
    int16x2_t pair;
    __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(w));
    return pair;
}

#define SPLIT(n, w) const int16x2_t even##n = __sxtb16((int8x4_t)(w)), odd##n = odd_bytes(w)
#define INPUTS(n, x) const int16x2_t near##n = two(x), far##n = two((x) + 2)
#define FOUR(n, k, sum) __smlad(odd##n, far##k, __smlad(even##n, near##k, sum))

#else

#define SPLIT(n, w)                                                                                    \
    const int32_t a##n = (int8_t)(w), b##n = (int8_t)((w) >> 8), c##n = (int8_t)((w) >> 16),           \
                  d##n = (int8_t)((w) >> 24)
#define INPUTS(n, x) const int16_t e##n = (x)[0], f##n = (x)[1], g##n = (x)[2], h##n = (x)[3]
#define FOUR(n, k, sum) ((sum) + a##n * e##k + b##n * f##k + c##n * g##k + d##n * h##k)

#endif

/* T_b of four weights, for `up` from 0 to 8 in steps of their stored bits; whole bytes are T_b already. */
#define NARROW(word) ((((word) << up) & mask) | middle)
#define NEAREST(word) (dqt_added(word, half) & mask)
#define WHOLE(word) (word)
/* Of every rule and range of stored bytes. */
#define ANY(word) ((dqt_added(dqt_doubled(word, doubled), half) & mask) | middle)

/* A word of one row with one column, whose place moves on. */
#define ONE(bits, weights)                   \
    for (int up = 0; up < 8; up += (bits)) { \
        const uint32_t w = weights(*word);   \
        SPLIT(0, w);                         \
        INPUTS(0, column);                   \
        p = FOUR(0, 0, p);                   \
        column += 4;                         \
    }

/* Words of two rows, `gap` words apart, with one column. */
#define TWO_WORDS(bits, weights)                                     \
    for (int up = 0; up < 8; up += (bits)) {                         \
        const uint32_t v = weights(word[0]), w = weights(word[gap]); \
        SPLIT(0, v);                                                 \
        SPLIT(1, w);                                                 \
        INPUTS(0, column);                                           \
        p = FOUR(0, 0, p);                                           \
        q = FOUR(1, 0, q);                                           \
        column += 4;                                                 \
    }

/* With two columns. */
#define ONE_ROW(bits, weights)                \
    for (int up = 0; up < 8; up += (bits)) {  \
        const uint32_t w = weights(*word);    \
        SPLIT(0, w);                          \
        INPUTS(0, first);                     \
        INPUTS(1, second);                    \
        p = FOUR(0, 0, p);                    \
        q = FOUR(0, 1, q);                    \
        first += 4;                           \
        second += 4;                          \
    }

/* Of two rows, whose words are `gap` words apart. */
#define TWO_ROWS(bits, weights)                                            \
    for (int up = 0; up < 8; up += (bits)) {                               \
        const uint32_t v = weights(word[0]), w = weights(word[gap]);       \
        SPLIT(0, v);                                                       \
        SPLIT(1, w);                                                       \
        INPUTS(0, first);                                                  \
        p = FOUR(0, 0, p);                                                 \
        r = FOUR(1, 0, r);                                                 \
        INPUTS(1, second);                                                 \
        q = FOUR(0, 1, q);                                                 \
        s = FOUR(1, 1, s);                                                 \
        first += 4;                                                        \
        second += 4;                                                       \
    }

/* Apart, so that the loops of dqt_four keep their registers. */
void dqt_four_doubled(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums) {
    const uint32_t *word = row->words, *const end = word + row->count, mask = row->mask, middle = row->middle, half = row->half;
    const int doubled = row->doubled;
    const size_t gap = row->count;
    int32_t p = 0, q = 0, r = 0, s = 0;
    for (; word < end; word++) TWO_ROWS(8, ANY)
    sums[0] = p;
    sums[1] = q;
    sums[2] = r;
    sums[3] = s;
}

int32_t dqt_dot(const dqt_row *row, const int16_t *column) {
    const uint32_t *word = row->words, *const end = word + row->count, mask = row->mask, middle = row->middle, half = row->half;
    const int doubled = row->doubled;
    int32_t p = 0;
    if (row->stored < 8)
        for (; word < end; word++) ONE(row->stored, NARROW)
    else
        for (; word < end; word++) ONE(8, ANY)
    return p;
}

void dqt_pair(const dqt_row *row, const int16_t *column, int32_t *sums) {
    if (row->doubled) {
        dqt_row next = *row;
        next.words += row->count;
        sums[0] = dqt_dot(row, column);
        sums[1] = dqt_dot(&next, column);
        return;
    }
    const uint32_t *word = row->words, *const end = word + row->count, mask = row->mask, middle = row->middle, half = row->half;
    const size_t gap = row->count;
    int32_t p = 0, q = 0;
    if (row->stored == 2)
        for (; word < end; word++) TWO_WORDS(2, NARROW)
    else if (row->stored == 4)
        for (; word < end; word++) TWO_WORDS(4, NARROW)
    else if (half)
        for (; word < end; word++) TWO_WORDS(8, NEAREST)
    else if (mask != UINT32_MAX)
        for (; word < end; word++) TWO_WORDS(8, NARROW)
    else
        for (; word < end; word++) TWO_WORDS(8, WHOLE)
    sums[0] = p;
    sums[1] = q;
}

void dqt_dots(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums) {
    const uint32_t *word = row->words, *const end = word + row->count, mask = row->mask, middle = row->middle, half = row->half;
    const int doubled = row->doubled;
    int32_t p = 0, q = 0;
    if (row->stored < 8)
        for (; word < end; word++) ONE_ROW(row->stored, NARROW)
    else
        for (; word < end; word++) ONE_ROW(8, ANY)
    sums[0] = p;
    sums[1] = q;
}

void dqt_four(const dqt_row *row, const int16_t *first, const int16_t *second, int32_t *sums) {
    if (row->doubled) {
        dqt_four_doubled(row, first, second, sums);
        return;
    }
    const uint32_t *word = row->words, *const end = word + row->count, mask = row->mask, middle = row->middle, half = row->half;
    const size_t gap = row->count;
    int32_t p = 0, q = 0, r = 0, s = 0;
    if (row->stored == 2)
        for (; word < end; word++) TWO_ROWS(2, NARROW)
    else if (row->stored == 4)
        for (; word < end; word++) TWO_ROWS(4, NARROW)
    else if (half)
        for (; word < end; word++) TWO_ROWS(8, NEAREST)
    else if (mask != UINT32_MAX)
        for (; word < end; word++) TWO_ROWS(8, NARROW)
    else
        for (; word < end; word++) TWO_ROWS(8, WHOLE)
    sums[0] = p;
    sums[1] = q;
    sums[2] = r;
    sums[3] = s;
}

#endif
