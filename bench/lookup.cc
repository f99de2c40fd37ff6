// Two bits by two bits by table lookup, against the block kernel of vpdpbusd: a 3x3 convolution, 64 to 64 channels,
// 56x56 pixels, one thread. Three activations make a code of 6 bits that chooses 64 bytes of a table, three weights a
// place in them: the sum of three products. bench/lookup.py builds and runs this; it prints one line of JSON.
//
// The lookup is given an advantage: its activations are packed beforehand, and its sums are stored as they are, where
// the block kernel narrows weights, requantizes and packs.
#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <random>
#include <vector>

#include "../csrc/kernels.h"

namespace {

constexpr int SIDE = 56, CHANNELS = 64, CODES = 22, ROWS = 6, PIXELS = SIDE * SIDE, PADDED = SIDE + 2;
constexpr int DEPTH = 9 * CHANNELS, STEPS = 9 * CODES, FLUSH = 9;  // 9 * 27 fits a byte
constexpr double MACS = double{PIXELS} * DEPTH * CHANNELS;

using Bytes = std::vector<uint8_t>;

struct Case {
    Bytes image = Bytes(PADDED * PADDED * CHANNELS), codes = Bytes(PADDED * PADDED * CODES), out = Bytes(PIXELS * 64);
    std::vector<int8_t> panel = std::vector<int8_t>(DEPTH * 64 + 8192);  // [tap][depth / 4][4][16][4], bytes
    Bytes indices = Bytes(STEPS * 64 + 64), table = Bytes(64 * 64 + 64);
    std::vector<int> weight = std::vector<int>(DEPTH * 64);              // [tap][channel][dword of the panel]
    std::vector<int32_t> sums = std::vector<int32_t>(PIXELS * 64);
    uint8_t *aligned_table, *aligned_indices;

    Case() {
        std::mt19937 random(1);
        aligned_table = align(table);
        aligned_indices = align(indices);
        for (uint8_t& each : image) each = static_cast<uint8_t>(random() % 4 << 6);
        for (int i = 0; i < DEPTH * 64; ++i) {
            const int k = i / 64, at = i % 64;
            weight[i] = static_cast<int>(random() % 4) - 2;
            panel[(k / 4 * 64 + at) * 4 + k % 4] = static_cast<int8_t>(weight[i] * 64 + static_cast<int>(random() % 64));
        }
        for (int pixel = 0; pixel < PADDED * PADDED; ++pixel)
            for (int c = 0; c < CHANNELS; ++c)
                codes[pixel * CODES + c / 3] |= image[pixel * CHANNELS + c] >> 6 << 2 * (c % 3);
        for (int i = 0; i < DEPTH * 64; ++i) {
            const int tap = i / 64 / CHANNELS, c = i / 64 % CHANNELS;
            aligned_indices[(tap * CODES + c / 3) * 64 + i % 64] |= (weight[i] + 2) << 2 * (c % 3);
        }
        for (int code = 0; code < 64; ++code)
            for (int index = 0; index < 64; ++index)
                for (int g = 0; g < 6; g += 2) aligned_table[code * 64 + index] += (code >> g & 3) * (index >> g & 3);
    }
    static uint8_t* align(Bytes& bytes) {
        return reinterpret_cast<uint8_t*>((reinterpret_cast<uintptr_t>(bytes.data()) + 63) / 64 * 64);
    }
};

template <int ROWS>
void lookup(const uint8_t* const* rows, const uint8_t* table, const uint8_t* indices, int32_t* out) {
    const __m512i low = _mm512_set1_epi16(0xFF);
    __m512i even[ROWS] = {}, odd[ROWS] = {};
    for (int tap_row = 0; tap_row < 3; ++tap_row)
        for (int from = 0; from < 3 * CODES; from += FLUSH) {
            const int end = std::min(from + FLUSH, 3 * CODES);
            __m512i bytes[ROWS] = {};
            for (int k = from; k < end; ++k, indices += 64) {
                const __m512i index = _mm512_load_si512(indices);
#pragma GCC unroll 8
                for (int i = 0; i < ROWS; ++i) {
                    const uint8_t* entry = table + 64 * rows[i][tap_row * PADDED * CODES + k];
                    bytes[i] = _mm512_add_epi8(bytes[i], _mm512_permutexvar_epi8(index, _mm512_load_si512(entry)));
                }
            }
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; ++i) {
                even[i] = _mm512_add_epi16(even[i], _mm512_and_si512(bytes[i], low));
                odd[i] = _mm512_add_epi16(odd[i], _mm512_srli_epi16(bytes[i], 8));
            }
        }
    for (int i = 0; i < ROWS; ++i) {  // lanes 0, 2, ... then 1, 3, ...
        for (int half = 0; half < 2; ++half) {
            const __m512i words = half ? odd[i] : even[i];
            _mm512_storeu_si512(out + i * 64 + half * 32, _mm512_cvtepu16_epi32(_mm512_castsi512_si256(words)));
            _mm512_storeu_si512(out + i * 64 + half * 32 + 16, _mm512_cvtepu16_epi32(_mm512_extracti64x4_epi64(words, 1)));
        }
    }
}

void all_by_lookup(Case& c) {
    for (int p = 0; p + ROWS <= PIXELS; p += ROWS) {
        const uint8_t* rows[ROWS];
        for (int i = 0; i < ROWS; ++i) rows[i] = &c.codes[((p + i) / SIDE * PADDED + (p + i) % SIDE) * CODES];
        lookup<ROWS>(rows, c.aligned_table, c.aligned_indices, &c.sums[p * 64]);
    }
}

void all_by_blocks(Case& c) {
    static const std::vector<int32_t> zeros(64), m(64, 1 << 20);
    static const std::vector<int64_t> offsets(64, 1);
    const int32_t taps[] = {0, PADDED * CHANNELS, 2 * PADDED * CHANNELS};
    dqt::Block b{};
    b.taps = taps;
    b.tap_count = 3;
    b.depth = 3 * CHANNELS;
    b.panel = c.panel.data();
    b.mask = 0xC0C0C0C0;
    b.middle[0] = b.middle[1] = 0x1F201F20;
    b.start = zeros.data();
    b.rounding = {m.data(), offsets.data(), 32, 0, 255};
    b.columns = b.stored = 64;
    for (int p = 0; p + ROWS <= PIXELS; p += ROWS) {
        for (int i = 0; i < ROWS; ++i) {
            b.in[i] = &c.image[((p + i) / SIDE * PADDED + (p + i) % SIDE) * CHANNELS];
            b.out[i] = &c.out[(p + i) * 64];
        }
        dqt::kernels_avx512vnni.block[2][1][ROWS - 1](b);
    }
}

bool right(const Case& c) {  // the lookup's sums, of weights + 2
    for (int p = 0; p + ROWS <= PIXELS; p += 97)
        for (int at = 0; at < 64; ++at) {
            int sum = 0;
            for (int k = 0; k < DEPTH; ++k) {
                const int tap = k / CHANNELS, pixel = (p / SIDE + tap / 3) * PADDED + p % SIDE + tap % 3;
                sum += (c.image[pixel * CHANNELS + k % CHANNELS] >> 6) * (c.weight[k * 64 + at] + 2);
            }
            if (p < PIXELS / ROWS * ROWS && c.sums[p * 64 + at % 2 * 32 + at / 2] != sum) return false;
        }
    return true;
}

template <class F>
double microseconds(const F& f) {
    const auto began = std::chrono::steady_clock::now();
    f();
    return std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - began).count();
}

}  // namespace

int main() {
    if (!dqt::kernels_avx512vnni.usable()) return std::puts("needs AVX-512 VNNI and VBMI"), 1;
    Case c;
    all_by_lookup(c);
    if (!right(c)) return std::puts("the lookup is wrong"), 1;
    std::printf("{\"macs\": %.0f, \"block_us\": [", MACS);
    std::vector<double> block, by_table;
    for (int i = 0; i < 201; ++i) {
        block.push_back(microseconds([&] { all_by_blocks(c); }));
        by_table.push_back(microseconds([&] { all_by_lookup(c); }));
    }
    for (size_t i = 0; i < block.size(); ++i) std::printf("%s%.2f", i ? ", " : "", block[i]);
    std::printf("], \"lookup_us\": [");
    for (size_t i = 0; i < block.size(); ++i) std::printf("%s%.2f", i ? ", " : "", by_table[i]);
    std::puts("]}");
}
