#include "inflate.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>

namespace dqt::ir {
namespace {

static_assert(std::endian::native == std::endian::little, "eight bytes are read at once");

constexpr int kLongest = 15, kFast = 10;                          // bits of a code, and of those that the table holds
constexpr int kLiterals = 288, kDistances = 32, kLengthCodes = 19;  // symbols of the three alphabets
constexpr int kEnd = 256;

constexpr uint16_t kLengthBase[] = {3,  4,  5,  6,  7,  8,  9,  10, 11,  13,  15,  17,  19,  23, 27,
                                    31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258};
constexpr uint8_t kLengthExtra[] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0};
constexpr uint16_t kDistanceBase[] = {1,   2,   3,   4,   5,   7,    9,    13,   17,   25,   33,   49,   65,    97,    129,
                                      193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385, 24577};
constexpr uint8_t kDistanceExtra[] = {0, 0, 0, 0, 1, 1, 2, 2,  3,  3,  4,  4,  5,  5,  6,
                                      6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13};
constexpr uint8_t kOrder[kLengthCodes] = {16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15};

// The bits of a stream, lowest first. What is asked for beyond the end is refused.
class Bits {
  public:
    Bits(const uint8_t* data, size_t size) : at_(data), end_(data + size) {}

    // At least 48 bits are ready, or all that are left.
    void fill() {
        if (end_ - at_ >= 8) {  // the bits above those that are ready are already what they will be
            uint64_t word;
            std::memcpy(&word, at_, 8);
            bits_ |= word << ready_;
            at_ += (63 - ready_) >> 3;
            ready_ |= 56;
        }
        while (ready_ < 56 && at_ < end_) {
            bits_ |= uint64_t{*at_++} << ready_;
            ready_ += 8;
        }
    }
    uint32_t peek(int count) const { return static_cast<uint32_t>(bits_ & ((uint64_t{1} << count) - 1)); }
    bool drop(int count) {
        if (count > ready_) return false;
        bits_ >>= count;
        ready_ -= count;
        return true;
    }
    // `count` up to 32.
    bool take(int count, uint32_t& to) {
        fill();
        to = peek(count);
        return drop(count);
    }
    // Whole bytes from the next one on.
    bool copy(uint8_t* to, size_t count) {
        drop(ready_ % 8);
        for (; count && ready_; --count, ++to) {
            *to = static_cast<uint8_t>(peek(8));
            drop(8);
        }
        if (count > static_cast<size_t>(end_ - at_)) return false;
        if (ready_ == 0) bits_ = 0;
        if (count) std::memcpy(to, at_, count);
        at_ += count;
        return true;
    }
    bool finished() const { return ready_ < 8 && at_ == end_; }

  private:
    const uint8_t *at_, *end_;
    uint64_t bits_ = 0;
    int ready_ = 0;
};

// A canonical Huffman code. Short codes are looked up, longer ones counted bit by bit.
class Code {
  public:
    // From the length of each symbol's code; false where they make none. Like zlib, it takes a code that is not complete
    // only if it has one symbol, of one bit, or none at all; the code of lengths must be complete.
    bool make(const uint8_t* lengths, int symbols, bool complete) {
        std::fill(std::begin(count_), std::end(count_), uint16_t{0});
        std::fill(std::begin(fast_), std::end(fast_), uint16_t{0});
        for (int i = 0; i < symbols; ++i) ++count_[lengths[i]];
        const bool alone = count_[0] + count_[1] == symbols;
        count_[0] = 0;
        uint16_t next[kLongest + 2] = {}, first[kLongest + 2] = {};
        int left = 1;
        for (int length = 1; length <= kLongest; ++length) {
            left = 2 * left - count_[length];
            if (left < 0) return false;
            next[length + 1] = static_cast<uint16_t>((next[length] + count_[length]) << 1);
            first[length + 1] = static_cast<uint16_t>(first[length] + count_[length]);
        }
        if (left > 0 && (complete || !alone)) return false;
        for (int i = 0; i < symbols; ++i)
            if (const int length = lengths[i]) {
                symbol_[first[length]++] = static_cast<uint16_t>(i);
                if (length <= kFast) enter(next[length], length, i);
                ++next[length];
            }
        return true;
    }

    // The next symbol, or -1.
    int read(Bits& bits) const {
        bits.fill();
        const uint16_t found = fast_[bits.peek(kFast)];
        if (found) return bits.drop(found & 15) ? found >> 4 : -1;
        int code = 0, first = 0, index = 0;
        for (int length = 1; length <= kLongest; ++length) {
            code |= static_cast<int>(bits.peek(length) >> (length - 1));
            if (code - first < count_[length]) return bits.drop(length) ? symbol_[index + code - first] : -1;
            index += count_[length];
            first = (first + count_[length]) << 1;
            code <<= 1;
        }
        return -1;
    }

  private:
    // Codes come highest bit first, and the stream lowest bit first.
    void enter(int code, int length, int symbol) {
        int place = 0;
        for (int i = 0; i < length; ++i) place |= (code >> i & 1) << (length - 1 - i);
        for (; place < 1 << kFast; place += 1 << length) fast_[place] = static_cast<uint16_t>(symbol << 4 | length);
    }

    uint16_t fast_[1 << kFast];  // symbol and length; 0: a longer code, or none
    uint16_t count_[kLongest + 1], symbol_[kLiterals];
};

class Inflater {
  public:
    Inflater(const uint8_t* data, size_t size, uint8_t* out, size_t count)
        : bits_(data, size), out_(out), at_(out), end_(out + count) {}

    bool all() {
        for (uint32_t last = 0, kind = 0; !last;) {
            if (!bits_.take(1, last) || !bits_.take(2, kind)) return false;
            if (!(kind == 0 ? stored() : kind == 1 ? fixed() : kind == 2 ? dynamic() : false)) return false;
        }
        return at_ == end_ && bits_.finished();
    }

  private:
    bool stored() {
        uint8_t head[4];
        if (!bits_.copy(head, 4)) return false;
        const size_t count = head[0] | size_t{head[1]} << 8, inverse = head[2] | size_t{head[3]} << 8;
        if ((count ^ inverse) != 0xFFFF || count > static_cast<size_t>(end_ - at_) || !bits_.copy(at_, count)) return false;
        at_ += count;
        return true;
    }

    bool fixed() {
        uint8_t lengths[kLiterals];
        for (int i = 0; i < kLiterals; ++i) lengths[i] = i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8;
        const uint8_t fives[kDistances] = {5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5,
                                           5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5};
        return literals_.make(lengths, kLiterals, true) && distances_.make(fives, kDistances, true) && block();
    }

    bool dynamic() {
        uint32_t literals = 0, distances = 0, codes = 0;
        if (!bits_.take(5, literals) || !bits_.take(5, distances) || !bits_.take(4, codes)) return false;
        literals += 257, distances += 1, codes += 4;
        if (literals > 286 || distances > 30) return false;
        uint8_t lengths[kLiterals + kDistances] = {};
        for (uint32_t i = 0, bits = 0; i < codes; ++i) {
            if (!bits_.take(3, bits)) return false;
            lengths[kOrder[i]] = static_cast<uint8_t>(bits);
        }
        Code code;
        if (!code.make(lengths, kLengthCodes, true)) return false;
        std::memset(lengths, 0, sizeof lengths);
        if (!read_lengths(code, lengths, literals + distances) || lengths[kEnd] == 0) return false;
        return literals_.make(lengths, static_cast<int>(literals), false) &&
               distances_.make(lengths + literals, static_cast<int>(distances), false) && block();
    }

    bool read_lengths(const Code& code, uint8_t* lengths, uint32_t count) {
        for (uint32_t i = 0; i < count;) {
            const int symbol = code.read(bits_);
            if (symbol < 0) return false;
            if (symbol < 16) {
                lengths[i++] = static_cast<uint8_t>(symbol);
                continue;
            }
            if (symbol == 16 && i == 0) return false;
            const uint8_t again = symbol == 16 ? lengths[i - 1] : 0;
            uint32_t more = 0;
            if (!bits_.take(symbol == 16 ? 2 : symbol == 17 ? 3 : 7, more)) return false;
            more += symbol == 18 ? 11 : 3;
            if (more > count - i) return false;
            for (; more; --more) lengths[i++] = again;
        }
        return true;
    }

    // Literals and copies to the end of a block.
    bool block() {
        for (;;) {
            const int symbol = literals_.read(bits_);
            if (symbol == kEnd) return true;
            if (symbol < 0) return false;
            if (symbol < kEnd) {
                if (at_ == end_) return false;
                *at_++ = static_cast<uint8_t>(symbol);
            } else if (!copy(symbol - kEnd - 1)) {
                return false;
            }
        }
    }

    bool copy(int length_symbol) {
        if (length_symbol >= 29) return false;
        uint32_t more = 0;
        if (!bits_.take(kLengthExtra[length_symbol], more)) return false;
        const size_t length = kLengthBase[length_symbol] + more;
        const int symbol = distances_.read(bits_);
        if (symbol < 0 || symbol >= 30 || !bits_.take(kDistanceExtra[symbol], more)) return false;
        const size_t distance = kDistanceBase[symbol] + more;
        if (distance > static_cast<size_t>(at_ - out_) || length > static_cast<size_t>(end_ - at_)) return false;
        for (size_t i = 0; i < length; ++i, ++at_) *at_ = *(at_ - distance);  // they may overlap
        return true;
    }

    Bits bits_;
    Code literals_, distances_;
    uint8_t *out_, *at_, *end_;
};

}  // namespace

bool inflate(const uint8_t* data, size_t size, uint8_t* out, size_t count) {
    return Inflater(data, size, out, count).all();
}

}  // namespace dqt::ir
