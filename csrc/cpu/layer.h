// A convolution or linear layer, packed once at load for the kernels. The widths are applied while it runs.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "kernels.h"
#include "../ir/program.h"
#include "tensor.h"

namespace dqt {

// Bytes aligned to a cache line, that grow and are never copied.
class Bytes {
  public:
    Bytes() = default;
    // `streamed`: read from memory once in a run, and so from huge pages where the system has them.
    explicit Bytes(size_t size, bool streamed = false);
    uint8_t* data() const { return data_.get(); }
    size_t size() const { return size_; }
    bool holds(size_t size) const;   // as one of this size would

  private:
    struct Free {
        void operator()(uint8_t* p) const;
    };
    std::unique_ptr<uint8_t, Free> data_;
    size_t size_ = 0;
};

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

// How one pair of widths reads the layer.
struct Narrowing {
    uint32_t mask, middle[2];
    bool narrowed;
};

struct PackedLayer {
    int out_channels, depth;             // depth: bytes of one tap of one group, a multiple of 4
    int row_taps = 0, row_channels = 0;  // of a dense input (Tensor::dense): a row of taps is packed as one tap, as so many
    int groups, kernel_height, kernel_width;
    bool depthwise;
    int master;
    bool by_tap;                         // one input channel to a filter: the midpoint's index is the tap
    int inputs;                          // real channels of a tap, or taps and channels of a row of taps
    bool nearest = false;                // weights are narrowed by the nearest rule, not by the midpoint
    uint8_t weight_exponent[9] = {}, input_exponent[9] = {};  // by width: it reads a range 2^-e of the master's
    std::vector<Panel> panels;
    Bytes weight;
    Pairs pairs;                         // at 8 by 8 bits, for Kernels::pair
    int64_t slice = 0;                   // of weights cut into slices: bytes from slice to slice; 0: they are whole
    int64_t lanes = 0;                   // of start, m and c
    std::vector<Constants<int32_t>> start;  // by width: -zero * sum T_b(w)
    std::vector<Constants<int32_t>> m;      // by row
    std::vector<Constants<int64_t>> c;
    int32_t shift, lo, hi;

    // Whether codes at these widths are the top bits alone, weights with their midpoints: what all kernels can do.
    bool plain(int weight, int activation) const { return plain_weights(weight) && input_exponent[activation] == 0; }
    bool plain_weights(int width) const { return width == master || (!nearest && weight_exponent[width] == 0); }
    // Whether weights are narrowed aside and run as they are: where they are not plain; rows of taps, whose midpoints
    // change from four bytes to the next.
    bool aside(int width) const { return (row_taps && width < master) || !plain_weights(width); }
    Narrowing narrowing(int width) const;
    // Of the codes that a pair of widths reads: the low bits that are 0; the bits of a weight and a code together.
    int input_shift(int activation) const { return input_exponent[activation] == 0 ? master - activation : 0; }
    int product_bits(int weight, int activation) const {
        return (aside(weight) ? 8 : weight) + (input_exponent[activation] == 0 ? activation : 8);
    }
    // What narrowing makes of each byte, less its midpoint.
    std::array<uint8_t, 256> cuts(int width) const;
    // The weights of one panel at such a width, to their place in `out`.
    void narrow_aside(int width, const Panel& panel, const Kernels& kernels, uint8_t* out) const;
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
    // Whether weights are plain at every width.
    bool plain() const;
};
PackedLayer pack(const Packed& op, int groups, Packing packing, int zero, const Space& space);

}  // namespace dqt
