// What the engine's library shows to the Python module, which is linked against it. Everything else in it stays hidden,
// but for the C interface of dqt.h: a program for C must not use these, whose names and layout change freely.
#pragma once

#if defined(__GNUC__)
#define DQT_SHARED __attribute__((visibility("default")))
#else
#define DQT_SHARED
#endif
