// What everything here shares: errors, limits, shapes.
#pragma once

#include <cstdint>
#include <sstream>
#include <string>
#include <string_view>

#include "load.h"

namespace dqt::ir {

__extension__ typedef __int128 Int128;  // for products; no standard C++, but of every compiler we build with

constexpr int64_t kMaxDim = int64_t{1} << 24;
constexpr int64_t kMaxElements = (int64_t{1} << 31) - 1;
constexpr int64_t kInt32 = (int64_t{1} << 31) - 1;
constexpr int64_t kMaxZero = int64_t{1} << 15;

template <class... Parts>
[[noreturn]] void refuse(const Parts&... parts) {
    std::ostringstream text;
    (text << ... << parts);
    throw LoadError(text.str());
}

// Throws LoadError with the parts of a message, written one after the other, unless `legal`.
template <class... Parts>
void require(bool legal, const Parts&... parts) {
    if (!legal) refuse(parts...);
}

// A name as messages show it: quoted, ASCII, at most 80 characters of it.
std::string shown(std::string_view name);

// A shape as messages show it: (2, 3), at most 8 dimensions of it.
std::string shown(const Shape& shape);

// Elements of a shape whose dimensions are at least 0; saturates at 2^62.
int64_t elements(const Shape& shape);

// A shape that can be allocated: dimensions in [1, kMaxDim], at most kMaxElements elements.
void check_shape(const Shape& shape, std::string_view what);

// Whether dimensions lie in [1, kMaxDim].
inline bool is_dimension(int64_t d) { return d >= 1 && d <= kMaxDim; }

}  // namespace dqt::ir
