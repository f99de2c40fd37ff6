// Instructions on tiles. The compilers' intrinsics take literal numbers of tiles; these are templates of them.
//
// With DQT_PLAIN_TILES the same by plain loops, for tests on processors without them.
//
// Everything here has internal linkage: each file is compiled for another instruction set.
#pragma once

#include <cstdint>
#include <cstring>

namespace dqt {
namespace {

// What ldtilecfg reads: rows of each tile, and bytes of a row.
struct alignas(64) TileShapes {
    uint8_t palette = 1, begin = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
};

#if !defined(DQT_PLAIN_TILES)
inline void set_tiles(const TileShapes& shapes) { asm volatile("ldtilecfg %0" ::"m"(shapes)); }
inline void release_tiles() { asm volatile("tilerelease"); }
template <int T>
__attribute__((always_inline)) inline void clear_tile() {
    asm volatile("tilezero %%tmm%c0" ::"i"(T));
}
// Rows are `row` bytes apart.
template <int T>
__attribute__((always_inline)) inline void load_tile(const void* p, int64_t row) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(row), "i"(T) : "memory");
}
template <int T>
__attribute__((always_inline)) inline void store_tile(void* p, int64_t row) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(row), "i"(T) : "memory");
}
// Adds the products of unsigned bytes of tile A by signed bytes of tile B, sums of four, to tile C: 32 bits, modulo 2^32.
template <int C, int A, int B>
__attribute__((always_inline)) inline void multiply_tiles() {
    asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(C), "i"(A), "i"(B));
}
#else
struct Tile {
    uint8_t bytes[16][64];
};
thread_local TileShapes shapes_now;
thread_local Tile tiles_now[8];

inline void set_tiles(const TileShapes& shapes) {
    shapes_now = shapes;
    std::memset(tiles_now, 0, sizeof tiles_now);
}
inline void release_tiles() { shapes_now = {}; }
template <int T>
inline void clear_tile() { std::memset(&tiles_now[T], 0, sizeof(Tile)); }
template <int T>
inline void load_tile(const void* p, int64_t row) {
    std::memset(&tiles_now[T], 0, sizeof(Tile));
    for (int i = 0; i < shapes_now.rows[T]; ++i)
        std::memcpy(tiles_now[T].bytes[i], static_cast<const uint8_t*>(p) + i * row, shapes_now.bytes[T]);
}
template <int T>
inline void store_tile(void* p, int64_t row) {
    for (int i = 0; i < shapes_now.rows[T]; ++i)
        std::memcpy(static_cast<uint8_t*>(p) + i * row, tiles_now[T].bytes[i], shapes_now.bytes[T]);
}
template <int C, int A, int B>
inline void multiply_tiles() {
    for (int i = 0; i < shapes_now.rows[C]; ++i)
        for (int j = 0; j < shapes_now.bytes[C] / 4; ++j) {
            uint32_t sum;
            std::memcpy(&sum, tiles_now[C].bytes[i] + 4 * j, 4);
            for (int k = 0; k < shapes_now.bytes[A]; ++k)
                sum += static_cast<uint32_t>(tiles_now[A].bytes[i][k] *
                                             static_cast<int8_t>(tiles_now[B].bytes[k / 4][4 * j + k % 4]));
            std::memcpy(tiles_now[C].bytes[i] + 4 * j, &sum, 4);
        }
}
#endif

}  // namespace
}  // namespace dqt
