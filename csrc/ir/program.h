// The integer program in memory: the C++ mirror of dqt/program. Made by load.h alone.
//
// Every rounding is clamp((acc * m + c) >> shift, lo, hi). Shapes leave out the batch.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "shared.h"

namespace dqt {

using Numbers = std::vector<int64_t>;
using Shape = Numbers;
template <size_t count>
using Integers = std::array<int64_t, count>;
using Text = std::string;
using Texts = std::vector<Text>;

// One tensor: scale * (q - zero), q in [lo, hi]. Codes have lo = 0 and hi = 2^n - 1 and are unsigned bytes; all other
// values are integers with zero 0, stored as int32.
struct Value {
    std::string name;
    Shape shape;
    double scale = 1;
    int32_t zero = 0;
    int64_t lo = 0, hi = 0;

    bool coded() const { return lo == 0 && hi <= 255; }
};

// What a run is given: float32 numbers, or int64 integers in [lo, hi]. `dims`: of each dimension the name of its size, ""
// where it is fixed; empty where all are.
struct Input {
    std::string name;
    Shape shape;
    bool integer = false;
    int64_t lo = 0, hi = 0;
    Texts dims;
};

// Integers that live between runs, and start as real zeros.
struct State {
    Value value;
    Texts dims;
};

// A size that may be bound anew, within [least, most].
struct Dimension {
    std::string name;
    int64_t least, most;
};

// Numbers that never change once they are there: copies of a program share them.
template <class T>
class Shared {
  public:
    Shared() = default;
    explicit Shared(std::vector<T> numbers) {
        const auto all = std::make_shared<const std::vector<T>>(std::move(numbers));
        first_ = all->data(), size_ = all->size(), owner_ = all;
    }
    // So many that lie where `owner` keeps them.
    Shared(std::shared_ptr<const void> owner, const T* first, size_t size)
        : owner_(std::move(owner)), first_(first), size_(size) {}

    const T* data() const { return first_; }
    size_t size() const { return size_; }
    bool empty() const { return size_ == 0; }
    const T* begin() const { return first_; }
    const T* end() const { return first_ + size_; }
    const T& operator[](size_t i) const { return first_[i]; }

  private:
    std::shared_ptr<const void> owner_;
    const T* first_ = nullptr;
    size_t size_ = 0;
};

// A tensor constant of an instruction, row-major.
template <class T>
struct Array {
    Shape shape;
    Shared<T> data;
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
using InputIndex = Index<struct IsInput>;  // into Program::inputs
using StateIndex = Index<struct IsState>;  // into Program::states
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
//     rebound        refuses sizes of named dimensions that it cannot take, where it says so
//     run            one sample, plainly; layers alone have none
#define DQT_OPERATOR(name) \
    struct name {          \
        static constexpr const char* NAME = #name;
#define DQT_FIELD(type, field) type field{};
#define DQT_PROOF void prove(const ir::Scope& scope) const;
#define DQT_REBOUND void rebound(const ir::Scope& before, const ir::Scope& after) const;
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

// The requantization constants of an instruction that has them; rows of `m` and `c`: Space::row_of.
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
    int packed = 0;           // of a packed program: the widest width that the weights hold

    // The widest uniform width, and the widest that the weights of one of `layers` hold: the master, but where packed.
    int widest() const { return packed ? packed : master; }
    int widest_of(const Layer& layer) const {
        if (!packed || !layer.weights) return master;
        return layer.edge && edge_width > packed ? edge_width : packed;
    }
    // The place of a width in `widths`.
    int index_of(int width) const;
    // Of `rows` rows of m and c the one that serves weights and inputs of these widths: the only one; that of the smaller
    // width; or of that width with the other at the master's, which follow: first where weights are narrower.
    int row_of(int64_t rows, int weight, int activation) const;
    // The uniform widths, ascending: how many of `widths`.
    size_t held() const;
    // Whether samples may choose their widths.
    bool automatic() const { return !choices.empty() && choices.back() <= widest(); }
};

struct Program {
    Space space;
    std::vector<Value> values;
    std::vector<Op> ops;
    std::vector<Input> inputs;
    std::vector<State> states;
    std::vector<Dimension> dims;
};

// The values that leave the program, in the order of their instructions.
std::vector<const Value*> outputs(const Program& program);

// The decision of a controller that stands inside of the network or behind it, or null.
const ChooseLate* late_choice(const Program& program);
// Whether it sets widths by sample, under "auto" alone.
bool decides(const Op& op);
// The uniform width that a run under "auto" begins at.
DQT_SHARED int first_width(const Program& program);

}  // namespace dqt
