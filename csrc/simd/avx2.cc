// AVX2, exact: vpmaddubsw saturates at 16 bits, so it multiplies only weights that are too narrow for that.
//
// Weights of all 8 bits, and the activations, are widened to 16 bits and multiplied by vpmaddwd. Narrowed weights lose
// their low s bits first, w = 2^s (w >> s) + middle: pairs of products of w >> s fit 16 bits, 2^(s-1) of them added fit
// too, the factor 2^s comes with their addition to 32 bits, and sum a * middle is one number for all columns.
#if defined(__x86_64__)
#include <utility>

#include "avx2.h"
#include "chunks.h"
#include "plain.h"

namespace dqt {
namespace {

constexpr int VECTOR_BYTES = 64;  // weights of one step and one vector: two registers

// V vectors, each of two registers, as bytes in the order of their columns, clamped.
template <int V>
inline void pack(const __m256i* y, uint8_t* out, const Rounding& r) {
    if constexpr (V == 4) {
        for (int h = 0; h < 2; ++h) {
            const __m256i words = _mm256_packs_epi32(y[h], y[2 + h]), others = _mm256_packs_epi32(y[4 + h], y[6 + h]);
            save(out + 32 * h, clamp_bytes(_mm256_packus_epi16(words, others), r.lo, r.hi));
        }
    } else if constexpr (V == 2) {
        const __m256i words = _mm256_packs_epi32(y[0], y[2]), others = _mm256_packs_epi32(y[1], y[3]);
        const __m256i mixed = _mm256_packus_epi16(words, others);
        save(out, clamp_bytes(_mm256_permute4x64_epi64(mixed, 0xD8), r.lo, r.hi));
    } else {
        save(out, clamp_bytes(bytes_of(y[0], y[1], y[0], y[1]), r.lo, r.hi));  // its first 16 bytes
    }
}

template <int V>
void store_wide(const Block& b, int i, const __m256i* y) {
    alignas(32) int32_t values[V * LANES];
    const __m256i lo = _mm256_set1_epi32(b.rounding.lo), hi = _mm256_set1_epi32(b.rounding.hi);
    for (int v = 0; v < 2 * V; ++v) save(values + 8 * v, _mm256_min_epi32(_mm256_max_epi32(y[v], lo), hi));
    auto* out = reinterpret_cast<int32_t*>(b.out[i]);
    for (int v = 0; v < V; ++v)
        for (int lane = 0; lane < LANES; ++lane) {
            const int j = column(V, v, lane);
            if (j < b.stored) out[j] = j < b.columns ? values[v * LANES + lane] : 0;
        }
}

// Requantizes and stores row i; `extra` is still to be added to all its accumulators.
template <int V>
void store(const Block& b, int i, const int32_t* acc, int32_t extra) {
    const Rounding& r = b.rounding;
    __m256i y[2 * V];
    for (int v = 0; v < 2 * V; ++v) {
        const __m256i sum = _mm256_add_epi32(load(acc + 8 * v), _mm256_set1_epi32(extra));
        y[v] = scaled(sum, r.m + 8 * v, r.c + v / 2 * LANES + v % 2 * 4, r);
    }
    if (b.wide) return store_wide<V>(b, i, y);
    alignas(32) uint8_t bytes[V == 1 ? 32 : V * LANES], copy[V * LANES];
    pack<V>(y, bytes, r);
    if (b.residual) {
        const uint8_t* other = b.other[i];
        if (b.columns < V * LANES) {
            std::memset(copy, 0, sizeof copy);
            other = static_cast<const uint8_t*>(std::memcpy(copy, other, b.columns));
        }
        for (int j = 0; j < V * LANES; j += 16) {
            const __m256i low = residual8(codes8(bytes + j), codes8(other + j), *b.residual);
            const __m256i high = residual8(codes8(bytes + j + 8), codes8(other + j + 8), *b.residual);
            const __m256i sixteen = bytes_of(low, high, low, high);
            _mm_storeu_si128(reinterpret_cast<__m128i*>(bytes + j), _mm256_castsi256_si128(sixteen));
        }
    }
    if (b.narrow.s)
        for (size_t j = 0; j < sizeof bytes; j += 32) save(bytes + j, narrowed(load(bytes + j), b.narrow));
    if (b.stored == V * LANES && b.columns == b.stored) {
        std::memcpy(b.out[i], bytes, V * LANES);
    } else {
        if (b.columns < b.stored) std::memset(bytes + b.columns, 0, b.stored - b.columns);
        std::memcpy(b.out[i], bytes, b.stored);
    }
}

// What the products of one vector and up to 4 rows read and add to.
struct Part {
    const __m256i* weight;  // [step][2], or widened [step][2][even, odd]
    int steps;
    int32_t* acc;           // of the first row, and from row to row
    int acc_row;
};

struct Widened {
    alignas(32) int32_t even[MAX_ROWS][STEPS], odd[MAX_ROWS][STEPS];
};

// Codes and weights of 16 bits.
template <int R>
void products(const Part& p, const Widened& a, int row) {
    __m256i acc[R][2];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) acc[i][h] = load(p.acc + i * p.acc_row + 8 * h);
    const __m256i* w = p.weight;
    for (int s = 0; s < p.steps; ++s, w += 4) {
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) {
            const __m256i even = _mm256_set1_epi32(a.even[row + i][s]), odd = _mm256_set1_epi32(a.odd[row + i][s]);
            acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(even, w[0]));
            acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(even, w[2]));
            acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(odd, w[1]));
            acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(odd, w[3]));
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(p.acc + i * p.acc_row + 8 * h, acc[i][h]);
}

// Codes of 8 bits and weights of 8 - s, s >= 1; JOINED steps (a divisor of 2^(s-1)) are added in 16 bits.
template <int R, int JOINED>
void products(const Part& p, const Chunk& a, int row, __m256i unit) {
    __m256i acc[R][2];
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) acc[i][h] = load(p.acc + i * p.acc_row + 8 * h);
    const __m256i* w = p.weight;
    for (int s = 0; s < p.steps; s += JOINED, w += 2 * JOINED) {
#pragma GCC unroll 2
        for (int h = 0; h < 2; ++h) {
            __m256i weight[JOINED];
            for (int j = 0; j < JOINED; ++j) weight[j] = w[2 * j + h];
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i) {
                const uint8_t* in = a.in[row + i] + 4 * s;
                // Codes are read anew for each half: kept, they would drive the accumulators out of the registers.
                asm volatile("" ::: "memory");
                __m256i pairs = _mm256_maddubs_epi16(broadcast4(in), weight[0]);
#pragma GCC unroll 4
                for (int j = 1; j < JOINED; ++j)
                    pairs = _mm256_add_epi16(pairs, _mm256_maddubs_epi16(broadcast4(in + 4 * j), weight[j]));
                acc[i][h] = _mm256_add_epi32(acc[i][h], _mm256_madd_epi16(pairs, unit));
            }
        }
    }
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(p.acc + i * p.acc_row + 8 * h, acc[i][h]);
}

template <class Each>
inline void by_rows(int rows, const Each& each) {
    int i = 0;
    for (; i + 4 <= rows; i += 4) each(std::integral_constant<int, 4>(), i);
    if (rows - i == 3) each(std::integral_constant<int, 3>(), i);
    if (rows - i == 2) each(std::integral_constant<int, 2>(), i);
    if (rows - i == 1) each(std::integral_constant<int, 1>(), i);
}

template <int V>
void full_chunk(const Chunk& chunk, const int8_t* panel, int rows, int32_t (*acc)[V * LANES]) {
    Widened a;
    for (int i = 0; i < rows; ++i)
        for (int s = 0; s < chunk.steps; s += 8) {
            const __m256i x = load(chunk.in[i] + 4 * s);
            save(a.even[i] + s, even_codes(x));
            save(a.odd[i] + s, odd_codes(x));
        }
    __m256i weight[STEPS * 4];
    for (int v = 0; v < V; ++v) {
        for (int s = 0; s < chunk.steps; ++s)
            for (int h = 0; h < 2; ++h) {
                const __m256i w = load(panel + (s * V + v) * VECTOR_BYTES + 32 * h);
                weight[4 * s + 2 * h] = even_weights(w);
                weight[4 * s + 2 * h + 1] = odd_weights(w);
            }
        by_rows(rows, [&](auto count, int i) {
            products<count>({weight, chunk.steps, acc[i] + v * LANES, V * LANES}, a, i);
        });
    }
}

template <int V, int JOINED>
void narrowed_chunk(const Chunk& chunk, const int8_t* panel, int rows, int32_t (*acc)[V * LANES], int s) {
    const __m128i count = _mm_cvtsi32_si128(s);
    const __m256i keep = _mm256_set1_epi8(static_cast<char>(0xFF >> s));
    const __m256i sign = _mm256_set1_epi8(static_cast<char>(0x80 >> s));
    const __m256i unit = _mm256_set1_epi16(static_cast<int16_t>(1 << s));
    __m256i weight[STEPS * 2];
    for (int v = 0; v < V; ++v) {
        int step = 0;
        for (; step < chunk.steps; ++step)
            for (int h = 0; h < 2; ++h) {
                const __m256i w = load(panel + (step * V + v) * VECTOR_BYTES + 32 * h);
                const __m256i code = _mm256_and_si256(_mm256_srl_epi16(w, count), keep);
                weight[2 * step + h] = _mm256_sub_epi8(_mm256_xor_si256(code, sign), sign);
            }
        for (; step % JOINED != 0; ++step) weight[2 * step] = weight[2 * step + 1] = _mm256_setzero_si256();
        by_rows(rows, [&](auto count, int i) {
            products<count, JOINED>({weight, step, acc[i] + v * LANES, V * LANES}, chunk, i, unit);
        });
    }
}

// Sum a * middle over a chunk.
int32_t middle_sum(const Chunk& chunk, int row) {
    __m256i sum = _mm256_setzero_si256();
    for (int s = 0; s < chunk.steps; s += 8) {
        const __m256i pairs = _mm256_maddubs_epi16(load(chunk.in[row] + 4 * s), load(chunk.middle + s));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    alignas(32) int32_t lanes[8];
    save(lanes, sum);
    int32_t total = 0;
    for (const int32_t lane : lanes) total += lane;
    return total;
}

template <int V, bool NARROWED>
__attribute__((noinline)) void run(const Block& b, int rows) {
    alignas(32) int32_t acc[MAX_ROWS][V * LANES];
    int32_t extra[MAX_ROWS] = {};
    for (int i = 0; i < rows; ++i) std::memcpy(acc[i], b.start, sizeof acc[i]);
    const int s = NARROWED ? __builtin_ctz(b.mask) : 0;
    Chunks chunks(b, rows);
    Chunk chunk;
    for (const int8_t* w = b.panel; chunks.next(chunk); w += int64_t{chunk.steps} * V * VECTOR_BYTES) {
        if constexpr (NARROWED) {
            for (int i = 0; i < rows; ++i) extra[i] += middle_sum(chunk, i);
            if (s == 1) narrowed_chunk<V, 1>(chunk, w, rows, acc, s);
            if (s == 2) narrowed_chunk<V, 2>(chunk, w, rows, acc, s);
            if (s >= 3) narrowed_chunk<V, 4>(chunk, w, rows, acc, s);
        } else {
            full_chunk<V>(chunk, w, rows, acc);
        }
    }
    for (int i = 0; i < rows; ++i) store<V>(b, i, acc[i], extra[i]);
}

template <int V, bool NARROWED, int ROWS>
void block(const Block& b) {
    run<V, NARROWED>(b, ROWS);
}

// 32 channels, half h of a block of 64, of one output row: weights prepared for as many quads of rows as fit.
class Depthwise {
  public:
    Depthwise(const DepthwiseRow& d, int from, int half)
        : d_(d), from_(from), half_(half), quads_((d.kernel_height + 3) / 4), total_(d.kernel_width * quads_),
          channels_(d.out_pixel - from - 32 * half < 32 ? d.out_pixel - from - 32 * half : 32) {}

    void run() {
        for (int p = 0; p < d_.count; ++p) {
            __m256i acc[4];
            for (int v = 0; v < 4; ++v) acc[v] = load(d_.start + from_ + v * LANES + 8 * half_);
            for (int first = 0; first < total_; first += MOST) {
                const int last = first + MOST < total_ ? first + MOST : total_;
                if (p == 0 || total_ > MOST) prepare(first, last);
                for (int q = first; q < last; ++q) add(p, q, weight_ + (q - first) * 8, acc);
            }
            store(p, acc);
        }
    }

  private:
    static constexpr int MOST = 16;

    void prepare(int first, int last) {
        const __m256i mask = _mm256_set1_epi32(static_cast<int>(d_.mask));
        const int8_t* from = d_.weight + int64_t{from_} * total_ * 4 + 32 * half_;
        for (int q = first; q < last; ++q)
            for (int v = 0; v < 4; ++v) {
                const __m256i middle = _mm256_set1_epi32(static_cast<int>(d_.middle[q / quads_ & 1]));
                const __m256i all = load(from + (q * 4 + v) * VECTOR_BYTES);
                const __m256i w = _mm256_or_si256(_mm256_and_si256(all, mask), middle);
                weight_[(q - first) * 8 + 2 * v] = even_weights(w);
                weight_[(q - first) * 8 + 2 * v + 1] = odd_weights(w);
            }
    }

    // Up to four rows of a tap column, interleaved so that each dword holds one channel's rows.
    void add(int p, int q, const __m256i* w, __m256i* acc) const {
        const int row = q % quads_ * 4;
        const uint8_t* in = d_.in + int64_t{p} * d_.in_pixel + int64_t{q / quads_} * d_.in_column + row * d_.in_row +
                            from_ + 32 * half_;
        __m256i r[4];
        for (int i = 0; i < 4; ++i)
            r[i] = row + i < d_.kernel_height ? some(in + i * d_.in_row) : _mm256_setzero_si256();
        const __m256i a = _mm256_unpacklo_epi8(r[0], r[1]), b = _mm256_unpackhi_epi8(r[0], r[1]);
        const __m256i c = _mm256_unpacklo_epi8(r[2], r[3]), d = _mm256_unpackhi_epi8(r[2], r[3]);
        const __m256i x[4] = {_mm256_unpacklo_epi16(a, c), _mm256_unpackhi_epi16(a, c), _mm256_unpacklo_epi16(b, d),
                              _mm256_unpackhi_epi16(b, d)};
        for (int v = 0; v < 4; ++v) {
            acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(even_codes(x[v]), w[2 * v]));
            acc[v] = _mm256_add_epi32(acc[v], _mm256_madd_epi16(odd_codes(x[v]), w[2 * v + 1]));
        }
    }

    __m256i some(const uint8_t* p) const {
        if (channels_ == 32) return load(p);
        alignas(32) uint8_t bytes[32] = {};
        std::memcpy(bytes, p, channels_);
        return load(bytes);
    }

    void store(int p, const __m256i* acc) const {
        const Rounding& r = d_.rounding;
        __m256i y[4];
        for (int v = 0; v < 4; ++v) {
            const int at = from_ + v * LANES;
            y[v] = scaled(acc[v], r.m + at + 8 * half_, r.c + at + 4 * half_, r);
        }
        const __m256i words = _mm256_packs_epi32(y[0], y[1]), others = _mm256_packs_epi32(y[2], y[3]);
        __m256i bytes = clamp_bytes(_mm256_packus_epi16(words, others), r.lo, r.hi);
        if (d_.narrow.s) bytes = narrowed(bytes, d_.narrow);
        const int first = from_ + 32 * half_, real = d_.channels - first;
        uint8_t* out = d_.out + int64_t{p} * d_.out_pixel + first;
        if (channels_ == 32 && real >= 32) return save(out, bytes);
        alignas(32) uint8_t each[32];
        save(each, bytes);
        for (int j = 0; j < channels_; ++j) out[j] = j < real ? each[j] : 0;
    }

    const DepthwiseRow& d_;
    const int from_, half_, quads_, total_, channels_;
    __m256i weight_[MOST * 8];  // [quad][vector][even, odd]
};

void depthwise(const DepthwiseRow& d) {
    for (int from = 0; from < d.out_pixel; from += 64)
        for (int half = 0; half < 2 && from + 32 * half < d.out_pixel; ++half) Depthwise(d, from, half).run();
}

void narrow(const uint8_t* in, uint8_t* out, int64_t count, int n, int s) {
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) save(out + i, narrowed(load(in + i), {n, s}));
    plain_narrow(in, out, i, count, n, s);
}

void add(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k) {
    int64_t i = 0;
    for (; i + 8 <= count; i += 8) {
        const __m256i sum = residual8(codes8(a + i), codes8(b + i), k);
        const __m128i eight = _mm256_castsi256_si128(bytes_of(sum, sum, sum, sum));
        _mm_storel_epi64(reinterpret_cast<__m128i*>(out + i), eight);
    }
    plain_add(a, b, out, i, count, k);
}

void quantize(const float* in, int64_t plane, int channels, uint8_t* out, int64_t count, float inverse, int zero,
              int highest) {
    const __m256 factor = _mm256_set1_ps(inverse), offset = _mm256_set1_ps(static_cast<float>(zero));
    const __m256 most = _mm256_set1_ps(static_cast<float>(highest));
    for (int64_t i = 0; i < count; i += 8) {
        const int some = count - i < 8 ? static_cast<int>(count - i) : 8;
        const __m256i lanes = _mm256_cmpgt_epi32(_mm256_set1_epi32(some), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
        __m256i pixels = _mm256_setzero_si256();
        for (int c = 0; c < channels; ++c) {
            __m256 v = _mm256_mul_ps(_mm256_maskload_ps(in + c * plane + i, lanes), factor);
            v = _mm256_add_ps(_mm256_round_ps(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC), offset);
            v = _mm256_min_ps(_mm256_max_ps(v, _mm256_setzero_ps()), most);
            pixels = _mm256_or_si256(pixels, _mm256_sll_epi32(_mm256_cvtps_epi32(v), _mm_cvtsi32_si128(8 * c)));
        }
        _mm256_maskstore_epi32(reinterpret_cast<int*>(out + 4 * i), lanes, pixels);
    }
}

void maximum(const uint8_t* const* rows, int count, uint8_t* out, int64_t channels) {
    int64_t c = 0;
    for (; c + 32 <= channels; c += 32) {
        __m256i most = load(rows[0] + c);
        for (int i = 1; i < count; ++i) most = _mm256_max_epu8(most, load(rows[i] + c));
        save(out + c, most);
    }
    plain_maximum(rows, count, out, c, channels);
}

bool usable() { return __builtin_cpu_supports("avx2"); }

constexpr Kernels make() {
    Kernels k{"avx2", {}, {}, depthwise, narrow, add, plain_table, quantize, usable, maximum, nullptr, true};
    fill_blocks<12>(k, []<int V, bool NARROWED, int ROWS>() -> BlockKernel { return block<V, NARROWED, ROWS>; });
    return k;
}

}  // namespace

const Kernels kernels_avx2 = make();

}  // namespace dqt
#endif
