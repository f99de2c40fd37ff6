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

#define INLINE_LAMBDA __attribute__((always_inline))

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

// Whether sums begin with what the block starts from, and not its requantization: where that is done in another way, or the
// products alone might not fit 32 bits.
INLINE bool starts_first(const TileBlock& b) {
    constexpr int64_t MOST = INT32_MAX / (255 * 128);
    return b.ends.wide || b.ends.rounding.shift != 32 || int64_t{b.ends.tap_count} * b.steps * b.bytes > MOST;
}

// The sums of A tiles of rows and B vectors of columns, from vector `first` of V on, to [row][V][16]; `meanwhile` is called at
// every step.
template <int V, int A, int B, class Meanwhile>
INLINE void sums(const TileBlock& b, int first, int32_t* to, Meanwhile& meanwhile) {
    const Block& ends = b.ends;
    if (starts_first(b))
        times<A * B>([&]<int C>() { load_tile<C>(ends.start + (first + C % B) * LANES, 0); });
    else
        times<A * B>([&]<int C>() { clear_tile<C>(); });
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
            meanwhile();
        }
    times<A * B>([&]<int C>() {
        store_tile<C>(to + (int64_t{C / B} * b.rows * V + first + C % B) * LANES, V * VECTOR);
    });
}

// Some rows of another block, a few at each call.
template <class Row>
struct Meanwhile {
    const Row& row;
    const int rows, each;
    int at = 0;
    Meanwhile(const Row& row, int rows, int each) : row(row), rows(rows), each(each) {}
    INLINE void operator()() {
        for (const int last = at + each < rows ? at + each : rows; at < last; ++at) row(at);
    }
    INLINE void rest() {
        for (; at < rows; ++at) row(at);
    }
};

// All sums of a block, or of none. `first` and `second`: what is done meanwhile, which may be one thing.
template <int V, class First, class Second>
INLINE void all_sums(const TileBlock* b, int32_t* to, First& first, Second& second) {
    if (b) {
        if (b->tiles == 1) {
            sums<V, 1, V>(*b, 0, to, first);
        } else if constexpr (V == 4) {
            sums<V, 2, 2>(*b, 0, to, first);
            sums<V, 2, 2>(*b, 2, to, second);
        } else {
            sums<V, 2, V>(*b, 0, to, first);
        }
    }
    first.rest();
    second.rest();
}
// Turns of each of the two parts of all_sums.
INLINE int turns(const TileBlock* b) { return b ? b->ends.tap_count * b->steps : 1; }

// Requantizes a row of sums to bytes. Its constants stay in registers.
template <int V>
struct Scaling {
    const Rounding& r;
    Factors<> factors[V];

    explicit Scaling(const Rounding& r) : Scaling(r, std::make_integer_sequence<int, V>()) {}
    INLINE void start_from(const int32_t* start) {
        times<V>([&]<int I>() { factors[I].start_from(_mm512_loadu_si512(start + I * LANES)); });
    }
    INLINE __m512i operator()(const __m512i* from) const {
        __m512i y[V];
        times<V>([&]<int I>() { y[I] = scaled<false>(from[I], factors[I], r); });
        return packed<V>(y);
    }

  private:
    template <int... I>
    INLINE Scaling(const Rounding& r, std::integer_sequence<int, I...>) : r(r), factors{Factors<>(r, I * LANES)...} {}
};

// The sums of the block `now`, while those of the block before become its outputs.
template <int V>
void block(const TileBlock* now, int32_t* to, const TileBlock* before, int32_t* from) {
    const auto nothing = [](int) {};
    Meanwhile idle{nothing, 0, 0};
    if (!before) return all_sums<V>(now, to, idle, idle);
    const Block& ends = before->ends;
    const int rows = before->outputs, each = (rows + turns(now) - 1) / turns(now), half = (each + 1) / 2;
    auto* const acc = reinterpret_cast<__m512i(*)[V]>(from);
    if (ends.wide || ends.rounding.shift != 32) [[unlikely]] {
        all_sums<V>(now, to, idle, idle);
        for (int k = 0; k < rows; ++k)  // a row is never before its output
            for (int v = 0; v < V; ++v) acc[k][v] = acc[before->of[k]][v];
        return finish_rarely<V>(ends, acc, rows);
    }
    Scaling<V> scaling(ends.rounding);
    if (!starts_first(*before)) scaling.start_from(ends.start);
    const Bounds bounds(ends.rounding.lo, ends.rounding.hi, ends.residual ? Narrow() : ends.narrow);
    const bool whole = !ends.residual && !bounds.bounds && ends.columns == LANES * V && ends.stored == LANES * V;
    const Finish finish(bounds);
    if (whole && !bounds.narrows) {
        const auto row = [&](int k) INLINE_LAMBDA { store_whole<V>(ends.out[k], scaling(acc[before->of[k]])); };
        Meanwhile some{row, rows, half};
        return all_sums<V>(now, to, some, some);
    }
    if (whole) {
        const auto row = [&](int k) INLINE_LAMBDA { store_whole<V>(ends.out[k], finish.narrowed(scaling(acc[before->of[k]]))); };
        Meanwhile some{row, rows, half};
        return all_sums<V>(now, to, some, some);
    }
    __m512i bytes[MAX_OUTPUTS];  // two passes: their constants do not fit the registers together
    const Lanes<V> lanes(ends.columns, ends.stored);
    const auto requantize = [&](int k) INLINE_LAMBDA { bytes[k] = finish(scaling(acc[before->of[k]])); };
    Meanwhile first{requantize, rows, each};
    if (!ends.residual) {
        const auto store = [&](int k) INLINE_LAMBDA { lanes.store(ends.out[k], bytes[k]); };
        Meanwhile second{store, rows, each};
        return all_sums<V>(now, to, first, second);
    }
    const Addition addition(*ends.residual);
    const Finish finish_added(ends.residual->lo, ends.residual->hi, ends.narrow);
    const auto add = [&](int k) INLINE_LAMBDA {
        lanes.store(ends.out[k], with_residual<V>(bytes[k], lanes.load(ends.other[k]), addition, finish_added));
    };
    Meanwhile second{add, rows, each};
    all_sums<V>(now, to, first, second);
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
