// Random numbers and plain formulas for kernels_test.cc: what a kernel should give, written without a thought of speed.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "../cpu/kernels.h"

namespace dqt {
namespace {

using Codes = std::vector<uint8_t>;

constexpr int GUARD = 64;
constexpr uint8_t UNTOUCHED = 0xA5;

uint64_t drawn = 1;  // the state of SplitMix64

int64_t pick(int64_t lo, int64_t hi) {
    uint64_t x = drawn += 0x9E3779B97F4A7C15;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9;
    x = (x ^ x >> 27) * 0x94D049BB133111EB;
    x ^= x >> 31;
    const auto count = static_cast<unsigned __int128>(static_cast<uint64_t>(hi) - static_cast<uint64_t>(lo)) + 1;
    return static_cast<int64_t>(static_cast<uint64_t>(lo) + static_cast<uint64_t>(count * x >> 64));
}
int integer(int lo, int hi) { return static_cast<int>(pick(lo, hi)); }
bool chance(int percent) { return pick(1, 100) <= percent; }
template <class T>
T one_of(std::initializer_list<T> values) {
    return values.begin()[pick(0, static_cast<int64_t>(values.size()) - 1)];
}

// Random numbers, or extremes that saturate whatever can saturate.
template <class T>
std::vector<T> numbers(int64_t count, int lo, int hi) {
    std::vector<T> result(count);
    const int style = static_cast<int>(pick(0, 4));
    for (T& each : result) {
        each = static_cast<T>(style == 0 ? hi : style == 1 ? lo : pick(lo, hi));
        if (style == 2 && chance(90)) each = static_cast<T>(chance(50) ? lo : hi);
    }
    return result;
}

// The sum of a[k] * b[step * k]. It is most of what the test computes, and nothing that a sanitizer is asked about.
template <class A, class B>
[[gnu::no_sanitize_address]] int64_t sum_of_products(const A* a, const B* b, int64_t step, int64_t count) {
    int64_t sum = 0;
    for (int64_t k = 0; k < count; ++k) sum += int64_t{a[k]} * b[step * k];
    return sum;
}

int64_t clamp(__int128 v, int64_t lo, int64_t hi) { return static_cast<int64_t>(v < lo ? lo : v > hi ? hi : v); }

// The nearest multiple of 2^s that n bits hold, ties upwards.
int64_t nearest(int64_t q, int n, int s) {
    const auto code = static_cast<int64_t>(std::floor(std::ldexp(static_cast<double>(q), -s) + (s ? 0.5 : 0.0)));
    return std::min<int64_t>(code, (1 << (n - s)) - 1) << s;
}

int64_t rounded(int64_t acc, int64_t m, int64_t c, int shift, int64_t lo, int64_t hi) {
    return clamp((static_cast<__int128>(acc) * m + c) >> shift, lo, hi);
}

[[noreturn]] void fail(const Kernels& k, const std::string& what, int64_t at, int64_t got, int64_t expected) {
    std::printf("%s: %s: element %lld is %lld, expected %lld\n", k.name, what.c_str(), static_cast<long long>(at),
                static_cast<long long>(got), static_cast<long long>(expected));
    std::exit(1);
}

void equal(const Kernels& k, const std::string& what, const Codes& got, const Codes& expected) {
    for (size_t i = 0; i < got.size(); ++i)
        if (got[i] != expected[i]) fail(k, what, static_cast<int64_t>(i), got[i], expected[i]);
}

// How codes are stored: as they are, or T_b of n bits, which are often fewer than those of the codes.
Narrow random_narrow() {
    const int s = std::max(0, integer(-7, 7));
    return {s == 0 || chance(50) ? 8 : integer(s + 1, 8), s};
}

// How weights are narrowed: mask, the two middles, and T_b of lane l at a tap of either parity.
struct NarrowWeights {
    uint32_t mask = 0xFFFFFFFF, middle[2] = {};
    Clip clip{-128, 127, 0, 0xFF};

    explicit NarrowWeights(int s) {
        if (s == 0) return;
        const uint32_t even = 1u << (s - 1), odd = even - 1, style = static_cast<uint32_t>(pick(0, 2));
        mask = (0xFFu << s & 0xFF) * 0x01010101u;
        const uint32_t rows = even | odd << 8 | even << 16 | odd << 24;
        const uint32_t others = odd | even << 8 | odd << 16 | even << 24;
        middle[0] = style == 2 ? even * 0x01010101u : rows;
        middle[1] = style == 2 ? odd * 0x01010101u : style == 1 ? others : rows;
    }
    // They read a part 2^-e of the range, or take the nearest rule.
    void read(int e, bool nearest) {
        const int s = 8 - __builtin_popcount(mask & 0xFF), half = 128 >> e, one = nearest ? 1 << s : 1;
        clip = {-half, half - one, one >> 1, 0xFF};
        if (nearest) middle[0] = middle[1] = 0;
    }
    int of(int8_t weight, int parity, int lane) const {
        const int w = std::clamp<int>(weight, clip.lo, clip.hi) + clip.add;
        const uint32_t bits = (static_cast<uint8_t>(w) & (mask & 0xFF)) | (middle[parity & 1] >> 8 * lane & 0xFF);
        return static_cast<int8_t>(bits);
    }
};

// m, c, shift and limits for `lanes` accumulators up to `most`.
struct Scale {
    std::vector<int32_t> m;
    std::vector<int64_t> c;
    int shift, lo, hi;

    Scale(int64_t lanes, int64_t most, bool wide) : m(lanes), c(lanes) {
        shift = chance(50) ? 32 : static_cast<int>(pick(1, 32));  // what the verifier lets pass
        const bool tame = chance(75);
        const double unit = std::ldexp(1.0, shift) * (wide ? 1e8 : 400.0) / static_cast<double>(most);
        for (int64_t i = 0; i < lanes; ++i) {
            const double factor = static_cast<double>(pick(-1000, 1000)) / 1000 * unit;
            const auto least = static_cast<int64_t>(INT32_MIN), largest = static_cast<int64_t>(INT32_MAX);
            m[i] = static_cast<int32_t>(tame ? std::clamp(factor, -2147483648.0, 2147483647.0) : pick(least, largest));
            const int64_t range = tame ? int64_t{512} << shift : int64_t{1} << 61;
            c[i] = pick(-range, range);
        }
        lo = static_cast<int>(wide ? (chance(50) ? INT32_MIN : pick(-100000, 0)) : one_of({0, 0, 3, 128}));
        hi = static_cast<int>(wide ? (chance(50) ? INT32_MAX : pick(0, 100000)) : one_of({255, 255, 15, 200, 128}));
        hi = std::max(lo, hi);
    }
    Rounding rounding() const { return {m.data(), c.data(), shift, lo, hi}; }
    // Of lane `lane` of the 16 from `at` on.
    int64_t operator()(int64_t acc, int64_t at, int lane) const {
        return rounded(acc, m[at + lane], c[at + lane % 2 * 8 + lane / 2], shift, lo, hi);
    }
};

Residual random_residual() {
    const auto shift = static_cast<int32_t>(pick(chance(50) ? 16 : 1, 32));
    const int64_t most = chance(75) ? std::min<int64_t>(int64_t{1} << shift, INT32_MAX) : INT32_MAX;
    const int64_t k1 = pick(-most, most), k2 = pick(-most, most);
    const int64_t k3 = pick(-(int64_t{256} << shift), int64_t{256} << shift);
    const int lo = one_of({0, 0, 5}), hi = one_of({255, 255, 15, 100});
    return {k1, k2, k3, shift, lo, hi};
}

int64_t residual_of(int64_t r, int64_t b, const Residual& k) {
    return clamp((static_cast<__int128>(k.k1) * r + static_cast<__int128>(k.k2) * b + k.k3) >> k.shift, k.lo, k.hi);
}

}  // namespace
}  // namespace dqt
