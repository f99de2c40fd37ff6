/* The C99 twin of dqt/arith: every integer rule that kernels and exported C share. docs/numerics.md has the equations. */
#ifndef DQT_ARITH_H
#define DQT_ARITH_H

#include <stdbool.h>
#include <stdint.h>

static inline int64_t dqt_clamp(int64_t v, int64_t lo, int64_t hi) { return v < lo ? lo : v > hi ? hi : v; }

/* The mask that keeps the top b of n bits of a byte (s = n - b): T_b(w) = (w & mask) | h. Equation 4. */
static inline uint8_t dqt_weight_mask(int s) { return (uint8_t)(0xFFu << s); }

/* The balanced midpoint h_b of input channel (or tap) i. Equation 5. */
static inline uint8_t dqt_midpoint(int s, int i) { return (uint8_t)(s ? (1 << (s - 1)) - (i & 1) : 0); }

/* The nearest b-bit code of q, not above `top`, in master units: min((q + half) >> s, top) << s. Equation 6. */
static inline int dqt_nearest(int q, int s, int top) {
    const int code = (q + ((1 << s) >> 1)) >> s;
    return (code < top ? code : top) * (1 << s);
}

/* T_b of a weight, of a range 2^-e of the master's, by the midpoint or the nearest rule. Equations 34
   and 35; with e = 0 the midpoint rule is equation 4. */
static inline int8_t dqt_narrow_weight(int8_t w, int n, int b, int e, bool nearest, int i) {
    const int s = n - b - e, half = 1 << (n - 1 - e);
    const int q = (int)dqt_clamp(w, -half, half - 1);
    if (nearest) return (int8_t)dqt_nearest(q, s, (1 << (b - 1)) - 1);
    return (int8_t)(((uint8_t)q & dqt_weight_mask(s)) | dqt_midpoint(s, i));
}

/* T_b of an unsigned n-bit activation, nearest: min((q + half) >> s, 2^b - 1) << s. Equation 6. */
static inline uint8_t dqt_narrow_activation(uint8_t q, int n, int s) {
    return (uint8_t)dqt_nearest(q, s, (1 << (n - s)) - 1);
}

/* T_b of a code whose zero point is a code, of a range 2^-e of the master's around it. Equation 36. */
static inline uint8_t dqt_narrow_range(uint8_t q, int n, int b, int e, int zero) {
    const int start = zero - (zero >> e), inside = (int)dqt_clamp(q - start, 0, (1 << (n - e)) - 1);
    return (uint8_t)(dqt_nearest(inside, n - b - e, (1 << b) - 1) + start);
}

/* Requantization: clamp((acc * m + c) >> shift, lo, hi). Equation 8. Arithmetic shift of a negative number is what
   every compiler that we build with does (and C++20 demands). */
static inline int32_t dqt_requantize(int64_t acc, int64_t m, int64_t c, int shift, int64_t lo, int64_t hi) {
    return (int32_t)dqt_clamp((acc * m + c) >> shift, lo, hi);
}

/* The multiplier of a mean over `area` elements, from that of a sum. Equation 30; the quotient is floored. */
static inline int64_t dqt_area_multiplier(int64_t m, int64_t area) {
    const int64_t n = m + area / 2, q = n / area;
    return q - (n % area < 0);
}

/* The inputs that an interpolated output lies between, and the weight of the second. Equation 31; `above / below` is the
   distance from one output to the next. */
typedef struct {
    int64_t first, second, weight;
} dqt_place;

static inline dqt_place dqt_neighbours(int64_t i, int64_t inputs, int64_t outputs, int64_t above, int64_t below,
                                       int corners) {
    const int64_t at = corners ? i * (inputs - 1) : (2 * i + 1) * above - below, p = at < 0 ? 0 : at;
    const int64_t unit = !corners ? 2 * below : outputs > 1 ? outputs - 1 : 1, last = inputs - 1, down = p / unit;
    dqt_place place;
    place.first = down < last ? down : last;
    place.second = place.first < last ? place.first + 1 : last;
    place.weight = dqt_clamp(((p - place.first * unit) * 2048 + unit / 2) / unit, 0, 2048);
    return place;
}

/* floor(sqrt(x)), bit by bit: for tables. */
static inline int64_t dqt_isqrt(int64_t x) {
    int64_t root = 0;
    for (int64_t bit = (int64_t)1 << 31; bit; bit >>= 1)
        if ((root + bit) * (root + bit) <= x) root += bit;
    return root;
}

/* Normalization. `table` is filled by dqt_root_table; entries below 32 are never read. Equations 22 to 24. */
#define DQT_ENERGY_BITS 62
#define DQT_UNIT_BITS 20
#define DQT_ROOT_ENTRIES 128

static inline void dqt_root_table(int32_t table[DQT_ROOT_ENTRIES]) {
    for (int i = 0; i < DQT_ROOT_ENTRIES; ++i) table[i] = (int32_t)dqt_isqrt(((int64_t)1 << 38) / (2 * i + 1));
}

/* An inverse root is r * 2^(doublings - 60). */
typedef struct {
    int64_t r;
    int doublings;
} dqt_root;

/* How far a row of `count` integers, of magnitude `most` at most, is shifted right. */
static inline int dqt_row_shift(int64_t most, int64_t count) {
    int k = -30;
    for (; most; most >>= 1) ++k;
    for (; count; count >>= 1) ++k;
    return k > 0 ? k : 0;
}

static inline int64_t dqt_shifted(int64_t v, int k) { return (v + (((int64_t)1 << k) >> 1)) >> k; }

static inline int64_t dqt_energy(int64_t squares, int64_t total, int64_t count, int64_t added, int k) {
    const int64_t w = squares * count - total * total + (added >> 2 * k);
    return w > 1 ? w : 1;
}

static inline dqt_root dqt_inverse_root(int64_t w, const int32_t* table) {
    const int64_t three = (int64_t)3 << 31;
    dqt_root root = {0, 0};
    for (int k = 16; k; k >>= 1)
        if (w < (int64_t)1 << (DQT_ENERGY_BITS - 2 * k)) w <<= 2 * k, root.doublings += k;
    w >>= 30;
    root.r = table[w >> 25];
    root.r = (root.r * (three - ((root.r * root.r * w) >> 31))) >> 18;
    root.r = (root.r * (three - ((((root.r * root.r) >> 28) * w) >> 31))) >> 32;
    return root;
}

static inline int64_t dqt_normalize(int64_t deviation, dqt_root root) {
    const int shift = 2 * DQT_UNIT_BITS - root.doublings;
    return (deviation * root.r + ((int64_t)1 << (shift - 1))) >> shift;
}

/* Softmax. `table` is filled by dqt_power_table; `bits` is dqt_row_bits of a row's length. Equations 25 to 29. */
#define DQT_FRACTION_BITS 10
#define DQT_POWER_BITS 30
#define DQT_FACTOR_BITS 8
#define DQT_POWER_ENTRIES (1 << DQT_FRACTION_BITS)

static inline void dqt_power_table(int32_t table[DQT_POWER_ENTRIES]) {
    const int64_t half = (int64_t)1 << (DQT_POWER_BITS - 1);
    int64_t root = half;
    for (int i = 0; i < DQT_POWER_ENTRIES; ++i) table[i] = 1 << DQT_POWER_BITS;
    for (int bit = DQT_POWER_ENTRIES >> 1; bit; bit >>= 1) {
        root = dqt_isqrt(root << DQT_POWER_BITS);
        for (int i = 0; i < DQT_POWER_ENTRIES; ++i)
            if (i & bit) table[i] = (int32_t)((table[i] * root + half) >> DQT_POWER_BITS);
    }
}

static inline int dqt_row_bits(int64_t count) {
    int bits = DQT_POWER_BITS;
    for (; count; count >>= 1) --bits;
    return bits;
}

static inline int64_t dqt_power(int64_t below, int64_t m, int shift, int bits, const int32_t* table) {
    const int64_t t = (below * m + ((int64_t)1 << (shift - 1))) >> shift;
    const int64_t s = dqt_clamp((t >> DQT_FRACTION_BITS) + DQT_POWER_BITS - bits, 0, DQT_POWER_BITS + 2);
    return (table[t & (DQT_POWER_ENTRIES - 1)] + (((int64_t)1 << s) >> 1)) >> s;
}

static inline int64_t dqt_row_factor(int64_t total, int bits, int64_t levels) {
    return (levels << (bits + DQT_FACTOR_BITS)) / total;
}

static inline int64_t dqt_probability(int64_t power, int64_t factor, int bits) {
    const int shift = bits + DQT_FACTOR_BITS;
    return (power * factor + ((int64_t)1 << (shift - 1))) >> shift;
}

#endif
