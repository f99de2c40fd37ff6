// For tests of the verifier alone.
#pragma once

#include "load.h"

namespace dqt::ir {

// load() without the digest: damage reaches the checks behind it.
Program load_without_digest(const uint8_t* data, size_t size);

}  // namespace dqt::ir
