#include <cstring>

#include "executor.h"
#include "strides.h"

namespace dqt {
namespace {

// Zeros in what pads each of some pixels, side by side.
void clear_pads(const Tensor& t, uint8_t* p, int64_t pixels) {
    for (int64_t i = 0; i < pixels; ++i, p += t.pixel)
        for (int64_t c = t.channels; c < t.pixel; ++c) p[c] = 0;
}

}  // namespace

// The border is real zeros; lanes past the channels are 0 there, too.
void fill_border(const Tensor& t, int64_t n) {
    if (!t.coded) return;
    const int64_t columns = t.columns();
    const auto pixels = [&](uint8_t* p, int64_t count) {
        std::memset(p, t.zero, count * t.pixel);
        if (t.zero != 0) clear_pads(t, p, count);
    };
    uint8_t* base = t.data + n * t.image;
    pixels(base, t.top * columns);
    pixels(base + (t.top + t.height) * t.row, t.bottom * columns);
    for (int64_t y = 0; y < t.height && t.left + t.right > 0; ++y) {
        uint8_t* row = base + (t.top + y) * t.row;
        pixels(row, t.left);
        pixels(row + (t.left + t.width) * t.pixel, t.right);
    }
}

void clear_padding(const Tensor& t, int64_t n) {
    for (int64_t y = 0; y < t.height; ++y) clear_pads(t, t.at(n, y, 0), t.width);
}

void copy_elements(const Tensor& from, const Tensor& to, int64_t n) {
    const uint8_t* p = from.at(n, 0, 0);
    uint8_t* q = to.at(n, 0, 0);
    const size_t bytes = from.element();
    each_element(from.shape, {{from}, {to}}, [&](const int64_t* at) { std::memcpy(q + at[1], p + at[0], bytes); });
}

}  // namespace dqt
