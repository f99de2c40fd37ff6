#include "json.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace dqt::json {
namespace {

constexpr size_t kMaxDigits = 4300;  // as in Python: a longer integer is an error

// Appends a code point as UTF-8; a surrogate as the three bytes of the same scheme.
void append(std::string& out, char32_t c) {
    auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (c < 0x80) {
        put(c);
    } else if (c < 0x800) {
        put(0xC0 | (c >> 6));
        put(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
        put(0xE0 | (c >> 12));
        put(0x80 | ((c >> 6) & 0x3F));
        put(0x80 | (c & 0x3F));
    } else {
        put(0xF0 | (c >> 18));
        put(0x80 | ((c >> 12) & 0x3F));
        put(0x80 | ((c >> 6) & 0x3F));
        put(0x80 | (c & 0x3F));
    }
}

bool is_digit(int c) { return c >= '0' && c <= '9'; }

class Parser {
  public:
    Parser(std::string_view text, Surrogates surrogates) : text_(text), surrogates_(surrogates) {}

    Value whole() {
        Value result = value(0);
        space();
        if (at_ != text_.size()) fail("more after the end");
        return result;
    }

  private:
    [[noreturn]] void fail(const std::string& what) const { throw Error(what + " at byte " + std::to_string(at_)); }

    // The next byte, or -1 at the end.
    int peek() const { return at_ < text_.size() ? static_cast<unsigned char>(text_[at_]) : -1; }

    bool accept(char c) {
        if (peek() != static_cast<unsigned char>(c)) return false;
        ++at_;
        return true;
    }

    void expect(char c) {
        if (!accept(c)) fail(std::string("need '") + c + "'");
    }

    void space() {
        while (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') ++at_;
    }

    void word(std::string_view expected) {
        if (text_.substr(at_, expected.size()) != expected) fail("not a value");
        at_ += expected.size();
    }

    Value value(int depth) {
        if (depth > kMaxDepth) fail("nested too deeply");
        if (++values_ > kMaxValues) fail("too many values");
        space();
        switch (peek()) {
            case '{': return {object(depth)};
            case '[': return {list(depth)};
            case '"': return {string()};
            case 't': word("true"); return {true};
            case 'f': word("false"); return {false};
            case 'n': word("null"); return {Null{}};
            default: return number();
        }
    }

    List list(int depth) {
        List items;
        expect('[');
        space();
        if (accept(']')) return items;
        do {
            items.push_back(value(depth + 1));
            space();
        } while (accept(','));
        expect(']');
        return items;
    }

    Object object(int depth) {
        Object members;
        expect('{');
        space();
        if (accept('}')) return members;
        do {
            space();
            std::string key = string();
            space();
            expect(':');
            members.push_back({std::move(key), value(depth + 1)});
            space();
        } while (accept(','));
        expect('}');
        check_unique(members);
        return members;
    }

    void check_unique(const Object& members) const {
        std::vector<std::string_view> keys;
        keys.reserve(members.size());
        for (const Member& member : members) keys.push_back(member.key);
        std::sort(keys.begin(), keys.end());
        if (std::adjacent_find(keys.begin(), keys.end()) != keys.end()) fail("an object repeats a key, before the end");
    }

    std::string string() {
        std::string out;
        expect('"');
        while (true) {
            int c = peek();
            if (c < 0x20) fail(c < 0 ? "text without an end" : "a control character in text");
            if (c == '"') {
                ++at_;
                return out;
            }
            if (c == '\\') {
                ++at_;
                escape(out);
            } else if (c < 0x80) {
                out.push_back(static_cast<char>(c));
                ++at_;
            } else {
                utf8(out);
            }
        }
    }

    void escape(std::string& out) {
        constexpr std::string_view letters = "\"\\/bfnrt", meanings = "\"\\/\b\f\n\r\t";
        int c = peek();
        size_t which = c < 0 ? letters.npos : letters.find(static_cast<char>(c));
        if (c == 'u') {
            ++at_;
            unicode(out);
        } else if (which != letters.npos) {
            out.push_back(meanings[which]);
            ++at_;
        } else {
            fail("an unknown escape");
        }
    }

    static int hex_digit(int c) {
        if (is_digit(c)) return c - '0';
        c |= 0x20;
        return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    }

    char32_t hex4() {
        char32_t code = 0;
        for (int i = 0; i < 4; ++i, ++at_) {
            int digit = hex_digit(peek());
            if (digit < 0) fail("need four hexadecimal digits");
            code = code * 16 + static_cast<char32_t>(digit);
        }
        return code;
    }

    // After \u: one code point, from one escape or from a surrogate pair.
    void unicode(std::string& out) {
        char32_t code = hex4();
        if (code >= 0xD800 && code < 0xDC00 && text_.substr(at_, 2) == "\\u") {
            size_t second = at_;
            at_ += 2;
            char32_t low = hex4();
            if (low >= 0xDC00 && low < 0xE000) {
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
            } else {
                at_ = second;
            }
        }
        bool lone = code >= 0xD800 && code < 0xE000;
        if (lone && surrogates_ == Surrogates::refuse) fail("half a surrogate pair");
        append(out, code);
    }

    // One code point of two to four bytes; refuses overlong forms, surrogates and what is above U+10FFFF.
    void utf8(std::string& out) {
        int first = peek();
        int extra = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : 1;
        constexpr char32_t least[] = {0, 0x80, 0x800, 0x10000};
        if (first < 0xC2 || first > 0xF4) fail("not UTF-8");
        char32_t code = static_cast<char32_t>(first) & (0x3Fu >> extra);
        for (int i = 0; i < extra; ++i) {
            ++at_;
            int c = peek();
            if (c < 0x80 || c > 0xBF) fail("not UTF-8");
            code = code << 6 | (static_cast<char32_t>(c) & 0x3F);
        }
        ++at_;
        if (code < least[extra] || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) fail("not UTF-8");
        append(out, code);
    }

    size_t digits() {
        size_t start = at_;
        while (is_digit(peek())) ++at_;
        if (at_ == start) fail("not a value");
        return at_ - start;
    }

    Value number() {
        size_t start = at_;
        accept('-');
        size_t whole = accept('0') ? 1 : digits();
        bool real = false;
        if (accept('.')) {
            real = true;
            digits();
        }
        if (peek() == 'e' || peek() == 'E') {
            real = true;
            ++at_;
            if (!accept('+')) accept('-');
            digits();
        }
        std::string_view token = text_.substr(start, at_ - start);
        if (real) return {decimal(token)};
        if (whole > kMaxDigits) fail("an integer of too many digits");
        int64_t integer = 0;
        auto [_, code] = std::from_chars(token.data(), token.data() + token.size(), integer);
        return code == std::errc() ? Value{integer} : Value{Long{}};
    }

    double decimal(std::string_view token) const {
        double real = 0;
        auto [_, code] = std::from_chars(token.data(), token.data() + token.size(), real);
        if (code == std::errc::result_out_of_range) real = tiny(token) ? 0.0 : HUGE_VAL;
        if (!std::isfinite(real)) fail("a number that is not finite, before the end");
        return real;
    }

    // Whether a number out of a double's range is below it: the decimal exponent of its first nonzero digit.
    static bool tiny(std::string_view token) {
        size_t mark = token.find_first_of("eE");
        std::string_view mantissa = token.substr(0, mark);
        int64_t exponent = 0;
        if (mark != token.npos) {
            size_t start = mark + (token[mark + 1] == '+' ? 2 : 1);
            auto [_, code] = std::from_chars(token.data() + start, token.data() + token.size(), exponent);
            if (code != std::errc()) return token[start] == '-';
        }
        size_t first = mantissa.find_first_of("123456789"), point = std::min(mantissa.find('.'), mantissa.size());
        if (first == mantissa.npos) return true;
        return static_cast<double>(exponent) + static_cast<double>(point) - static_cast<double>(first) < 0;
    }

    std::string_view text_;
    Surrogates surrogates_;
    size_t at_ = 0, values_ = 0;
};

void append_escape(std::string& out, char32_t unit) {
    constexpr char hex[] = "0123456789abcdef";
    out += "\\u";
    for (int shift = 12; shift >= 0; shift -= 4) out.push_back(hex[(unit >> shift) & 15]);
}

}  // namespace

Value parse(std::string_view text, Surrogates surrogates) { return Parser(text, surrogates).whole(); }

char32_t next_code_point(std::string_view text, size_t& at) {
    auto byte = [&] { return at < text.size() ? static_cast<unsigned char>(text[at++]) : 0u; };
    char32_t first = byte();
    int extra = first >= 0xF0 ? 3 : first >= 0xE0 ? 2 : first >= 0x80 ? 1 : 0;
    char32_t code = extra ? first & (0x3Fu >> extra) : first;
    for (int i = 0; i < extra; ++i) code = code << 6 | (byte() & 0x3F);
    return code;
}

std::string quote(std::string_view text) {
    constexpr std::string_view plain = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
    std::string out = "\"";
    for (size_t at = 0; at < text.size();) {
        char32_t c = next_code_point(text, at);
        size_t which = c < 0x80 ? plain.find(static_cast<char>(c)) : plain.npos;
        if (which != plain.npos) {
            out.push_back('\\');
            out.push_back(letters[which]);
        } else if (c >= 0x20 && c < 0x7F) {
            out.push_back(static_cast<char>(c));
        } else if (c < 0x10000) {
            append_escape(out, c);
        } else {
            append_escape(out, 0xD800 + ((c - 0x10000) >> 10));
            append_escape(out, 0xDC00 + ((c - 0x10000) & 0x3FF));
        }
    }
    return out + "\"";
}

}  // namespace dqt::json
