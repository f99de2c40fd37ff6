// Few rows times weights that stream from memory: the slices of a panel are merged back into bytes in registers, so that
// fewer bits are fewer bytes read. Everything after the merge is what a block does.
#if defined(__x86_64__)
#include "avx512.h"

namespace dqt {
namespace {

constexpr int SELECT = 0xCA;  // a ? b : c
constexpr int AHEAD[] = {8192, 4096, 3072, 2048};  // bytes prefetched ahead, by slices: measured, up to 15 % apart

// gcc 12 keeps accumulators in memory where many of them meet the intrinsic.
INLINE void multiply(__m512i& acc, __m512i a, __m512i w) { asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(w)); }

struct Four {
    uint8_t codes[4];
};

template <bool CLIPS>
struct Bits {
    __m512i mask, middle;
    explicit Bits(const Block& b)
        : mask(_mm512_set1_epi32(static_cast<int>(b.mask))), middle(_mm512_set1_epi32(static_cast<int>(b.middle[0]))) {}
    INLINE __m512i narrowed(__m512i w) const { return _mm512_ternarylogic_epi32(w, mask, middle, NARROW); }
};

// Low bits that are noise stay below those that clipping reads.
template <>
struct Bits<true> : Bits<false> {
    __m512i lo, hi, add;
    explicit Bits(const Block& b) : Bits<false>(b), lo(all(b.clip.lo)), hi(all(b.clip.hi)), add(all(b.clip.add)) {}
    static __m512i all(int byte) { return _mm512_set1_epi8(static_cast<char>(byte)); }
    INLINE __m512i narrowed(__m512i w) const {
        return Bits<false>::narrowed(_mm512_add_epi8(_mm512_min_epi8(_mm512_max_epi8(w, lo), hi), add));
    }
};

// The F-th two bits of each byte, at bits TO and TO + 1; the other bits are noise.
template <int F, int TO>
INLINE __m512i field(__m512i q) {
    if constexpr (TO > 2 * F) return _mm512_slli_epi16(q, TO - 2 * F);
    if constexpr (TO < 2 * F) return _mm512_srli_epi16(q, 2 * F - TO);
    return q;
}

// The narrowed weights of the F-th four channels, from S slices of one vector. Without optimization the intrinsic is a
// macro, which takes a comma outside of parentheses for the end of an argument.
template <int S, int F, class B>
INLINE __m512i merged(const __m512i* q, const B& bits) {
    __m512i w = field<F, 6>(q[0]);
    if constexpr (S > 1) w = _mm512_ternarylogic_epi32(_mm512_set1_epi8(-64), w, (field<F, 4>(q[1])), SELECT);
    if constexpr (S > 2) w = _mm512_ternarylogic_epi32(_mm512_set1_epi8(-16), w, (field<F, 2>(q[2])), SELECT);
    if constexpr (S > 3) w = _mm512_ternarylogic_epi32(_mm512_set1_epi8(-4), w, (field<F, 0>(q[3])), SELECT);
    return bits.narrowed(w);
}

// S slices of `V` vectors.
template <int S, int V>
INLINE void load(const int8_t* w, int64_t slice, __m512i (*q)[S]) {
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v)
#pragma GCC unroll 4
        for (int j = 0; j < S; ++j) {
            q[v][j] = _mm512_loadu_si512(w + j * slice + 64 * v);
            _mm_prefetch(reinterpret_cast<const char*>(w) + j * slice + 64 * v + AHEAD[S - 1], _MM_HINT_T0);
            asm("" : "+v"(q[v][j]));  // or gcc loads it again for each use
        }
}

template <int S, int ROWS, int V, int FIRST, int F, class B>
INLINE void step(const __m512i (*q)[S], const uint8_t* const* in, int64_t k, const B& bits, __m512i (*acc)[4]) {
    __m512i w[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) w[v] = merged<S, F>(q[v], bits);
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i) {
        __m512i x;  // volatile: gcc would load it once for all vectors, and run out of registers
        asm volatile("vpbroadcastd %1, %0" : "=v"(x) : "m"(*reinterpret_cast<const Four*>(in[i] + k + 4 * F)));
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) multiply(acc[i][FIRST + v], x, w[v]);
    }
}

// `steps` of the four fours of 16 channels; V vectors at a time, as many as registers hold.
template <int S, int ROWS, int FIRST = 0, class B>
INLINE void sixteen(const Block& b, const int8_t* w, int64_t k, int steps, const B& bits, __m512i (*acc)[4]) {
    constexpr int V = ROWS == 1 || S == 1 ? 4 : 2;
    __m512i q[V][S];
    load<S, V>(w + 64 * FIRST, b.slice, q);
    step<S, ROWS, V, FIRST, 0>(q, b.in, k, bits, acc);
    if (steps > 1) step<S, ROWS, V, FIRST, 1>(q, b.in, k, bits, acc);
    if (steps > 2) step<S, ROWS, V, FIRST, 2>(q, b.in, k, bits, acc);
    if (steps > 3) step<S, ROWS, V, FIRST, 3>(q, b.in, k, bits, acc);
    if constexpr (FIRST + V < 4) sixteen<S, ROWS, FIRST + V>(b, w, k, steps, bits, acc);
}

template <int ROWS>
__attribute__((noinline)) void ending(const Block& b, __m512i (*acc)[4]) {
    finish<4, ROWS>(b, acc);
}

template <bool CLIPS, int S, int ROWS>
void block(const Block& b) {
    __m512i acc[ROWS][4];
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) acc[i][v] = _mm512_loadu_si512(b.start + v * LANES);
    const Bits<CLIPS> bits(b);
    const int8_t* w = b.panel;
    const int whole = b.depth / SLICED_DEPTH * SLICED_DEPTH;
    for (int k = 0; k < whole; k += SLICED_DEPTH, w += 256) sixteen<S, ROWS>(b, w, k, 4, bits, acc);
    if (whole < b.depth) sixteen<S, ROWS>(b, w, whole, (b.depth - whole) / 4, bits, acc);
    __m512i done[ROWS][4];  // a copy: the accumulators themselves stay in registers
#pragma GCC unroll 4
    for (int i = 0; i < ROWS; ++i)
#pragma GCC unroll 4
        for (int v = 0; v < 4; ++v) done[i][v] = acc[i][v];
    ending<ROWS>(b, done);
}

template <int S, int F, class B>
INLINE void write(const __m512i* q, const B& bits, int8_t* to) {
    _mm512_storeu_si512(to + 256 * F, merged<S, F>(q, bits));
}

template <bool CLIPS, int S>
void unpack(const Block& b, int8_t* panel) {
    const Bits<CLIPS> bits(b);
    const int8_t* w = b.panel;
    for (int k = 0; k < b.depth; k += SLICED_DEPTH, w += 256, panel += 1024) {
        const int steps = (b.depth - k) / 4;
        for (int v = 0; v < 4; ++v) {
            __m512i q[1][S];
            load<S, 1>(w + 64 * v, b.slice, q);
            write<S, 0>(q[0], bits, panel + 64 * v);
            if (steps > 1) write<S, 1>(q[0], bits, panel + 64 * v);
            if (steps > 2) write<S, 2>(q[0], bits, panel + 64 * v);
            if (steps > 3) write<S, 3>(q[0], bits, panel + 64 * v);
        }
    }
}

template <bool CLIPS>
constexpr SlicedForms forms() {
    return sliced_forms([]<int S, int ROWS>() -> BlockKernel { return block<CLIPS, S, ROWS>; },
                        []<int S>() { return unpack<CLIPS, S>; });
}

}  // namespace

constinit const SlicedKernels sliced_avx512 = {forms<false>(), forms<true>(), false};

}  // namespace dqt
#endif
