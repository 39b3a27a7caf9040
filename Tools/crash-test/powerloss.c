// Loaded into `hindsight exec` with LD_PRELOAD, this keeps account of what the process does to one
// directory, so that its driver can take back what was not synced: the loss of power that a
// SIGKILL alone is not. It can also interrupt calls and cut them short.
//
// Every change is logged before it is made, with what was there before: an undo log, which lives in
// the page cache and so survives the kill. The log's format is in the records below; RollBack.swift
// reads it. A write that races a sync counts as not covered by it, as POSIX has it.
//
// Environment: CRASH_SHIM_DIRECTORY (absolute, without symbolic links), CRASH_SHIM_LOG (a file),
// CRASH_SHIM_SAVED (a directory on the same file system, for files that would be gone),
// CRASH_SHIM_INTERRUPT (calls per thousand that are interrupted), CRASH_SHIM_SEED.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

enum kind {
  WRITE = 1,       // payload: the bytes that stood there, as far as the file reached
  RESIZE = 2,      // offset: the new size; payload: the bytes that were cut off
  SYNC_BEGIN = 3,
  SYNC_END = 4,    // offset: the log offset of its SYNC_BEGIN
  CREATE = 5,      // payload: name
  RENAME = 6,      // payload: name, new name, saved name of what was replaced or ""
  UNLINK = 7,      // payload: name, saved name
  DIRECTORY_SYNC_BEGIN = 8,
  DIRECTORY_SYNC_END = 9,  // offset: as SYNC_END
};

struct record {
  uint32_t magic;
  uint32_t kind;
  uint64_t inode;
  uint64_t offset;
  uint64_t size_before;
  uint64_t payload_count;
};

#define MAGIC 0x57525650u
#define DESCRIPTORS 65536
enum { UNTRACKED = 0, STORE_FILE = 1, JOURNAL_FILE = 2, DIRECTORY = 3 };

static char directory[PATH_MAX];
static size_t directory_count;
static char saved[PATH_MAX];
static int log_descriptor = -1;
static unsigned saved_count;
static unsigned interrupt_permille;
static uint64_t random_state;
static uint64_t *interruptions;
static uint64_t log_end;
static unsigned char tracked[DESCRIPTORS];
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(name) ((__typeof__(&name))real(#name))
static void *real(const char *name) {
  void *found = dlsym(RTLD_NEXT, name);
  if (!found) abort();
  return found;
}

__attribute__((constructor)) static void start(void) {
  const char *path = getenv("CRASH_SHIM_DIRECTORY");
  const char *log = getenv("CRASH_SHIM_LOG");
  const char *keep = getenv("CRASH_SHIM_SAVED");
  if (!path || !log || !keep) return;
  snprintf(directory, sizeof directory, "%s/", path);
  directory_count = strlen(directory);
  snprintf(saved, sizeof saved, "%s", keep);
  const char *permille = getenv("CRASH_SHIM_INTERRUPT");
  const char *seed = getenv("CRASH_SHIM_SEED");
  interrupt_permille = permille ? (unsigned)atoi(permille) : 0;
  random_state = seed ? strtoull(seed, NULL, 10) : 1;
  log_descriptor = REAL(open)(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  char counter[PATH_MAX + 32];
  snprintf(counter, sizeof counter, "%s/interruptions", saved);
  int descriptor = REAL(open)(counter, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (log_descriptor < 0 || descriptor < 0 || REAL(ftruncate)(descriptor, 8) != 0) abort();
  interruptions = mmap(NULL, 8, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0);
  if (interruptions == MAP_FAILED) abort();
  struct stat status;
  if (fstat(log_descriptor, &status) != 0) abort();
  log_end = (uint64_t)status.st_size;
}

// MARK: What is tracked

static int kind_of_path(const char *path) {
  if (!directory_count || !path) return UNTRACKED;
  if (strncmp(path, directory, directory_count - 1) == 0 && path[directory_count - 1] == 0)
    return DIRECTORY;
  if (strncmp(path, directory, directory_count) != 0) return UNTRACKED;
  const char *name = path + directory_count;
  if (strcmp(name, "lock") == 0 || strstr(name, "-shm")) return UNTRACKED;
  return strncmp(name, "store.sqlite", 12) == 0 ? STORE_FILE : JOURNAL_FILE;
}

static int kind_of(int descriptor) {
  return descriptor >= 0 && descriptor < DESCRIPTORS ? tracked[descriptor] : UNTRACKED;
}

static int is_file(int kind) { return kind == STORE_FILE || kind == JOURNAL_FILE; }

// MARK: Interruptions

/// Whether this call is to be disturbed.
static int is_disturbed(int kind) {
  if (!interrupt_permille || kind == UNTRACKED) return 0;
  uint64_t z = __atomic_add_fetch(&random_state, 0x9E3779B97F4A7C15u, __ATOMIC_RELAXED);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  z ^= z >> 31;
  if (z % 1000 >= interrupt_permille) return 0;
  __atomic_add_fetch(interruptions, 1, __ATOMIC_RELAXED);
  return z & (1u << 20) ? 1 : 2;
}

static int interrupt(void) {
  errno = EINTR;
  return -1;
}

// MARK: The log

static void put(const void *bytes, size_t count) {
  const char *at = bytes;
  while (count > 0) {
    ssize_t done = REAL(write)(log_descriptor, at, count);
    if (done < 0) {
      if (errno == EINTR) continue;
      abort();
    }
    at += done;
    count -= (size_t)done;
    log_end += (uint64_t)done;
  }
}

static void append(
    uint32_t kind, uint64_t inode, uint64_t offset, uint64_t size, const void *payload,
    size_t count) {
  struct record record = {MAGIC, kind, inode, offset, size, count};
  put(&record, sizeof record);
  put(payload, count);
}

/// Logs what stands in a part of a file. With the lock held.
static void append_before(uint32_t kind, int descriptor, uint64_t offset, uint64_t count) {
  struct stat status;
  if (fstat(descriptor, &status) != 0) abort();
  uint64_t size = (uint64_t)status.st_size;
  uint64_t present = offset < size ? size - offset : 0;
  if (present > count) present = count;
  char *bytes = malloc(present ? present : 1);
  // The file may have been opened for writing only: read through another descriptor.
  char path[64];
  snprintf(path, sizeof path, "/proc/self/fd/%d", descriptor);
  int reader = REAL(open)(path, O_RDONLY | O_CLOEXEC);
  if (!bytes || reader < 0) abort();
  for (uint64_t done = 0; done < present;) {
    ssize_t got = REAL(pread)(reader, bytes + done, present - done, (off_t)(offset + done));
    if (got <= 0) abort();
    done += (uint64_t)got;
  }
  REAL(close)(reader);
  append(kind, status.st_ino, offset, size, bytes, present);
  free(bytes);
}

static uint64_t inode_of(int descriptor) {
  struct stat status;
  return fstat(descriptor, &status) == 0 ? status.st_ino : 0;
}

// MARK: Opening and closing

static int opened(const char *path, int flags, mode_t mode, int (*call)(const char *, int, ...)) {
  int kind = kind_of_path(path);
  if (kind == UNTRACKED) return call(path, flags, mode);
  if (is_disturbed(kind) && kind != DIRECTORY) return interrupt();
  pthread_mutex_lock(&mutex);
  struct stat status;
  int was_there = lstat(path, &status) == 0;
  int is_cut = was_there && (flags & O_TRUNC) && S_ISREG(status.st_mode) && status.st_size > 0;
  int descriptor = call(path, is_cut ? flags & ~O_TRUNC : flags, mode);
  if (descriptor >= 0 && descriptor < DESCRIPTORS) {
    tracked[descriptor] = (unsigned char)kind;
    const char *name = path + directory_count;
    if (!was_there) append(CREATE, inode_of(descriptor), 0, 0, name, strlen(name) + 1);
    if (is_cut) {
      append_before(RESIZE, descriptor, 0, (uint64_t)status.st_size);
      if (REAL(ftruncate)(descriptor, 0) != 0) abort();
    }
  }
  pthread_mutex_unlock(&mutex);
  return descriptor;
}

#define MODE(flags)                            \
  mode_t mode = 0;                             \
  if ((flags) & (O_CREAT | O_TMPFILE)) {       \
    va_list list;                              \
    va_start(list, flags);                     \
    mode = (mode_t)va_arg(list, int);          \
    va_end(list);                              \
  }

int open(const char *path, int flags, ...) {
  MODE(flags)
  return opened(path, flags, mode, REAL(open));
}

int open64(const char *path, int flags, ...) {
  MODE(flags)
  return opened(path, flags, mode, REAL(open));
}

int close(int descriptor) {
  if (kind_of(descriptor)) tracked[descriptor] = UNTRACKED;
  return REAL(close)(descriptor);
}

// MARK: Reading and writing

static ssize_t written(int descriptor, const void *bytes, size_t count, off_t offset) {
  int kind = kind_of(descriptor);
  if (!is_file(kind)) return REAL(pwrite)(descriptor, bytes, count, offset);
  switch (is_disturbed(kind)) {
    case 1: return interrupt();
    case 2: count = count > 1 ? count / 2 : count;
  }
  pthread_mutex_lock(&mutex);
  append_before(WRITE, descriptor, (uint64_t)offset, count);
  ssize_t result = REAL(pwrite)(descriptor, bytes, count, offset);
  pthread_mutex_unlock(&mutex);
  return result;
}

ssize_t pwrite(int descriptor, const void *bytes, size_t count, off_t offset) {
  return written(descriptor, bytes, count, offset);
}

ssize_t pwrite64(int descriptor, const void *bytes, size_t count, off64_t offset) {
  return written(descriptor, bytes, count, offset);
}

ssize_t write(int descriptor, const void *bytes, size_t count) {
  if (!is_file(kind_of(descriptor))) return REAL(write)(descriptor, bytes, count);
  pthread_mutex_lock(&mutex);
  append_before(WRITE, descriptor, (uint64_t)lseek(descriptor, 0, SEEK_CUR), count);
  ssize_t result = REAL(write)(descriptor, bytes, count);
  pthread_mutex_unlock(&mutex);
  return result;
}

static ssize_t got(int descriptor, void *bytes, size_t count, off_t offset) {
  int kind = kind_of(descriptor);
  if (is_file(kind)) {
    switch (is_disturbed(kind)) {
      case 1: return interrupt();
      case 2: count = count > 1 ? count / 2 : count;
    }
  }
  return REAL(pread)(descriptor, bytes, count, offset);
}

ssize_t pread(int descriptor, void *bytes, size_t count, off_t offset) {
  return got(descriptor, bytes, count, offset);
}

ssize_t pread64(int descriptor, void *bytes, size_t count, off64_t offset) {
  return got(descriptor, bytes, count, offset);
}

// MARK: Sizes

static int resized(int descriptor, off_t size) {
  int kind = kind_of(descriptor);
  if (!is_file(kind)) return REAL(ftruncate)(descriptor, size);
  if (is_disturbed(kind)) return interrupt();
  pthread_mutex_lock(&mutex);
  append_before(RESIZE, descriptor, (uint64_t)size, UINT64_MAX);
  int result = REAL(ftruncate)(descriptor, size);
  pthread_mutex_unlock(&mutex);
  return result;
}

int ftruncate(int descriptor, off_t size) { return resized(descriptor, size); }
int ftruncate64(int descriptor, off64_t size) { return resized(descriptor, size); }

static int allocated(int descriptor, off_t offset, off_t count) {
  int kind = kind_of(descriptor);
  if (!is_file(kind)) return REAL(posix_fallocate)(descriptor, offset, count);
  if (is_disturbed(kind)) return EINTR;
  pthread_mutex_lock(&mutex);
  append_before(RESIZE, descriptor, UINT64_MAX, 0);
  int result = REAL(posix_fallocate)(descriptor, offset, count);
  pthread_mutex_unlock(&mutex);
  return result;
}

int posix_fallocate(int descriptor, off_t offset, off_t count) {
  return allocated(descriptor, offset, count);
}

int posix_fallocate64(int descriptor, off64_t offset, off64_t count) {
  return allocated(descriptor, offset, count);
}

int fallocate(int descriptor, int mode, off_t offset, off_t count) {
  if (!is_file(kind_of(descriptor))) return REAL(fallocate)(descriptor, mode, offset, count);
  pthread_mutex_lock(&mutex);
  append_before(RESIZE, descriptor, UINT64_MAX, 0);
  int result = REAL(fallocate)(descriptor, mode, offset, count);
  pthread_mutex_unlock(&mutex);
  return result;
}

int fallocate64(int descriptor, int mode, off64_t offset, off64_t count) {
  return fallocate(descriptor, mode, offset, count);
}

// MARK: Syncing

static int synced(int descriptor, int (*call)(int)) {
  int kind = kind_of(descriptor);
  if (kind == UNTRACKED) return call(descriptor);
  // SQLite takes an interrupted sync for a failed one.
  if (kind != STORE_FILE && is_disturbed(kind)) return interrupt();
  int is_directory = kind == DIRECTORY;
  uint64_t inode = inode_of(descriptor);
  pthread_mutex_lock(&mutex);
  uint64_t begin = log_end;
  append(is_directory ? DIRECTORY_SYNC_BEGIN : SYNC_BEGIN, inode, 0, 0, NULL, 0);
  pthread_mutex_unlock(&mutex);
  int result = call(descriptor);
  int code = errno;
  if (result == 0) {
    pthread_mutex_lock(&mutex);
    append(is_directory ? DIRECTORY_SYNC_END : SYNC_END, inode, begin, 0, NULL, 0);
    pthread_mutex_unlock(&mutex);
  }
  errno = code;
  return result;
}

int fsync(int descriptor) { return synced(descriptor, REAL(fsync)); }
int fdatasync(int descriptor) { return synced(descriptor, REAL(fdatasync)); }

// MARK: Names

/// Keeps a file that would be gone. With the lock held.
/// Its new name is in `name`, empty where there is no such file.
static void keep(const char *path, char name[32]) {
  struct stat status;
  name[0] = 0;
  if (lstat(path, &status) != 0) return;
  snprintf(name, 32, "%d-%u", (int)getpid(), saved_count++);
  char target[PATH_MAX + 40];
  snprintf(target, sizeof target, "%s/%s", saved, name);
  if (link(path, target) != 0) abort();
}

static size_t add(char *payload, size_t at, const char *text) {
  size_t count = strlen(text) + 1;
  memcpy(payload + at, text, count);
  return at + count;
}

int rename(const char *from, const char *to) {
  if (!is_file(kind_of_path(from))) return REAL(rename)(from, to);
  pthread_mutex_lock(&mutex);
  char name[32], payload[2 * PATH_MAX + 40];
  keep(to, name);
  size_t count = add(payload, 0, from + directory_count);
  count = add(payload, count, to + directory_count);
  count = add(payload, count, name);
  append(RENAME, 0, 0, 0, payload, count);
  int result = REAL(rename)(from, to);
  if (result != 0) abort();
  pthread_mutex_unlock(&mutex);
  return result;
}

int unlink(const char *path) {
  if (!is_file(kind_of_path(path))) return REAL(unlink)(path);
  pthread_mutex_lock(&mutex);
  char name[32], payload[PATH_MAX + 40];
  keep(path, name);
  if (name[0]) {
    size_t count = add(payload, 0, path + directory_count);
    count = add(payload, count, name);
    append(UNLINK, 0, 0, 0, payload, count);
  }
  int result = REAL(unlink)(path);
  int code = errno;
  pthread_mutex_unlock(&mutex);
  errno = code;
  return result;
}
