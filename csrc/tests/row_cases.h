// Random rows and products of activations for kernels_test.cc.
#pragma once

#include <cstring>

#include "plain_formulas.h"

namespace dqt {
namespace {

// A product in one form of a kernel set, at the widths of two operands.
struct ProductCase {
    const ProductForm& form;
    int first, second, unit, shift;
    int64_t rows, depth, columns, padded, units;
    bool extra;
    std::vector<int32_t> a, b, start, more;  // [rows][depth], [depth][columns]; [padded], [rows]

    explicit ProductCase(const ProductForm& form)
        : form(form), first(integer(1, std::min(8, form.bits - 1))), second(integer(1, std::min(8, form.bits - first))),
          unit(form.bytes ? 4 : 2), shift(form.shortened ? 16 - first - second : 0), rows(pick(1, 20)),
          depth(chance(20) ? pick(100, 700) : pick(1, 70)), columns(pick(1, 90)),
          padded((columns + 15) / 16 * 16), units((depth + unit - 1) / unit), extra(chance(50)) {
        const int half = 1 << (second - 1);
        const bool small = form.shortened;
        a = form.bytes ? numbers<int32_t>(rows * depth, 0, small ? (1 << first) - 1 : 255)
                       : numbers<int32_t>(rows * depth, -255, 255);
        b = form.bytes ? numbers<int32_t>(depth * columns, small ? -half : -128, small ? half - 1 : 127)
                       : numbers<int32_t>(depth * columns, -255, 255);
        start = numbers<int32_t>(padded, -1 << 24, 1 << 24);
        more = numbers<int32_t>(rows, -1 << 24, 1 << 24);
    }

    std::string name() const {
        return "products of " + std::to_string(first) + " by " + std::to_string(second) + " bits, " + std::to_string(rows) +
               "x" + std::to_string(depth) + "x" + std::to_string(columns);
    }
    std::vector<int32_t> expected() const {
        std::vector<int32_t> out(static_cast<size_t>(rows * columns));
        std::vector<int32_t> first_operand = a;
        for (int32_t& each : first_operand) each -= form.offset;
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t j = 0; j < columns; ++j) {
                const int64_t sum = sum_of_products(&first_operand[r * depth], &b[j], columns, depth);
                out[r * columns + j] = static_cast<int32_t>((sum << shift) + start[j] + (extra ? more[r] : 0));
            }
        return out;
    }
    std::vector<int32_t> got() const {
        Codes left(static_cast<size_t>(rows * units * 4)), right(static_cast<size_t>(units * padded * 4));
        for (int64_t r = 0; r < rows; ++r)
            for (int64_t k = 0; k < depth; ++k) put(left, r * units * unit + k, a[r * depth + k]);
        for (int64_t k = 0; k < depth; ++k)
            for (int64_t j = 0; j < columns; ++j) put(right, (k / unit * padded + j) * unit + k % unit, b[k * columns + j]);
        std::vector<int32_t> sums(static_cast<size_t>(rows * padded)), out;
        form.multiply({left.data(), units * 4, right.data(), sums.data(), rows, units, padded, start.data(),
                       extra ? more.data() : nullptr, shift, first + second});
        for (int64_t r = 0; r < rows; ++r) out.insert(out.end(), &sums[r * padded], &sums[r * padded] + columns);
        return out;
    }

  private:
    void put(Codes& to, int64_t at, int32_t number) const {
        const auto word = static_cast<int16_t>(number);
        if (form.bytes) to[at] = static_cast<uint8_t>(number);
        else std::memcpy(&to[2 * at], &word, 2);
    }
};

}  // namespace
}  // namespace dqt
