// The safetensors file around a program: its tensors and its metadata.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "checks.h"
#include "pages.h"

namespace dqt::ir {

enum class Dtype { int8, uint8, int32, int64, float32 };

// The name as in NumPy, and the bytes of a number.
const char* name_of(Dtype dtype);
int64_t size_of(Dtype dtype);

// One tensor: a part of the file's bytes, not always aligned, which its last owner gives back.
struct Stored {
    Dtype dtype;
    Shape shape;
    std::shared_ptr<const void> owner;
    const uint8_t* data;
    size_t bytes;
};

struct Container {
    std::map<std::string, Stored> tensors;
    std::string graph, sha256;
    int version;
    std::string packed;              // of version 3: the table of tensors that are stored otherwise
};

// Reads the header, checks that the tensors fill the file without gaps, and the metadata's keys. Throws LoadError.
Container open(const std::shared_ptr<Pages>& pages);

// SHA-256, in hexadecimal, over the graph and over each tensor in the order of names: name, dtype, shape, bytes.
std::string digest(const Container& container);

}  // namespace dqt::ir
