// The kernels for aarch64, for neon.cc (SDOT) and neon_i8mm.cc (USDOT): they differ in `prepared`, `dot` and `OFFSET`.
//
// SDOT multiplies numbers of one sign: codes are stored as q - 128, and what that takes away, 128 * sum w, is
// gathered while the weights are narrowed and added to each column. USDOT takes codes as they are.
#pragma once

#include <arm_neon.h>

#include "../../arith.h"
#include "chunks.h"
#include "plain.h"
#include "rows.h"

namespace dqt {
namespace {

inline int8x16_t weights_at(const int8_t* p, uint8x16_t mask, uint8x16_t middle) {
    return vreinterpretq_s8_u8(vorrq_u8(vandq_u8(vreinterpretq_u8_s8(vld1q_s8(p)), mask), middle));
}

inline uint8x16_t dwords(uint32_t four) { return vreinterpretq_u8_u32(vdupq_n_u32(four)); }

// (acc * m + c) >> shift of two lanes each; c: even lanes, then odd ones, 8 further. Not clamped where the shift is 32.
inline int32x4_t scaled(int32x4_t acc, const int32_t* m, const int64_t* c, const Rounding& r) {
    const int32x4_t factor = vld1q_s32(m);
    const int64x2_t even = vld1q_s64(c), odd = vld1q_s64(c + 8);
    int64x2_t low = vaddq_s64(vmull_s32(vget_low_s32(acc), vget_low_s32(factor)), vzip1q_s64(even, odd));
    int64x2_t high = vaddq_s64(vmull_high_s32(acc, factor), vzip2q_s64(even, odd));
    if (r.shift == 32) return vuzp2q_s32(vreinterpretq_s32_s64(low), vreinterpretq_s32_s64(high));
    const int64x2_t right = vdupq_n_s64(-r.shift);
    low = vshlq_s64(low, right);
    high = vshlq_s64(high, right);
    return vcombine_s32(vqmovn_s64(low), vqmovn_s64(high));  // saturated, which the clamp that follows does not see
}

inline int32x4_t clamped(int32x4_t v, int lo, int hi) {
    return vminq_s32(vmaxq_s32(v, vdupq_n_s32(lo)), vdupq_n_s32(hi));
}

// 16 clamped numbers as bytes in their order.
inline uint8x16_t bytes_of(const int32x4_t* y) {
    const uint16x8_t low = vcombine_u16(vqmovun_s32(y[0]), vqmovun_s32(y[1]));
    const uint16x8_t high = vcombine_u16(vqmovun_s32(y[2]), vqmovun_s32(y[3]));
    return vcombine_u8(vqmovn_u16(low), vqmovn_u16(high));
}

// clamp((k1*r + k2*b + k3) >> shift, lo, hi) of 16 codes.
inline uint8x16_t residual16(uint8x16_t r, uint8x16_t b, const Residual& k) {
    const auto k1 = static_cast<int32_t>(k.k1), k2 = static_cast<int32_t>(k.k2);
    const int64x2_t k3 = vdupq_n_s64(k.k3), right = vdupq_n_s64(-k.shift);
    const auto two = [&](int32x2_t p, int32x2_t q) {
        return vqmovn_s64(vshlq_s64(vmlal_n_s32(vmlal_n_s32(k3, p, k1), q, k2), right));
    };
    const auto four = [&](uint16x4_t p, uint16x4_t q) {
        const int32x4_t x = vreinterpretq_s32_u32(vmovl_u16(p)), y = vreinterpretq_s32_u32(vmovl_u16(q));
        const int32x2_t low = two(vget_low_s32(x), vget_low_s32(y)), high = two(vget_high_s32(x), vget_high_s32(y));
        return clamped(vcombine_s32(low, high), k.lo, k.hi);
    };
    const uint16x8_t r0 = vmovl_u8(vget_low_u8(r)), r1 = vmovl_high_u8(r);
    const uint16x8_t b0 = vmovl_u8(vget_low_u8(b)), b1 = vmovl_high_u8(b);
    const int32x4_t y[4] = {four(vget_low_u16(r0), vget_low_u16(b0)), four(vget_high_u16(r0), vget_high_u16(b0)),
                            four(vget_low_u16(r1), vget_low_u16(b1)), four(vget_high_u16(r1), vget_high_u16(b1))};
    return bytes_of(y);
}

// Saturating addition of the half bin, then the low bits are cleared: min((q + half) >> s, top) << s.
inline uint8x16_t narrowed(uint8x16_t q, const Narrow& to) {
    const uint8x16_t half = vdupq_n_u8(static_cast<uint8_t>((1 << to.s) >> 1));
    const uint8x16_t top = vdupq_n_u8(static_cast<uint8_t>(((1 << to.n) - 1) >> to.s << to.s));
    return vminq_u8(vandq_u8(vqaddq_u8(q, half), vdupq_n_u8(static_cast<uint8_t>(0xFF << to.s))), top);
}

// Requantizes and stores row i. y: [vector][4 registers]; in the order of the columns it is [part][vector].
template <int V>
void store(const Block& b, int i, const int32_t* acc) {
    const Rounding& r = b.rounding;
    int32x4_t y[4 * V];
    for (int v = 0; v < V; ++v)
        for (int q = 0; q < 4; ++q) {
            const int at = v * LANES + 4 * q;
            const int place = V == 1 ? q : q * V + v;
            y[place] = clamped(scaled(vld1q_s32(acc + at), r.m + at, r.c + v * LANES + 2 * q, r), r.lo, r.hi);
        }
    if (b.wide) {
        alignas(16) int32_t values[V * LANES];
        for (int q = 0; q < 4 * V; ++q) vst1q_s32(values + 4 * q, y[q]);
        auto* out = reinterpret_cast<int32_t*>(b.out[i]);
        for (int j = 0; j < b.stored; ++j) out[j] = j < b.columns ? values[j] : 0;
        return;
    }
    alignas(16) uint8_t bytes[V * LANES], other[V * LANES] = {};
    if (b.residual) std::memcpy(other, b.other[i], b.columns);
    for (int v = 0; v < V; ++v) {
        uint8x16_t sixteen = bytes_of(y + 4 * v);
        if (b.residual) sixteen = residual16(sixteen, vld1q_u8(other + v * LANES), *b.residual);
        if (b.narrow.s) sixteen = narrowed(sixteen, b.narrow);
        vst1q_u8(bytes + v * LANES, sixteen);
    }
    for (int j = b.columns; j < b.stored; ++j) bytes[j] = 0;
    std::memcpy(b.out[i], bytes, b.stored);
}

// One vector of `steps` (a multiple of 4) steps for R rows.
template <int R>
void products(const int8_t* weight, int steps, const Chunk& a, int row, int32_t* to, int to_row) {
    int32x4_t acc[R][4];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int q = 0; q < 4; ++q) acc[i][q] = vld1q_s32(to + i * to_row + 4 * q);
    for (int s = 0; s < steps; s += 4, weight += 256) {
        uint8x16_t x[R];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) x[i] = vld1q_u8(a.in[row + i] + 4 * s);
#define DQT_STEP(lane)                                              \
    for (int q = 0; q < 4; ++q) {                                   \
        const int8x16_t w = vld1q_s8(weight + 64 * lane + 16 * q);  \
        for (int i = 0; i < R; ++i) acc[i][q] = DQT_DOT_LANE(acc[i][q], w, x[i], lane); \
    }
        DQT_STEP(0) DQT_STEP(1) DQT_STEP(2) DQT_STEP(3)
#undef DQT_STEP
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int q = 0; q < 4; ++q) vst1q_s32(to + i * to_row + 4 * q, acc[i][q]);
}

// Narrows the weights of one vector; adds OFFSET times their sum to `sums`.
template <int V>
void prepare(const Chunk& chunk, const int8_t* panel, uint32_t mask, int8_t* weight, int32_t* sums) {
    const uint8x16_t keep = dwords(mask);
    int32x4_t sum[4];
    for (int q = 0; q < 4; ++q) sum[q] = vdupq_n_s32(0);
    int s = 0;
    for (; s < chunk.steps; ++s, weight += 64)
        for (int q = 0; q < 4; ++q) {
            const int8x16_t w = weights_at(panel + s * V * 64 + 16 * q, keep, dwords(chunk.middle[s]));
            if constexpr (OFFSET != 0) sum[q] = vdotq_s32(sum[q], w, vdupq_n_s8(1));
            vst1q_s8(weight + 16 * q, w);
        }
    for (; s % 4 != 0; ++s, weight += 64) std::memset(weight, 0, 64);
    if constexpr (OFFSET != 0)
        for (int q = 0; q < 4; ++q) vst1q_s32(sums + 4 * q, vmlaq_n_s32(vld1q_s32(sums + 4 * q), sum[q], OFFSET));
}

template <int V>
__attribute__((noinline)) void run(const Block& b, int rows) {
    alignas(16) int32_t acc[MAX_ROWS][V * LANES], sums[V * LANES];
    std::memcpy(sums, b.start, sizeof sums);
    std::memset(acc, 0, sizeof acc);
    Chunks chunks(b, rows);
    Chunk chunk;
    alignas(16) int8_t weight[64 * STEPS];
    for (const int8_t* w = b.panel; chunks.next(chunk); w += int64_t{chunk.steps} * V * 64) {
        const int steps = (chunk.steps + 3) / 4 * 4;
        for (int i = 0; i < rows; ++i)
            for (int s = 0; s < steps; s += 4) vst1q_u8(chunk.in[i] + 4 * s, prepared(vld1q_u8(chunk.in[i] + 4 * s)));
        for (int v = 0; v < V; ++v) {
            prepare<V>(chunk, w + 64 * v, b.mask, weight, sums + v * LANES);
            int i = 0;
            for (; i + 4 <= rows; i += 4) products<4>(weight, steps, chunk, i, acc[i] + v * LANES, V * LANES);
            if (rows - i == 3) products<3>(weight, steps, chunk, i, acc[i] + v * LANES, V * LANES);
            if (rows - i == 2) products<2>(weight, steps, chunk, i, acc[i] + v * LANES, V * LANES);
            if (rows - i == 1) products<1>(weight, steps, chunk, i, acc[i] + v * LANES, V * LANES);
        }
    }
    for (int i = 0; i < rows; ++i) {
        for (int j = 0; j < V * LANES; ++j) acc[i][j] += sums[j];
        store<V>(b, i, acc[i]);
    }
}

template <int V, int ROWS>
void block(const Block& b) {
    run<V>(b, ROWS);
}

// One output pixel, 16 channels: part q of a block of 64, that is 4 lanes of each of its vectors.
inline void depthwise16(const DepthwiseRow& d, const uint8_t* in, uint8_t* out, int from, int q) {
    const int quads = (d.kernel_height + 3) / 4, first = from + 16 * q;
    const int some = d.out_pixel - first < 16 ? d.out_pixel - first : 16;
    const auto load = [&](const uint8_t* p) {
        if (some == 16) return vld1q_u8(p);
        alignas(16) uint8_t bytes[16] = {};
        std::memcpy(bytes, p, some);
        return vld1q_u8(bytes);
    };
    int32x4_t acc[4];
    for (int v = 0; v < 4; ++v) acc[v] = vld1q_s32(d.start + from + v * LANES + 4 * q);
    const int8_t* w = d.weight + int64_t{from} * d.kernel_width * quads * 4 + 16 * q;
    for (int j = 0; j < d.kernel_width; ++j)
        for (int k = 0; k < quads; ++k, w += 256) {
            const uint8_t* column = in + j * d.in_column + first;
            uint8x16_t r[4];
            for (int i = 0; i < 4; ++i)
                r[i] = 4 * k + i < d.kernel_height ? load(column + (4 * k + i) * d.in_row) : vdupq_n_u8(0);
            const auto words = [](uint8x16_t bytes) { return vreinterpretq_u16_u8(bytes); };
            const uint16x8_t a = words(vzip1q_u8(r[0], r[1])), b = words(vzip2q_u8(r[0], r[1]));
            const uint16x8_t c = words(vzip1q_u8(r[2], r[3])), e = words(vzip2q_u8(r[2], r[3]));
            const uint16x8_t x[4] = {vzip1q_u16(a, c), vzip2q_u16(a, c), vzip1q_u16(b, e), vzip2q_u16(b, e)};
            for (int v = 0; v < 4; ++v) {
                const int8x16_t weight = weights_at(w + 64 * v, dwords(d.mask), dwords(d.middle[j & 1]));
                acc[v] = dot(acc[v], weight, prepared(vreinterpretq_u8_u16(x[v])));
                if constexpr (OFFSET != 0)
                    for (int i = 0; i < 2; ++i) acc[v] = vdotq_s32(acc[v], weight, vdupq_n_s8(OFFSET / 2));
            }
        }
    for (int v = 0; v < 4; ++v) {
        const int at = from + v * LANES;
        const int32x4_t y = scaled(acc[v], d.rounding.m + at + 4 * q, d.rounding.c + at + 2 * q, d.rounding);
        acc[v] = clamped(y, d.rounding.lo, d.rounding.hi);
    }
    alignas(16) uint8_t bytes[16];
    vst1q_u8(bytes, d.narrow.s ? narrowed(bytes_of(acc), d.narrow) : bytes_of(acc));
    for (int j = d.channels - first < 0 ? 0 : d.channels - first; j < some; ++j) bytes[j] = 0;
    std::memcpy(out + first, bytes, some);
}

void depthwise(const DepthwiseRow& d) {
    for (int p = 0; p < d.count; ++p)
        for (int from = 0; from < d.out_pixel; from += 64)
            for (int q = 0; q < 4 && from + 16 * q < d.out_pixel; ++q)
                depthwise16(d, d.in + int64_t{p} * d.in_pixel, d.out + int64_t{p} * d.out_pixel, from, q);
}

void narrow(const uint8_t* in, uint8_t* out, int64_t count, int n, int s) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) vst1q_u8(out + i, narrowed(vld1q_u8(in + i), {n, s}));
    plain_narrow(in, out, i, count, n, s);
}

void add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) vst1q_u8(out + i, residual16(vld1q_u8(a + i), vld1q_u8(b + i), k));
    plain_add(a, b, out, i, count, k);
}

void quantize(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count,
              const Quantization& q) {
    uint8_t squeeze[16], bytes[16];
    for (int i = 0; i < 16; ++i) squeeze[i] = static_cast<uint8_t>(i / pixel * 4 + i % pixel);
    const float32x4_t offset = vdupq_n_f32(static_cast<float>(q.zero));
    const float32x4_t most = vdupq_n_f32(static_cast<float>(q.highest));
    for (int64_t i = 0; i < count; i += 4) {
        const size_t some = count - i < 4 ? static_cast<size_t>(count - i) : 4;
        uint32x4_t pixels = vdupq_n_u32(0);
        for (int c = 0; c < channels; ++c) {
            float four[4] = {};
            std::memcpy(four, in + c * plane + i, 4 * some);
            float32x4_t v = vaddq_f32(vmulq_n_f32(vld1q_f32(four), q.gain[c]), vdupq_n_f32(q.bias[c]));
            v = vaddq_f32(vrndnq_f32(v), offset);
            v = vminq_f32(vmaxq_f32(v, vdupq_n_f32(0.0f)), most);
            pixels = vorrq_u32(pixels, vshlq_u32(vcvtq_u32_f32(v), vdupq_n_s32(8 * c)));
        }
        vst1q_u8(bytes, vqtbl1q_u8(vreinterpretq_u8_u32(pixels), vld1q_u8(squeeze)));
        std::memcpy(out + pixel * i, bytes, pixel * some);
    }
}

void maximum(const MaximumRow& m) {
    const auto load = [](const uint8_t* at) { return vld1q_u8(at); };
    const auto greater = [](uint8x16_t a, uint8x16_t b) { return vmaxq_u8(a, b); };
    for (int64_t p = 0; p < m.count; ++p) {
        int64_t c = 0;
        for (; c + 16 <= m.channels; c += 16)
            vst1q_u8(m.out + p * m.out_pixel + c, largest(m, m.in + p * m.in_pixel + c, vdupq_n_u8(0), load, greater));
        plain_maximum(m, p, c);
    }
}

// Four sums of products of four codes.
struct Four {
    static constexpr int LANES = 4;
    int32x4_t v;
    static Four load(const void* p) { return {vld1q_s32(static_cast<const int32_t*>(p))}; }
    static Four both(int32_t four) {
        return {vreinterpretq_s32_u8(prepared(vreinterpretq_u8_s32(vdupq_n_s32(four))))};
    }
    static Four add_products(Four acc, Four a, Four b) {
        return {dqt::dot(acc.v, vreinterpretq_s8_s32(b.v), vreinterpretq_u8_s32(a.v))};
    }
    Four plus(int32_t extra) const { return {vaddq_s32(v, vdupq_n_s32(extra))}; }
    void store(int32_t* p) const { vst1q_s32(p, v); }
};
constexpr ProductForm PRODUCTS[] = {{16, true, false, products<Four, 4, 4>, OFFSET}};

constexpr Kernels make(const char* name, bool (*usable)()) {
    Kernels k{name, {}, {}, depthwise, narrow, add, plain_table, quantize, usable, maximum, nullptr, true};
    k.integers = integer_kernels();
    k.clips = clip_kernels();
    k.rows = row_kernels(PRODUCTS);
    fill_blocks<12>(k, []<int V, bool, int ROWS>() -> BlockKernel { return block<V, ROWS>; });
    return k;
}

}  // namespace
}  // namespace dqt
