#include "packed.h"

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "fields.h"
#include "inflate.h"
#include "json.h"

namespace dqt::ir {
namespace {

constexpr int64_t kMostRatio = 1032;  // deflate makes at most so many bytes of one

// One tensor of the table: numbers of `bits` bits, each the top of what it was, `shift` bits above the lowest.
struct Piece {
    std::string name, where;
    Dtype dtype;
    Shape shape;
    int64_t bits, shift;
    bool deflated;

    int64_t count() const { return elements(shape); }
    bool narrow() const { return size_of(dtype) == 1; }
    bool spread() const { return narrow() && deflated && 8 % bits != 0; }  // each number has a byte of its own
    int64_t inflated() const { return spread() ? count() : (count() * bits + 7) / 8; }
};

Dtype dtype_named(const std::string& text, const std::string& where) {
    for (const Dtype each : {Dtype::int8, Dtype::uint8, Dtype::int32, Dtype::int64, Dtype::float32})
        if (text == name_of(each)) return each;
    refuse(where, ": dtype ", shown(text), ", need one of int8, uint8, int32, int64, float32");
}

Piece piece_of(const json::Value& item, size_t index) {
    const std::string where = "packed[" + std::to_string(index) + "]";
    const Fields f(item, where, {"name", "dtype", "shape", "bits", "shift", "deflated"});
    Piece entry{f.text("name"), "", {}, f.integers("shape"), f.integer("bits"), f.integer("shift"), f.flag("deflated")};
    const std::string& dtype = f.text("dtype");
    check_shape(entry.shape, where);
    entry.dtype = dtype_named(dtype, where);
    entry.where = where + ": tensor " + shown(entry.name);
    const int64_t whole = 8 * size_of(entry.dtype), least = entry.narrow() ? 1 : whole;
    bool legal = entry.bits >= least && entry.bits <= whole && entry.shift >= 0 && entry.shift <= whole - entry.bits;
    require(legal, where, ": ", entry.bits, " bits and a shift of ", entry.shift, " do not fit ", dtype);
    return entry;
}

json::Value parse_table(const std::string& text) {
    try {
        return json::parse(text, json::Surrogates::keep);
    } catch (const json::Error& error) {
        refuse("packed: ", error.what());
    }
}

std::vector<Piece> table_of(const std::string& text) {
    const json::Value parsed = parse_table(text);
    const json::List* items = parsed.as<json::List>();
    if (!items) refuse("packed: need a list");
    std::vector<Piece> table;
    for (size_t i = 0; i < items->size(); ++i) {
        table.push_back(piece_of((*items)[i], i));
        bool ascending = i == 0 || table[i - 1].name < table[i].name;
        require(ascending, "packed: names, need an ascending list without repeats");
    }
    return table;
}

// What a code stands for: with its sign where the tensor has signs, at its place above `shift` bits.
void fill_values(const Piece& entry, uint8_t* values) {
    const int top = static_cast<int>(8 - entry.bits), down = top - static_cast<int>(entry.shift);
    for (int code = 0; code < 1 << entry.bits; ++code) {
        const auto high = static_cast<int8_t>(static_cast<uint8_t>(code << top));
        values[code] = entry.dtype == Dtype::int8 ? static_cast<uint8_t>(high >> down)
                                                  : static_cast<uint8_t>(code << entry.shift);
    }
}

[[noreturn]] void stray(const Piece& entry) { refuse(entry.where, " has bits that belong to no number"); }

// Numbers that lie without gaps, the lowest bit first.
void unpack(const Piece& entry, const uint8_t* from, const uint8_t* values, uint8_t* to) {
    const int bits = static_cast<int>(entry.bits);
    const uint64_t mask = (uint64_t{1} << bits) - 1;
    uint64_t held = 0;
    int ready = 0;
    for (int64_t left = entry.count(); left; --left) {
        if (ready < bits) held |= uint64_t{*from++} << ready, ready += 8;
        *to++ = values[held & mask];
        held >>= bits, ready -= bits;
    }
    if (held) stray(entry);
}

void look_up(const Piece& entry, const uint8_t* from, const uint8_t* values, uint8_t* to) {
    for (int64_t i = 0; i < entry.count(); ++i) {
        if (from[i] >> entry.bits) stray(entry);
        to[i] = values[from[i]];
    }
}

using Bytes = std::vector<uint8_t>;

// The bytes before they were deflated. The stream says nothing of their size: the table does, within its reach.
Bytes inflated(const Piece& entry, const Stored& stored) {
    const int64_t count = entry.inflated();
    bool whole = count / kMostRatio <= static_cast<int64_t>(stored.bytes);
    Bytes bytes(whole ? static_cast<size_t>(count) : 0);
    whole = whole && inflate(stored.data, stored.bytes, bytes.data(), bytes.size());
    require(whole, entry.where, " does not inflate to ", count, " bytes: the file was changed or damaged; get it again");
    return bytes;
}

Bytes restored(const Piece& entry, const Stored& stored) {
    bool row = stored.dtype == Dtype::uint8 && stored.shape.size() == 1;
    require(row, entry.where, " is ", name_of(stored.dtype), " of ", stored.shape.size(),
            " dimensions, need uint8 of one dimension");
    Bytes own;
    const uint8_t* plain = stored.data;
    if (entry.deflated) {
        own = inflated(entry, stored);
        plain = own.data();
    } else {
        bool fits = static_cast<int64_t>(stored.bytes) == entry.inflated();
        require(fits, entry.where, " holds ", stored.bytes, " bytes, need ", entry.inflated());
    }
    if (!entry.narrow()) return entry.deflated ? std::move(own) : Bytes(plain, plain + stored.bytes);
    uint8_t values[256];
    fill_values(entry, values);
    Bytes numbers(static_cast<size_t>(entry.count()));
    (entry.spread() || entry.bits == 8 ? look_up : unpack)(entry, plain, values, numbers.data());
    return numbers;
}

}  // namespace

void restore(Container& container) {
    for (const Piece& entry : table_of(container.packed)) {
        const auto found = container.tensors.find(entry.name);
        require(found != container.tensors.end(), entry.where, " is missing");
        const auto bytes = std::make_shared<const Bytes>(restored(entry, found->second));
        found->second = {entry.dtype, entry.shape, bytes, bytes->data(), bytes->size()};
    }
}

}  // namespace dqt::ir
