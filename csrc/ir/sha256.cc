#include "sha256.h"

#include <algorithm>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace dqt::ir {
namespace {

constexpr uint32_t kRound[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

#if defined(__x86_64__)
// Whether the processor has SHA-256's own instructions: several times as fast.
bool has_instructions() {
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    return (b >> 29 & 1) && __builtin_cpu_supports("sse4.1");
}

// The state as the instructions want it: (f, e, b, a) and (h, g, d, c), from the lowest lane.
__attribute__((target("sha,sse4.1"))) void blocks_by_instructions(uint32_t* state, const uint8_t* bytes, size_t count) {
    auto* at = reinterpret_cast<__m128i*>(state);
    const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0b, 0x0405060700010203);
    const __m128i abcd = _mm_shuffle_epi32(_mm_loadu_si128(at), 0xB1);
    const __m128i efgh = _mm_shuffle_epi32(_mm_loadu_si128(at + 1), 0x1B);
    __m128i x = _mm_alignr_epi8(abcd, efgh, 8), y = _mm_blend_epi16(efgh, abcd, 0xF0);
    for (; count > 0; --count, bytes += 64) {
        const __m128i x_before = x, y_before = y;
        __m128i w[4];  // the last sixteen words of the schedule
        for (int i = 0; i < 16; ++i) {
            __m128i &now = w[i % 4], &next = w[(i + 1) % 4], &third = w[(i + 2) % 4], &last = w[(i + 3) % 4];
            if (i < 4)
                now = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(bytes) + i), big_endian);
            else
                now = _mm_sha256msg2_epu32(
                    _mm_add_epi32(_mm_sha256msg1_epu32(now, next), _mm_alignr_epi8(last, third, 4)), last);
            const __m128i k = _mm_add_epi32(now, _mm_loadu_si128(reinterpret_cast<const __m128i*>(kRound) + i));
            y = _mm_sha256rnds2_epu32(y, x, k);
            x = _mm_sha256rnds2_epu32(x, y, _mm_shuffle_epi32(k, 0x0E));
        }
        x = _mm_add_epi32(x, x_before);
        y = _mm_add_epi32(y, y_before);
    }
    const __m128i feba = _mm_shuffle_epi32(x, 0x1B), dchg = _mm_shuffle_epi32(y, 0xB1);
    _mm_storeu_si128(at, _mm_blend_epi16(feba, dchg, 0xF0));
    _mm_storeu_si128(at + 1, _mm_alignr_epi8(dchg, feba, 8));
}
#endif

}  // namespace

void Sha256::blocks(const uint8_t* bytes, size_t count) {
#if defined(__x86_64__)
    static const bool own = has_instructions();
    if (own) return blocks_by_instructions(state_.data(), bytes, count);
#endif
    for (; count > 0; --count, bytes += 64) block(bytes);
}

void Sha256::block(const uint8_t* bytes) {
    uint32_t w[64];
    for (int i = 0; i < 16; ++i) {
        const uint8_t* p = bytes + 4 * i;
        w[i] = uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | p[3];
    }
    for (int i = 16; i < 64; ++i) {
        uint32_t a = std::rotr(w[i - 15], 7) ^ std::rotr(w[i - 15], 18) ^ (w[i - 15] >> 3);
        uint32_t b = std::rotr(w[i - 2], 17) ^ std::rotr(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w[i] = w[i - 16] + a + w[i - 7] + b;
    }
    auto [a, b, c, d, e, f, g, h] = state_;
    for (int i = 0; i < 64; ++i) {
        uint32_t mixed = (std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25)) + ((e & f) ^ (~e & g));
        uint32_t up = h + mixed + kRound[i] + w[i];
        uint32_t down = (std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
        h = g, g = f, f = e, e = d + up, d = c, c = b, b = a, a = up + down;
    }
    const uint32_t now[8] = {a, b, c, d, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) state_[i] += now[i];
}

void Sha256::update(const void* data, size_t size) {
    auto* bytes = static_cast<const uint8_t*>(data);
    size_t held = length_ % 64;
    length_ += size;
    if (held) {
        size_t taken = std::min(size, 64 - held);
        if (taken) std::memcpy(rest_.data() + held, bytes, taken);
        if (held + taken < 64) return;
        blocks(rest_.data(), 1);
        bytes += taken, size -= taken;
    }
    blocks(bytes, size / 64);
    if (size % 64) std::memcpy(rest_.data(), bytes + size / 64 * 64, size % 64);
}

std::string Sha256::hex() {
    uint64_t bits = length_ * 8;
    uint8_t end[72] = {0x80};
    size_t padding = (length_ % 64 < 56 ? 56 : 120) - length_ % 64;
    for (int i = 0; i < 8; ++i) end[padding + static_cast<size_t>(i)] = static_cast<uint8_t>(bits >> (56 - 8 * i));
    update(end, padding + 8);
    std::string out;
    for (uint32_t word : state_) {
        for (int shift = 28; shift >= 0; shift -= 4) out.push_back("0123456789abcdef"[(word >> shift) & 15]);
    }
    return out;
}

}  // namespace dqt::ir
