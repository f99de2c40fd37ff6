// What the plain form of an operator sees: where the integers of one sample lie, as the target has laid them out.
// Nothing here allocates.
#pragma once

#include <cstdint>
#include <cstring>
#include <span>

namespace dqt {

// One value of one sample: codes, a byte each, or integers, int32 each.
struct View {
    uint8_t* data;                            // the first element
    std::span<const int64_t> shape, strides;  // strides: bytes between neighbours along each dimension
    int32_t zero;
    bool coded;
    int32_t lo, hi;                           // of its integers
    double scale;

    int64_t element() const { return coded ? 1 : 4; }  // bytes
    int64_t size() const {                             // elements
        int64_t result = 1;
        for (const int64_t d : shape) result *= d;
        return result;
    }
    // Whether the elements lie side by side in the order of their indices.
    bool is_row_major() const {
        int64_t step = element();
        for (size_t d = shape.size(); d-- > 0; step *= shape[d])
            if (shape[d] > 1 && strides[d] != step) return false;
        return true;
    }
    uint8_t* at(std::span<const int64_t> index) const {
        uint8_t* p = data;
        for (size_t d = 0; d < index.size(); ++d) p += index[d] * strides[d];
        return p;
    }
    // The integer so many bytes from the first element.
    int32_t get(int64_t offset) const {
        if (coded) return data[offset];
        int32_t q;
        std::memcpy(&q, data + offset, sizeof q);
        return q;
    }
    void set(int64_t offset, int64_t q) const {
        const auto number = static_cast<int32_t>(q);
        if (coded)
            data[offset] = static_cast<uint8_t>(number);
        else
            std::memcpy(data + offset, &number, sizeof number);
    }
};

// The strides of an operand whose shape broadcasts to one of `rank` dimensions: 0 where it repeats.
struct Broadcast {
    const View& view;
    size_t skip;

    Broadcast(const View& view, size_t rank) : view(view), skip(rank - view.shape.size()) {}
    int64_t operator[](size_t d) const {
        return d < skip || view.shape[d - skip] == 1 ? 0 : view.strides[d - skip];
    }
};

// The integers of a value from and to an array that holds them row by row.
template <class T>
void read(const T* from, const View& to);
void write(const View& from, int32_t* to);

// One sample on its way through a program.
class Sample {
  public:
    virtual View view(int value) const = 0;
    // The sample's own width of a layer.
    virtual void choose(int layer, int64_t width) const = 0;
    // What the run was given of an input: float32 or int64, row-major.
    virtual const void* input(int index) const = 0;
    // A state before the run, row-major, or null: its start; and where it goes to, or null: nowhere.
    virtual const int32_t* state(int index) const = 0;
    virtual int32_t* next_state(int index) const = 0;

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
