// Sums of products of few bits, for every CHANNELS activations and every CHANNELS weights.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <array>

#include "../kernels.h"

namespace dqt {
namespace {

// The entry of a code: a byte for each index, which holds the fields of the weights as they are, two's complement, while
// a product takes them 2^(WEIGHT - 1) larger.
template <int WEIGHT, int ACTIVATION, int CHANNELS>
struct alignas(1 << WEIGHT * CHANNELS) ProductsTable {
    static constexpr int ENTRY = 1 << WEIGHT * CHANNELS, CODES = 1 << ACTIVATION * CHANNELS;
    static constexpr int MOST = CHANNELS * ((1 << WEIGHT) - 1) * ((1 << ACTIVATION) - 1);  // of a byte
    std::array<uint8_t, CODES * ENTRY> bytes{};
    constexpr ProductsTable() {
        for (int code = 0; code < CODES; ++code)
            for (int index = 0; index < ENTRY; ++index)
                for (int i = 0; i < CHANNELS; ++i) {
                    const int activation = code >> ACTIVATION * i & ((1 << ACTIVATION) - 1);
                    const int weight = (index >> WEIGHT * i & ((1 << WEIGHT) - 1)) ^ 1 << (WEIGHT - 1);
                    bytes[code * ENTRY + index] += static_cast<uint8_t>(activation * weight);
                }
    }
};

}  // namespace
}  // namespace dqt
