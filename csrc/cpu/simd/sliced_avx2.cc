// Few rows times weights that stream from memory, in AVX2: fewer bits are fewer bytes read.
//
// Two bits of a weight are a number f of 0 to 3 once the sign is turned over, and the narrowed weight is
// 64 f0 + 16 f1 + 4 f2 + f3 + middle - 128. Two slices are multiplied together, as numbers of four bits: products of
// vpmaddubsw by them are so small that four of them are added in 16 bits. The codes times middle - 128 are one number for
// all columns. Weights that are clipped are merged into bytes first.
#if defined(__x86_64__)
#include "avx2_end.h"
#include "avx2_products.h"

namespace dqt {
namespace {

constexpr int HALVES = 8, FOURS = SLICED_DEPTH / 4;         // registers of 64 columns; fours of channels in a slice's byte
constexpr int AHEAD[] = {8192, 4096, 3072, 2048};           // bytes prefetched ahead, by slices
constexpr int SIGNS = 0xAA;                                 // the upper bit of each two

inline __m256i both(__m256i a, int mask) { return _mm256_and_si256(a, same_bytes(mask)); }
inline __m256i either(__m256i a, __m256i b) { return _mm256_or_si256(a, b); }

// S slices of half a vector.
template <int S>
inline void load_slices(const int8_t* w, int64_t slice, __m256i (&q)[S]) {
#pragma GCC unroll 4
    for (int j = 0; j < S; ++j) {
        q[j] = load(w + j * slice);
        _mm_prefetch(w + j * slice + AHEAD[S - 1], _MM_HINT_T0);
    }
}

// Each two bits of a byte as a number.
inline void twos(__m256i q, __m256i (&to)[FOURS]) {
    to[0] = both(q, 3);
    to[1] = both(_mm256_srli_epi16(q, 2), 3);
    to[2] = both(_mm256_srli_epi16(q, 4), 3);
    to[3] = both(_mm256_srli_epi16(q, 6), 3);
}

// The same of two slices, `high` above `low`.
inline void nibbles(__m256i high, __m256i low, __m256i (&to)[FOURS]) {
    const __m256i odd = either(both(high, 0xCC), both(_mm256_srli_epi16(low, 2), 0x33));
    const __m256i even = either(both(_mm256_slli_epi16(high, 2), 0xCC), both(low, 0x33));
    to[0] = both(even, 0xF);
    to[1] = both(odd, 0xF);
    to[2] = both(_mm256_srli_epi16(even, 4), 0xF);
    to[3] = both(_mm256_srli_epi16(odd, 4), 0xF);
}

// Slices as numbers that stand 2^SHIFT apart: the first two, then what else there is.
template <int S>
struct Numbers {
    static constexpr int PARTS = (S + 1) / 2, SHIFT[] = {S == 1 ? 6 : 4, S == 3 ? 2 : 0};
    __m256i part[PARTS][FOURS];

    explicit Numbers(const __m256i (&q)[S]) {
        if constexpr (S == 1) twos(q[0], part[0]);
        if constexpr (S > 1) nibbles(q[0], q[1], part[0]);
        if constexpr (S == 3) twos(q[2], part[1]);
        if constexpr (S == 4) nibbles(q[2], q[3], part[1]);
    }
    __m256i bytes(int f) const {
        const __m256i high = _mm256_slli_epi16(part[0][f], SHIFT[0]);
        if constexpr (PARTS == 1) return high;
        return either(high, _mm256_slli_epi16(part[PARTS - 1][f], SHIFT[1]));
    }
};

// The four fours of codes of one row, each in all lanes; those past `steps` are 0.
struct Codes {
    __m256i four[FOURS];
    Codes(const uint8_t* in, int steps) {
#pragma GCC unroll 4
        for (int f = 0; f < FOURS; ++f) {
            int32_t codes = 0;
            if (f < steps) std::memcpy(&codes, in + 4 * f, sizeof codes);
            four[f] = _mm256_set1_epi32(codes);
        }
    }
};

// acc + scale * codes * numbers of up to four bits: 16 products, added by fours of 255 * 15 * 2 at most.
inline __m256i plus_products(__m256i acc, const Codes& x, const __m256i (&numbers)[FOURS], int scale) {
    const auto products = [&](int f) { return _mm256_maddubs_epi16(x.four[f], numbers[f]); };
    const __m256i first = _mm256_add_epi16(products(0), products(1)), last = _mm256_add_epi16(products(2), products(3));
    const __m256i sums = _mm256_madd_epi16(_mm256_add_epi16(first, last), _mm256_set1_epi16(static_cast<int16_t>(scale)));
    return _mm256_add_epi32(acc, sums);
}

// How weights are read that are not clipped.
struct Plain {
    __m256i last;  // what a width reads of its last slice

    Plain(const Block& b, int slices) : last(same_bytes(static_cast<int>(b.mask >> (8 - 2 * slices) & 3) * 0x55)) {}

    template <int S, int ROWS>
    void add(__m256i (&q)[S], const Codes* x, __m256i (*acc)[HALVES], int half) const {
        q[0] = _mm256_xor_si256(q[0], same_bytes(SIGNS));
        q[S - 1] = _mm256_and_si256(q[S - 1], last);
        const Numbers<S> numbers(q);
#pragma GCC unroll 4
        for (int i = 0; i < ROWS; ++i) {
            __m256i sum = acc[i][half];
#pragma GCC unroll 2
            for (int p = 0; p < numbers.PARTS; ++p) sum = plus_products(sum, x[i], numbers.part[p], 1 << numbers.SHIFT[p]);
            acc[i][half] = sum;
        }
    }

    // The codes of a row times middle - 128.
    static int32_t rest(const Block& b, const uint8_t* in) {
        const __m256i middle = _mm256_set1_epi32(static_cast<int>(b.middle[0])), one = _mm256_set1_epi16(1);
        __m256i middles = _mm256_setzero_si256(), sums = middles;
        int k = 0;
        for (; k + 32 <= b.depth; k += 32) {
            const __m256i codes = load(in + k);
            middles = _mm256_add_epi32(middles, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, middle), one));
            sums = _mm256_add_epi32(sums, _mm256_madd_epi16(_mm256_maddubs_epi16(codes, same_bytes(1)), one));
        }
        int32_t all = total(middles) - 128 * total(sums);
        for (; k < b.depth; ++k) all += in[k] * (static_cast<int32_t>(b.middle[0] >> 8 * (k % 4) & 0xFF) - 128);
        return all;
    }
};

// How weights are read as bytes: clipped, if they are, then narrowed.
template <bool CLIPS>
struct Bytes {
    __m256i lo, hi, more, mask, middle;

    Bytes(const Block& b, int)
        : lo(same_bytes(b.clip.lo)), hi(same_bytes(b.clip.hi)), more(same_bytes(b.clip.add)),
          mask(_mm256_set1_epi32(static_cast<int>(b.mask))), middle(_mm256_set1_epi32(static_cast<int>(b.middle[0]))) {}

    // The f-th four channels.
    template <int S>
    __m256i narrowed(const Numbers<S>& numbers, int f) const {
        __m256i w = numbers.bytes(f);
        if constexpr (CLIPS) w = _mm256_add_epi8(_mm256_min_epi8(_mm256_max_epi8(w, lo), hi), more);
        return either(_mm256_and_si256(w, mask), middle);
    }

    template <int S, int ROWS>
    void add(const __m256i (&q)[S], const Codes* x, __m256i (*acc)[HALVES], int half) const {
        const Numbers<S> numbers(q);
#pragma GCC unroll 4
        for (int f = 0; f < FOURS; ++f) {
            const __m256i w = narrowed(numbers, f), even = even_weights(w), odd = odd_weights(w);
            for (int i = 0; i < ROWS; ++i) {
                const __m256i low = _mm256_madd_epi16(even_codes(x[i].four[f]), even);
                const __m256i high = _mm256_madd_epi16(odd_codes(x[i].four[f]), odd);
                acc[i][half] = _mm256_add_epi32(acc[i][half], _mm256_add_epi32(low, high));
            }
        }
    }

    static int32_t rest(const Block&, const uint8_t*) { return 0; }
};

template <class Weights, int S, int ROWS>
void block(const Block& b) {
    alignas(32) __m256i acc[ROWS][HALVES];
    for (int i = 0; i < ROWS; ++i)
        for (int h = 0; h < HALVES; ++h) acc[i][h] = load(b.start + 8 * h);
    const Weights weights(b, S);
    const int8_t* w = b.panel;
    const auto sixteen = [&](int k, int steps) {
        const auto codes = [&](int i) { return Codes(b.in[i < ROWS ? i : 0] + k, steps); };
        const Codes x[SLICED_ROWS] = {codes(0), codes(1), codes(2), codes(3)};
        for (int h = 0; h < HALVES; ++h) {
            __m256i q[S];
            load_slices(w + 32 * h, b.slice, q);
            weights.template add<S, ROWS>(q, x, acc, h);
        }
        w += 32 * HALVES;
    };
    const int whole = b.depth / SLICED_DEPTH * SLICED_DEPTH;
    for (int k = 0; k < whole; k += SLICED_DEPTH) sixteen(k, FOURS);
    if (whole < b.depth) sixteen(whole, (b.depth - whole) / 4);
    alignas(32) int32_t sums[ROWS][4 * LANES];
    int32_t rest[ROWS];
    for (int i = 0; i < ROWS; ++i) {
        rest[i] = Weights::rest(b, b.in[i]);
        for (int h = 0; h < HALVES; ++h) save(sums[i] + 8 * h, acc[i][h]);
    }
    end<4>(b, ROWS, sums, rest);
}

template <bool CLIPS, int S>
void unpack(const Block& b, int8_t* panel) {
    const Bytes<CLIPS> bytes(b, S);
    const int8_t* w = b.panel;
    for (int k = 0; k < b.depth; k += SLICED_DEPTH, w += 32 * HALVES, panel += 32 * HALVES * FOURS)
        for (int h = 0; h < HALVES; ++h) {
            __m256i q[S];
            load_slices(w + 32 * h, b.slice, q);
            const Numbers<S> numbers(q);
            for (int f = 0; f < FOURS && k + 4 * f < b.depth; ++f) save(panel + 32 * (HALVES * f + h), bytes.narrowed(numbers, f));
        }
}

template <bool CLIPS, class Weights>
constexpr SlicedForms forms() {
    return sliced_forms([]<int S, int ROWS>() -> BlockKernel { return block<Weights, S, ROWS>; },
                        []<int S>() { return unpack<CLIPS, S>; });
}

}  // namespace

constinit const SlicedKernels sliced_avx2 = {forms<false, Plain>(), forms<true, Bytes<true>>(), true};

}  // namespace dqt
#endif
