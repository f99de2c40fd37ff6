#include "decode.h"

#include <bit>
#include <cstring>
#include <map>
#include <set>
#include <type_traits>

#include "fields.h"

namespace dqt::loader {
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

    // The instructions: each reads its inputs before it defines its output.
    Op quantize(const Fields& f);
    Op conv(const Fields& f);
    Op linear(const Fields& f);
    Op add(const Fields& f);
    Op multiply(const Fields& f);
    Op rescale(const Fields& f);
    Op concat(const Fields& f);
    Op max_pool(const Fields& f);
    Op avg_pool(const Fields& f);
    Op table(const Fields& f);
    Op reshape(const Fields& f);
    Op slice(const Fields& f);
    Op pad(const Fields& f);
    Op choose(const Fields& f);
    Op dequantize(const Fields& f);

    struct Kind;
    static const Kind kinds[];

    int find(const Fields& f, const std::string& name) const;
    int read(const Fields& f, const char* field) const { return find(f, f.text(field)); }
    int define(const Fields& f);
    int layer(const Fields& f, const std::string& name) const;
    Requant requant(const Fields& f);

    template <class T>
    Array<T> take(const Fields& f, const char* field);

    const std::map<std::string, Stored>& tensors_;
    std::set<std::string> used_;
    std::map<std::string, int> values_, layers_;
    int defined_ = 0;  // the values that the instructions so far define
    Program program_;
};

struct Decoder::Kind {
    const char* name;
    std::initializer_list<std::string_view> fields;
    Op (Decoder::*decode)(const Fields&);
};

const Decoder::Kind Decoder::kinds[] = {
    {"Quantize", {"op", "x", "out"}, &Decoder::quantize},
    {"Conv",
     {"op", "layer", "x", "out", "weight", "m", "c", "shift", "lo", "hi", "stride", "padding", "dilation", "groups"},
     &Decoder::conv},
    {"Linear", {"op", "layer", "x", "out", "weight", "m", "c", "shift", "lo", "hi"}, &Decoder::linear},
    {"Add", {"op", "a", "b", "out", "k1", "k2", "k3", "shift", "lo", "hi"}, &Decoder::add},
    {"Multiply", {"op", "a", "b", "out", "k1", "k2", "k3", "k4", "shift", "lo", "hi"}, &Decoder::multiply},
    {"Rescale", {"op", "x", "out", "m", "c", "shift", "lo", "hi"}, &Decoder::rescale},
    {"Concat", {"op", "xs", "out", "axis"}, &Decoder::concat},
    {"MaxPool", {"op", "x", "out", "kernel", "stride", "padding", "dilation"}, &Decoder::max_pool},
    {"AvgPool", {"op", "x", "out", "rows", "columns", "m", "c", "shift", "lo", "hi"}, &Decoder::avg_pool},
    {"Table", {"op", "x", "out", "table"}, &Decoder::table},
    {"Reshape", {"op", "x", "out"}, &Decoder::reshape},
    {"Slice", {"op", "x", "out", "starts", "stops", "steps"}, &Decoder::slice},
    {"Pad", {"op", "x", "out", "before", "after"}, &Decoder::pad},
    {"Choose", {"op", "x", "layers", "widths"}, &Decoder::choose},
    {"Dequantize", {"op", "x"}, &Decoder::dequantize},
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

Op Decoder::decode_op(const json::Value& value, size_t index) {
    const json::Object* object = value.as<json::Object>();
    const std::string* name = nullptr;
    if (object) {
        for (const json::Member& member : *object) {
            if (member.key == "op") name = member.value.as<std::string>();
        }
    }
    for (const Kind& kind : kinds) {
        if (!name || *name != kind.name) continue;
        return (this->*kind.decode)(Fields(value, "op " + std::to_string(index) + " " + kind.name, kind.fields));
    }
    refuse("op ", index, ": unknown operator ", name ? shown(*name) : "without a name");
}

int Decoder::find(const Fields& f, const std::string& name) const {
    auto found = values_.find(name);
    bool before = found != values_.end() && found->second < defined_;
    require(before, f.where(), ": reads ", shown(name), " before an instruction defines it");
    return found->second;
}

int Decoder::define(const Fields& f) {
    auto found = values_.find(f.text("out"));
    bool next = found != values_.end() && found->second == defined_;
    require(next, f.where(), ": defines ", shown(f.text("out")), ", which is not the next declared value");
    return defined_++;
}

int Decoder::layer(const Fields& f, const std::string& name) const {
    auto found = layers_.find(name);
    bool known = found != layers_.end();
    require(known, f.where(), ": layer ", shown(name), " is not among the space's layers or controller");
    return found->second;
}

template <class T>
Array<T> Decoder::take(const Fields& f, const char* field) {
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
    Array<T> array{stored.shape, std::vector<T>(stored.bytes / sizeof(T))};
    if (stored.bytes) std::memcpy(array.data.data(), stored.data, stored.bytes);
    return array;
}

Requant Decoder::requant(const Fields& f) {
    return {take<int32_t>(f, "m"), take<int64_t>(f, "c"), f.small("shift"), f.integer("lo"), f.integer("hi")};
}

Op Decoder::quantize(const Fields& f) {
    require(f.text("x") == kInput, f.where(), ": reads ", shown(f.text("x")), ", need \"input\"");
    return Quantize{define(f)};
}

Op Decoder::conv(const Fields& f) {
    Conv op;
    op.layer = layer(f, f.text("layer"));
    op.x = read(f, "x");
    op.out = define(f);
    op.weight = take<int8_t>(f, "weight");
    op.requant = requant(f);
    f.smalls("stride", op.stride, 2);
    f.smalls("padding", op.padding, 4);
    f.smalls("dilation", op.dilation, 2);
    op.groups = f.small("groups");
    return op;
}

Op Decoder::linear(const Fields& f) {
    return Linear{layer(f, f.text("layer")), read(f, "x"), define(f), take<int8_t>(f, "weight"), requant(f)};
}

Op Decoder::add(const Fields& f) {
    return Add{read(f, "a"),     read(f, "b"),     define(f),       f.integer("k1"), f.integer("k2"),
               f.integer("k3"), f.small("shift"), f.integer("lo"), f.integer("hi")};
}

Op Decoder::multiply(const Fields& f) {
    return Multiply{read(f, "a"),    read(f, "b"),    define(f),        f.integer("k1"), f.integer("k2"),
                    f.integer("k3"), f.integer("k4"), f.small("shift"), f.integer("lo"), f.integer("hi")};
}

Op Decoder::rescale(const Fields& f) { return Rescale{read(f, "x"), define(f), requant(f)}; }

Op Decoder::concat(const Fields& f) {
    std::vector<int> xs;
    for (const std::string& name : f.texts("xs")) xs.push_back(find(f, name));
    return Concat{std::move(xs), define(f), f.small("axis")};
}

Op Decoder::max_pool(const Fields& f) {
    MaxPool op;
    op.x = read(f, "x");
    op.out = define(f);
    f.smalls("kernel", op.kernel, 2);
    f.smalls("stride", op.stride, 2);
    f.smalls("padding", op.padding, 4);
    f.smalls("dilation", op.dilation, 2);
    return op;
}

Op Decoder::avg_pool(const Fields& f) {
    return AvgPool{read(f, "x"), define(f), take<int32_t>(f, "rows"), take<int32_t>(f, "columns"), requant(f)};
}

Op Decoder::table(const Fields& f) {
    int x = read(f, "x"), out = define(f);
    Array<uint8_t> table = take<uint8_t>(f, "table");
    require(table.shape.size() == 1, f.where(), ": table of shape ", shown(table.shape), ", need one dimension");
    return Table{x, out, std::move(table.data)};
}

Op Decoder::reshape(const Fields& f) { return Reshape{read(f, "x"), define(f)}; }

Op Decoder::slice(const Fields& f) {
    return Slice{read(f, "x"), define(f), f.integers("starts"), f.integers("stops"), f.integers("steps")};
}

Op Decoder::pad(const Fields& f) { return Pad{read(f, "x"), define(f), f.integers("before"), f.integers("after")}; }

Op Decoder::choose(const Fields& f) {
    Choose op{read(f, "x"), {}, f.smalls("widths")};
    for (const std::string& name : f.texts("layers")) op.layers.push_back(layer(f, name));
    return op;
}

Op Decoder::dequantize(const Fields& f) { return Dequantize{read(f, "x")}; }

}  // namespace

Program decode(const json::Value& graph, const Container& container) { return Decoder(container).program(graph); }

}  // namespace dqt::loader
