// The AMX kernels with plain loops for the instructions on tiles, so that they are tested on processors without them.
#define DQT_PLAIN_TILES
#include "../cpu/simd/avx512amx.cc"
