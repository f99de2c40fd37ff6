#include "decode.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <type_traits>

#include "fields.h"
#include "version_1.h"

namespace dqt::ir {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied as they lie in the file");

constexpr int kMaxInfoDepth = 32;
constexpr size_t kLarge = size_t{64} << 10;  // bytes of a tensor that stays where the file was read to; others are copied

template <class T>
constexpr Dtype dtype_for = std::is_same_v<T, int8_t>    ? Dtype::int8
                            : std::is_same_v<T, uint8_t> ? Dtype::uint8
                            : std::is_same_v<T, int32_t> ? Dtype::int32
                            : std::is_same_v<T, float>   ? Dtype::float32
                                                         : Dtype::int64;

class Decoder {
  public:
    explicit Decoder(const Container& container)
        : tensors_(container.tensors), first_(container.version == 1), packed_(container.version == 3) {}

    Program program(const json::Value& graph);

  private:
    void decode_space(const json::Value& value);
    std::vector<Layer> decode_layers(const Fields& space, const char* name);
    void decode_ends(const Fields& graph);
    void decode_states(const json::List& items);
    void decode_values(const json::List& items);
    Value decode_value(const Fields& f);
    Value decode_value_1(const Fields& f);
    Op decode_op(const json::Value& value, size_t index);

    template <class Operator>
    Op decode_as(const json::Value& value, size_t index);

    // A field of an instruction, by its type. What an instruction reads stands before what it defines.
    void take(const Fields& f, const char* name, Operand& to) { to = {find(f, f.text(name))}; }
    void take(const Fields& f, const char* name, Operands& to);
    void take(const Fields& f, const char* name, Result& to);
    void take(const Fields& f, const char* name, LayerIndex& to) { to = {layer(f, f.text(name))}; }
    void take(const Fields& f, const char* name, LayerIndices& to);
    void take(const Fields& f, const char* name, InputIndex& to) { to = {entry(f, f.text(name), inputs_, "input")}; }
    void take(const Fields& f, const char* name, StateIndex& to) { to = {entry(f, f.text(name), states_, "state")}; }
    void take(const Fields& f, const char* name, bool& to) { to = f.flag(name); }
    void take(const Fields& f, const char* name, double& to) { to = f.real(name); }
    void take(const Fields& f, const char* name, Texts& to) { to = f.labels(name); }
    void take(const Fields& f, const char* name, int64_t& to) { to = f.integer(name); }
    void take(const Fields& f, const char* name, Numbers& to) { to = f.integers(name); }
    void take(const Fields& f, const char* name, Text& to) { to = f.text(name); }
    template <size_t count>
    void take(const Fields& f, const char* name, Integers<count>& to) {
        f.integers(name, to);
    }
    template <class T>
    void take(const Fields& f, const char* name, Array<T>& to);

    // The numbers of the tensor that a field refers to, in the dtype `T` of the file.
    template <class T, class Kept>
    void tensor(const Fields& f, const char* name, Array<Kept>& to);

    // The fields that version 1 had not.
    template <class Operator>
    void convert(Operator&) const {}
    void convert(Quantize& op) const;
    void convert(Dequantize& op) const { op.name = version_1::OUTPUT; }
    void convert(Reshape& op) const { op.shape = value_of(op.out).shape; }

    using Names = std::map<std::string, int>;
    int find(const Fields& f, const std::string& name) const;
    int layer(const Fields& f, const std::string& name) const;
    int entry(const Fields& f, const std::string& name, const Names& names, const char* what) const;
    const Value& value_of(int index) const { return program_.values[static_cast<size_t>(index)]; }
    static void add(Names& names, const std::string& name, const std::string& where);

    const std::map<std::string, Stored>& tensors_;
    bool first_, packed_;            // versions 1 and 3
    std::set<std::string> used_;
    Names values_, layers_, inputs_, states_;
    int defined_ = 0;  // the values that the instructions so far define
    Program program_;
};

// Plain JSON at most kMaxInfoDepth deep. The parser has seen to all the rest.
void check_info(const json::Value& value, int depth) {
    require(depth >= 0, "info: nested deeper than ", kMaxInfoDepth);
    if (const json::List* list = value.as<json::List>()) {
        for (const json::Value& item : *list) check_info(item, depth - 1);
    }
    if (const json::Object* object = value.as<json::Object>()) {
        for (const json::Member& member : *object) check_info(member.value, depth - 1);
    }
}

Program Decoder::program(const json::Value& graph) {
    std::vector<std::string_view> keys{"space", "values", "ops", "info"};
    for (const char* key : {"inputs", "states", "dims"})
        if (!first_) keys.emplace_back(key);
    if (first_) keys.emplace_back("input_shape");
    const Fields f(graph, "graph", keys);
    decode_space(f.at("space"));
    decode_ends(f);
    decode_values(f.list("values"));
    const json::List& ops = f.list("ops");
    if (first_) version_1::check_ends(ops);
    for (size_t i = 0; i < ops.size(); ++i) program_.ops.push_back(decode_op(ops[i], i));
    bool all = static_cast<size_t>(defined_) == program_.values.size();
    if (!all) refuse("values: no instruction defines ", shown(program_.values[static_cast<size_t>(defined_)].name));
    for (const auto& [name, _] : tensors_) {
        require(used_.contains(name), "tensor ", shown(name), " belongs to no instruction");
    }
    require(f.at("info").as<json::Object>(), "info: need an object");
    check_info(f.at("info"), kMaxInfoDepth);
    return std::move(program_);
}

void Decoder::add(Names& names, const std::string& name, const std::string& where) {
    bool once = names.emplace(name, static_cast<int>(names.size())).second;
    require(once, where, ": the name ", shown(name), " is taken");
}

// Inputs, states and named dimensions.
void Decoder::decode_ends(const Fields& graph) {
    if (first_) {
        program_.inputs.push_back({version_1::INPUT, graph.integers("input_shape"), false, 0, 0, {}});
        inputs_.emplace(version_1::INPUT, 0);
        return;
    }
    for (const json::Value& item : graph.list("inputs")) {
        const Fields f(item, "inputs[" + std::to_string(inputs_.size()) + "]", {"name", "shape", "kind", "lo", "hi", "dims"});
        const std::string& kind = f.text("kind");
        require(kind == "float" || kind == "integer", f.where(), ".kind: need \"float\" or \"integer\"");
        program_.inputs.push_back({f.text("name"), f.integers("shape"), kind == "integer", f.integer("lo"),
                                   f.integer("hi"), f.labels("dims")});
        add(inputs_, program_.inputs.back().name, f.where());
    }
    decode_states(graph.list("states"));
    Names dims;
    for (const json::Value& item : graph.list("dims")) {
        const Fields f(item, "dims[" + std::to_string(dims.size()) + "]", {"name", "least", "most"});
        program_.dims.push_back({f.text("name"), f.integer("least"), f.integer("most")});
        add(dims, program_.dims.back().name, f.where());
    }
}

void Decoder::decode_states(const json::List& items) {
    for (const json::Value& item : items) {
        const Fields f(item, "states[" + std::to_string(states_.size()) + "]",
                       {"name", "shape", "scale", "zero", "lo", "hi", "dims"});
        program_.states.push_back({decode_value(f), f.labels("dims")});
        add(states_, program_.states.back().value.name, f.where());
    }
}

void Decoder::decode_space(const json::Value& value) {
    std::vector<std::string_view> keys{"master", "widths", "edge_width", "layers", "controller", "choices"};
    if (packed_) keys.emplace_back("packed");
    Fields f(value, "space", keys);
    Space& space = program_.space;
    if (packed_) {
        space.packed = f.small("packed");
        require(space.packed != 0, "space: packed 0, need a width below the master");
    }
    space.master = f.small("master");
    space.edge_width = f.small("edge_width");
    space.widths = f.smalls("widths");
    space.choices = f.smalls("choices");
    space.layers = decode_layers(f, "layers");
    space.controller = decode_layers(f, "controller");
}

std::vector<Layer> Decoder::decode_layers(const Fields& space, const char* name) {
    std::vector<Layer> layers;
    for (const json::Value& item : space.list(name)) {
        Fields f(item, std::string("space.") + name + "[" + std::to_string(layers.size()) + "]",
                 {"name", "macs", "weights", "inputs", "outputs", "edge"});
        layers.push_back({f.text("name"), f.integer("macs"), f.integer("weights"), f.integer("inputs"),
                          f.integer("outputs"), f.flag("edge")});
        bool once = layers_.emplace(layers.back().name, static_cast<int>(layers_.size())).second;
        require(once, "space: layer ", shown(layers.back().name), " is named twice among layers and controller");
    }
    return layers;
}

void Decoder::decode_values(const json::List& items) {
    program_.values.reserve(items.size());
    const std::vector<std::string_view> keys = first_
                                                   ? std::vector<std::string_view>{"name", "shape", "step", "zero", "wide"}
                                                   : std::vector<std::string_view>{"name", "shape", "scale", "zero", "lo", "hi"};
    for (const json::Value& item : items) {
        const Fields f(item, "values[" + std::to_string(values_.size()) + "]", keys);
        program_.values.push_back(first_ ? decode_value_1(f) : decode_value(f));
        const std::string& name = program_.values.back().name;
        require(!inputs_.contains(name), f.where(), ": ", shown(name), " is the name of an input");
        add(values_, name, f.where());
    }
}

Value Decoder::decode_value(const Fields& f) {
    return {f.text("name"), f.integers("shape"), f.real("scale"), f.small("zero"), f.integer("lo"), f.integer("hi")};
}

Value Decoder::decode_value_1(const Fields& f) {
    const int master = std::clamp(program_.space.master, 0, 8);  // as verify() wants it
    const bool wide = f.flag("wide");
    const int64_t highest = wide ? version_1::WIDE_LIMIT : (int64_t{1} << master) - 1;
    const int zero = f.small("zero");
    bool legal = zero == 0 || (!wide && zero == 1 << std::max(0, master - 1));
    require(legal, f.where(), ": zero ", zero, ", in version 1 need 0, or for codes 2^(n-1)");
    return {f.text("name"), f.integers("shape"), f.real("step"), zero, wide ? -highest : 0, highest};
}

Op Decoder::decode_op(const json::Value& value, size_t index) {
    const std::string* name = operator_of(value);
    if (name && (!first_ || version_1::has(*name))) {
#define DQT_OPERATOR(each) \
    if (*name == each::NAME) return decode_as<each>(value, index);
#include "ops.inc"
    }
    refuse("op ", index, ": unknown operator ", name ? shown(*name) : "without a name",
           ": it may be one of a newer release");
}

template <class Operator>
Op Decoder::decode_as(const json::Value& value, size_t index) {
    Operator op;
    const auto stored = [&](const char* name) { return !first_ || version_1::has(Operator::NAME, name); };
    std::vector<std::string_view> names{"op"};
    Members<Operator>::each(op, [&](const char* name, const auto&) {
        if (stored(name)) names.push_back(name);
    });
    const Fields f(value, "op " + std::to_string(index) + " " + Operator::NAME, names);
    Members<Operator>::each(op, [&](const char* name, auto& field) {
        if (stored(name)) take(f, name, field);
    });
    if (first_) convert(op);
    return op;
}

void Decoder::convert(Quantize& op) const {
    op.gain = {{1}, Shared<float>({static_cast<float>(1 / value_of(op.out).scale)})};
    op.bias = {{1}, Shared<float>({0.0f})};
}

int Decoder::find(const Fields& f, const std::string& name) const {
    auto found = values_.find(name);
    bool before = found != values_.end() && found->second < defined_;
    require(before, f.where(), ": reads ", shown(name), " before an instruction defines it");
    return found->second;
}

void Decoder::take(const Fields& f, const char* name, Operands& to) {
    for (const std::string& each : f.texts(name)) to.push_back({find(f, each)});
}

void Decoder::take(const Fields& f, const char* name, Result& to) {
    auto found = values_.find(f.text(name));
    bool next = found != values_.end() && found->second == defined_;
    require(next, f.where(), ": defines ", shown(f.text(name)), ", which is not the next declared value");
    to = {defined_++};
}

void Decoder::take(const Fields& f, const char* name, LayerIndices& to) {
    for (const std::string& each : f.texts(name)) to.push_back({layer(f, each)});
}

int Decoder::layer(const Fields& f, const std::string& name) const {
    auto found = layers_.find(name);
    bool known = found != layers_.end();
    require(known, f.where(), ": layer ", shown(name), " is not among the space's layers or controller");
    return found->second;
}

int Decoder::entry(const Fields& f, const std::string& name, const Names& names, const char* what) const {
    auto found = names.find(name);
    bool known = found != names.end();
    require(known, f.where(), ": the program has no ", what, " ", shown(name));
    return found->second;
}

template <class T>
void Decoder::take(const Fields& f, const char* name, Array<T>& to) {
    if constexpr (std::is_same_v<T, int32_t>)
        if (first_ && std::string_view(name) == "data") return tensor<uint8_t>(f, name, to);  // a Constant's codes
    tensor<T>(f, name, to);
}

template <class T, class Kept>
void Decoder::tensor(const Fields& f, const char* field, Array<Kept>& to) {
    std::string name = f.text("out") + "." + field;
    const std::string* reference = f.at(field).as<std::string>();
    bool own = reference && *reference == name;
    require(own, f.where(), ".", field, ": need the tensor's name, ", shown(name));
    auto found = tensors_.find(name);
    bool first = found != tensors_.end() && used_.insert(name).second;
    require(first, f.where(), ": tensor ", shown(name), " is missing, or used twice");
    const Stored& stored = found->second;
    bool typed = stored.dtype == dtype_for<T>;
    require(typed, f.where(), ": tensor ", shown(name), " is ", name_of(stored.dtype), ", need ",
            name_of(dtype_for<T>));
    const size_t count = stored.bytes / sizeof(T);
    if constexpr (std::is_same_v<T, Kept>)
        if (stored.bytes >= kLarge && reinterpret_cast<uintptr_t>(stored.data) % alignof(T) == 0) {
            to = {stored.shape, Shared<Kept>(stored.owner, reinterpret_cast<const T*>(stored.data), count)};
            return;
        }
    std::vector<T> numbers(count);
    if (count) std::memcpy(numbers.data(), stored.data, stored.bytes);
    if constexpr (std::is_same_v<T, Kept>)
        to = {stored.shape, Shared<Kept>(std::move(numbers))};
    else
        to = {stored.shape, Shared<Kept>({numbers.begin(), numbers.end()})};
}

}  // namespace

Program decode(const json::Value& graph, const Container& container) { return Decoder(container).program(graph); }

}  // namespace dqt::ir
