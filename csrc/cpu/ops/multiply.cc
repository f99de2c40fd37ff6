#include "../../arith.h"
#include "../rows.h"

namespace dqt {
namespace {

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

}  // namespace

void execute(const Context& run, const Multiply& op) {
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

}  // namespace dqt
