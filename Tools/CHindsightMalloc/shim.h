// mallinfo2(3), which Swift's Glibc module leaves out: for the benchmarks only.
#include <malloc.h>
