// The integer program in memory: the C++ mirror of dqt/program. Made by load.h alone.
//
// Every rounding is clamp((acc * m + c) >> shift, lo, hi). Shapes leave out the batch.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <variant>
#include <vector>

namespace dqt {

using Numbers = std::vector<int64_t>;
using Shape = Numbers;
template <size_t count>
using Integers = std::array<int64_t, count>;
using Text = std::string;

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

// Names of the file, resolved: what a field refers to is its type.
template <class Role>
struct Index {
    int value = 0;
    operator int() const { return value; }
};
using Operand = Index<struct Read>;        // a value that an instruction reads: an index into Program::values
using Result = Index<struct Written>;      // the value that it defines
using LayerIndex = Index<struct IsLayer>;  // into Space::layers, or past their end, into Space::controller
using Operands = std::vector<Operand>;
using LayerIndices = std::vector<LayerIndex>;

namespace ir {
struct Scope;  // scope.h
}
class Sample;  // view.h

// One struct for each operator, with the fields of its class in dqt/program/ops and the same three methods, which
// ops/<operator>.cc defines:
//
//     output_shape   checks the instruction; the shape that its output must have (of what it reads, if it has none)
//     prove          no intermediate integer overflows, at any width and for any input
//     run            one sample, plainly; not defined where every target has kernels of its own
#define DQT_OPERATOR(name) \
    struct name {          \
        static constexpr const char* NAME = #name;
#define DQT_FIELD(type, field) type field{};
#define DQT_PROOF void prove(const ir::Scope& scope) const;
#define DQT_END(name)                                     \
        Shape output_shape(const ir::Scope& scope) const; \
        void run(const Sample& sample) const;             \
    };
#include "ops.inc"

// Members<Operator>::each(op, f) calls f(name, field) for each field, in order.
template <class Operator>
struct Members;
#define DQT_OPERATOR(name)                          \
    template <>                                     \
    struct Members<name> {                          \
        template <class Self, class F>              \
        static void each(Self& self, const F& f) {
#define DQT_FIELD(type, field) f(#field, self.field);
#define DQT_END(name) \
        }             \
    };
#include "ops.inc"

template <class, class... Operators>
using OneOf = std::variant<Operators...>;
#define DQT_OPERATOR(name) , name
using Op = OneOf<void
#include "ops.inc"
                 >;

const char* name_of(const Op& op);
std::vector<int> reads(const Op& op);  // the values, in order
int writes(const Op& op);              // the value, or -1
int layer_of(const Op& op);            // the layer that it is, or -1

// The requantization constants of an instruction that has them; rows of `m` and `c` are 1 or one for each width.
struct Requant {
    const Array<int32_t>& m;
    const Array<int64_t>& c;
    int32_t shift, lo, hi;

    template <class Operator>
    explicit Requant(const Operator& op)
        : m(op.m), c(op.c), shift(static_cast<int32_t>(op.shift)), lo(static_cast<int32_t>(op.lo)),
          hi(static_cast<int32_t>(op.hi)) {}
};

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
