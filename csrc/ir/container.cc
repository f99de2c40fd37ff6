#include "container.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "json.h"
#include "sha256.h"

namespace dqt::ir {
namespace {

constexpr uint64_t kMaxHeader = 100'000'000;  // as in safetensors
constexpr size_t kMaxGraph = size_t{1} << 26;

[[noreturn]] void broken(const std::string& what) {
    refuse("not a whole safetensors file (", what, "): get the file again");
}

uint64_t header_length(const uint8_t* data, size_t size) {
    if (size < 8) broken("shorter than 8 bytes");
    uint64_t length = 0;
    for (int i = 7; i >= 0; --i) length = length << 8 | data[i];
    if (length > kMaxHeader) broken("a header of " + std::to_string(length) + " bytes");
    if (length > size - 8) broken("the header goes beyond the end");
    return length;
}

json::Value parse_header(const uint8_t* data, size_t length) {
    try {
        return json::parse({reinterpret_cast<const char*>(data), length}, json::Surrogates::refuse);
    } catch (const json::Error& error) {
        broken(std::string("header: ") + error.what());
    }
}

std::pair<Dtype, int64_t> dtype_of(const json::Value& value, const std::string& name) {
    const std::string* text = value.as<std::string>();
    if (!text) broken("tensor " + shown(name) + ": dtype is no text");
    if (*text == "I8") return {Dtype::int8, 1};
    if (*text == "U8") return {Dtype::uint8, 1};
    if (*text == "I32") return {Dtype::int32, 4};
    if (*text == "I64") return {Dtype::int64, 8};
    if (*text == "F32") return {Dtype::float32, 4};
    refuse("tensor ", shown(name), " has dtype ", shown(*text), ", need I8, U8, I32, I64 or F32");
}

// A list of integers that are at least 0.
Shape sizes(const json::Value& value, const std::string& name) {
    const json::List* list = value.as<json::List>();
    if (!list) broken("tensor " + shown(name) + ": need a list of sizes");
    Shape result;
    result.reserve(list->size());
    for (const json::Value& item : *list) {
        const int64_t* number = item.as<int64_t>();
        if (!number || *number < 0) broken("tensor " + shown(name) + ": a size is no integer of at least 0");
        result.push_back(*number);
    }
    return result;
}

// A tensor of the header, with the offsets of its bytes.
struct Entry {
    std::string name;
    Stored tensor;
    int64_t first, last;
};

Entry entry(const json::Member& member) {
    const json::Object* fields = member.value.as<json::Object>();
    const json::Value *dtype = nullptr, *shape = nullptr, *offsets = nullptr;
    if (!fields) broken("tensor " + shown(member.key) + ": need an object");
    for (const json::Member& field : *fields) {
        if (field.key == "dtype") dtype = &field.value;
        if (field.key == "shape") shape = &field.value;
        if (field.key == "data_offsets") offsets = &field.value;
    }
    bool whole = fields->size() == 3 && dtype && shape && offsets;
    if (!whole) broken("tensor " + shown(member.key) + ": need dtype, shape and data_offsets");
    auto [kind, item] = dtype_of(*dtype, member.key);
    Entry result{member.key, {kind, sizes(*shape, member.key), nullptr, nullptr, 0}, 0, 0};
    Shape range = sizes(*offsets, member.key);
    if (range.size() != 2 || range[0] > range[1]) broken("tensor " + shown(member.key) + ": bad offsets");
    result.first = range[0], result.last = range[1];
    int64_t bytes = range[1] - range[0], count = elements(result.tensor.shape);
    bool fits = bytes % item == 0 && bytes / item == count;
    if (!fits) broken("tensor " + shown(member.key) + ": its shape and its offsets disagree");
    return result;
}

void add_tensors(Container& container, std::vector<Entry> entries, const std::shared_ptr<Pages>& pages, size_t before) {
    const uint8_t* const data = pages->data() + before;
    const size_t size = pages->size() - before;
    auto order = [](const Entry& a, const Entry& b) { return std::pair(a.first, a.last) < std::pair(b.first, b.last); };
    std::sort(entries.begin(), entries.end(), order);
    int64_t end = 0;
    for (Entry& item : entries) {
        if (item.first != end) broken("tensor " + shown(item.name) + " leaves a gap, or overlaps another");
        if (static_cast<uint64_t>(item.last) > size) broken("tensor " + shown(item.name) + " goes beyond the end");
        end = item.last;
        item.tensor.data = data + item.first;
        item.tensor.bytes = static_cast<size_t>(item.last - item.first);
        item.tensor.owner = part(pages, item.tensor.data, item.tensor.bytes);
        container.tensors.emplace(std::move(item.name), std::move(item.tensor));
    }
    if (static_cast<uint64_t>(end) != size) broken("the tensors do not fill the file");
}

// The text of a key of the metadata; empty if it is missing or no text.
std::string text_of(const json::Object& meta, std::string_view key) {
    for (const json::Member& member : meta) {
        if (member.key == key && member.value.as<std::string>()) return *member.value.as<std::string>();
    }
    return {};
}

size_t code_points(std::string_view text) {
    return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

void add_metadata(Container& container, const json::Value& value) {
    const json::Object* meta = value.as<json::Object>();
    bool ours = meta && text_of(*meta, "format") == "dqt";
    require(ours, "a safetensors file, but no program: its metadata lack \"format\": \"dqt\"");
    std::string version = text_of(*meta, "version");
    require(version == "1" || version == "2" || version == "3", "file version ", shown(version),
            "; this release reads versions \"1\", \"2\" and \"3\": get a newer one, or lower the network again");
    container.version = version[0] - '0';
    const bool packed = container.version == 3;
    for (const json::Member& member : *meta) {
        constexpr std::string_view known[] = {"format", "version", "graph", "sha256", "packed"};
        const auto* end = std::end(known) - !packed;
        bool legal = std::find(std::begin(known), end, member.key) != end;
        require(legal, "metadata ", shown(member.key), " are unknown");
        require(member.value.as<std::string>(), "metadata ", shown(member.key), " are no text");
    }
    bool all = meta->size() == (packed ? 5 : 4);
    require(all, "metadata are missing: need format, version, graph", packed ? ", packed" : "", " and sha256");
    container.packed = text_of(*meta, "packed");
    container.graph = text_of(*meta, "graph");
    container.sha256 = text_of(*meta, "sha256");
    require(code_points(container.graph) <= kMaxGraph, "a graph of more than ", kMaxGraph, " characters");
}

}  // namespace

const char* name_of(Dtype dtype) {
    constexpr const char* names[] = {"int8", "uint8", "int32", "int64", "float32"};
    return names[static_cast<int>(dtype)];
}

int64_t size_of(Dtype dtype) {
    constexpr int64_t sizes[] = {1, 1, 4, 8, 4};
    return sizes[static_cast<int>(dtype)];
}

Container open(const std::shared_ptr<Pages>& pages) {
    size_t length = header_length(pages->data(), pages->size());
    json::Value parsed = parse_header(pages->data() + 8, length);
    const json::Object* header = parsed.as<json::Object>();
    if (!header) broken("the header is no object");
    Container container;
    std::vector<Entry> entries;
    const json::Value none{json::Null{}};
    const json::Value* meta = &none;
    for (const json::Member& member : *header) {
        if (member.key == "__metadata__") {
            meta = &member.value;
        } else {
            entries.push_back(entry(member));
        }
    }
    add_tensors(container, std::move(entries), pages, 8 + length);
    add_metadata(container, *meta);
    return container;
}

std::string digest(const Container& container) {
    Sha256 sha;
    sha.update(container.graph.data(), container.graph.size());
    for (const auto& [name, tensor] : container.tensors) {
        std::string title = "[" + json::quote(name) + ", \"" + name_of(tensor.dtype) + "\", [";
        for (size_t i = 0; i < tensor.shape.size(); ++i) title += (i ? ", " : "") + std::to_string(tensor.shape[i]);
        title += "]]";
        sha.update(title.data(), title.size());
        sha.update(tensor.data, tensor.bytes);
    }
    return sha.hex();
}

}  // namespace dqt::ir
