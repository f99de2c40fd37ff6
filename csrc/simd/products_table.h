// Sums of products of two bits by two bits, for every CHANNELS activations and every CHANNELS weights.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <array>

#include "../kernels.h"

namespace dqt {
namespace {

// The entry of a code: a byte for each index, which holds the fields of the weights as they are, 2 less than their numbers.
template <int CHANNELS>
struct alignas(1 << 2 * CHANNELS) ProductsTable {
    static constexpr int BITS = 2 * CHANNELS, ENTRY = 1 << BITS;
    std::array<uint8_t, ENTRY * ENTRY> bytes{};
    constexpr ProductsTable() {
        for (int code = 0; code < ENTRY; ++code)
            for (int index = 0; index < ENTRY; ++index)
                for (int field = 0; field < BITS; field += 2)
                    bytes[code * ENTRY + index] += static_cast<uint8_t>((code >> field & 3) * ((index >> field & 3) ^ 2));
    }
};

}  // namespace
}  // namespace dqt
