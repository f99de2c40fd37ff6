#include "fields.h"

#include <algorithm>
#include <iterator>
#include <limits>

namespace dqt::ir {
namespace {

constexpr size_t kMaxName = 512;

struct Range {
    char32_t first, last;
};

// What is not printable, apart from code points without a meaning: separators other than the space, control and format
// characters, surrogates, private use. These categories do not change from one version of Unicode to the next.
constexpr Range kUnprintable[] = {
    {0x00, 0x1F},       {0x7F, 0xA0},       {0xAD, 0xAD},       {0x600, 0x605},     {0x61C, 0x61C},
    {0x6DD, 0x6DD},     {0x70F, 0x70F},     {0x890, 0x891},     {0x8E2, 0x8E2},     {0x1680, 0x1680},
    {0x180E, 0x180E},   {0x2000, 0x200F},   {0x2028, 0x202F},   {0x205F, 0x206F},   {0x3000, 0x3000},
    {0xD800, 0xF8FF},   {0xFDD0, 0xFDEF},   {0xFEFF, 0xFEFF},   {0xFFF0, 0xFFFB},   {0x110BD, 0x110BD},
    {0x110CD, 0x110CD}, {0x13430, 0x1343F}, {0x1BCA0, 0x1BCA3}, {0x1D173, 0x1D17A}, {0xE0000, 0xE00FF},
    {0xF0000, 0x10FFFF}};

bool is_printable(char32_t c) {
    if ((c & 0xFFFE) == 0xFFFE) return false;  // never a character, in any plane
    auto* range = std::lower_bound(std::begin(kUnprintable), std::end(kUnprintable), c,
                                   [](const Range& r, char32_t code) { return r.last < code; });
    return range == std::end(kUnprintable) || c < range->first;
}

bool is_name(std::string_view text) {
    size_t count = 0;
    for (size_t at = 0; at < text.size() && count <= kMaxName; ++count) {
        if (!is_printable(json::next_code_point(text, at))) return false;
    }
    return count >= 1 && count <= kMaxName;
}

}  // namespace

Fields::Fields(const json::Value& value, std::string where, const std::vector<std::string_view>& names)
    : members_(value.as<json::Object>()), where_(std::move(where)) {
    require(members_, where_, ": need an object");
    for (const json::Member& member : *members_) {
        bool known = std::find(names.begin(), names.end(), member.key) != names.end();
        require(known, where_, ": field ", shown(member.key), " is unknown");
    }
    for (std::string_view name : names) at(name);
}

void Fields::wrong(std::string_view name, const char* need) const { refuse(where_, ".", name, ": need ", need); }

const json::Value& Fields::at(std::string_view name) const {
    for (const json::Member& member : *members_) {
        if (member.key == name) return member.value;
    }
    refuse(where_, ": field ", shown(name), " is missing");
}

int64_t Fields::integer_of(std::string_view name, const json::Value& value) const {
    const int64_t* number = value.as<int64_t>();
    if (!number) wrong(name, "an integer within 64 bits");
    return *number;
}

int64_t Fields::integer(std::string_view name) const { return integer_of(name, at(name)); }

int Fields::small_of(std::string_view name, const json::Value& value) const {
    const int64_t* number = value.as<int64_t>();
    bool fits = number && *number >= std::numeric_limits<int>::min() && *number <= std::numeric_limits<int>::max();
    if (!fits) wrong(name, "an integer, and not so large");
    return static_cast<int>(*number);
}

const std::string& Fields::text_of(std::string_view name, const json::Value& value) const {
    const std::string* text = value.as<std::string>();
    if (!text || !is_name(*text)) wrong(name, "a name of 1 to 512 printable characters");
    return *text;
}

int Fields::small(std::string_view name) const { return small_of(name, at(name)); }

double Fields::real(std::string_view name) const {
    const double* number = at(name).as<double>();
    if (!number) wrong(name, "a float, such as 1.0");
    return *number;
}

bool Fields::flag(std::string_view name) const {
    const bool* flag = at(name).as<bool>();
    if (!flag) wrong(name, "true or false");
    return *flag;
}

const std::string& Fields::text(std::string_view name) const { return text_of(name, at(name)); }

const json::List& Fields::list(std::string_view name) const {
    const json::List* list = at(name).as<json::List>();
    if (!list) wrong(name, "a list");
    return *list;
}

Numbers Fields::integers(std::string_view name) const {
    Numbers result;
    for (const json::Value& item : list(name)) result.push_back(integer_of(name, item));
    return result;
}

void Fields::integers(std::string_view name, std::span<int64_t> out) const {
    const json::List& items = list(name);
    require(items.size() == out.size(), where_, ".", name, ": ", items.size(), " items, need ", out.size());
    std::transform(items.begin(), items.end(), out.begin(), [&](const json::Value& v) { return integer_of(name, v); });
}

std::vector<int> Fields::smalls(std::string_view name) const {
    std::vector<int> result;
    for (const json::Value& item : list(name)) result.push_back(small_of(name, item));
    return result;
}

std::vector<std::string> Fields::texts(std::string_view name) const {
    std::vector<std::string> result;
    for (const json::Value& item : list(name)) result.push_back(text_of(name, item));
    return result;
}

std::vector<std::string> Fields::labels(std::string_view name) const {
    std::vector<std::string> result;
    for (const json::Value& item : list(name)) {
        const std::string* text = item.as<std::string>();
        result.push_back(text && text->empty() ? std::string() : text_of(name, item));
    }
    return result;
}

}  // namespace dqt::ir
