// A convolution or linear layer, packed once at load for the kernels. The widths are applied while it runs.
#pragma once

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
    std::vector<Panel> panels;
    Bytes weight;
    int64_t slice = 0;                   // of weights cut into slices: bytes from slice to slice; 0: they are whole
    int64_t lanes = 0;                   // of start, m and c
    std::vector<Constants<int32_t>> start;  // by width: -zero * sum T_b(w)
    std::vector<Constants<int32_t>> m;      // by row
    std::vector<Constants<int64_t>> c;
    int32_t shift, lo, hi;

    Narrowing narrowing(int width) const;
    // The weights of a dense input at a width: the midpoints of a row of taps change from four bytes to the next.
    void narrow_rows(int width, uint8_t* out) const;
    Rounding rounding(int row, int64_t at) const;
};

// How weights lie: in panels of columns; so, but each row of taps as one tap, for a dense input; by channel, for depthwise
// layers; in slices of two bits, for Kernels::sliced: linear layers alone.
enum class Packing { panels, rows, depthwise, slices };

// Packs weights [O, I / groups, KH, KW], or [O, I] of a linear layer. `zero` is that of the input.
PackedLayer pack(const Array<int8_t>& weight, const Requant& requant, int groups, Packing packing, int zero,
                 const Space& space);

}  // namespace dqt
