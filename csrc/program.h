// The integer program in memory: the C++ mirror of dqt/program/ops.py, field by field. Made by load.h alone.
//
// Every rounding is clamp((acc * m + c) >> shift, lo, hi). Shapes leave out the batch.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace dqt {

using Shape = std::vector<int64_t>;

// One tensor: step * (q - zero). Codes are unsigned bytes; a wide value is int32 within 24 bits, zero 0.
struct Value {
    std::string name;
    Shape shape;
    double step = 1;
    int32_t zero = 0;
    bool wide = false;
};

// A tensor constant of an instruction, row-major, owned.
template <class T>
struct Array {
    Shape shape;
    std::vector<T> data;
};

// Requantization constants; `rows` of Array are 1 or one for each width of the space.
struct Requant {
    Array<int32_t> m;
    Array<int64_t> c;
    int32_t shift = 32;
    int64_t lo = 0, hi = 255;
};

// Values are indices into Program::values. `layer` is an index into Space::layers, or, past their end, into
// Space::controller: layers[layer] or controller[layer - layers.size()].
struct Quantize { int out; };
struct Conv {
    int layer, x, out;
    Array<int8_t> weight;  // [O, I / groups, KH, KW]
    Requant requant;       // m, c: [rows, O]
    int stride[2], padding[4], dilation[2], groups;  // padding: top, bottom, left, right
};
struct Linear {
    int layer, x, out;
    Array<int8_t> weight;  // [O, I]
    Requant requant;
};
struct Add { int a, b, out; int64_t k1, k2, k3; int32_t shift; int64_t lo, hi; };
struct Multiply { int a, b, out; int64_t k1, k2, k3, k4; int32_t shift; int64_t lo, hi; };
struct Rescale { int x, out; Requant requant; };  // m, c: [C] or [1]
struct Concat { std::vector<int> xs; int out, axis; };
struct MaxPool { int x, out, kernel[2], stride[2], padding[4], dilation[2]; };
struct AvgPool { int x, out; Array<int32_t> rows, columns; Requant requant; };  // m, c: [1, 1] or [OH, OW]
struct Table { int x, out; std::vector<uint8_t> table; };
struct Reshape { int x, out; };
struct Slice { int x, out; Shape starts, stops, steps; };
struct Pad { int x, out; Shape before, after; };
struct Choose { int x; std::vector<int> layers, widths; };  // layers: indices into Space::layers
struct Dequantize { int x; };

using Op = std::variant<Quantize, Conv, Linear, Add, Multiply, Rescale, Concat, MaxPool, AvgPool, Table, Reshape, Slice,
                        Pad, Choose, Dequantize>;

struct Layer {
    std::string name;
    int64_t macs, weights, inputs, outputs;
    bool edge;
};

struct Space {
    int master, edge_width;
    std::vector<int> widths;  // ascending
    std::vector<Layer> layers, controller;
    std::vector<int> choices;
};

struct Program {
    Space space;
    std::vector<Value> values;
    std::vector<Op> ops;
    Shape input_shape;
};

}  // namespace dqt
