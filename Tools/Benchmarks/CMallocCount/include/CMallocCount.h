#ifndef C_MALLOC_COUNT_H
#define C_MALLOC_COUNT_H

/// Allocations made by this process so far: malloc, calloc, realloc and the aligned ones.
unsigned long malloc_count(void);

#endif
