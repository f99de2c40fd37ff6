// How a layer's input becomes codes of fewer bits on its way to the stage.
#pragma once

#include "../arith.h"
#include "executor.h"

namespace dqt {

class Cut {
  public:
    // `zero`: of the codes. `groups`: for groups().
    Cut(const Kernels& kernels, const PackedLayer& layer, int width, int zero, bool groups)
        : kernels_(kernels), master_(layer.master), shift_(layer.master - width), whole_(layer.input_exponent[width] != 0) {
        const int e = layer.input_exponent[width];
        for (int q = 0; q < 1 << master_ && (whole_ || groups); ++q) {
            const auto code = static_cast<uint8_t>(q);
            codes_[q] = whole_ ? dqt_narrow_range(code, master_, width, e, zero) : dqt_narrow_activation(code, master_, shift_);
        }
    }

    // Pixels side by side, those of `t` or laid out as they are; `in` may be `out`. What pads a pixel stays 0.
    void pixels(const uint8_t* in, uint8_t* out, const Tensor& t, int64_t count) const {
        if (!whole_) return kernels_.narrow(in, out, count * t.pixel, master_, shift_);
        kernels_.table(in, out, count * t.pixel, codes_);
        for (int64_t i = 0; i < count && codes_[0]; ++i)
            for (int64_t c = t.channels; c < t.pixel; ++c) out[i * t.pixel + c] = 0;
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
    const Kernels& kernels_;
    int master_, shift_;
    bool whole_;                     // through the table, not by a shift
    uint8_t codes_[256] = {};
};

}  // namespace dqt
