#include "decode.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <type_traits>

#include "fields.h"

namespace dqt::ir {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are copied as they lie in the file");

constexpr std::string_view kInput = "input";  // what Quantize reads: the sample, no value of the program
constexpr int kMaxInfoDepth = 32;

template <class T>
constexpr Dtype dtype_for = std::is_same_v<T, int8_t>    ? Dtype::int8
                            : std::is_same_v<T, uint8_t> ? Dtype::uint8
                            : std::is_same_v<T, int32_t> ? Dtype::int32
                                                         : Dtype::int64;

class Decoder {
  public:
    explicit Decoder(const Container& container) : tensors_(container.tensors) {}

    Program program(const json::Value& graph);

  private:
    void decode_space(const json::Value& value);
    std::vector<Layer> decode_layers(const Fields& space, const char* name);
    void decode_values(const json::List& items);
    Op decode_op(const json::Value& value, size_t index);

    template <class Operator>
    Op decode_as(const json::Value& value, size_t index);

    // A field of an instruction, by its type. What an instruction reads stands before what it defines.
    void take(const Fields& f, const char* name, Operand& to) { to = {find(f, f.text(name))}; }
    void take(const Fields& f, const char* name, Operands& to);
    void take(const Fields& f, const char* name, Result& to);
    void take(const Fields& f, const char* name, LayerIndex& to) { to = {layer(f, f.text(name))}; }
    void take(const Fields& f, const char* name, LayerIndices& to);
    void take(const Fields& f, const char* name, int64_t& to) { to = f.integer(name); }
    void take(const Fields& f, const char* name, bool& to) { to = f.flag(name); }
    void take(const Fields& f, const char* name, Numbers& to) { to = f.integers(name); }
    void take(const Fields& f, const char* name, Text& to) { to = f.text(name); }
    template <size_t count>
    void take(const Fields& f, const char* name, Integers<count>& to) {
        f.integers(name, to);
    }
    template <class T>
    void take(const Fields& f, const char* name, Array<T>& to);

    int find(const Fields& f, const std::string& name) const;
    int layer(const Fields& f, const std::string& name) const;

    const std::map<std::string, Stored>& tensors_;
    std::set<std::string> used_;
    std::map<std::string, int> values_, layers_;
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
    Fields f(graph, "graph", {"input_shape", "space", "values", "ops", "info"});
    program_.input_shape = f.integers("input_shape");
    decode_space(f.at("space"));
    decode_values(f.list("values"));
    const json::List& ops = f.list("ops");
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

void Decoder::decode_space(const json::Value& value) {
    Fields f(value, "space", {"master", "widths", "edge_width", "layers", "controller", "choices"});
    Space& space = program_.space;
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
    for (const json::Value& item : items) {
        Fields f(item, "values[" + std::to_string(values_.size()) + "]", {"name", "shape", "step", "zero", "wide"});
        Value value{f.text("name"), f.integers("shape"), f.real("step"), f.small("zero"), f.flag("wide")};
        require(value.name != kInput, "values: \"input\" is the name of the program's float input");
        bool once = values_.emplace(value.name, static_cast<int>(values_.size())).second;
        require(once, f.where(), ": the name ", shown(value.name), " is taken");
        program_.values.push_back(std::move(value));
    }
}

// The name of an instruction's operator, or null.
const std::string* operator_of(const json::Value& value) {
    const json::Object* object = value.as<json::Object>();
    if (!object) return nullptr;
    auto named = std::find_if(object->begin(), object->end(), [](const json::Member& m) { return m.key == "op"; });
    return named == object->end() ? nullptr : named->value.as<std::string>();
}

Op Decoder::decode_op(const json::Value& value, size_t index) {
    const std::string* name = operator_of(value);
#define DQT_OPERATOR(each) \
    if (name && *name == each::NAME) return decode_as<each>(value, index);
#include "ops.inc"
    refuse("op ", index, ": unknown operator ", name ? shown(*name) : "without a name");
}

template <class Operator>
Op Decoder::decode_as(const json::Value& value, size_t index) {
    Operator op;
    std::vector<std::string_view> names{"op"};
    Members<Operator>::each(op, [&](const char* name, const auto&) { names.push_back(name); });
    const Fields f(value, "op " + std::to_string(index) + " " + Operator::NAME, names);
    Members<Operator>::each(op, [&](const char* name, auto& field) { take(f, name, field); });
    return op;
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

template <class T>
void Decoder::take(const Fields& f, const char* field, Array<T>& to) {
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
    to = {stored.shape, std::vector<T>(stored.bytes / sizeof(T))};
    if (stored.bytes) std::memcpy(to.data.data(), stored.data, stored.bytes);
}

}  // namespace

Program decode(const json::Value& graph, const Container& container) { return Decoder(container).program(graph); }

}  // namespace dqt::ir
