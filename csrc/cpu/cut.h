// How a layer's input becomes codes of fewer bits on its way to the stage.
#pragma once

#include "../arith.h"
#include "executor.h"

namespace dqt {

class Cut {
  public:
    // `groups`: for groups().
    Cut(const Kernels& kernels, const PackedLayer& layer, int width, bool groups)
        : kernels_(kernels), range_(layer.input(width)), clip_(clip(range_)) {
        const int e = layer.input_exponent[width];
        for (int q = 0; q < 1 << layer.master && groups; ++q) {
            const auto code = static_cast<uint8_t>(q);
            const int narrow = range_.part ? dqt_narrow_range(code, layer.master, width, e, layer.zero)
                                           : dqt_narrow_activation(code, range_.narrow.n, range_.narrow.s);
            codes_[q] = static_cast<uint8_t>(narrow - range_.start);
        }
    }

    // Pixels side by side, those of `t` or laid out as they are; `in` may be `out`. What pads a pixel stays 0.
    void pixels(const uint8_t* in, uint8_t* out, const Tensor& t, int64_t count) const {
        if (range_.part) return kernels_.clips.codes(in, out, count * t.pixel, clip_);
        kernels_.narrow(in, out, count * t.pixel, range_.narrow.n, range_.narrow.s);
    }

    // A row of pixels, border and all, to groups of channels padded to four each.
    void groups(const uint8_t* in, uint8_t* out, const Tensor& from, const Tensor& to, const PackedLayer& layer) const {
        const int64_t inputs = from.channels / layer.groups, pixels = from.columns();
        for (int64_t p = 0; p < pixels; ++p)
            for (int g = 0; g < layer.groups; ++g)
                for (int64_t c = 0; c < layer.depth; ++c)
                    out[p * to.pixel + g * layer.depth + c] = c < inputs ? codes_[in[p * from.pixel + g * inputs + c]] : 0;
    }

  private:
    // T_b(q) - start by one: between `start` and what the largest code stands for, which is a code of the master (Fact 11);
    // half a bin more, less the start, cut. Where 0 is below the start, that makes it 0.
    static Clip clip(const InputRange& range) {
        const int s = range.narrow.s, largest = ((1 << range.narrow.n) - 1) >> s << s;
        return {range.start, range.start + largest, ((1 << s) >> 1) - range.start, 0xFF << s & 0xFF};
    }

    const Kernels& kernels_;
    InputRange range_;
    Clip clip_;
    uint8_t codes_[256] = {};
};

}  // namespace dqt
