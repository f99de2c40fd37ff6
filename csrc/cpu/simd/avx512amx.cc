// AMX: a tile of 16 rows by 64 unsigned bytes times 16 columns by 64 signed ones in one instruction, exact as vpdpbusd is.
//
// A panel's layout is that of the second operand's tiles, so that nothing is packed again; the rows of the first operand are
// read where they lie. All but the products of many rows is AVX-512 VNNI's.
//
// With DQT_PLAIN_TILES plain loops take the place of the instructions, for tests.
//
// The set itself, kernels_avx512amx, is made in csrc/cpu/amx.cc: it is a copy, and what copies runs on every processor.
#if defined(__x86_64__)
#include "avx512.h"
#include "tiles.h"

namespace dqt {
namespace {

// Tiles 0 to 3 are sums, 4 and 5 rows of codes, 6 and 7 weights.
constexpr int CODES = 4, WEIGHTS = 6, VECTOR = 64;

void configure(int rows, int bytes) {
    TileShapes shapes;
    for (int t = 0; t < WEIGHTS; ++t) {
        shapes.rows[t] = static_cast<uint8_t>(rows);
        shapes.bytes[t] = static_cast<uint16_t>(t < CODES ? VECTOR : bytes);
    }
    for (int t = WEIGHTS; t < 8; ++t) shapes.rows[t] = static_cast<uint8_t>(bytes / 4), shapes.bytes[t] = VECTOR;
    set_tiles(shapes);
}

void release() { release_tiles(); }

template <int... I, class F>
INLINE void each_of(std::integer_sequence<int, I...>, const F& f) {
    (f.template operator()<I>(), ...);
}
template <int COUNT, class F>
INLINE void times(const F& f) {
    each_of(std::make_integer_sequence<int, COUNT>(), f);
}

// The sums of A tiles of rows and B vectors of columns, from vector `first` of V on, to [row][V][16].
template <int V, int A, int B>
INLINE void sums(const TileBlock& b, int first, int32_t* to) {
    const Block& ends = b.ends;
    times<A * B>([&]<int C>() { load_tile<C>(ends.start + (first + C % B) * LANES, 0); });
    const int8_t *const panel = ends.panel + first * VECTOR, *next = ends.next;
    int64_t at = 0;
    for (int t = 0; t < ends.tap_count; ++t)
        for (int s = 0; s < b.steps; ++s, at += int64_t{b.bytes} / 4 * V * VECTOR) {
            const int64_t from = ends.taps[t] + int64_t{s} * b.bytes;
            const int8_t* w = panel + (at < b.last ? at : b.last);
            times<A>([&]<int I>() { load_tile<CODES + I>(b.in[I] + from, b.row); });
            times<B>([&]<int J>() {
                load_tile<WEIGHTS + J % 2>(w + J * VECTOR, V * VECTOR);
                times<A>([&]<int I>() { multiply_tiles<I * B + J, CODES + I, WEIGHTS + J % 2>(); });
            });
            if (first == 0)
                for (int i = 0; i < b.lines; ++i, next += VECTOR) _mm_prefetch(reinterpret_cast<const char*>(next), _MM_HINT_T1);
        }
    times<A * B>([&]<int C>() {
        store_tile<C>(to + (int64_t{C / B} * b.rows * V + first + C % B) * LANES, V * VECTOR);
    });
}

// Requantizes rows of sums, [row][V], as f(output, its bytes) wants them.
template <int V, class F>
INLINE void each_output(const TileBlock& b, const __m512i (*acc)[V], const F& f) {
    const Rounding& r = b.ends.rounding;
    if constexpr (V == 1) {
        const Factors<> f0(r, 0);
        for (int k = 0; k < b.outputs; ++k) {
            const __m512i y[] = {scaled<false>(acc[b.of[k]][0], f0, r)};
            f(k, packed<1>(y));
        }
    } else if constexpr (V == 2) {
        const Factors<> f0(r, 0), f1(r, LANES);
        for (int k = 0; k < b.outputs; ++k) {
            const __m512i* from = acc[b.of[k]];
            const __m512i y[] = {scaled<false>(from[0], f0, r), scaled<false>(from[1], f1, r)};
            f(k, packed<2>(y));
        }
    } else {
        const Factors<> f0(r, 0), f1(r, LANES), f2(r, 2 * LANES), f3(r, 3 * LANES);
        for (int k = 0; k < b.outputs; ++k) {
            const __m512i* from = acc[b.of[k]];
            const __m512i y[] = {scaled<false>(from[0], f0, r), scaled<false>(from[1], f1, r),
                                 scaled<false>(from[2], f2, r), scaled<false>(from[3], f3, r)};
            f(k, packed<4>(y));
        }
    }
}

template <int V>
INLINE void finish_tiles(const TileBlock& b, __m512i (*acc)[V]) {
    const Block& ends = b.ends;
    if (ends.wide || ends.rounding.shift != 32) [[unlikely]] {
        for (int k = 0; k < b.outputs; ++k)  // a row is never before its output
            for (int v = 0; v < V; ++v) acc[k][v] = acc[b.of[k]][v];
        return finish_rarely<V>(ends, acc, b.outputs);
    }
    const Bounds bounds(ends.rounding.lo, ends.rounding.hi, ends.residual ? Narrow() : ends.narrow);
    const bool whole = !ends.residual && !bounds.bounds && ends.columns == LANES * V && ends.stored == LANES * V;
    if (whole && !bounds.narrows)
        return each_output<V>(b, acc, [&](int k, __m512i bytes) { store_whole<V>(ends.out[k], bytes); });
    if (whole) {
        const Finish finish(bounds);
        return each_output<V>(b, acc, [&](int k, __m512i bytes) { store_whole<V>(ends.out[k], finish.narrowed(bytes)); });
    }
    __m512i all[MAX_OUTPUTS];  // a second pass: its constants and those of the first do not fit the registers together
    each_output<V>(b, acc, [&](int k, __m512i bytes) { all[k] = bytes; });
    store_finished<V>(ends, bounds, all, b.outputs);
}

template <int V>
void block(const TileBlock& b) {
    __m512i acc[MAX_OUTPUTS][V];
    auto* const to = reinterpret_cast<int32_t*>(acc);
    if (b.tiles == 1) {
        sums<V, 1, V>(b, 0, to);
    } else if constexpr (V == 4) {
        sums<V, 2, 2>(b, 0, to);
        sums<V, 2, 2>(b, 2, to);
    } else {
        sums<V, 2, V>(b, 0, to);
    }
    finish_tiles<V>(b, acc);
}

void narrow(const int8_t* panel, int8_t* to, int taps, int64_t count, const Block& by) {
    const __m512i mask = _mm512_set1_epi32(static_cast<int>(by.mask));
    for (int t = 0; t < taps; ++t) {
        const __m512i middle = _mm512_set1_epi32(static_cast<int>(by.middle[t & 1]));
        for (int64_t i = 0; i < count; i += VECTOR, panel += VECTOR, to += VECTOR) {
            _mm_prefetch(reinterpret_cast<const char*>(panel) + 2048, _MM_HINT_T0);
            _mm512_storeu_si512(to, _mm512_ternarylogic_epi32(_mm512_loadu_si512(panel), mask, middle, NARROW));
        }
    }
}

// Rows in their order: what is written behind one row is the beginning of the next.
void gather(const uint8_t* in, int64_t row, int rows, const Block& by, uint8_t* to, int64_t to_row) {
    const __mmask64 last = first((by.depth - 1) % VECTOR + 1);
    const bool small = by.depth <= VECTOR / 2;
    for (int i = 0; i < rows; ++i, in += row, to += to_row) {
        uint8_t* at = to;
        for (int t = 0; t < by.tap_count; ++t) {
            const uint8_t* from = in + by.taps[t];
            if (small) {             // half as many bytes cross the end of a cache line
                const __m256i bytes = _mm256_maskz_loadu_epi8(static_cast<__mmask32>(last), from);
                _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), bytes);
                at += by.depth;
                continue;
            }
            int left = by.depth;
            for (; left > VECTOR; left -= VECTOR, from += VECTOR, at += VECTOR)
                _mm512_storeu_si512(at, _mm512_loadu_si512(from));
            _mm512_storeu_si512(at, _mm512_maskz_loadu_epi8(last, from));
            at += left;
        }
    }
}

}  // namespace

#if defined(DQT_PLAIN_TILES)
#define DQT_TILES tiles_amx_plain
#else
#define DQT_TILES tiles_amx
#endif
extern const TileKernels DQT_TILES;
constinit const TileKernels DQT_TILES = {configure, release, {block<1>, block<2>, block<4>}, narrow, gather};

}  // namespace dqt
#endif
