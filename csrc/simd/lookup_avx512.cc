// Two bits by two bits from a table of products: `vpermb` looks up 64 sums of three products at once.
//
// A block is four pixels by two panels, so that each 64 bytes of the table that activations choose serve twice: beside
// two lookups and two additions there is time for three loads. Sums of eight lookups fit a byte; then they go on in 16
// bits, those of even bytes with the odd ones above them, which are taken off at the end.
#if defined(__x86_64__)
#include <algorithm>

#include "avx512.h"
#include "products_table.h"

namespace dqt {
namespace {

constexpr int CHANNELS = 3;           // activations of a code
constexpr int SUMMED = 8, ASKED = 4;  // codes whose sum fits a byte; lines of the next weights asked for meanwhile
constexpr int64_t AHEAD = 8;          // pixels
constexpr int SELECT = 0xCA;          // a ? b : c, bit by bit
static_assert(SUMMED * 9 * CHANNELS <= UINT8_MAX && SUMMED % 4 == 0);
constexpr ProductsTable<CHANNELS> TABLE;

// Three vectors of fields of two bits as one.
INLINE __m512i joined(__m512i a, __m512i b, __m512i c) {
    return _mm512_ternarylogic_epi32(a, _mm512_slli_epi16(b, 2), _mm512_slli_epi16(c, 4), 0xFE);
}

// Codes of two bits of some of 32 bytes, the rest 0; `NARROWED`: these are T_2 already.
template <bool NARROWED>
INLINE __m512i fields(const uint8_t* p, __mmask64 some, int n, int s) {
    const __m512i bytes = _mm512_maskz_loadu_epi8(some, p);  // asked for before
    return NARROWED ? shifted(bytes, s) : code(bytes, n, s);
}

template <bool NARROWED>
void encode(const uint8_t* pixels, int64_t step, int64_t count, int depth, int n, int s, int even, int odd,
            uint8_t* records) {
    const int codes = lookup_codes(CHANNELS, depth), record = 2 * codes + 4;
    const __m512i h = _mm512_set1_epi16(static_cast<int16_t>((even & 0xFF) | (odd & 0xFF) << 8));
    for (int64_t i = 0; i < count; i += 4) {
        const int64_t last = std::min<int64_t>(4, count - i) - 1;  // its record may be written again
        __m512i sums[4] = {};
        for (int64_t p = 0; p <= last; ++p)
            for (int c = 0; c < depth; c += 64)
                _mm_prefetch(reinterpret_cast<const char*>(pixels + (i + p + AHEAD) * step + c), _MM_HINT_T0);
        for (int k = 0; k < codes; k += 32) {
            const int left = std::min(codes - k, 32), last_left = std::clamp(depth - 2 * codes - k, 0, left);
            const __mmask64 here = first(left), rest = first(last_left);
#pragma GCC unroll 4
            for (int64_t p = 0; p < 4; ++p) {
                const uint8_t* in = pixels + (i + std::min(p, last)) * step + k;
                const __m512i a = fields<NARROWED>(in, here, n, s), b = fields<NARROWED>(in + codes, here, n, s);
                const __m512i c = fields<NARROWED>(in + 2 * codes, rest, n, s);
                sums[p] = dot(dot(dot(sums[p], a, h), b, h), c, h);
                const __m512i words = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(joined(a, b, c)));
                _mm512_mask_storeu_epi16(records + (i + std::min(p, last)) * record + 2 * k, static_cast<__mmask32>(here),
                                         _mm512_slli_epi16(words, 6));
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

void index(const int8_t* panel, int taps, int depth, int s, uint8_t* out, int64_t stride) {
    const int groups = lookup_codes(CHANNELS, depth) / 4, quads = depth / 4;
    const __m512i even = turns<false>(0), odd = turns<false>(1), low = turns<true>(0), high = turns<true>(1);
    const __m512i bottom = _mm512_set1_epi8(0x03), top = _mm512_set1_epi8(0x30);
    const __m512i right[3] = {_mm512_set1_epi32(s), _mm512_set1_epi32(s - 2), _mm512_set1_epi32(s - 4)};
    for (int t = 0; t < taps; ++t, panel += int64_t{quads} * 256)
        for (int g = 0; g < groups; ++g, out += 4 * stride) {
            const int8_t* from[3];
#pragma GCC unroll 3
            for (int i = 0; i < 3; ++i)  // past the last quad activations are 0: any weights do
                from[i] = panel + int64_t{std::min(g + i * groups, quads - 1)} * 256;
            __m512i x[4];
#pragma GCC unroll 4
            for (int v = 0; v < 4; ++v) {  // what a rotation brings from the next byte is not selected, or not looked at
                const __m512i a = _mm512_rorv_epi32(_mm512_loadu_si512(from[0] + 64 * v), right[0]);
                const __m512i b = _mm512_rorv_epi32(_mm512_loadu_si512(from[1] + 64 * v), right[1]);
                const __m512i c = _mm512_rorv_epi32(_mm512_loadu_si512(from[2] + 64 * v), right[2]);
                x[v] = _mm512_ternarylogic_epi32(bottom, a, b, SELECT);
                x[v] = _mm512_ternarylogic_epi32(top, c, x[v], SELECT);
            }
            const __m512i a0 = _mm512_permutex2var_epi8(x[0], even, x[1]), b0 = _mm512_permutex2var_epi8(x[2], even, x[3]);
            const __m512i a1 = _mm512_permutex2var_epi8(x[0], odd, x[1]), b1 = _mm512_permutex2var_epi8(x[2], odd, x[3]);
            _mm512_storeu_si512(out, _mm512_permutex2var_epi8(a0, low, b0));
            _mm512_storeu_si512(out + stride, _mm512_permutex2var_epi8(a1, low, b1));
            _mm512_storeu_si512(out + 2 * stride, _mm512_permutex2var_epi8(a0, high, b0));
            _mm512_storeu_si512(out + 3 * stride, _mm512_permutex2var_epi8(a1, high, b1));
        }
}

// Four codes of each row. The two instructions are written out because compilers move what is between them.
template <int P, int ROWS>
INLINE void look_up(const uint16_t* const* rows, const uint8_t* index, __m512i (*bytes)[P]) {
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k, index += 64 * P) {
        __m512i at[P];
#pragma GCC unroll 2
        for (int p = 0; p < P; ++p) at[p] = _mm512_loadu_si512(index + 64 * p);
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) {
            const __m512i entry = _mm512_load_si512(TABLE.bytes.data() + rows[i][k]);
#pragma GCC unroll 2
            for (int p = 0; p < P; ++p) {
                __m512i found;
                asm("vpermb %2, %3, %1\n\tvpaddb %1, %0, %0" : "+v"(bytes[i][p]), "=&v"(found) : "v"(entry), "v"(at[p]));
            }
        }
    }
}

template <int P, int ROWS, bool ASKS>
void sums(const LookupBlock& b) {
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
        const uint16_t* rows[ROWS];
#pragma GCC unroll 8
        for (int i = 0; i < ROWS; ++i) rows[i] = reinterpret_cast<const uint16_t*>(from.in[i] + from.taps[t]);
        for (int k = 0; k < from.depth; k += SUMMED) {
            __m512i bytes[ROWS][P];
#pragma GCC unroll 8
            for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 2
                for (int p = 0; p < P; ++p) bytes[i][p] = zero;
            for (int half = k; half < std::min(k + SUMMED, from.depth); half += 4) {
                look_up<P, ROWS>(rows, index, bytes);
                index += 4 * 64 * P;
#pragma GCC unroll 8
                for (int i = 0; i < ROWS; ++i) rows[i] += 4;
            }
#pragma GCC unroll 4
            for (int line = 0; ASKS && line < ASKED; ++line, next += 64)
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

template <int P, int ROWS>
void block(const LookupBlock& b) {
    (b.ends[0].next ? sums<P, ROWS, true> : sums<P, ROWS, false>)(b);
}

constexpr void (*ONE_PANEL[])(const LookupBlock&) = {block<1, 1>, block<1, 2>, block<1, 3>, block<1, 4>,
                                                     block<1, 5>, block<1, 6>, block<1, 7>, block<1, 8>};
constexpr void (*TWO_PANELS[])(const LookupBlock&) = {block<2, 1>, block<2, 2>, block<2, 3>, block<2, 4>};

void blocks(const LookupBlock& b, int panels, int rows) { (panels == 1 ? ONE_PANEL : TWO_PANELS)[rows - 1](b); }

}  // namespace

const LookupKernels lookup_avx512 = {
    CHANNELS, 2, 2, {8, 4}, SUMMED / ASKED, {0.0007838, 0.00136, 0.001611, 0.02571, 0.11, 0.01745},
    {encode<false>, encode<true>}, index, blocks,
};

}  // namespace dqt
#endif
