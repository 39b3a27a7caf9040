#pragma once

// Asks for a cache line that will soon be written, and waits for nothing: the processor's own
// instruction, for which Swift has no name. Any address will do.
static inline __attribute__((always_inline)) void hindsight_prefetch(const void *address) {
  __builtin_prefetch(address, 1);
}
