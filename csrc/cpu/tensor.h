// Where a value lies in memory: channels innermost, padded to 4 bytes, with a border of real zeros where a convolution
// wants one. Lanes that pad the channels hold 0, so that what a weight's midpoint puts there counts nothing.
#pragma once

#include <cstdint>
#include <span>

namespace dqt {

constexpr int64_t LINE = 64;  // bytes of a cache line

constexpr int64_t split_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit; }  // how many units hold n
constexpr int64_t round_up(int64_t n, int64_t unit) { return (n + unit - 1) / unit * unit; }

// Elements of a shape.
constexpr int64_t product(std::span<const int64_t> shape) {
    int64_t result = 1;
    for (const int64_t d : shape) result *= d;
    return result;
}

// A (C, H, W) value is NHWC; any other shape is row-major: C is its last dimension, H the product of the rest, W is 1.
struct Tensor {
    uint8_t* data = nullptr;              // image 0, first byte of the border; codes are bytes, integers int32
    int64_t image = 0, row = 0;           // bytes from image to image, from row to row
    int64_t height = 1, width = 1, channels = 1;
    int32_t pixel = 4;                    // bytes from pixel to pixel
    int32_t top = 0, left = 0, bottom = 0, right = 0;
    int32_t zero = 0;
    bool coded = true;
    bool planar = false;                  // the logical shape is (C, H, W)
    std::span<const int64_t> shape;       // logical, without the batch: that of the Value in its Program

    uint8_t* at(int64_t n, int64_t y, int64_t x) const {
        return data + n * image + (y + top) * row + (x + left) * pixel;
    }
    int64_t size() const { return height * width * channels; }
    int64_t rows() const { return top + height + bottom; }      // with the border
    int64_t columns() const { return left + width + right; }
    int element() const { return coded ? 1 : 4; }               // bytes
    // Lays out pixels of `bytes` each: rows one after the other, images from cache line to cache line.
    void lay_out(int64_t bytes) {
        pixel = static_cast<int32_t>(bytes);
        row = columns() * pixel;
        image = round_up(rows() * row, LINE);
    }
    // Bytes of a pixel that holds `channels`, padded.
    int64_t pixel_bytes() const { return coded ? round_up(channels, 4) : 4 * channels; }
    // Whether pixels lie side by side with nothing between them: plan.cc says of which values.
    bool dense() const { return pixel < pixel_bytes(); }
    // Bytes between neighbours along logical dimension d.
    int64_t stride(size_t d) const {
        if (planar) return d == 0 ? element() : d == 1 ? row : pixel;
        if (d + 1 == shape.size()) return element();
        return row * product(shape.subspan(d + 1, shape.size() - d - 2));
    }
};

}  // namespace dqt
