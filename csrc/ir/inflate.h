// Raw deflate streams (RFC 1951), read whole and only whole.
#pragma once

#include <cstddef>
#include <cstdint>

namespace dqt::ir {

// Whether `data` is one stream, to its last byte, of exactly `count` bytes, which then are in `out`. Safe on any bytes.
bool inflate(const uint8_t* data, size_t size, uint8_t* out, size_t count);

}  // namespace dqt::ir
