// CHECK guards our own invariants and is always on. Never use it for anything a guest, a peer, a file or a
// client can cause: those get a counted drop or an error.
#pragma once

#include <cstdio>
#include <cstdlib>

#define CORDON_CHECK(condition)                                                                    \
  do {                                                                                             \
    if (!(condition)) [[unlikely]] {                                                               \
      std::fprintf(stderr, "cordon: internal error: %s:%d: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                                \
    }                                                                                              \
  } while (false)
