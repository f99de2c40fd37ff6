// Few bits by few bits from a table of products: `vpermb` looks up 64 sums of two or three products at once.
//
// A block is four pixels by two panels, so that each 64 bytes of the table that activations choose serve twice: beside
// two lookups and two additions there is time for three loads. Sums of some lookups fit a byte; then they go on in 16
// bits, those of even bytes with the odd ones above them, which are taken off at the end.
#if defined(__x86_64__)
#include <algorithm>
#include <type_traits>

#include "avx512.h"
#include "products_table.h"

namespace dqt {
namespace {

constexpr int64_t AHEAD = 8;          // pixels
constexpr int SELECT = 0xCA;          // a ? b : c, bit by bit

// Weights of W bits, activations of A. A code is stored so that a scaled address finds its entry.
template <int W, int A>
struct Form {
    static constexpr int CHANNELS = 6 / W;  // of a code
    static constexpr ProductsTable<W, A, CHANNELS> TABLE{};
    static_assert(TABLE.ENTRY == 64);
    static constexpr bool BYTES = CHANNELS * A <= 4;
    using Code = std::conditional_t<BYTES, uint8_t, uint16_t>;
    static constexpr int LEFT = BYTES ? 4 : 6, SCALE = 1 << (6 - LEFT);

    static constexpr int FIT = UINT8_MAX / TABLE.MOST, GROUP = FIT % 4 < 2 ? 4 : 2;  // codes that are looked up in one go
    static constexpr int SUMMED = FIT / GROUP * GROUP;  // codes whose sum fits a byte
    static constexpr int ASKED = SUMMED / 2;            // lines of the next weights asked for meanwhile

    static const uint8_t* entry(Code code) { return TABLE.bytes.data() + int64_t{SCALE} * code; }
};

// Codes of few bits of some of 32 bytes, the rest 0; `NARROWED`: these are T_A already.
template <bool NARROWED>
INLINE __m512i fields(const uint8_t* p, __mmask64 some, int n, int s) {
    const __m512i bytes = _mm512_maskz_loadu_epi8(some, p);  // asked for before
    return NARROWED ? shifted(bytes, s) : code(bytes, n, s);
}

// 32 codes, from fields of A bits.
template <int W, int A>
INLINE void store_codes(const __m512i* x, __mmask32 some, uint8_t* out) {
    using F = Form<W, A>;
    __m512i both = _mm512_or_si512(x[0], _mm512_slli_epi16(x[1], A));
    if constexpr (F::BYTES) {
        _mm256_mask_storeu_epi8(out, some, _mm512_castsi512_si256(_mm512_slli_epi16(both, F::LEFT)));
        return;
    }
    constexpr bool FITS = F::CHANNELS * A <= 8;
    if constexpr (FITS && F::CHANNELS == 3) both = _mm512_or_si512(both, _mm512_slli_epi16(x[2], 2 * A));
    __m512i words = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(both));
    if constexpr (!FITS)
        words = _mm512_or_si512(words, _mm512_slli_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(x[2])), 2 * A));
    _mm512_mask_storeu_epi16(out, some, _mm512_slli_epi16(words, F::LEFT));
}

template <int W, int A, bool NARROWED>
void encode(const uint8_t* pixels, int64_t step, int64_t count, int depth, int n, int s, int even, int odd,
            uint8_t* records) {
    using F = Form<W, A>;
    constexpr int CHANNELS = F::CHANNELS, BYTES = sizeof(typename F::Code);
    const int codes = lookup_codes(CHANNELS, depth), record = BYTES * codes + 4;
    const __m512i h = _mm512_set1_epi16(static_cast<int16_t>((even & 0xFF) | (odd & 0xFF) << 8));
    for (int64_t i = 0; i < count; i += 4) {
        const int64_t last = std::min<int64_t>(4, count - i) - 1;  // its record may be written again
        __m512i sums[4] = {};
        for (int64_t p = 0; p <= last; ++p)
            for (int c = 0; c < depth; c += 64)
                _mm_prefetch(reinterpret_cast<const char*>(pixels + (i + p + AHEAD) * step + c), _MM_HINT_T0);
        for (int k = 0; k < codes; k += 32) {
            const int left = std::min(codes - k, 32), last_left = std::clamp(depth - (CHANNELS - 1) * codes - k, 0, left);
            const __mmask64 here = first(left), rest = first(last_left);
#pragma GCC unroll 4
            for (int64_t p = 0; p < 4; ++p) {
                const uint8_t* in = pixels + (i + std::min(p, last)) * step + k;
                __m512i x[CHANNELS];
#pragma GCC unroll 3
                for (int c = 0; c < CHANNELS; ++c) {
                    x[c] = fields<NARROWED>(in + c * codes, c + 1 < CHANNELS ? here : rest, n, s);
                    sums[p] = dot(sums[p], x[c], h);
                }
                store_codes<W, A>(x, static_cast<__mmask32>(here), records + (i + std::min(p, last)) * record + BYTES * k);
            }
        }
        int32_t each[4];
        _mm_storeu_si128(reinterpret_cast<__m128i*>(each), sums_of(sums));
        for (int64_t p = 0; p <= last; ++p) std::memcpy(records + (i + p + 1) * record - 4, &each[p], 4);
    }
}

// Bytes `low` and `low` + 2 of each dword of a and b, in turns (a, b, a, b); or, of `WORDS`, words in turns.
template <bool WORDS>
INLINE __m512i turns(int low) {
    alignas(64) uint8_t at[64];
    for (int i = 0; i < 64; ++i) {
        const int within = WORDS ? i % 2 + 2 * low : low + i / 2 % 2 * 2, second = WORDS ? i / 2 % 2 : i % 2;
        at[i] = static_cast<uint8_t>(64 * second + i / 4 * 4 + within);
    }
    return _mm512_load_si512(at);
}

template <int W>
void index(const int8_t* panel, int taps, int depth, int s, uint8_t* out, int64_t stride) {
    constexpr int CHANNELS = 6 / W, FIELD = (1 << W) - 1;
    const int groups = lookup_codes(CHANNELS, depth) / 4, quads = depth / 4;
    const __m512i even = turns<false>(0), odd = turns<false>(1), low = turns<true>(0), high = turns<true>(1);
    for (int t = 0; t < taps; ++t, panel += int64_t{quads} * 256)
        for (int g = 0; g < groups; ++g, out += 4 * stride) {
            __m512i x[4];
#pragma GCC unroll 3
            for (int c = 0; c < CHANNELS; ++c) {  // past the last quad activations are 0: any weights do
                const int8_t* from = panel + int64_t{std::min(g + c * groups, quads - 1)} * 256;
                const __m512i right = _mm512_set1_epi32(s - W * c);
                const __m512i field = _mm512_set1_epi8(static_cast<char>(FIELD << W * c));
#pragma GCC unroll 4
                for (int v = 0; v < 4; ++v) {  // what a rotation brings from the next byte is not selected, or not looked at
                    const __m512i each = _mm512_rorv_epi32(_mm512_loadu_si512(from + 64 * v), right);
                    x[v] = c ? _mm512_ternarylogic_epi32(field, each, x[v], SELECT) : each;
                }
            }
            const __m512i a0 = _mm512_permutex2var_epi8(x[0], even, x[1]), b0 = _mm512_permutex2var_epi8(x[2], even, x[3]);
            const __m512i a1 = _mm512_permutex2var_epi8(x[0], odd, x[1]), b1 = _mm512_permutex2var_epi8(x[2], odd, x[3]);
            _mm512_storeu_si512(out, _mm512_permutex2var_epi8(a0, low, b0));
            _mm512_storeu_si512(out + stride, _mm512_permutex2var_epi8(a1, low, b1));
            _mm512_storeu_si512(out + 2 * stride, _mm512_permutex2var_epi8(a0, high, b0));
            _mm512_storeu_si512(out + 3 * stride, _mm512_permutex2var_epi8(a1, high, b1));
        }
}

// A group of codes of each row. The two instructions are written out because compilers move what is between them.
template <typename F, int P, int ROWS>
INLINE void look_up(const typename F::Code* const* rows, const uint8_t* index, __m512i (*bytes)[P]) {
#pragma GCC unroll 4
    for (int k = 0; k < F::GROUP; ++k, index += 64 * P) {
        __m512i at[P];
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) at[p] = _mm512_loadu_si512(index + 64 * p);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) {
            const __m512i entry = _mm512_load_si512(F::entry(rows[i][k]));
#pragma GCC unroll 2
            for (int p = 0; p < P; ++p) {
                __m512i found;
                asm("vpermb %2, %3, %1\n\tvpaddb %1, %0, %0" : "+v"(bytes[i][p]), "=&v"(found) : "v"(entry), "v"(at[p]));
            }
        }
    }
}

template <typename F, int P, int ROWS, bool ASKS>
void sums(const LookupBlock& b) {
    using Code = typename F::Code;
    const Block& from = b.ends[0];
    const __m512i zero = _mm512_setzero_si512(), bias = _mm512_set1_epi16(INT16_MIN);
    __m512i words[ROWS][P], odd[ROWS][P];  // less 2^15: signed
    int32_t middle[ROWS];
#pragma GCC unroll 8
    for (int i = 0; i < ROWS; ++i) {
        middle[i] = 0;
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) words[i][p] = odd[i][p] = bias;
    }
    const uint8_t* index = b.index;
    const int8_t* next = from.next;
    for (int t = 0; t < from.tap_count; ++t) {
        const Code* rows[ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) rows[i] = reinterpret_cast<const Code*>(from.in[i] + from.taps[t]);
        for (int k = 0; k < from.depth; k += F::SUMMED) {
            __m512i bytes[ROWS][P];
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
                for (int p = 0; p < P; ++p) bytes[i][p] = zero;
            for (int c = k; c < std::min(k + F::SUMMED, from.depth); c += F::GROUP) {
                look_up<F, P, ROWS>(rows, index, bytes);
                index += F::GROUP * 64 * P;
#pragma GCC unroll 8
                for (int i = 0; i < ROWS; ++i) rows[i] += F::GROUP;
            }
#pragma GCC unroll 4
            for (int line = 0; ASKS && line < F::ASKED; ++line, next += 64)
                _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
                for (int p = 0; p < P; ++p) {
                    words[i][p] = _mm512_add_epi16(words[i][p], bytes[i][p]);
                    odd[i][p] = _mm512_add_epi16(odd[i][p], _mm512_srli_epi16(bytes[i][p], 8));
                }
        }
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) {
            int32_t sum;
            std::memcpy(&sum, rows[i], 4);
            middle[i] += sum;
        }
    }
    const uint32_t once = 1u << b.shift;
    const __m512i low = _mm512_set1_epi32(static_cast<int>(once)), high = _mm512_set1_epi32(static_cast<int>(once << 16));
#pragma GCC unroll 2
    for (int p = 0; p < P; ++p) {
        __m512i acc[ROWS][4];
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) {
            const uint32_t rest = (static_cast<uint32_t>(middle[i]) << b.middle_shift) + (once << 15);
            const __m512i start = _mm512_set1_epi32(static_cast<int>(rest));
            const __m512i even = _mm512_sub_epi16(words[i][p], _mm512_slli_epi16(odd[i][p], 8));
            acc[i][0] = _mm512_dpwssd_epi32(start, even, low);
            acc[i][1] = _mm512_dpwssd_epi32(start, odd[i][p], low);
            acc[i][2] = _mm512_dpwssd_epi32(start, even, high);
            acc[i][3] = _mm512_dpwssd_epi32(start, odd[i][p], high);
        }
        finish<4, ROWS>(b.ends[p], acc);
    }
}

template <typename F, int P, int ROWS>
void block(const LookupBlock& b) {
    (b.ends[0].next ? sums<F, P, ROWS, true> : sums<F, P, ROWS, false>)(b);
}

template <typename F>
void blocks(const LookupBlock& b, int panels, int rows) {
    constexpr void (*one[])(const LookupBlock&) = {block<F, 1, 1>, block<F, 1, 2>, block<F, 1, 3>, block<F, 1, 4>,
                                                   block<F, 1, 5>, block<F, 1, 6>, block<F, 1, 7>, block<F, 1, 8>};
    constexpr void (*two[])(const LookupBlock&) = {block<F, 2, 1>, block<F, 2, 2>, block<F, 2, 3>, block<F, 2, 4>};
    (panels == 1 ? one : two)[rows - 1](b);
}

template <int W, int A>
constexpr LookupKernel kernel(const CoreCosts& costs) {
    using F = Form<W, A>;
    return {W, A, F::CHANNELS, sizeof(typename F::Code), 2, {8, 4}, F::SUMMED / F::ASKED, costs,
            {encode<W, A, false>, encode<W, A, true>}, index<W>, blocks<F>};
}

}  // namespace

constinit const LookupKernel lookups_avx512[3] = {
    kernel<2, 2>({{0.002033, 0.002348, 0.0001729, 0.03156, 0.1742, 0.01903, 0.0296, 1250},
                  {0.001133, 0.001734, 0.0004504, 0.01117, 0.1194, 0.01774, 0.02769, 323.2},
                  {0.002764, 0.002754, 0, 0.08716, 0.2026, 0.05336, 0.1028, 274.5}}),
    kernel<2, 3>({{0.002155, 0.00236, 0.0007874, 0.03668, 0.1763, 0.01872, 0, 1162},
                  {0.001366, 0.001851, 0, 0.01738, 0.1203, 0.01753, 0, 297.5},
                  {0.002868, 0.003383, 0, 0.02805, 0.2634, 0.05148, 0, 300}}),
    kernel<3, 2>({{0.003212, 0.003671, 0, 0, 0.2055, 0.02003, 0, 1185},
                  {0.0001534, 0.001083, 0.006518, 0, 0.1539, 0.01941, 0, 254.6},
                  {0.003954, 0.004655, 0, 0, 0.2751, 0.05452, 0, 272.5}}),
};

}  // namespace dqt
#endif
