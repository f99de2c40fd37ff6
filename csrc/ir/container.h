// The safetensors file around a program: its tensors and its metadata.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "checks.h"

namespace dqt::ir {

enum class Dtype { int8, uint8, int32, int64, float32 };

// The name as in NumPy, and the bytes of a number.
const char* name_of(Dtype dtype);
int64_t size_of(Dtype dtype);

// One tensor: a view of the file's bytes, not aligned.
struct Stored {
    Dtype dtype;
    Shape shape;
    const uint8_t* data;
    size_t bytes;
};

struct Container {
    std::map<std::string, Stored> tensors;
    std::string graph, sha256;
    int version;
    std::string packed;                          // of version 3: the table of tensors that are stored otherwise
    std::vector<std::vector<uint8_t>> restored;  // the bytes of these, once packed.h has restored them
};

// Reads the header, checks that the tensors fill the file without gaps, and the metadata's keys. Throws LoadError.
Container open(const uint8_t* data, size_t size);

// SHA-256, in hexadecimal, over the graph and over each tensor in the order of names: name, dtype, shape, bytes.
std::string digest(const Container& container);

}  // namespace dqt::ir
