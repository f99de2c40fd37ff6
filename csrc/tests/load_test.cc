// Loads files and says "ok" or "error: ..." for each; or damages one file in many ways and checks that loading it only
// returns or throws LoadError.
//
//     load_test FILE...
//     load_test --fuzz N SEED FILE
//     load_test --sha256 FILE
//     load_test --inflate FILE...      each: eight bytes, how long the result must be, and a deflate stream

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <exception>
#include <fstream>
#include <iterator>
#include <random>
#include <set>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "../ir/inflate.h"
#include "../ir/load.h"
#include "../ir/sha256.h"
#include "../ir/unchecked.h"

namespace {

std::string read(const char* path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error(std::string("cannot read ") + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

const uint8_t* bytes(const std::string& data) { return reinterpret_cast<const uint8_t*>(data.data()); }

// "ok", or the error of loading a copy of exactly these bytes, so that a sanitizer sees a read beyond them.
std::string outcome(const std::string& data, bool check_digest) {
    std::vector<uint8_t> exact(data.begin(), data.end());
    try {
        if (check_digest) {
            dqt::load(exact.data(), exact.size());
        } else {
            dqt::ir::load_without_digest(exact.data(), exact.size());
        }
        return "ok";
    } catch (const dqt::LoadError& error) {
        return std::string("error: ") + error.what();
    }
}

class Fuzzer {
  public:
    Fuzzer(std::string file, uint64_t seed) : file_(std::move(file)), random_(seed) {
        uint64_t length = 0;
        for (size_t i = 8; i-- > 0;) length = length << 8 | bytes(file_)[i];
        header_ = file_.substr(8, length);
        body_ = file_.substr(8 + length);
        find_tokens();
    }

    // One damaged file; whether its digest may be checked.
    std::string next(bool& check_digest) {
        check_digest = pick(8) == 0;
        switch (pick(6)) {
            case 0: return bytes_changed(file_, 1 + pick(4));
            case 1: return framed(bytes_changed(header_, 1 + pick(3)), body_);
            case 2: return framed(header_, extremes(body_));
            case 3: return file_.substr(0, pick(file_.size()));
            default: return framed(tokens_changed(1 + pick(2)), body_);
        }
    }

  private:
    struct Token {
        size_t start, size;
        bool number;
    };

    size_t pick(size_t count) { return count ? random_() % count : 0; }

    // Numbers and words of the header, the graph's among them.
    void find_tokens() {
        auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
        auto is_letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z'); };
        auto is_word = [&](char c) { return is_digit(c) || is_letter(c) || c == '_' || c == '.' || c == '-'; };
        for (size_t i = 0; i < header_.size();) {
            size_t end = i;
            while (end < header_.size() && is_word(header_[end])) ++end;
            if (end > i) tokens_.push_back({i, end - i, is_digit(header_[i]) || header_[i] == '-'});
            i = end + 1;
        }
    }

    static std::string framed(const std::string& header, const std::string& body) {
        std::string length(8, '\0');
        for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(header.size() >> (8 * i) & 255);
        return length + header + body;
    }

    std::string bytes_changed(std::string data, size_t times) {
        for (size_t i = 0; i < times && !data.empty(); ++i) {
            size_t at = pick(data.size()), count = pick(std::min<size_t>(20, data.size() - at));
            switch (pick(4)) {
                case 0: data[at] = static_cast<char>(random_()); break;
                case 1: data.erase(at, count); break;
                case 2: data.insert(at, data.substr(pick(data.size()), count)); break;
                default: data[at] = static_cast<char>(data[at] ^ (1 << pick(8)));
            }
        }
        return data;
    }

    std::string extremes(std::string data) {
        const char values[] = {0, 1, 127, -128, -1};
        for (size_t i = 0, n = 1 + pick(64); i < n && !data.empty(); ++i) data[pick(data.size())] = values[pick(5)];
        return data;
    }

    // Exchanges a number for another or an extreme one, or a word for another: mostly good JSON, a wrong graph.
    std::string tokens_changed(size_t times) {
        static const char* numbers[] = {"0", "-1", "1", "2", "3", "5", "7", "8", "9", "31", "33", "128", "255", "256",
                                        "65536", "16777216", "16777217", "2147483647", "2147483648", "-2147483648",
                                        "4611686018427387904", "9223372036854775807", "-9223372036854775808",
                                        "9223372036854775808", "1e999", "1e-999", "0.5", "1.0", "null", "true", "[]",
                                        "[1]", "{}"};
        std::string data = header_;
        for (size_t i = 0; i < times; ++i) {
            const Token& token = tokens_[pick(tokens_.size())];
            const Token& other = tokens_[pick(tokens_.size())];
            if (token.start + token.size > data.size()) continue;
            std::string with = header_.substr(other.start, other.size);
            if (token.number && (!other.number || pick(2))) with = numbers[pick(std::size(numbers))];
            data.replace(token.start, token.size, with);
        }
        return data;
    }

    std::string file_, header_, body_;
    std::vector<Token> tokens_;
    std::mt19937_64 random_;
};

// The digest of what a stream inflates to, or "refused"; of exact copies, so that a sanitizer sees an access beyond them.
std::string inflated(const std::string& data) {
    uint64_t count = 0;
    for (size_t i = 8; i-- > 0;) count = count << 8 | bytes(data)[i];
    const std::vector<uint8_t> stream(data.begin() + 8, data.end());
    std::vector<uint8_t> out(count);
    if (!dqt::ir::inflate(stream.data(), stream.size(), out.data(), out.size())) return "refused";
    dqt::ir::Sha256 sha;
    sha.update(out.data(), out.size());
    return sha.hex();
}

// The kind of an error: its text without names and numbers.
std::string kind_of(const std::string& error) {
    std::string kind;
    bool quoted = false;
    for (char c : error) {
        if (c == '"') quoted = !quoted;
        if (!quoted && !std::isdigit(static_cast<unsigned char>(c)) && c != '-') kind.push_back(c);
    }
    return kind;
}

int fuzz(int count, uint64_t seed, const char* path) {
    Fuzzer fuzzer(read(path), seed);
    std::set<std::string> kinds;
    int loaded = 0;
    for (int i = 0; i < count; ++i) {
        bool check_digest = false;
        std::string data = fuzzer.next(check_digest), result = outcome(data, check_digest);
        if (result == "ok") ++loaded;
        kinds.insert(kind_of(result));
    }
    std::printf("%d files: %d loaded, %d refused, %zu kinds of outcome\n", count, loaded, count - loaded, kinds.size());
    return 0;
}

int run(const std::vector<char*>& args) {
    if (args.size() == 4 && args[0] == std::string_view("--fuzz")) {
        return fuzz(std::stoi(args[1]), std::stoull(args[2]), args[3]);
    }
    if (args.size() == 2 && args[0] == std::string_view("--sha256")) {
        dqt::ir::Sha256 sha;
        const std::string data = read(args[1]);
        for (size_t at = 0, step = 1; at < data.size(); at += step, step = step * 2 % 191) {
            sha.update(data.data() + at, std::min(step, data.size() - at));
        }
        std::printf("%s\n", sha.hex().c_str());
        return 0;
    }
    if (!args.empty() && args[0] == std::string_view("--inflate")) {
        for (size_t i = 1; i < args.size(); ++i) std::printf("%s\n", inflated(read(args[i])).c_str());
        return 0;
    }
    for (const char* path : args) std::printf("%s\n", outcome(read(path), true).c_str());
    return 0;
}

}  // namespace

int main(int count, char** args) {
    try {
        return run({args + 1, args + count});
    } catch (const std::exception& error) {
        std::fprintf(stderr, "load_test: %s\n", error.what());
        return 1;
    }
}
