/* A C library in miniature: texts, files, memory by the kernel's calls, and the sentence before the end. */
#include <asm/unistd.h>
#include <linux/fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <stddef.h>
#include <stdint.h>

#ifndef MFD_NOEXEC_SEAL /* Linux 6.3 */
#define MFD_NOEXEC_SEAL 8U
#endif
enum { ENOENT = 2, EBADF = 9, EACCES = 13, EINVAL = 22 };

/* The compiler calls memcpy and memset on its own, so they must exist. */

void *memcpy(void *to, const void *from, size_t size) {
  char *t = to;
  const char *f = from;
  while (size--) *t++ = *f++;
  return to;
}

void *memset(void *to, int byte, size_t size) {
  char *t = to;
  while (size--) *t++ = (char)byte;
  return to;
}

static size_t length(const char *text) {
  size_t n = 0;
  while (text[n]) n++;
  return n;
}

static int starts_with(const char *text, const char *beginning) {
  while (*beginning)
    if (*text++ != *beginning++) return 0;
  return 1;
}

/* Appends a text and its terminating zero; returns where the zero stands, so that calls can be chained. */
static char *append(char *to, const char *text) {
  while ((*to = *text++)) to++;
  return to;
}

static char *append_number(char *to, unsigned long number) {
  char digits[21];
  char *d = digits + sizeof digits - 1;
  *d = 0;
  do *--d = (char)('0' + number % 10);
  while (number /= 10);
  return append(to, d);
}

/* The next text of a list of texts, each ended by a zero, the list by an empty one. */
static const char *next(const char *text) { return text + length(text) + 1; }

static long open_file(const char *path, int flags) {
  return kernel(__NR_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, 0, 0, 0);
}
static void close_file(int file) { kernel(__NR_close, file, 0, 0, 0, 0, 0); }
static long read_at(int file, void *into, size_t size, uint64_t offset) {
  return kernel(__NR_pread64, file, (long)into, (long)size, (long)offset, 0, 0);
}
static long map(uintptr_t address, size_t size, int protection, int flags, int file, uint64_t offset) {
  return kernel(__NR_mmap, (long)address, (long)size, protection, flags, file, (long)offset);
}
static int failed(long result) { return result < 0 && result > -4096; }

/* `cos: <what> (error <number>): <mend>`, the number only if there is one. */
__attribute__((noreturn)) static void die(const char *what, long result, const char *mend) {
  static char line[1024];
  char *end = append(append(line, "cos: "), what);
  if (result < 0) end = append(append_number(append(end, " (error "), (unsigned long)-result), ")");
  end = append(append(append(end, ": "), mend), "\n");
  kernel(__NR_write, 2, (long)line, end - line, 0, 0, 0);
  for (;;) kernel(__NR_exit_group, 127, 0, 0, 0, 0, 0);
}

static const char free_memory[] = "free some memory, then try again";

/* A file without a directory entry, not executable (mapping its pages as code is allowed, which is all that is needed
 * here): from 6.3 on, kernels warn in their log about one that does not say; older ones do not know the flag. */
static int make_memory_file(const char *name, unsigned flags) {
  flags |= MFD_ALLOW_SEALING;
  long file = kernel(__NR_memfd_create, (long)name, flags | MFD_NOEXEC_SEAL, 0, 0, 0, 0);
  if (file == -EINVAL) file = kernel(__NR_memfd_create, (long)name, flags, 0, 0, 0, 0);
  if (failed(file)) die("cannot make a file in memory", file, "see the limits on open files and memory (ulimit -a)");
  return (int)file;
}
