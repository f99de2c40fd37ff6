// What a kernel gets and does. One table of functions for each instruction set, listed in kernels.inc.
//
// A panel holds 16 * vectors output columns: [tap][depth / 4][vector][16 columns][4 channels] int8. The order of the
// columns inside it is that of column(): packing the accumulators' lanes then gives the bytes in natural order.
#pragma once

#include <cstdint>
#include <span>

#include "../arith.h"
#include "../ir/shared.h"
#include "costs.h"
#include "row_kernels.h"

namespace dqt {

constexpr int LANES = 16;        // int32 accumulators of one vector
constexpr int MAX_VECTORS = 4;   // of one panel
constexpr int MAX_ROWS = 12;     // of one block
constexpr int MAX_OUTPUTS = 32;  // of one block of tiles
constexpr int READ_SLACK = 64;   // bytes that a block may read behind a segment, whatever they are

// The column that dword `lane` of vector `vector` stands for, in a panel of `vectors` vectors (1, 2 or 4).
constexpr int column(int vectors, int vector, int lane) {
    return vectors == 1 ? lane : 4 * vectors * (lane / 4) + 4 * vector + lane % 4;
}

// Requantization of a panel: m[vector][16]; c[vector] as its 8 even lanes, then its 8 odd ones. Of other values: in order.
struct Rounding {
    const int32_t* m;
    const int64_t* c;
    int32_t shift, lo, hi;
};

// Codes are stored as T_b: n bits shifted by s, the largest one for codes of more bits; s = 0 leaves all as they are.
struct Narrow {
    int n = 8, s = 0;
    bool operator==(const Narrow&) const = default;
};

// (clamp(x, lo, hi) + add) & mask of bytes, modulo 256.
struct Clip {
    int lo, hi, add, mask;
};

// The residual that is added to a result before it is stored: clamp((k1*r + k2*b + k3) >> shift, lo, hi).
//
// Its constants are also split into 16-bit halves, k = high * 2^16 + low, low signed; those of k1 and k2 are pairs of
// words. Then sum >> shift = (high parts + (low parts >> 16)) >> (shift - 16), exactly, because floors nest; and both
// parts fit 32 bits. Not `split`: shifts below 16 and constants whose halves do not fit.
struct Residual {
    int64_t k1 = 0, k2 = 0, k3 = 0;
    int32_t shift = 0, lo = 0, hi = 0;
    bool split = false;
    int32_t low = 0, high = 0, low3 = 0, high3 = 0;

    Residual() = default;
    Residual(int64_t k1, int64_t k2, int64_t k3, int32_t shift, int32_t lo, int32_t hi);
};

constexpr int WINDOW = 16;       // channels of a PairedPanel that exchange their places

// A panel of 8-bit weights whose channels have changed places so that pairs of products fit 16 bits: see pairs.h.
struct PairedPanel {
    int windows;                     // of 16 channels; the last is filled with weights 0
    const int8_t* weights;           // [vector][window][4 steps][16 columns][4 channels], without the excess
    const uint8_t* places;           // [vector][window][16]: which channel of the window stands there
    const int32_t* first;            // by vector, and one more: its first excess
    const int32_t* steps;            // of each excess
    const int8_t* excess;            // [16 columns][4 channels]
};

// One block: `rows` output pixels times one panel.
struct Block {
    const uint8_t* in[MAX_ROWS];    // the first byte that each row reads
    uint8_t* out[MAX_OUTPUTS];      // its first output byte (int32 where `wide`)
    const uint8_t* other[MAX_OUTPUTS];  // with `residual`, its operand b
    const int64_t* taps;            // byte offset of each segment
    int tap_count, depth;           // bytes of a segment, a multiple of 4
    const int8_t* panel;
    const int8_t* next;             // weights that are wanted soon: a kernel may ask for a line of them at each step
    int8_t* kept = nullptr;         // where narrowed weights go for other blocks, in any form, where Kernels::keeps; or null
    uint32_t mask, middle[2];       // narrowing of weights: (w & mask) | middle[tap & 1], four lanes
    const int32_t* start;           // initial accumulators [vector][16]
    Rounding rounding;
    const Residual* residual;       // or null
    int columns, stored;            // real columns; columns written (the others as 0), at most 16 * vectors
    bool wide;
    Narrow narrow;                  // of the codes that are stored, where Kernels::narrows
    int64_t slice = 0;              // of a sliced panel: bytes from slice to slice
    Clip clip{};                    // of a sliced panel: of its weights, where they are clipped
    int input_shift = 0;            // the low bits of every code that are 0
    int product_bits = 16;          // of a weight as narrowed and of a code, without their low bits, together
    const PairedPanel* paired = nullptr;  // the same panel in pairs, or null
};
using BlockKernel = void (*)(const Block&);

// One or two tiles of rows that lie equally far apart, times one panel: the panel is read in steps of `bytes` of a segment.
constexpr int TILE_ROWS = 16, TILE_BYTES = 64;
struct TileBlock {
    Block ends;                      // taps, panel and what becomes of the sums; neither rows read nor narrowing of weights
    const uint8_t* in[MAX_OUTPUTS / TILE_ROWS];  // the first byte that the first row of each tile reads
    int tiles, rows;                 // of each tile
    int64_t row;                     // bytes from row to row
    int bytes, steps;                // of a step, a multiple of 4; steps of a segment
    int64_t last;                    // bytes of the panel before its last step, which may overlap the one before
    int outputs;                     // rows that are stored: output k is of row of[k], counted over both tiles
    uint8_t of[MAX_OUTPUTS];
    int lines;                       // cache lines of ends.next that each step asks for
};

// Processors that multiply tiles: a state of the thread, which is there from configure() to release().
constexpr int GATHER_SLACK = 64;
struct TileKernels {
    void (*configure)(int rows, int bytes);
    void (*release)();
    // The sums of the block `now`, [row of both tiles][vector][16], while those of the block before become its outputs. Either
    // may be null; both have 1, 2 or 4 vectors.
    void (*block[3])(const TileBlock* now, int32_t* sums, const TileBlock* before, int32_t* sums_before);
    // Of a panel [tap][bytes of a segment / 4][16 * vectors][4], `count` bytes each; (w & mask) | middle[tap & 1]
    void (*narrow)(const int8_t* panel, int8_t* to, int taps, int64_t count, const Block& by);
    // What the taps of `by` read of some rows, `row` bytes apart, one segment after the other, to rows `to_row` bytes apart;
    // up to GATHER_SLACK bytes behind the last may be written.
    void (*gather)(const uint8_t* in, int64_t row, int rows, const Block& by, uint8_t* to, int64_t to_row);
};

// Depthwise convolution of one output row: `count` pixels of all channels, in blocks of 64.
//
// Weights are [block][tap column][ceil(kernel_height / 4)][vector 4][16][4 rows], rows past the kernel's end unused.
struct DepthwiseRow {
    const uint8_t* in;               // first byte of the window of the first output pixel
    uint8_t* out;
    int64_t in_row;                  // bytes from one input row to the next, dilation included
    int64_t in_column, in_pixel;     // bytes from tap to tap in a row; from output pixel to output pixel
    int32_t out_pixel, channels, count;
    int32_t kernel_height, kernel_width;
    const int8_t* weight;
    uint32_t mask, middle[2];        // narrowing: (w & mask) | middle[column & 1], four rows
    const int32_t* start;            // [block][vector][16]
    Rounding rounding;               // of block 0; each block has 64 of m and c
    Narrow narrow;
};

// The largest codes of windows of whole pixels: of `count` output pixels of one row, which have as many taps each.
struct MaximumRow {
    const uint8_t* in;               // first byte of the first window
    int64_t in_row, in_column;       // bytes from tap to tap, down and across
    int64_t in_pixel;                // from window to window
    int rows, columns;               // taps, at least one
    uint8_t* out;
    int64_t out_pixel, channels, count;
};

// Kernels among which layers have a choice. A run may be forced to one of them, whatever it costs, wherever it is exact.
enum class Kernel : char { cheapest, block, winograd2x2, winograd2x4, winograd3x4, winograd4x4, lookup, slices };
constexpr const char* KERNEL_NAMES[] = {"",            "block",       "winograd2x2", "winograd2x4",
                                        "winograd3x4", "winograd4x4", "lookup",      "slices"};
constexpr const char* name_of(Kernel kernel) { return KERNEL_NAMES[static_cast<int>(kernel)]; }

constexpr int TILES = 6;                                // of one WinogradBlock, at most
constexpr int MOST_OUTPUTS = 16, MOST_POSITIONS = 36;  // of a Winograd tile

// Where the outputs of a Winograd tile go, and which of them lie inside the image.
struct WinogradTile {
    uint8_t* out;                    // first channel of its first output
    const uint8_t* other;            // with a residual, its operand b
    int32_t height, width;           // outputs inside the image
    int32_t middle[MOST_OUTPUTS];    // what the weights' midpoints add to each output
};

// Winograd's transform on codes of few bits: everything fits bytes, and the result is that of the direct convolution.
// Positions are those of the transformed tile, row-major.
struct WinogradBlock {
    const uint8_t* in;               // transformed input of tile 0
    int64_t tile_stride, in_stride;  // bytes from tile to tile, from position to position
    int tiles, depth, vectors;       // `vectors`: of the panel
    int32_t* sums;                   // [position][TILES][64]
    bool begins;                     // sums; otherwise they go on with more of the depth
    const int8_t* weight;            // transformed: [position][depth / 4][vector][16][4]
    int64_t weight_stride;           // bytes from position to position
    const int32_t* offset;           // [position][64], added to the sums
    const int8_t* next;              // weights that are wanted soon, a line of them at each step; or null
    const int32_t* start;            // [64], as of a Block
    int shift;                       // of both narrowings together
    const WinogradTile* places;      // of the tiles
    int64_t out_row, out_pixel, other_row, other_pixel;  // bytes from output to output
    int channel;                     // the block's first, from that of the places
    Rounding rounding;
    const Residual* residual;
    int columns, stored;
    Narrow narrow;
};

constexpr int BLOCK_ROWS = 6;  // of 64 columns

// F(down x across, 3x3), exact up to so many bits.
struct WinogradKernel {
    Kernel kernel;                   // its name
    int down, across;                // outputs of a tile
    int weight_bits, activation_bits;
    CoreCosts costs;
    // The pixels of one tile, master codes: narrowed by s of n bits, transformed, positions `stride` apart.
    void (*input)(const uint8_t* const* pixels, int64_t channels, int n, int s, uint8_t* out, int64_t stride);
    // Some depth of a panel [9 taps, `tap` bytes apart][depth / 4][vector][16][4], shifted right by s, transformed; and the
    // offsets of its columns.
    void (*weights)(const int8_t* panel, int64_t tap, int vectors, int depth, int s, int8_t* out, int64_t stride,
                    int32_t* offset);
    // Sums of one position.
    void (*products)(const WinogradBlock& b, int position);
    // Outputs from the sums of all of them, stored.
    void (*outputs)(const WinogradBlock& b);
    int bytes = 1;                   // of a transformed number
    int power = 4;                   // what sums are is divided by 2^power, at most: see winograd_fits

    constexpr int height() const { return down + 2; }
    constexpr int width() const { return across + 2; }
    constexpr int positions() const { return height() * width(); }
};

struct WinogradKernels {
    // Sums of code * h over the channels of `count` pixels, `step` apart: h = even for even channels, odd for odd ones.
    void (*weigh)(const uint8_t* pixels, int64_t step, int64_t count, int64_t channels, int n, int s, int even, int odd,
                  int32_t* sums);
    std::span<const WinogradKernel> kinds;
    int least_vectors = MAX_VECTORS; // of a panel
};

// Products of few bits from a table. A code holds `channels` activations and chooses an entry of the table; an index holds
// the weights of the same channels and chooses one byte of it: the sum of their products, each weight made unsigned.
constexpr int LOOKUP_PANELS = 2, LOOKUP_ROWS = 8;

// Codes of a pixel: code 4 * g + j is of channel j of the quads g, g + G, ... of the G = ceil(depth / (4 * channels)).
constexpr int lookup_codes(int channels, int depth) { return (depth + 4 * channels - 1) / (4 * channels) * 4; }

// One or two panels of 64 columns: all that a Block says of each, but for `panel` and what narrows it, and `start`, which
// is in the constants of the rounding.
struct LookupBlock {
    Block ends[LOOKUP_PANELS];       // of the first: `in` are records, `depth` counts the codes of a tap
    const uint8_t* index;            // [tap][code][panel][16 lanes][4 vectors]
    int shift, middle_shift;         // of sums of products; of the sums of records
};

struct LookupKernel {
    int weight_bits, activation_bits;  // it is for these alone
    int channels, code_bytes;        // of a code
    int panels, rows[LOOKUP_PANELS]; // of a block at most; rows of one of one panel, of two
    int codes_to_line;               // a block asks for a cache line of Block::next for so many codes; 0: for none
    CoreCosts costs;
    // Records of `count` pixels, `step` apart, narrowed by s of n bits; [1]: they have been. The sums are those of
    // WinogradKernels::weigh.
    void (*encode[2])(const uint8_t* pixels, int64_t step, int64_t count, int depth, int n, int s, int even, int odd,
                      uint8_t* records);
    // Of a panel [tap][depth / 4][4][16][4], shifted right by s: 64 bytes for each code, `stride` apart.
    void (*index)(const int8_t* panel, int taps, int depth, int s, uint8_t* out, int64_t stride);
    void (*block)(const LookupBlock& b, int panels, int rows);

    // A pixel's record: its codes; the sum of its activations times a number for each channel, int32.
    constexpr int codes(int depth) const { return lookup_codes(channels, depth); }
    constexpr int record(int depth) const { return code_bytes * codes(depth) + 4; }
    // The largest product.
    constexpr int most() const { return ((1 << weight_bits) - 1) * ((1 << activation_bits) - 1); }
};

constexpr int SLICES = 4, SLICED_ROWS = 4, SLICED_DEPTH = 16;

// A panel of 64 columns whose bytes are cut into four slices of two bits, the top bits first, so that b bits read the
// first ceil(b / 2) alone. Slice: [depth / 16][vector 4][16 columns][4 channels]; bits 2f and 2f + 1 of its bytes are
// those of the f-th four of 16 channels. Depth is padded to 16.
struct SlicedForms {
    // block[slices - 1][rows - 1]: a Block of one tap, `panel` in its first slice; weights are narrowed.
    BlockKernel block[SLICES][SLICED_ROWS];
    // The whole bytes of b.panel, narrowed, as a Block's panel of depth b.depth; from so many slices.
    void (*unpack[SLICES])(const Block& b, int8_t* panel);
};
struct SlicedKernels {
    SlicedForms plain, clipping;     // the second: by b.clip, before its mask and middle
    bool vectors;                    // for inputs of one row alone: rows of weights as bytes are faster where there are more
};

// clip(rint(x * gain + bias) + zero, 0, highest) by channel: two roundings to float32, never a fused one.
struct Quantization {
    const float *gain, *bias;
    int zero, highest;
};

// Values that are not codes: kernels by kind of operands and result, 0: codes, bytes; 1: integers, int32.
struct IntegerKernels {
    // clamp((k1*a + k2*b + k3) >> shift, lo, hi), [a][b][out]
    void (*add[2][2][2])(const void* a, const void* b, void* out, int64_t count, const Residual& k);
    // clamp((q*m + c) >> shift, lo, hi), [in][out]; m and c of each element, or (`single`) of all.
    void (*rescale[2][2])(const void* in, void* out, int64_t count, const Rounding& r, bool single);
};

// What brings weights and codes to a part of their range, so that other kernels can narrow them.
struct ClipKernels {
    void (*weights)(const int8_t* in, int8_t* out, int64_t count, const Clip& clip);
    void (*codes)(const uint8_t* in, uint8_t* out, int64_t count, const Clip& clip);
};

struct Kernels {
    const char* name;
    // block[1, 2, 4 vectors -> 0, 1, 2][narrowed][rows - 1]; null where `rows` is more than most_rows.
    BlockKernel block[3][2][MAX_ROWS];
    int most_rows[3];                // largest block of each panel size
    void (*depthwise)(const DepthwiseRow&);
    void (*narrow)(const uint8_t* in, uint8_t* out, int64_t count, int n, int s);
    void (*add)(const uint8_t* a, const uint8_t* b, uint8_t* out, int64_t count, const Residual& k);
    void (*table)(const uint8_t* in, uint8_t* out, int64_t count, const uint8_t* table);
    // `count` pixels of up to 4 channels -> `pixel` bytes each: 4, or no more than the channels.
    void (*quantize)(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count,
                     const Quantization& q);
    bool (*usable)();                // whether this processor runs them
    void (*maximum)(const MaximumRow&);
    const WinogradKernels* winograd = nullptr;  // null: no Winograd
    bool narrows = false;            // whether block, depthwise and Winograd kernels heed `narrow`
    const SlicedKernels* sliced = nullptr;  // null: there are none
    std::span<const LookupKernel> lookups = {};
    CoreCosts costs = {}, whole_costs = {};  // of few bits, of 8 by 8: needed where there is a choice
    IntegerKernels integers = {};
    ClipKernels clips = {};
    RowKernels rows = {};
    int keeps = 0;                   // from so many blocks of a panel on block kernels heed Block::kept; 0: never
    // Weights and places of a PairedPanel from a panel and the nibbles of its places, [vector][window][8]: low nibbles are
    // the first eight places. Null: block kernels take no pairs.
    void (*pair)(const int8_t* panel, int vectors, int steps, const uint8_t* nibbles, const PairedPanel& of,
                 int8_t* weights, uint8_t* places) = nullptr;
    const TileKernels* tiles = nullptr;  // null: there are none
};

#if defined(__x86_64__)
void depthwise_avx2(const DepthwiseRow&);
void depthwise_avx512(const DepthwiseRow&);
void quantize_avx2(const float* in, int64_t plane, int channels, uint8_t* out, int pixel, int64_t count, const Quantization& q);
extern const WinogradKernels winograd_avx2, winograd_avx512, winograd_avx512bw;
extern const SlicedKernels sliced_avx2, sliced_avx512;
extern const LookupKernel lookups_avx512[3];
extern const TileKernels tiles_amx;
// The set of AVX-512 VNNI with blocks on tiles.
Kernels with_tiles(const char* name, bool (*usable)(), const TileKernels& tiles);
#endif
#define DQT_KERNELS(name) DQT_SHARED extern const Kernels kernels_##name;
#include "kernels.inc"
#undef DQT_KERNELS

// The best kernels for this processor, or those called `isa`; null where there is no such name or it cannot run here.
DQT_SHARED const Kernels* choose_kernels(const char* isa);

}  // namespace dqt
