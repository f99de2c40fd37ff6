// The AVX-VNNI kernels in the encoding of AVX-512, so that they are tested on processors that have only that.
#define DQT_AVXVNNI_EVEX
#include "../cpu/simd/avxvnni.cc"
