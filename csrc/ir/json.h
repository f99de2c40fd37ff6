// Strict JSON: no repeated key, no NaN or infinity, no deep nesting, UTF-8 only.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace dqt::json {

struct Error : std::runtime_error {
    using std::runtime_error::runtime_error;
};

struct Value;
struct Member;
struct Null {};
struct Long {};  // an integer beyond 64 bits: legal where nothing reads it
using List = std::vector<Value>;
using Object = std::vector<Member>;  // in the order of the text

struct Value {
    std::variant<Null, bool, int64_t, double, Long, std::string, List, Object> data;

    // The value if it is of type T, else nullptr.
    template <class T>
    const T* as() const {
        return std::get_if<T>(&data);
    }
};

struct Member {
    std::string key;
    Value value;
};

constexpr int kMaxDepth = 64;
constexpr size_t kMaxValues = size_t{1} << 22;  // bounds the memory of a parsed text

// What a lone surrogate escape such as \ud800 is: an error, or kept as the three bytes that UTF-8 would give it.
enum class Surrogates { refuse, keep };

// The value of `text`, all of it. Throws Error.
Value parse(std::string_view text, Surrogates surrogates);

// `text` as a JSON string in ASCII, the way Python's json.dumps writes it. `text` must be a parsed string.
std::string quote(std::string_view text);

// The next code point of a parsed string; moves `at` past it.
char32_t next_code_point(std::string_view text, size_t& at);

}  // namespace dqt::json
