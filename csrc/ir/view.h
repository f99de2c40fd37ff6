// What the plain form of an operator sees: where the integers of one sample lie, as the target has laid them out.
// Nothing here allocates.
#pragma once

#include <cstdint>
#include <span>

namespace dqt {

// One value of one sample: codes, a byte each, or int32 of a wide value.
struct View {
    uint8_t* data;                            // the first element
    std::span<const int64_t> shape, strides;  // strides: bytes between neighbours along each dimension
    int32_t zero;
    bool wide;

    int64_t element() const { return wide ? 4 : 1; }  // bytes
    int64_t size() const {                            // elements
        int64_t result = 1;
        for (const int64_t d : shape) result *= d;
        return result;
    }
    uint8_t* at(std::span<const int64_t> index) const {
        uint8_t* p = data;
        for (size_t d = 0; d < index.size(); ++d) p += index[d] * strides[d];
        return p;
    }
};

// One sample on its way through a program.
class Sample {
  public:
    virtual View view(int value) const = 0;
    // The sample's own width of a layer.
    virtual void choose(int layer, int64_t width) const = 0;

  protected:
    ~Sample() = default;
};

// Loops over elements that lie in two ways, outermost with the largest steps of `to`. Dimensions that lie in both as if
// they were one become one: an image is copied pixel by pixel or whole, in whatever order its dimensions are named.
class Loops {
  public:
    explicit Loops(int64_t element) : run_(element) {}

    // A dimension: elements, and bytes between neighbours where they come from and where they go.
    void add(int64_t length, int64_t from, int64_t to);
    void copy(const uint8_t* from, uint8_t* to);
    void fill(uint8_t* to, int32_t code);

  private:
    static constexpr int MOST = 31;  // dimensions longer than 1: no value has 2^31 elements
    struct Axis {
        int64_t length, from, to;
    };

    void merge();
    template <class F>
    void each(const F& f) const;

    Axis axes_[MOST];
    int count_ = 0;
    int64_t run_;  // bytes that lie side by side in both
};

// The elements of `from` to those of `to`, of the same shape and kind.
void copy(const View& from, const View& to);

// The code `code` in every element.
void fill(const View& to, int32_t code);

}  // namespace dqt
