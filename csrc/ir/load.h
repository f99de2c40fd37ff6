// Reads `.dqt` files (docs/format.md): the one way to make a Program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include "program.h"
#include "shared.h"

namespace dqt {

// A file that is truncated, changed, of another version, or not a legal program; says what and where, in ASCII.
struct DQT_SHARED LoadError : std::runtime_error {
    using std::runtime_error::runtime_error;
};

// The program in the bytes of a `.dqt` file, verified: whoever executes it needs no checks of its own.
// Safe on any bytes. Throws LoadError, and nothing else.
DQT_SHARED Program load(const uint8_t* data, size_t size);
// The same of an open regular file. Throws std::system_error, too, where it cannot be read.
DQT_SHARED Program load_file(int descriptor);

}  // namespace dqt
