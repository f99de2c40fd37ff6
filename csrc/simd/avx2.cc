// AVX2, exact: vpmaddubsw saturates at 16 bits, so it multiplies only weights that are too narrow for that.
//
// Weights of all 8 bits, and the activations, are widened to 16 bits and multiplied by vpmaddwd. Narrowed weights lose
// their low s bits first, w = 2^s (w >> s) + middle: pairs of products of w >> s fit 16 bits, 2^(s-1) of them added fit
// too, the factor 2^s comes with their addition to 32 bits, and sum a * middle is one number for all columns.
#if defined(__x86_64__)
#include <type_traits>
#include <utility>

#include "avx2.h"
#include "plain.h"

namespace dqt {
namespace {

constexpr int VECTOR_BYTES = 64;  // weights of one step and one vector: two registers

// Requantizes 8 columns of each row where they lie; `extra` is still to be added to a row's accumulators.
template <bool HIGH>
void scale_columns(int32_t* acc, int stride, int rows, const int32_t* extra, const Factors& f, const Rounding& r) {
    for (int i = 0; i < rows; ++i, acc += stride) {
        __m256i sum = load(acc);
        if (extra) sum = _mm256_add_epi32(sum, _mm256_set1_epi32(extra[i]));
        save(acc, scaled<HIGH>(sum, f, r));
    }
}

// Requantized rows, lanes 0 2 1 3 of each four.
template <int V, bool HIGH>
void scale(const Block& b, int rows, int32_t (*acc)[V * LANES], const int32_t* extra) {
    const Rounding& r = b.rounding;
    for (int h = 0; h < 2 * V; ++h) {
        const Factors factors(r.m + 8 * h, r.c + h / 2 * LANES + h % 2 * 4);
        scale_columns<HIGH>(acc[0] + 8 * h, V * LANES, rows, extra, factors, r);
    }
}

template <int V>
void store_wide(const Block& b, int rows, const int32_t (*acc)[V * LANES]) {
    for (int i = 0; i < rows; ++i) {
        auto* out = reinterpret_cast<int32_t*>(b.out[i]);
        for (int v = 0; v < V; ++v)
            for (int lane = 0; lane < LANES; ++lane) {
                const int j = column(V, v, lane), from = (lane & ~3) + (lane % 4 * 2 - lane % 4 / 2 * 3);
                const int32_t value = dqt_clamp(acc[i][v * LANES + from], b.rounding.lo, b.rounding.hi);
                if (j < b.stored) out[j] = j < b.columns ? value : 0;
            }
    }
}

// Packs, adds the residual where there is one, and stores.
template <int V, bool ADDED>
__attribute__((noinline)) void store(const Block& b, int rows, const int32_t (*acc)[V * LANES]) {
    constexpr int BYTES = V * LANES, REGISTERS = (BYTES + 31) / 32;
    const Finish finish(b.rounding.lo, b.rounding.hi, ADDED ? Narrow() : b.narrow);
    const Residual none{0, 0, 0, 16, 0, 0}, &residual = ADDED ? *b.residual : none;
    const Addition addition(residual);
    const Finish finish_added(residual.lo, residual.hi, b.narrow);
    const bool whole = BYTES >= 32 && b.stored == BYTES && b.columns == BYTES;
    for (int i = 0; i < rows; ++i) {
        __m256i bytes[REGISTERS];
        packed_row<V>(acc[i], bytes);
        alignas(32) uint8_t copy[32 * REGISTERS];
        const uint8_t* other = ADDED ? b.other[i] : nullptr;
        if (ADDED && !whole) {
            std::memset(copy, 0, sizeof copy);
            other = static_cast<const uint8_t*>(std::memcpy(copy, other, b.columns));
        }
        for (int k = 0; k < REGISTERS; ++k) {
            __m256i y = finish(bytes[k]);
            if constexpr (ADDED) y = with_residual(y, load(other + 32 * k), addition, finish_added);
            save(whole ? b.out[i] + 32 * k : copy + 32 * k, y);
        }
        if (whole) continue;
        if (b.columns < b.stored) std::memset(copy + b.columns, 0, b.stored - b.columns);
        std::memcpy(b.out[i], copy, b.stored);
    }
}

// Requantizes and stores the rows of a block.
template <int V>
void end(const Block& b, int rows, int32_t (*acc)[V * LANES], const int32_t* extra) {
    if (b.rounding.shift == 32) [[likely]]
        scale<V, true>(b, rows, acc, extra);
    else
        scale<V, false>(b, rows, acc, extra);
    if (b.wide) return store_wide<V>(b, rows, acc);
    b.residual ? store<V, true>(b, rows, acc) : store<V, false>(b, rows, acc);
}

// What the products of one vector and up to 4 rows read and add to.
struct Part {
    const int8_t* panel;    // the vector's weights, `stride` bytes from step to step
    const int8_t* next;     // those that are prepared next
    int stride, steps;
    __m256i* weight;        // the same prepared: by the first rows, for the others
    int32_t* acc;           // of the first row, and from row to row
    int acc_row;
};

template <int R>
inline void load_sums(const Part& p, __m256i (*acc)[2]) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) acc[i][h] = load(p.acc + i * p.acc_row + 8 * h);
}

template <int R>
inline void save_sums(const Part& p, const __m256i (*acc)[2]) {
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i)
        for (int h = 0; h < 2; ++h) save(p.acc + i * p.acc_row + 8 * h, acc[i][h]);
}

constexpr int STEPS = 64;               // of 4 channels, in a chunk
constexpr int CHUNK_ROW = STEPS + 8;    // what is written past a segment's end

// Some steps of a block's inputs: contiguous whatever taps they span, so weights that are prepared for them serve all
// the rows of the block, and inputs all its panel's vectors.
struct Widened {  // bytes 0 and 2, and 1 and 3, of each step as 16-bit numbers
    alignas(32) int32_t even[MAX_ROWS][CHUNK_ROW], odd[MAX_ROWS][CHUNK_ROW];
    int steps;
    void put(int row, int s, __m256i codes) {
        save(even[row] + s, even_codes(codes));
        save(odd[row] + s, odd_codes(codes));
    }
    void put_middles(int, int, uint32_t) {}
};

struct Whole {
    alignas(32) int32_t in[MAX_ROWS][CHUNK_ROW], middle[CHUNK_ROW];  // middles of the weights; 0 past the last step
    int steps;
    void put(int row, int s, __m256i codes) { save(in[row] + s, codes); }
    void put_middles(int from, int count, uint32_t value) {
        for (int s = 0; s < count; s += 8) save(middle + from + s, _mm256_set1_epi32(static_cast<int>(value)));
        save(middle + from + count, _mm256_setzero_si256());
    }
};

class Chunks {
  public:
    Chunks(const Block& block, int rows) : block_(block), rows_(rows) {}

    // Fills the next chunk; false at the end.
    template <class Chunk>
    bool next(Chunk& chunk) {
        int steps = 0;
        while (steps < STEPS && tap_ < block_.tap_count) {
            const int left = (block_.depth - at_) / 4, some = left < STEPS - steps ? left : STEPS - steps;
            const int64_t from = int64_t{block_.taps[tap_]} + at_;
            for (int i = 0; i < rows_; ++i) copy(block_.in[i] + from, some, i, steps, chunk);
            chunk.put_middles(steps, some, block_.middle[tap_ & 1]);
            steps += some;
            at_ += 4 * some;
            if (at_ == block_.depth) at_ = 0, ++tap_;
        }
        chunk.steps = steps;
        return steps > 0;
    }

  private:
    template <class Chunk>
    static void copy(const uint8_t* from, int steps, int row, int to, Chunk& chunk) {
        int s = 0;
        for (; s + 8 <= steps; s += 8) chunk.put(row, to + s, load(from + 4 * s));
        if (s < steps) chunk.put(row, to + s, load_fours(from + 4 * s, steps - s));
    }

    const Block& block_;
    int rows_, tap_ = 0, at_ = 0;
};

// Half the products of a step: the codes of R rows, CHUNK_ROW apart, by the weights of 16 columns.
template <int R>
inline void add_products(const int32_t* codes, __m256i w0, __m256i w1, __m256i (*acc)[2]) {
    keep(w0);
    keep(w1);
#pragma GCC unroll 4
    for (int i = 0; i < R; ++i) {
        const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
        acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(code, w0));
        keep(acc[i][0]);
        acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(code, w1));
        keep(acc[i][1]);
    }
}

// Codes and weights of 16 bits.
template <int R, bool FIRST>
void products(Part p, const Widened& a, int row) {
    __m256i acc[R][2];
    load_sums<R>(p, acc);
    const int64_t ahead = p.next - p.panel, stride = p.stride;
    const int8_t* from = p.panel;
    __m256i* w = p.weight;
    for (int s = 0, steps = p.steps; s < steps; ++s, from += stride, w += 4) {
        if constexpr (FIRST) {
            _mm_prefetch(from + ahead, _MM_HINT_T0);
            w[0] = even_weights(load(from));
            w[1] = even_weights(load(from + 32));
        }
        add_products<R>(a.even[row] + s, w[0], w[1], acc);
        if constexpr (FIRST) {
            w[2] = odd_weights(load(from));
            w[3] = odd_weights(load(from + 32));
        }
        add_products<R>(a.odd[row] + s, w[2], w[3], acc);
    }
    save_sums<R>(p, acc);
}

// Weights of 8 bits as those of 8 - s, without their low bits.
struct Narrowing {
    int s;
    __m128i shift;
    __m256i kept, sign, unit;  // unit: a product of shortened weights counts 2^s

    explicit Narrowing(int s)
        : s(s), shift(_mm_cvtsi32_si128(s)), kept(same_bytes(0xFF >> s)), sign(same_bytes(0x80 >> s)),
          unit(_mm256_set1_epi16(static_cast<int16_t>(1 << s))) {}
    void prepare(const int8_t* from, __m256i* w) const {
        for (int h = 0; h < 2; ++h) {
            const __m256i code = _mm256_and_si256(_mm256_srl_epi16(load(from + 32 * h), shift), kept);
            w[h] = _mm256_sub_epi8(_mm256_xor_si256(code, sign), sign);
        }
    }
};

// Codes of 8 bits and weights of 8 - s, s <= 2; JOINED = s steps are added in 16 bits.
template <int R, bool FIRST, int JOINED>
void products(Part p, const Whole& a, int row, Narrowing n) {
    alignas(32) static constexpr int8_t zeros[VECTOR_BYTES] = {};
    __m256i acc[R][2];
    load_sums<R>(p, acc);
    const int64_t ahead = p.next - p.panel;
    const int8_t* from = p.panel;
    const int32_t* codes = a.in[row];
    __m256i* w = p.weight;
    for (int s = 0; s < p.steps; s += JOINED, codes += JOINED, w += 2 * JOINED, from += JOINED * p.stride) {
        if constexpr (FIRST) {
            _mm_prefetch(from + ahead, _MM_HINT_T0);
            n.prepare(from, w);
            if (JOINED == 2) {
                _mm_prefetch(from + p.stride + ahead, _MM_HINT_T0);
                n.prepare(s + 1 < p.steps ? from + p.stride : zeros, w + 2);
            }
        }
        __m256i weight[2 * JOINED];
#pragma GCC unroll 4
        for (int j = 0; j < 2 * JOINED; ++j) {
            weight[j] = w[j];
            keep(weight[j]);
        }
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) {
            __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]), pairs[2];
            for (int h = 0; h < 2; ++h) pairs[h] = _mm256_maddubs_epi16(code, weight[h]);
            if constexpr (JOINED == 2) {
                code = _mm256_set1_epi32(codes[i * CHUNK_ROW + 1]);
                for (int h = 0; h < 2; ++h)
                    pairs[h] = _mm256_add_epi16(pairs[h], _mm256_maddubs_epi16(code, weight[2 + h]));
            }
            for (int h = 0; h < 2; ++h) {
                acc[i][h] = _mm256_add_epi32(acc[i][h], _mm256_madd_epi16(pairs[h], n.unit));
                keep(acc[i][h]);
            }
        }
    }
    save_sums<R>(p, acc);
}

// The same for s > 2: up to 2^(s-1) steps are added in 16 bits, in registers.
template <int R, bool FIRST>
void joined_products(Part p, const Whole& a, int row, Narrowing n) {
    const int64_t ahead = p.next - p.panel;
    const int8_t* from = p.panel;
    const int32_t* codes = a.in[row];
    __m256i* w = p.weight;
    for (int s = 0; s < p.steps;) {
        __m256i pairs[R][2];
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i) pairs[i][0] = pairs[i][1] = _mm256_setzero_si256();
        const int joined = 1 << (n.s - 1), last = s + joined < p.steps ? s + joined : p.steps;
        for (; s < last; ++s, ++codes, w += 2, from += p.stride) {
            if constexpr (FIRST) {
                _mm_prefetch(from + ahead, _MM_HINT_T0);
                n.prepare(from, w);
            }
            __m256i w0 = w[0], w1 = w[1];
            keep(w0);
            keep(w1);
#pragma GCC unroll 4
            for (int i = 0; i < R; ++i) {
                const __m256i code = _mm256_set1_epi32(codes[i * CHUNK_ROW]);
                pairs[i][0] = _mm256_add_epi16(pairs[i][0], _mm256_maddubs_epi16(code, w0));
                keep(pairs[i][0]);
                pairs[i][1] = _mm256_add_epi16(pairs[i][1], _mm256_maddubs_epi16(code, w1));
                keep(pairs[i][1]);
            }
        }
#pragma GCC unroll 4
        for (int i = 0; i < R; ++i)
            for (int h = 0; h < 2; ++h) {
                int32_t* acc = p.acc + i * p.acc_row + 8 * h;
                save(acc, _mm256_add_epi32(load(acc), _mm256_madd_epi16(pairs[i][h], n.unit)));
            }
    }
}

// Rows in groups of at most 4, as equal as they can be.
template <class Each>
inline void by_rows(int rows, const Each& each) {
    for (int i = 0, groups = (rows + 3) / 4; groups > 0; --groups) {
        const int some = (rows - i + groups - 1) / groups;
        if (some == 4) each(std::integral_constant<int, 4>(), i);
        if (some == 3) each(std::integral_constant<int, 3>(), i);
        if (some == 2) each(std::integral_constant<int, 2>(), i);
        if (some == 1) each(std::integral_constant<int, 1>(), i);
        i += some;
    }
}

template <int R, bool FIRST>
inline void narrowed_products(Part p, const Whole& a, int row, Narrowing n) {
    if (n.s == 1) return products<R, FIRST, 1>(p, a, row, n);
    if (n.s == 2) return products<R, FIRST, 2>(p, a, row, n);
    joined_products<R, FIRST>(p, a, row, n);
}

// The products of `steps` steps and their weights; `after` are those of the next chunk.
template <int V, class Each>
inline void by_vectors(int steps, const int8_t* panel, const int8_t* after, int rows, int32_t (*acc)[V * LANES],
                       const Each& each) {
    __m256i weight[STEPS * 4];
    for (int v = 0; v < V; ++v) {
        const int8_t* from = panel + v * VECTOR_BYTES;
        const int8_t* next = v + 1 < V ? from + VECTOR_BYTES : after;
        by_rows(rows, [&](auto count, int i) {
            const Part part{from, next, V * VECTOR_BYTES, steps, weight, acc[i] + v * LANES, V * LANES};
            i == 0 ? each(count, std::true_type(), part, i) : each(count, std::false_type(), part, i);
        });
    }
}

// Adds codes times middles of a chunk.
inline __m256i middle_sums(__m256i sum, const Whole& chunk, int row) {
    for (int s = 0; s < chunk.steps; s += 8) {
        const __m256i pairs = _mm256_maddubs_epi16(load(chunk.in[row] + s), load(chunk.middle + s));
        sum = _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
    }
    return sum;
}

inline int32_t total(__m256i lanes) {
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(lanes), _mm256_extracti128_si256(lanes, 1));
    sum = _mm_hadd_epi32(sum, sum);
    return _mm_cvtsi128_si32(_mm_hadd_epi32(sum, sum));
}

template <int V, bool NARROWED>
__attribute__((noinline)) void run(const Block& b, int rows) {
    alignas(32) int32_t acc[MAX_ROWS][V * LANES];
    for (int h = 0; h < 2 * V; ++h)
        for (int i = 0; i < rows; ++i) save(acc[i] + 8 * h, load(b.start + 8 * h));
    __m256i middles[MAX_ROWS] = {};
    const Narrowing narrowing(NARROWED ? __builtin_ctz(b.mask) : 0);
    const int8_t *w = b.panel, *last = w + int64_t{b.tap_count} * b.depth / 4 * V * VECTOR_BYTES;
    std::conditional_t<NARROWED, Whole, Widened> chunk;
    Chunks chunks(b, rows);
    while (chunks.next(chunk)) {
        const int8_t* from = w;
        w += int64_t{chunk.steps} * V * VECTOR_BYTES;
        if constexpr (NARROWED)
            for (int i = 0; i < rows; ++i) middles[i] = middle_sums(middles[i], chunk, i);
        by_vectors<V>(chunk.steps, from, w == last ? b.panel : w, rows, acc,
                      [&](auto count, auto first, const Part& p, int i) {
            if constexpr (NARROWED)
                narrowed_products<count, first>(p, chunk, i, narrowing);
            else
                products<count, first>(p, chunk, i);
        });
    }
    int32_t extra[MAX_ROWS];
    for (int i = 0; NARROWED && i < rows; ++i) extra[i] = total(middles[i]);
    end<V>(b, rows, acc, NARROWED ? extra : nullptr);
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
        return channels_ == 32 ? load(p) : load_fours(p, channels_ / 4);
    }

    void store(int p, const __m256i* acc) const {
        const Rounding& r = d_.rounding;
        __m256i y[4];
        for (int v = 0; v < 4; ++v) {
            const int at = from_ + v * LANES;
            const Factors factors(r.m + at + 8 * half_, r.c + at + 4 * half_);
            y[v] = r.shift == 32 ? scaled<true>(acc[v], factors, r) : scaled<false>(acc[v], factors, r);
        }
        const __m256i bytes = Finish(r.lo, r.hi, d_.narrow)(ordered(packed(y[0], y[1], y[2], y[3])));
        const int first = from_ + 32 * half_, real = d_.channels > first ? d_.channels - first : 0;
        uint8_t* out = d_.out + int64_t{p} * d_.out_pixel + first;
        if (channels_ == 32 && real >= 32) return save(out, bytes);
        alignas(32) uint8_t each[32];
        save(each, bytes);
        if (real < channels_) std::memset(each + real, 0, channels_ - real);
        std::memcpy(out, each, channels_);
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
    const Addition addition(k);
    const Finish finish(k.lo, k.hi, {});
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) save(out + i, with_residual(load(a + i), load(b + i), addition, finish));
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
