// A convolution or linear layer, packed once at load for the kernels. The widths are applied while it runs.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <new>
#include <string>
#include <vector>

#include "bytes.h"
#include "kernels.h"
#include "../ir/program.h"
#include "tensor.h"

namespace dqt {

// Constants that kernels load as whole vectors: an array that starts inside a cache line has two of them at every load.
template <class T>
struct LineAllocator {
    using value_type = T;
    static constexpr std::align_val_t ALIGNMENT{LINE};
    LineAllocator() = default;
    template <class U>
    LineAllocator(const LineAllocator<U>&) {}
    T* allocate(size_t n) { return static_cast<T*>(::operator new(n * sizeof(T), ALIGNMENT)); }
    void deallocate(T* p, size_t) { ::operator delete(p, ALIGNMENT); }
    bool operator==(const LineAllocator&) const = default;
};
template <class T>
using Constants = std::vector<T, LineAllocator<T>>;

// Up to 64 output columns of one group.
struct Panel {
    int group, first, columns, vectors;  // `first`: the first output channel; `vectors`: 1, 2 or 4
    int64_t weight;                      // bytes into PackedLayer::weight
    int64_t at;                          // the panel's place in start, m and c, a multiple of 16
};

// Which channels of each window of 16 make pairs, and what of the weights is multiplied apart: pairs.h.
struct Pairs {
    std::vector<uint8_t> places;     // [vector of 16 columns][window][8]: nibbles, of places k and k + 8
    std::vector<int32_t> first;      // by vector, and one more: its first excess; empty where there are no pairs
    std::vector<int32_t> steps;      // by excess: its step of 4 channels
    Constants<int8_t> excess;        // [16 columns][4 channels]
};

// How a width reads the layer's weights.
struct Narrowing {
    uint32_t mask, middle[2];
    bool narrowed;
};

// How a width reads the layer's input: of what lies above `start`, the nearest codes of a range of `narrow.n` bits
// (equation 36). What kernels multiply is T_b(q) - start, whose low bits are 0.
struct InputRange {
    Narrow narrow;
    int start;
    bool part;                       // whether it is less than the master's range

    // Whether kernels that narrow codes do all of it.
    bool by_kernels() const { return !part || (start == 0 && narrow.s > 0); }
};

struct PackedLayer {
    int out_channels, depth;             // depth: bytes of one tap of one group, a multiple of 4
    int row_taps = 0, row_channels = 0;  // of a dense input (Tensor::dense): a row of taps is packed as one tap, as so many
    int groups, kernel_height, kernel_width;
    bool depthwise;
    int master, zero;                    // bits of a code; zero point of the input
    bool by_tap;                         // one input channel to a filter: the midpoint's index is the tap
    int inputs;                          // real channels of a tap, or taps and channels of a row of taps
    bool nearest = false;                // weights are narrowed by the nearest rule, not by the midpoint
    uint8_t weight_exponent[9] = {}, input_exponent[9] = {};  // by width: it reads a range 2^-e of the master's
    std::vector<Panel> panels;
    Bytes weight;
    int64_t most_sum = 0;                // of 3x3 layers: of an output's weights of one sign, the largest
    Pairs pairs;                         // at 8 by 8 bits, for Kernels::pair
    int64_t slice = 0;                   // of weights cut into slices: bytes from slice to slice; 0: they are whole
    int64_t lanes = 0;                   // of start, m and c
    // By exponent of the input (one, where zero points are 0) and width: -(zero >> exponent) * sum T_b(w).
    std::vector<std::vector<Constants<int32_t>>> start;
    std::vector<Constants<int32_t>> m;      // by row
    std::vector<Constants<int64_t>> c;
    int32_t shift, lo, hi;

    // The low bits that codes of a width lack.
    int weight_shift(int width) const { return master - width - weight_exponent[width]; }
    int input_shift(int width) const { return master - width - input_exponent[width]; }
    // The low bits of a weight that change nothing at a width.
    int unread(int width) const { return std::max(0, weight_shift(width) - nearest); }
    int midpoint(int width, int index) const { return nearest ? 0 : dqt_midpoint(weight_shift(width), index); }
    InputRange input(int width) const;
    // Whether weights are narrowed aside and run as they are: rows of taps, whose midpoints change from four bytes to the
    // next. Elsewhere kernels narrow weights as they load them,
    bool aside(int width) const { return row_taps && width < master; }
    // which they can do once weights of a part of the range, or of the nearest rule, have been clipped.
    bool clips(int width) const { return !aside(width) && width < master && (nearest || weight_exponent[width] > 0); }
    Clip clip(int width) const;
    Narrowing narrowing(int width) const;
    // The bits of a weight and a code together, without their low bits.
    int product_bits(int weight, int activation) const { return (aside(weight) ? 8 : weight) + activation; }
    // The weights of one panel that are narrowed aside, to their place in `out`.
    void narrow_aside(int width, const Panel& panel, const Kernels& kernels, uint8_t* out) const;
    // Bytes of a panel; of the scratch that a thread clips one in.
    int64_t products() const { return int64_t{kernel_height} * kernel_width * depth; }  // of one output
    int64_t panel_bytes(const Panel& panel) const { return products() * panel.vectors * LANES; }
    int64_t clip_scratch() const { return round_up(products() * MAX_VECTORS * LANES, LINE) + LINE; }
    const int32_t* starts(int weight, int activation) const {  // `weight`: the index of the width
        return start[start.size() == 1 ? 0 : input_exponent[activation]][weight].data();
    }
    Rounding rounding(int row, int64_t at) const;
};

// How weights lie: in panels of columns; so, but each row of taps as one tap, for a dense input; by channel, for depthwise
// layers; in slices of two bits, for Kernels::sliced: linear layers alone.
enum class Packing { panels, rows, depthwise, slices };

// What is packed: weights [O, I / groups, KH, KW], or [O, I] of a linear layer. `zero` is that of the input.
struct Packed {
    const Array<int8_t>& weight;
    Requant requant;
    bool nearest;
    const Numbers &weight_exponents, &input_exponents;

    template <class Operator>
    explicit Packed(const Operator& op)
        : weight(op.weight), requant(op), nearest(op.nearest), weight_exponents(op.weight_exponents),
          input_exponents(op.input_exponents) {}
};
// Packed weights lie in `slab`.
PackedLayer pack(const Packed& op, int groups, Packing packing, int zero, const Space& space, Slab& slab);

}  // namespace dqt
