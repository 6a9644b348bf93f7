// Library for LD_PRELOAD that logs what a program does to the files below a folder, and makes one
// of these calls fail or kill the process. Built by write_faults.py. All settings are environment
// variables, read when the library is loaded and at each call of fault_start():
//
//   FAULT_ROOT   the folder; without it nothing is logged and nothing fails
//   FAULT_LOG    file to which a line per call is appended: operation (after a `!` if it fails), path,
//                other path or the number of bytes, parts or items of a write
//   FAULT_COUNT  file of 8 bytes, the number of calls so far in all processes together
//   FAULT_OPS    operations that are counted, such as "write rename"
//   FAULT_AT     the call that fails, from 1; 0: none
//   FAULT_ERRNO  its error number; -1: a short write; -2: SIGKILL in place of the call
//   FAULT_STAYS  1: the calls after it fail as well, as on a full disk
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define SHORT -1
#define KILL -2
#define REAL(name) static __typeof__(name) *real; \
  if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

static char root[4096], operations[256];
static size_t root_length;
static long at, code;
static int stays, log_file = -1;
static long *count;

static int raw_open(const char *path, int flags) {
  return (int)syscall(SYS_openat, AT_FDCWD, path, flags | O_CLOEXEC, 0644);
}

__attribute__((constructor)) void fault_start(void) {
  const char *value = getenv("FAULT_ROOT");
  root_length = 0;
  if (!value) return;
  snprintf(root, sizeof root, "%s", value);
  snprintf(operations, sizeof operations, " %s ", getenv("FAULT_OPS") ? getenv("FAULT_OPS") : "");
  at = getenv("FAULT_AT") ? atol(getenv("FAULT_AT")) : 0;
  code = getenv("FAULT_ERRNO") ? atol(getenv("FAULT_ERRNO")) : EIO;
  stays = getenv("FAULT_STAYS") && atoi(getenv("FAULT_STAYS"));
  if ((value = getenv("FAULT_LOG"))) log_file = raw_open(value, O_WRONLY | O_CREAT | O_APPEND);
  if ((value = getenv("FAULT_COUNT"))) {
    int file = raw_open(value, O_RDWR);
    void *shared = file < 0 ? MAP_FAILED : mmap(0, 8, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    count = shared == MAP_FAILED ? NULL : shared;
    if (file >= 0) syscall(SYS_close, file);
  }
  root_length = strlen(root);
}

static int below(const char *path) {
  return root_length && !strncmp(path, root, root_length) &&
         (path[root_length] == '/' || !path[root_length]);
}

// The absolute path of a name, or "" if it is not below the root.
static const char *named(int folder, const char *name, char *buffer) {
  if (!root_length || !name) return "";
  if (*name == '/') {
    snprintf(buffer, 4096, "%s", name);
  } else {
    char link[64];
    snprintf(link, sizeof link, folder == AT_FDCWD ? "/proc/self/cwd" : "/proc/self/fd/%d", folder);
    ssize_t length = readlink(link, buffer, 2048);
    if (length < 0) return "";
    snprintf(buffer + length, 4096 - length, "/%s", name);
  }
  return below(buffer) ? buffer : "";
}

// The path of an open file that can be written, or "" if it is not below the root.
static const char *opened(int file, char *buffer, int also_folders) {
  if (!root_length || file < 0) return "";
  char link[64];
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, buffer, 4095);
  if (length < 0) return "";
  buffer[length] = 0;
  if (!below(buffer)) return "";
  int flags = fcntl(file, F_GETFL);
  return also_folders || (flags & O_ACCMODE) != O_RDONLY ? buffer : "";
}

// Logs a call; 0 or the error number with which it has to fail, or SHORT.
static long fault(const char *operation, const char *path, const char *other) {
  if (!*path && !*other) return 0;
  char word[32];
  snprintf(word, sizeof word, " %s ", operation);
  long found = 0;
  if (strstr(operations, word) && count) {
    long number = __sync_add_and_fetch(count, 1);
    if (at && (number == at || (stays && number > at))) found = code;
    // Nothing to shorten.
    if (found == SHORT && atol(other) < 2) found = 0;
  }
  if (log_file >= 0) {
    char line[8300];
    int length = snprintf(line, sizeof line, "%s%s\t%s\t%s\n", found ? "!" : "", operation, path, other);
    syscall(SYS_write, log_file, line, length);
  }
  if (found == KILL) syscall(SYS_kill, getpid(), SIGKILL);
  return found;
}

static long write_fault(int file, size_t size) {
  char buffer[4096], text[24];
  const char *path = opened(file, buffer, 0);
  if (!*path) return 0;
  snprintf(text, sizeof text, "%zu", size);
  return fault("write", path, text);
}

#define FAIL(result) do { errno = (int)found; return result; } while (0)

static int for_writing(int flags) {
  return (flags & O_ACCMODE) != O_RDONLY || flags & O_CREAT;
}

#define OPEN(name, declaration, folder, ...) \
  int name declaration { \
    REAL(name); \
    mode_t mode = 0; \
    if (flags & O_CREAT) { va_list rest; va_start(rest, flags); mode = va_arg(rest, mode_t); va_end(rest); } \
    char buffer[4096]; \
    if (for_writing(flags)) { \
      long found = fault("open", named(folder, path, buffer), ""); \
      if (found > 0) FAIL(-1); \
    } \
    return real(__VA_ARGS__, flags, mode); \
  }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD, path)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD, path)
OPEN(openat, (int folder, const char *path, int flags, ...), folder, folder, path)
OPEN(openat64, (int folder, const char *path, int flags, ...), folder, folder, path)

#define FOPEN(name) \
  FILE *name(const char *path, const char *mode) { \
    REAL(name); \
    char buffer[4096]; \
    if (strpbrk(mode, "wa+")) { \
      long found = fault("open", named(AT_FDCWD, path, buffer), ""); \
      if (found > 0) FAIL(NULL); \
    } \
    return real(path, mode); \
  }
FOPEN(fopen)
FOPEN(fopen64)

#define WRITE(name, declaration, size, half, ...) \
  ssize_t name declaration { \
    REAL(name); \
    long found = write_fault(file, size); \
    if (found == SHORT) half; \
    if (found > 0) FAIL(-1); \
    return real(__VA_ARGS__); \
  }
WRITE(write, (int file, const void *data, size_t size), size, size /= 2, file, data, size)
WRITE(pwrite, (int file, const void *data, size_t size, off_t from), size, size /= 2, file, data, size, from)
WRITE(pwrite64, (int file, const void *data, size_t size, off64_t from), size, size /= 2, file, data, size, from)
WRITE(writev, (int file, const struct iovec *data, int parts), parts, parts /= 2, file, data, parts)

size_t fwrite(const void *data, size_t size, size_t items, FILE *file) {
  REAL(fwrite);
  long found = root_length ? write_fault(fileno(file), items) : 0;
  if (found > 0) FAIL(0);
  if (found == SHORT) {  // Always an error, unlike a short write(2).
    size_t done = real(data, size, items / 2, file);
    errno = ENOSPC;
    return done;
  }
  return real(data, size, items, file);
}

int fflush(FILE *file) {
  REAL(fflush);
  long found = root_length && file ? write_fault(fileno(file), 0) : 0;
  if (found > 0) FAIL(EOF);
  return real(file);
}

// The file is closed all the same, as by the kernel.
int fclose(FILE *file) {
  REAL(fclose);
  char buffer[4096];
  long found = root_length ? fault("close", opened(fileno(file), buffer, 0), "") : 0;
  int result = real(file);
  if (found > 0) FAIL(EOF);
  return result;
}

int close(int file) {
  REAL(close);
  char buffer[4096];
  long found = fault("close", opened(file, buffer, 0), "");
  int result = real(file);
  if (found > 0) FAIL(-1);
  return result;
}

#define SYNC(name) \
  int name(int file) { \
    REAL(name); \
    char buffer[4096]; \
    long found = fault("fsync", opened(file, buffer, 1), ""); \
    if (found > 0) FAIL(-1); \
    return real(file); \
  }
SYNC(fsync)
SYNC(fdatasync)

int mkdir(const char *path, mode_t mode) {
  REAL(mkdir);
  char buffer[4096];
  if (root_length && !access(path, F_OK)) return real(path, mode);
  long found = fault("mkdir", named(AT_FDCWD, path, buffer), "");
  if (found > 0) FAIL(-1);
  return real(path, mode);
}

// Never fail: they are logged, as what is removed need not be on the disk.
#define REMOVE(name, declaration, folder, ...) \
  int name declaration { \
    REAL(name); \
    char buffer[4096]; \
    fault("remove", named(folder, path, buffer), ""); \
    return real(__VA_ARGS__); \
  }
REMOVE(unlink, (const char *path), AT_FDCWD, path)
REMOVE(rmdir, (const char *path), AT_FDCWD, path)
REMOVE(remove, (const char *path), AT_FDCWD, path)
REMOVE(unlinkat, (int folder, const char *path, int flags), folder, folder, path, flags)

#define RENAME(name, declaration, operation, from_folder, to_folder, ...) \
  int name declaration { \
    REAL(name); \
    char one[4096], other[4096]; \
    long found = fault(operation, named(from_folder, from, one), named(to_folder, to, other)); \
    if (found > 0) FAIL(-1); \
    return real(__VA_ARGS__); \
  }
RENAME(rename, (const char *from, const char *to), "rename", AT_FDCWD, AT_FDCWD, from, to)
RENAME(renameat, (int one_folder, const char *from, int other_folder, const char *to), "rename",
       one_folder, other_folder, one_folder, from, other_folder, to)
RENAME(renameat2, (int one_folder, const char *from, int other_folder, const char *to, unsigned flags),
       "rename", one_folder, other_folder, one_folder, from, other_folder, to, flags)
