// The operators that are no layers: on bytes, pixel by pixel where the layout allows, else element by element.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "arith.h"
#include "executor.h"
#include "walk.h"

namespace dqt {
namespace {

constexpr int64_t INT32_LIMIT = int64_t{1} << 31;

// The strides of an operand that broadcasts to another.
Strides broadcast(const Tensor& t, const Tensor& to) { return {t, to.shape.size() - t.shape.size()}; }

// f(n, part) for every sample, split over the threads.
template <class F>
void each_sample(const Context& run, const F& f) {
    run.arena.threads.each([&](int t) {
        const Range range = split(run.count, t, run.arena.threads.count());
        for (int64_t n = range.first; n < range.last; ++n) f(n);
    });
}

// f(n, y) for every row of every sample of `t`, split over the threads.
template <class F>
void each_row(const Context& run, const Tensor& t, const F& f) {
    run.arena.threads.each([&](int part) {
        const Range range = split(run.count * t.height, part, run.arena.threads.count());
        for (int64_t i = range.first; i < range.last; ++i) f(i / t.height, i % t.height);
    });
}

bool same_layout(const Tensor& a, const Tensor& b) {
    return std::ranges::equal(a.shape, b.shape) && a.planar == b.planar;
}

// Zeros in what pads each of some pixels, side by side.
void clear_pads(const Tensor& t, uint8_t* p, int64_t pixels) {
    for (int64_t i = 0; i < pixels; ++i, p += t.pixel)
        for (int64_t c = t.channels; c < t.pixel; ++c) p[c] = 0;
}

}  // namespace

// The border is real zeros; lanes past the channels are 0 there, too.
void fill_border(const Tensor& t, int64_t n) {
    if (t.wide) return;
    const int64_t columns = t.columns();
    const auto pixels = [&](uint8_t* p, int64_t count) {
        std::memset(p, t.zero, count * t.pixel);
        if (t.zero != 0) clear_pads(t, p, count);
    };
    uint8_t* base = t.data + n * t.image;
    pixels(base, t.top * columns);
    pixels(base + (t.top + t.height) * t.row, t.bottom * columns);
    for (int64_t y = 0; y < t.height && t.left + t.right > 0; ++y) {
        uint8_t* row = base + (t.top + y) * t.row;
        pixels(row, t.left);
        pixels(row + (t.left + t.width) * t.pixel, t.right);
    }
}

void clear_padding(const Tensor& t, int64_t n) {
    for (int64_t y = 0; y < t.height; ++y) clear_pads(t, t.at(n, y, 0), t.width);
}

void copy_elements(const Tensor& from, const Tensor& to, int64_t n) {
    const uint8_t* p = from.at(n, 0, 0);
    uint8_t* q = to.at(n, 0, 0);
    const size_t bytes = from.element();
    each_element(from.shape, {{from}, {to}}, [&](const int64_t* at) { std::memcpy(q + at[1], p + at[0], bytes); });
}

void execute_quantize(const Context& run, const Quantize& op) {
    const Tensor& t = run.arena.values[op.out];
    const Value& value = run.program.values[op.out];
    const auto inverse = static_cast<float>(1 / value.step);
    const int highest = (1 << run.program.space.master) - 1;
    const int64_t size = t.size();
    if (quantizes_pixels(t)) {
        each_row(run, t, [&](int64_t n, int64_t y) {
            const float* in = run.x + n * size + y * t.width;
            run.kernels.quantize(in, t.height * t.width, static_cast<int>(t.channels), t.at(n, y, 0), t.pixel, t.width,
                                 inverse, t.zero, highest);
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const float* in = run.x + n * size;
        uint8_t* out = t.at(n, 0, 0);
        each_element(t.shape, {{t}}, [&](const int64_t* at) {
            float v = std::nearbyint(*in++ * inverse) + static_cast<float>(t.zero);
            v = v < 0.0f ? 0.0f : v > static_cast<float>(highest) ? static_cast<float>(highest) : v;
            out[at[0]] = static_cast<uint8_t>(v);
        });
    });
}

void execute_add(const Context& run, const Add& op) {
    const Tensor &a = run.arena.values[op.a], &b = run.arena.values[op.b], &out = run.arena.values[op.out];
    const bool fits = std::abs(op.k1) < INT32_LIMIT && std::abs(op.k2) < INT32_LIMIT;
    if (fits && same_layout(a, out) && same_layout(b, out)) {
        const Residual k{op.k1, op.k2, op.k3, op.shift, static_cast<int32_t>(op.lo), static_cast<int32_t>(op.hi)};
        const bool dense = out.pixel == out.channels;
        each_row(run, out, [&](int64_t n, int64_t y) {
            const int64_t pixels = dense ? 1 : out.width, count = dense ? out.width * out.channels : out.channels;
            for (int64_t x = 0; x < pixels; ++x) run.kernels.add(a.at(n, y, x), b.at(n, y, x), out.at(n, y, x), count, k);
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const uint8_t *p = a.at(n, 0, 0), *q = b.at(n, 0, 0);
        uint8_t* to = out.at(n, 0, 0);
        each_element(out.shape, {broadcast(a, out), broadcast(b, out), {out}}, [&](const int64_t* at) {
            const int64_t v = op.k1 * p[at[0]] + op.k2 * q[at[1]] + op.k3;
            to[at[2]] = static_cast<uint8_t>(dqt_clamp(v >> op.shift, op.lo, op.hi));
        });
    });
}

// A row of pixels, each channel times one number of its own: k1*p*q + k2*p + k3*q + k4 = (k1*q + k2)*p + (k3*q + k4).
void multiply_channels(const Tensor& a, const Tensor& out, const uint8_t* q, int64_t n, int64_t y, Multiply op) {
    constexpr int64_t SOME = 64;
    const int64_t lo = op.lo, hi = op.hi, shift = op.shift;
    for (int64_t first = 0; first < out.channels; first += SOME) {
        const int64_t count = std::min(SOME, out.channels - first);
        int64_t m[SOME], c[SOME];
        for (int64_t k = 0; k < count; ++k) {
            m[k] = op.k1 * q[first + k] + op.k2;
            c[k] = op.k3 * q[first + k] + op.k4;
        }
        for (int64_t x = 0; x < out.width; ++x) {
            const uint8_t* p = a.at(n, y, x) + first;
            uint8_t* to = out.at(n, y, x) + first;
            for (int64_t k = 0; k < count; ++k)
                to[k] = static_cast<uint8_t>(dqt_clamp((m[k] * p[k] + c[k]) >> shift, lo, hi));
        }
    }
}

void execute_multiply(const Context& run, const Multiply& op) {
    const Tensor &a = run.arena.values[op.a], &b = run.arena.values[op.b], &out = run.arena.values[op.out];
    const auto one = [k = op](int64_t p, int64_t q) {  // a copy: bytes that are stored might else be its own
        return static_cast<uint8_t>(dqt_clamp((k.k1 * p * q + k.k2 * p + k.k3 * q + k.k4) >> k.shift, k.lo, k.hi));
    };
    const auto gates = [&](const Tensor& gate, const Tensor& other) {  // SqueezeExcitation
        return out.planar && same_layout(other, out) && gate.planar && gate.channels == out.channels &&
               gate.height * gate.width == 1;
    };
    const bool second = gates(b, a);
    if (second || gates(a, b)) {
        const Tensor &gate = second ? b : a, &other = second ? a : b;
        Multiply k = op;
        if (!second) std::swap(k.k2, k.k3);
        each_row(run, out, [&](int64_t n, int64_t y) { multiply_channels(other, out, gate.at(n, 0, 0), n, y, k); });
        return;
    }
    if (out.planar && same_layout(a, out) && same_layout(b, out)) {
        each_row(run, out, [&](int64_t n, int64_t y) {
            for (int64_t x = 0; x < out.width; ++x) {
                const uint8_t *p = a.at(n, y, x), *q = b.at(n, y, x);
                uint8_t* to = out.at(n, y, x);
                for (int64_t c = 0; c < out.channels; ++c) to[c] = one(p[c], q[c]);
            }
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const uint8_t *p = a.at(n, 0, 0), *q = b.at(n, 0, 0);
        uint8_t* to = out.at(n, 0, 0);
        each_element(out.shape, {broadcast(a, out), broadcast(b, out), {out}},
                     [&](const int64_t* at) { to[at[2]] = one(p[at[0]], q[at[1]]); });
    });
}

void execute_rescale(const Context& run, const Rescale& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const Requant& r = op.requant;
    const bool single = r.m.data.size() == 1;
    const auto one = [&](uint8_t q, int64_t c) {
        const size_t k = single ? 0 : c;
        return static_cast<uint8_t>(dqt_requantize(q, r.m.data[k], r.c.data[k], r.shift, r.lo, r.hi));
    };
    if (out.planar && in.planar) {
        each_row(run, out, [&](int64_t n, int64_t y) {
            for (int64_t x = 0; x < out.width; ++x) {
                const uint8_t* p = in.at(n, y, x);
                uint8_t* to = out.at(n, y, x);
                for (int64_t c = 0; c < out.channels; ++c) to[c] = one(p[c], c);
            }
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const uint8_t* p = in.at(n, 0, 0);
        uint8_t* to = out.at(n, 0, 0);
        const int64_t inner = out.size() / out.shape[0];
        int64_t i = 0;
        each_element(out.shape, {{in}, {out}}, [&](const int64_t* at) { to[at[1]] = one(p[at[0]], i++ / inner); });
    });
}

namespace {

// f(size), where the size of an element is a constant: a single byte of a code, or an int32.
template <class F>
void by_element(const Tensor& t, const F& f) {
    t.wide ? f(std::integral_constant<size_t, sizeof(int32_t)>()) : f(std::integral_constant<size_t, 1>());
}

// Copies `shape` elements of `in`, from `from` on at `strides`, to `out` at `to`; both in bytes from their origins.
void copy(const Context& run, const Tensor& in, const Tensor& out, std::span<const int64_t> shape, int64_t from,
          const Strides& strides, int64_t to) {
    if (in.planar && out.planar && (shape[0] == 1 || strides[0] == in.element())) {
        const int64_t down = strides[1], across = strides[2];
        each_sample(run, [&](int64_t n) {
            for (int64_t y = 0; y < shape[1]; ++y)
                for (int64_t x = 0; x < shape[2]; ++x)
                    std::memcpy(out.at(n, y, x) + to, in.at(n, 0, 0) + from + y * down + x * across,
                                shape[0] * in.element());
        });
        return;
    }
    by_element(in, [&](auto bytes) {
        each_sample(run, [&](int64_t n) {
            const uint8_t* p = in.at(n, 0, 0) + from;
            uint8_t* q = out.at(n, 0, 0) + to;
            each_element(shape, {strides, {out}}, [&](const int64_t* at) { std::memcpy(q + at[1], p + at[0], bytes); });
        });
    });
}

}  // namespace

void execute_concat(const Context& run, const Concat& op) {
    const Tensor& out = run.arena.values[op.out];
    int64_t done = 0;
    for (const int x : op.xs) {
        const Tensor& in = run.arena.values[x];
        const int64_t to = done * out.stride(op.axis);
        if (out.planar && in.planar && op.axis != 0) {  // copy() counts rows and columns from the origin
            each_sample(run, [&](int64_t n) {
                each_element(in.shape, {{in}, {out}},
                             [&](const int64_t* at) { out.at(n, 0, 0)[to + at[1]] = in.at(n, 0, 0)[at[0]]; });
            });
        } else {
            copy(run, in, out, in.shape, 0, {in}, to);
        }
        done += in.shape[op.axis];
    }
}

// The taps of a window that lie inside, of `size` pixels: the first of them, how many, and the pixel that it reads.
struct Inside {
    int64_t pixel;
    int count;
    Inside(int64_t at, int kernel, int dilation, int64_t size) {
        const int64_t first = at < 0 ? (-at + dilation - 1) / dilation : 0;
        const int64_t end = at >= size ? 0 : std::min<int64_t>(kernel, (size - at + dilation - 1) / dilation);
        pixel = at + first * dilation;
        count = static_cast<int>(std::max<int64_t>(0, end - first));
    }
};

void execute_max_pool(const Context& run, const MaxPool& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const int64_t step = op.stride[1], reach = int64_t{op.kernel[1] - 1} * op.dilation[1];
    each_row(run, out, [&](int64_t n, int64_t y) {
        const Inside rows(y * op.stride[0] - op.padding[0], op.kernel[0], op.dilation[0], in.height);
        MaximumRow m{nullptr, op.dilation[0] * in.row, int64_t{op.dilation[1]} * in.pixel, step * in.pixel,
                     rows.count, 0, nullptr, out.pixel, out.channels, 0};
        for (int64_t x = 0; x < out.width; x += m.count) {
            const int64_t at = x * step - op.padding[2];
            const Inside columns(at, op.kernel[1], op.dilation[1], in.width);
            const bool whole = columns.count == op.kernel[1];  // as are those that follow, to the last that fits
            m.in = in.at(n, rows.pixel, columns.pixel);
            m.out = out.at(n, y, x);
            m.columns = columns.count;
            m.count = whole ? std::min((in.width - 1 - reach - at) / step + 1, out.width - x) : 1;
            run.kernels.maximum(m);
        }
    });
}

void execute_avg_pool(const Context& run, const AvgPool& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const Requant& r = op.requant;
    constexpr int64_t CHUNK = 64;
    constexpr int FIT = 257;  // bytes whose sum fits 16 bits
    each_row(run, out, [&](int64_t n, int64_t y) {
        for (int64_t x = 0; x < out.width; ++x) {
            const int64_t k = r.m.data.size() == 1 ? 0 : y * out.width + x;
            const int32_t *rows = op.rows.data.data() + 2 * y, *columns = op.columns.data.data() + 2 * x;
            const int64_t area = int64_t{rows[1] - rows[0]} * (columns[1] - columns[0]);
            for (int64_t first = 0; first < out.channels; first += CHUNK) {
                const int64_t some = std::min(CHUNK, out.channels - first);
                int64_t acc[CHUNK] = {};
                uint16_t part[CHUNK] = {};
                int fit = FIT;
                const auto gather = [&] {
                    for (int64_t c = 0; c < CHUNK; ++c) acc[c] += part[c], part[c] = 0;
                    fit = FIT;
                };
                for (int i = rows[0]; i < rows[1]; ++i)
                    for (int j = columns[0]; j < columns[1]; ++j) {
                        const uint8_t* p = in.at(n, i, j) + first;
                        for (int64_t c = 0; c < some; ++c) part[c] = static_cast<uint16_t>(part[c] + p[c]);
                        if (--fit == 0) gather();
                    }
                gather();
                uint8_t* to = out.at(n, y, x) + first;
                for (int64_t c = 0; c < some; ++c)
                    to[c] = static_cast<uint8_t>(
                        dqt_requantize(acc[c] - area * in.zero, r.m.data[k], r.c.data[k], r.shift, r.lo, r.hi));
            }
        }
    });
}

void look_up_pixels(const Kernels& kernels, const Tensor& t, const uint8_t* in, uint8_t* out, int64_t pixels,
                    const uint8_t* table) {
    if (t.pixel == t.channels) return kernels.table(in, out, pixels * t.channels, table);
    for (int64_t x = 0; x < pixels; ++x) kernels.table(in + x * t.pixel, out + x * t.pixel, t.channels, table);
}

void execute_table(const Context& run, const Table& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    uint8_t table[256] = {};
    std::copy(op.table.begin(), op.table.end(), table);
    if (same_layout(in, out)) {
        each_row(run, out, [&](int64_t n, int64_t y) {
            look_up_pixels(run.kernels, out, in.at(n, y, 0), out.at(n, y, 0), out.width, table);
        });
        return;
    }
    each_sample(run, [&](int64_t n) {
        const uint8_t* p = in.at(n, 0, 0);
        uint8_t* q = out.at(n, 0, 0);
        each_element(out.shape, {{in}, {out}}, [&](const int64_t* at) { q[at[1]] = table[p[at[0]]]; });
    });
}

void execute_reshape(const Context& run, const Reshape& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    const int64_t size = in.size();
    by_element(in, [&](auto bytes) {
        each_sample(run, [&](int64_t n) {
            uint8_t* to = out.at(n, 0, 0);
            const uint8_t* from = in.at(n, 0, 0);
            if (in.channels == size && out.channels == size) {
                std::memcpy(to, from, size * bytes);
                return;
            }
            Walk<1> there(out.shape, {{out}});
            each_element(in.shape, {{in}}, [&](const int64_t* at) {
                std::memcpy(to + there.at[0], from + at[0], bytes);
                there.next();
            });
        });
    });
}

void execute_slice(const Context& run, const Slice& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    int64_t from = 0;
    for (size_t d = 0; d < in.shape.size(); ++d) from += op.starts[d] * in.stride(d);
    copy(run, in, out, out.shape, from, {in, 0, op.steps.data()}, 0);
}

void execute_pad(const Context& run, const Pad& op) {
    const Tensor &in = run.arena.values[op.x], &out = run.arena.values[op.out];
    int64_t to = 0;
    for (size_t d = 0; d < out.shape.size(); ++d) to += op.before[d] * out.stride(d);
    each_sample(run, [&](int64_t n) {
        for (int64_t y = 0; y < out.height; ++y)
            for (int64_t x = 0; x < out.width; ++x) std::memset(out.at(n, y, x), out.zero, out.channels);
        const uint8_t* p = in.at(n, 0, 0);
        uint8_t* q = out.at(n, 0, 0) + to;
        if (in.planar && out.planar) {
            for (int64_t y = 0; y < in.height; ++y)
                for (int64_t x = 0; x < in.width; ++x)
                    std::memcpy(q + y * out.row + x * out.pixel, in.at(n, y, x), in.channels);
            return;
        }
        each_element(in.shape, {{in}, {out}}, [&](const int64_t* at) { q[at[1]] = p[at[0]]; });
    });
}

}  // namespace dqt
