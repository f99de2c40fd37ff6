// Plain loops for every processor, and the reference that the other kernels must equal.
#include <algorithm>
#include <cmath>

#include "plain.h"
#include "rows.h"

namespace dqt {
namespace {

template <int V, int ROWS>
void block(const Block& b) {
    int32_t acc[ROWS][V * LANES];
    for (auto& row : acc)
        for (int j = 0; j < V * LANES; ++j) row[j] = b.start[j];
    const int8_t* w = b.panel;
    for (int t = 0; t < b.tap_count; ++t) {
        const uint32_t middle = b.middle[t & 1];
        for (int k = 0; k < b.depth; k += 4, w += V * LANES * 4) {
            int8_t narrowed[V * LANES * 4];
            for (int j = 0; j < V * LANES * 4; ++j) {
                const int bits = 8 * (j & 3);
                narrowed[j] = static_cast<int8_t>((static_cast<uint8_t>(w[j]) & (b.mask >> bits)) | (middle >> bits));
            }
            for (int i = 0; i < ROWS; ++i) {
                const uint8_t* a = b.in[i] + b.taps[t] + k;
                for (int j = 0; j < V * LANES; ++j) {
                    int32_t sum = 0;
                    for (int l = 0; l < 4; ++l) sum += a[l] * narrowed[4 * j + l];
                    acc[i][j] = static_cast<int32_t>(static_cast<uint32_t>(acc[i][j]) + static_cast<uint32_t>(sum));
                }
            }
        }
    }
    const Rounding& r = b.rounding;
    for (int i = 0; i < ROWS; ++i)
        for (int v = 0; v < V; ++v)
            for (int lane = 0; lane < LANES; ++lane) {
                const int j = column(V, v, lane);
                if (j >= b.stored) continue;
                const int64_t c = r.c[v * LANES + (lane & 1) * 8 + lane / 2];
                const int32_t y = dqt_requantize(acc[i][v * LANES + lane], r.m[v * LANES + lane], c, r.shift, r.lo, r.hi);
                const int32_t value = j < b.columns ? y : 0;
                if (b.wide)
                    reinterpret_cast<int32_t*>(b.out[i])[j] = value;
                else if (b.residual && j < b.columns)
                    b.out[i][j] = with_residual(value, b.other[i][j], *b.residual);
                else
                    b.out[i][j] = static_cast<uint8_t>(value);
            }
}

void depthwise(const DepthwiseRow& d) {
    const int quads = (d.kernel_height + 3) / 4;
    const Rounding& r = d.rounding;
    for (int p = 0; p < d.count; ++p)
        for (int first = 0; first < d.out_pixel; first += 64)
            for (int v = 0; v < 4; ++v)
                for (int lane = 0; lane < LANES; ++lane) {
                    const int channel = first + column(4, v, lane), at = first + v * LANES + lane;
                    if (channel >= d.out_pixel) continue;
                    const int8_t* w = d.weight + int64_t{first} * d.kernel_width * quads * 4;
                    int32_t acc = d.start[at];
                    for (int j = 0; j < d.kernel_width; ++j)
                        for (int i = 0; i < d.kernel_height; ++i) {
                            const uint8_t bits = static_cast<uint8_t>(
                                w[(((j * quads + i / 4) * 4 + v) * LANES + lane) * 4 + i % 4]);
                            const auto narrowed = static_cast<int8_t>((bits & d.mask) | (d.middle[j & 1] >> 8 * (i % 4)));
                            acc += d.in[int64_t{p} * d.in_pixel + i * d.in_row + j * d.in_column + channel] * narrowed;
                        }
                    const int64_t c = r.c[first + v * LANES + (lane & 1) * 8 + lane / 2];
                    const int32_t y = dqt_requantize(acc, r.m[at], c, r.shift, r.lo, r.hi);
                    d.out[int64_t{p} * d.out_pixel + channel] = static_cast<uint8_t>(channel < d.channels ? y : 0);
                }
}

void narrow(const uint8_t* in, uint8_t* out, int64_t count, int n, int s) { plain_narrow(in, out, 0, count, n, s); }

void add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k) {
    plain_add(a, b, out, 0, count, k);
}

void quantize(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count,
              const Quantization& q) {
    const auto highest = static_cast<float>(q.highest);
    for (int64_t i = 0; i < count; ++i)
        for (int c = 0; c < pixel; ++c) {
            float v = 0;
            if (c < channels) {
                const float product = in[c * plane + i] * q.gain[c];
                v = std::nearbyint(product + q.bias[c]) + static_cast<float>(q.zero);
            }
            out[pixel * i + c] = static_cast<uint8_t>(std::clamp(v, 0.0f, highest));
        }
}

void maximum(const MaximumRow& m) {
    for (int64_t p = 0; p < m.count; ++p) plain_maximum(m, p, 0);
}

bool usable() { return true; }

constexpr Kernels make() {
    Kernels k{"portable", {}, {}, depthwise, narrow, add, plain_table, quantize, usable, maximum};
    k.integers = integer_kernels();
    k.clips = clip_kernels();
    k.rows = row_kernels();
    fill_blocks<4>(k, []<int V, bool, int ROWS>() -> BlockKernel { return block<V, ROWS>; });
    return k;
}

}  // namespace

constinit const Kernels kernels_portable = make();

}  // namespace dqt
