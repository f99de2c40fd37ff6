// The inputs of a block, copied chunk by chunk: a chunk is contiguous whatever taps it spans, so weights that a kernel
// has prepared for it serve all the rows of the block, and prepared inputs all its panel's vectors.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <cstring>

#include "../kernels.h"

namespace dqt {
namespace {

constexpr int STEPS = 64;  // of 4 channels, in a chunk

struct alignas(64) Chunk {
    uint8_t in[MAX_ROWS][4 * STEPS];  // 0 from `steps` on, up to a multiple of 8 steps
    uint32_t middle[STEPS];           // of the weights of each step; 0 where `in` is
    int steps;
};

class Chunks {
  public:
    Chunks(const Block& block, int rows) : block_(block), rows_(rows) {}

    // Fills the next chunk; false at the end.
    bool next(Chunk& chunk) {
        int steps = 0;
        while (steps < STEPS && tap_ < block_.tap_count) {
            const int left = (block_.depth - at_) / 4, some = left < STEPS - steps ? left : STEPS - steps;
            for (int i = 0; i < rows_; ++i)
                copy(chunk.in[i] + 4 * steps, block_.in[i] + block_.taps[tap_] + at_, 4 * some);
            for (int s = 0; s < some; ++s) chunk.middle[steps + s] = block_.middle[tap_ & 1];
            steps += some;
            at_ += 4 * some;
            if (at_ == block_.depth) at_ = 0, ++tap_;
        }
        chunk.steps = steps;
        for (; steps % 8 != 0; ++steps) {
            for (int i = 0; i < rows_; ++i) std::memset(chunk.in[i] + 4 * steps, 0, 4);
            chunk.middle[steps] = 0;
        }
        return chunk.steps > 0;
    }

  private:
    static void copy(uint8_t* to, const uint8_t* from, int bytes) {
        for (; bytes >= 16; bytes -= 16, to += 16, from += 16) std::memcpy(to, from, 16);
        for (; bytes > 0; bytes -= 4, to += 4, from += 4) std::memcpy(to, from, 4);
    }

    const Block& block_;
    int rows_, tap_ = 0, at_ = 0;
};

}  // namespace
}  // namespace dqt
