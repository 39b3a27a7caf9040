// libFuzzer's entry for programs with a main of their own (llvm.org/docs/LibFuzzer.html). Weak: an
// ordinary build has no libFuzzer, and the program can ask.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef int (*fuzzer_input)(const uint8_t *bytes, size_t count);

extern int LLVMFuzzerRunDriver(int *argc, char ***argv, fuzzer_input input) __attribute__((weak));

static inline bool fuzzer_is_linked(void) { return LLVMFuzzerRunDriver != 0; }

static inline int fuzzer_run(int *argc, char ***argv, fuzzer_input input) {
    return LLVMFuzzerRunDriver(argc, argv, input);
}
