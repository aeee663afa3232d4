/*
 * The first few kilobytes of the static file: starts the runtime (Deno) out of this very file, on a machine that may
 * have no C library, no writable directory and an empty environment. It only launches.
 *
 * Behind this program the file carries, each on a page boundary and listed in a table at its end (see pack.ts):
 * Deno's executable, glibc's loader, the libraries that Deno needs, and the bundled program.
 *
 *   1. The segments of Deno and of the loader are mapped straight from the file, as the kernel would do in execve.
 *      Nothing is unpacked: their pages are the page cache's.
 *   2. The libraries, small, and the program are copied into memfds, since the loader and Deno open them by a path:
 *      /proc/self/fd/N. LD_PRELOAD names the libraries; once loaded they satisfy Deno's needs by their sonames.
 *   3. A new argument list, environment and auxiliary vector are written below the old ones on the stack, and the
 *      loader is entered as if the kernel had started Deno.
 *   4. The loader, when it is done, enters after_loading instead of Deno: that takes LD_PRELOAD out again, so that no
 *      child can inherit it, closes the libraries' memfds, and enters Deno. The program's memfd stays open, close-on-
 *      exec, because every worker reads the program again.
 *
 * What happens to the environment:
 *   - Variables that steer the loader, the C library or the runtime (`steering` below) would let a caller change what
 *     this file does, often as root. Each is handed on as COS_SAVED_<name>: without effect here, and the program can
 *     give it back to the children it starts. A COS_SAVED_... that comes in is dropped.
 *   - COS_ARGV0 is the name this file was called by: existing installations call it through links, and Deno has no
 *     other way to learn it.
 *   - HOME, DENO_DIR, DENO_LOG and DENO_NO_UPDATE_CHECK are set for Deno's start only (`runtime_variables` below).
 *     The first line of the program, which program.ts puts there, removes them and gives HOME back.
 *
 * Every failure is one sentence on standard error with its mend, and exit code 127, as of a shell that cannot start a
 * command.
 */
#include <elf.h>

/* The launcher's own stack; the text form is for the assembly in the machine's header. */
#define STACK_SIZE 32768
#define STACK_SIZE_TEXT "32768"

#if defined(__x86_64__)
#include "machine-x86_64.h"
#elif defined(__aarch64__)
#include "machine-aarch64.h"
#else
#error "the launcher knows x86-64 and 64-bit Arm only"
#endif
#include "freestanding.h"

/* ---- The table at the end of the file: these two structs and pack.ts must agree. ---- */

/* A text is for the program, which reads it by itself (program.ts). */
enum kind { LOADER = 1, RUNTIME = 2, PROGRAM = 3, LIBRARY = 4, TEXT = 5 };

struct member {
  char name[40];
  uint64_t kind;
  uint64_t offset; /* bytes from the start of the file, a multiple of the largest page size of the machine */
  uint64_t size;   /* bytes */
};

struct trailer {
  uint64_t members;
  uint64_t file_size; /* of the whole file: what was cut short or appended to is noticed before it is mapped */
  char magic[16];
};

static const char magic[16] = "cos-static-file1";

#define MEMBERS_MAX 32

__attribute__((noreturn)) static void damaged(const char *how) {
  die(how, 0, "the file is incomplete or damaged, copy it here again");
}

#include "executable.h"

/* ---- Variables that do not reach the runtime: beginnings of `NAME=value`. ---- */

static const char steering[] =
    "HOME=\0" /* see runtime_variables */
    "LD_\0"   /* the loader: code to load, places to look for it */
    "GLIBC_TUNABLES=\0"
    "MALLOC_\0"
    "GCONV_PATH=\0"
    "DENO_\0" /* Deno, and what it is made of: V8, Node's compatibility, tokio, Rust's panics */
    "V8_FLAGS=\0"
    "NODE_\0"
    "UV_\0"
    "TOKIO_\0"
    "RUST_\0"
    "OTEL_\0"           /* sends traces to a server named there */
    "SSLKEYLOGFILE=\0"; /* writes the keys of TLS connections into a file */

/* Deno's words before the program's path. `-q`, for what it would say on its own; the rest, so that it looks for
 * nothing besides the program: no configuration, no lock file, no registry, no cache. Of V8, a small
 * nursery, a heap that grows in small steps, and the call that empties the nursery: for memory (lib/system/garbage.ts). */
static const char runtime_words[] = "run\0-A\0-q\0--no-config\0--no-lock\0--no-npm\0--no-remote\0--cached-only\0"
                                    "--no-code-cache\0--ext=js\0"
                                    "--v8-flags=--max-semi-space-size=1,--heap-growing-percent=20,--expose-gc\0";

/*
 * Deno insists on a cache directory. One that can never be made (nothing can be created in /proc) makes it fall back to
 * caches in memory, which it reports as errors when it is on a terminal: those reports alone are switched off. (A real
 * directory without a name, a detached tmpfs under /proc/self/fd, is no way out: SQLite follows that link by its text,
 * which is "/", and makes the caches there.)
 *
 * HOME: Deno reads ~/.npmrc even when told to use no npm, and stops if it cannot be read. Without HOME it asks the C
 * library for the user's home, and with that every service in nsswitch.conf.
 *
 * GLIBC_TUNABLES: windows of decoders, some megabytes each, get memory of their own that goes when they go. By itself the
 * C library learns from the first to keep them in its heaps, where they leave gaps. It writes into this variable while it
 * reads it, so none of them is a constant.
 */
static char runtime_variables[] = "HOME=/proc/cos-has-no-home\0"
                                        "DENO_DIR=/proc/cos-has-no-cache\0"
                                        "DENO_LOG=error,deno::cache::cache_db=off\0"
                                        "DENO_NO_UPDATE_CHECK=1\0"
                                        "GLIBC_TUNABLES=glibc.malloc.mmap_threshold=1048576:"
                                        "glibc.malloc.trim_threshold=8388608:glibc.malloc.arena_max=2\0";

#define SAVED "COS_SAVED_"
#define CALLED_BY "COS_ARGV0="

/* ---- Getting at the file ---- */

/* A library's memfd must never become standard output; and Rust's runtime opens /dev/null where standard input, output
 * or error is closed, and aborts where there is no /dev/null. So what is closed of the three is opened first: as
 * /dev/null, or as an empty file that cannot grow. Not close-on-exec: children expect the three as well. */
static void fill_standard_files(void) {
  for (int file = 0; file <= 2; file++) {
    if (kernel(__NR_fcntl, file, F_GETFD, 0, 0, 0, 0) != -EBADF) continue;
    /* What is opened takes the lowest free number, which is this one. */
    if (!failed(kernel(__NR_openat, AT_FDCWD, (long)"/dev/null", O_RDWR, 0, 0, 0))) continue;
    long empty = make_memory_file("closed", 0);
    kernel(__NR_fcntl, empty, F_ADD_SEALS, F_SEAL_GROW, 0, 0, 0);
  }
}

static void mount_proc_if_first_process(void) {
  if (kernel(__NR_getpid, 0, 0, 0, 0, 0, 0) != 1) return;
  kernel(__NR_mkdirat, AT_FDCWD, (long)"/proc", 0555, 0, 0, 0); /* it mostly exists */
  long mounted = kernel(__NR_mount, (long)"proc", (long)"/proc", (long)"proc", 0, 0, 0);
  if (failed(mounted)) die("cannot mount /proc", mounted, "make an empty directory /proc, then start cos again");
}

static const char mount_proc[] = "mount it (mount -t proc proc /proc), then run cos again";

static int open_itself(void) {
  long file = open_file("/proc/self/exe", O_RDONLY);
  if (file == -ENOENT) {
    mount_proc_if_first_process();
    file = open_file("/proc/self/exe", O_RDONLY);
  }
  if (file == -ENOENT) die("/proc is not mounted", 0, mount_proc);
  if (file == -EACCES) die("cannot read its own file", file, "let the user who runs it read it (chmod a+rx)");
  if (failed(file)) die("cannot open its own file /proc/self/exe", file, "see that files can be opened (ulimit -n)");
  return (int)file;
}

static struct member members[MEMBERS_MAX];
static size_t member_count;

static void read_table(int file) {
  long size = kernel(__NR_lseek, file, 0, 2 /* from the end */, 0, 0, 0);
  struct trailer trailer;
  if (size < (long)sizeof trailer || read_at(file, &trailer, sizeof trailer, size - sizeof trailer) != sizeof trailer)
    damaged("cannot read the end of its own file");
  for (size_t i = 0; i < sizeof magic; i++)
    if (trailer.magic[i] != magic[i]) damaged("the table at the end of its own file is missing");
  if (trailer.file_size != (uint64_t)size) damaged("its own file has not the size it was made with");
  if (trailer.members > MEMBERS_MAX) damaged("the table at the end of its own file is too long");
  long table_size = (long)(trailer.members * sizeof members[0]);
  long table_offset = size - (long)sizeof trailer - table_size;
  if (table_offset < 0 || read_at(file, members, (size_t)table_size, (uint64_t)table_offset) != table_size)
    damaged("cannot read the table at the end of its own file");

  int seen[TEXT + 1] = {0};
  for (size_t i = 0; i < trailer.members; i++) {
    const struct member *m = &members[i];
    if (m->kind < LOADER || m->kind > TEXT || m->name[sizeof m->name - 1] != 0 || m->size == 0 ||
        m->size > (uint64_t)table_offset || m->offset > (uint64_t)table_offset - m->size)
      damaged("the table at the end of its own file makes no sense");
    seen[m->kind]++;
  }
  if (seen[LOADER] != 1 || seen[RUNTIME] != 1 || seen[PROGRAM] != 1)
    damaged("the table at the end of its own file lacks a part");
  member_count = trailer.members;
}

/* ---- Parts that are opened by a path ---- */

static int copy_to_memory(int file, const struct member *m) {
  int memory = make_memory_file(m->name, MFD_CLOEXEC);
  uint64_t offset = m->offset;
  uint64_t end = m->offset + m->size;
  while (offset < end) {
    long copied = kernel(__NR_sendfile, memory, file, (long)&offset, (long)(end - offset), 0, 0);
    if (copied <= 0) die("cannot copy a part of its own file into memory", copied, free_memory);
  }
  /* Its pages are mapped as code: nobody is to change them any more. */
  kernel(__NR_fcntl, memory, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL, 0, 0, 0);
  return memory;
}

#define DESCRIPTOR_PATH "/proc/self/fd/"
#define DESCRIPTOR_PATH_MAX (sizeof DESCRIPTOR_PATH + 10) /* also the separator before it */

static char *append_descriptor(char *to, int file) {
  return append_number(append(to, DESCRIPTOR_PATH), (unsigned long)file);
}

static int library_files[MEMBERS_MAX];
static size_t library_count;
static char preloads[sizeof "LD_PRELOAD=" + MEMBERS_MAX * DESCRIPTOR_PATH_MAX];
static char program_path[DESCRIPTOR_PATH_MAX];

static void name_libraries(void) {
  char *end = append(preloads, "LD_PRELOAD=");
  for (size_t i = 0; i < library_count; i++) {
    if (i > 0) end = append(end, ":");
    end = append_descriptor(end, library_files[i]);
  }
}

/* ---- The new stack ---- */

/* What the kernel put on the stack: argc, the arguments, 0, the environment, 0, pairs of the auxiliary vector. */
struct start {
  uintptr_t *words;
  size_t argument_count;
  char **arguments;
  char **environment;
  size_t environment_count;
  Elf64_auxv_t *auxiliary;
  size_t auxiliary_count; /* with the AT_NULL at its end */
};

static struct start read_start(uintptr_t *words) {
  struct start s = {.words = words, .argument_count = words[0], .arguments = (char **)(words + 1)};
  s.environment = s.arguments + s.argument_count + 1;
  while (s.environment[s.environment_count]) s.environment_count++;
  s.auxiliary = (Elf64_auxv_t *)(s.environment + s.environment_count + 1);
  while (s.auxiliary[s.auxiliary_count++].a_type != AT_NULL) continue;
  return s;
}

static uintptr_t auxiliary_value(const struct start *s, uint64_t type) {
  for (size_t i = 0; i < s->auxiliary_count; i++)
    if (s->auxiliary[i].a_type == type) return s->auxiliary[i].a_un.a_val;
  return 0;
}

static int steers(const char *variable) {
  for (const char *beginning = steering; *beginning; beginning = next(beginning))
    if (starts_with(variable, beginning)) return 1;
  return 0;
}

static uintptr_t *put_list(uintptr_t *to, const char *list) {
  for (; *list; list = next(list)) *to++ = (uintptr_t)list;
  return to;
}

static uintptr_t *put_arguments(uintptr_t *to, const struct start *s) {
  *to++ = (uintptr_t)"cos"; /* not the caller's word: Deno aborts on one that is not UTF-8 */
  to = put_list(to, runtime_words);
  *to++ = (uintptr_t)program_path;
  for (size_t i = 1; i < s->argument_count; i++) *to++ = (uintptr_t)s->arguments[i];
  *to++ = 0;
  return to;
}

static uintptr_t *put_environment(uintptr_t *to, const struct start *s) {
  const char *called_by = s->argument_count > 0 ? s->arguments[0] : "";
  size_t room = sizeof CALLED_BY + length(called_by);
  for (size_t i = 0; i < s->environment_count; i++)
    if (steers(s->environment[i])) room += sizeof SAVED + length(s->environment[i]);
  long texts = map(0, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (failed(texts)) die("cannot get memory for the environment", texts, free_memory);

  char *text = (char *)texts;
  *to++ = (uintptr_t)text;
  text = append(append(text, CALLED_BY), called_by) + 1;
  for (size_t i = 0; i < s->environment_count; i++) {
    char *variable = s->environment[i];
    if (starts_with(variable, SAVED) || starts_with(variable, CALLED_BY)) continue;
    if (steers(variable)) {
      *to++ = (uintptr_t)text;
      text = append(append(text, SAVED), variable) + 1;
    } else {
      *to++ = (uintptr_t)variable;
    }
  }
  to = put_list(to, runtime_variables);
  *to++ = (uintptr_t)preloads;
  *to++ = 0;
  return to;
}

extern char after_loading[] __attribute__((visibility("hidden"))); /* else its address would need a relocation */
uintptr_t runtime_entry;

static void put_auxiliary(uintptr_t *to, const struct start *s, struct image runtime, struct image loader) {
  for (size_t i = 0; i < s->auxiliary_count; i++) {
    Elf64_auxv_t entry = s->auxiliary[i];
    switch (entry.a_type) {
      case AT_PHDR: entry.a_un.a_val = runtime.headers; break;
      case AT_PHENT: entry.a_un.a_val = sizeof(Elf64_Phdr); break;
      case AT_PHNUM: entry.a_un.a_val = runtime.header_count; break;
      case AT_BASE: entry.a_un.a_val = loader.base; break;
      case AT_ENTRY: entry.a_un.a_val = (uintptr_t)after_loading; break;
      /* Set by file capabilities or a change of the SELinux domain, it makes the loader ignore LD_PRELOAD. What it
       * guards against is done already: the caller's LD_... variables are gone. */
      case AT_SECURE: entry.a_un.a_val = 0; break;
    }
    *to++ = entry.a_type;
    *to++ = entry.a_un.a_val;
  }
}

static size_t list_length(const char *list) {
  size_t n = 0;
  for (; *list; list = next(list)) n++;
  return n;
}

static uintptr_t *build_stack(const struct start *s, struct image runtime, struct image loader) {
  size_t words = 1                                                                   /* argc */
                 + 1 + list_length(runtime_words) + 1 + s->argument_count + 1        /* arguments */
                 + 1 + s->environment_count + list_length(runtime_variables) + 1 + 1 /* environment */
                 + 2 * s->auxiliary_count;
  /* The kernel allows arguments and environment, with their pointers, a quarter of the stack at most: a second set of
   * pointers below the first always fits. The ABI wants the stack pointer to be a multiple of 16. */
  uintptr_t *stack = (uintptr_t *)((uintptr_t)(s->words - words) & ~15UL);
  uintptr_t *to = put_arguments(stack + 1, s);
  stack[0] = (uintptr_t)(to - stack) - 2;
  put_auxiliary(put_environment(to, s), s, runtime, loader);
  return stack;
}

/* ---- The two ways in from the assembly ---- */

__attribute__((aligned(16), used)) char launcher_stack[STACK_SIZE];

struct jump {
  uintptr_t *stack;
  uintptr_t entry;
};

__attribute__((used)) struct jump launch(uintptr_t *words) {
  struct start s = read_start(words);
  if (auxiliary_value(&s, AT_PAGESZ)) page_size = auxiliary_value(&s, AT_PAGESZ);
  if (auxiliary_value(&s, AT_UID) != auxiliary_value(&s, AT_EUID) ||
      auxiliary_value(&s, AT_GID) != auxiliary_value(&s, AT_EGID))
    die("it must not be set-user-ID or set-group-ID", 0, "take the bit away (chmod ug-s) and run it as root");

  int file = open_itself();
  if (file <= 2) { /* it has taken the place of a closed standard file */
    close_file(file);
    fill_standard_files();
    file = open_itself();
  }
  read_table(file);

  struct image runtime = {0}, loader = {0};
  for (size_t i = 0; i < member_count; i++) {
    const struct member *m = &members[i];
    switch (m->kind) {
      case LOADER: loader = map_executable(file, m); break;
      case RUNTIME: runtime = map_executable(file, m); break;
      case PROGRAM: append_descriptor(program_path, copy_to_memory(file, m)); break;
      case LIBRARY: library_files[library_count++] = copy_to_memory(file, m); break;
    }
  }
  close_file(file);
  name_libraries();
  /* What the loader and Deno are about to do: better a sentence here than their riddles (an emulator may answer for
   * /proc/self/exe alone, a sandbox may hide what is below /proc). */
  file = (int)open_file(program_path, O_RDONLY);
  if (failed(file)) die("/proc is not mounted as it should be", file, mount_proc);
  close_file(file);

  runtime_entry = runtime.entry;
  return (struct jump){build_stack(&s, runtime, loader), loader.entry};
}

/* The loader has read LD_PRELOAD; what is on the stack becomes the C library's `environ`. */
__attribute__((used)) void take_back_preloads(uintptr_t *words) {
  struct start s = read_start(words);
  char **to = s.environment;
  for (size_t i = 0; i < s.environment_count; i++)
    if (s.environment[i] != preloads) *to++ = s.environment[i];
  *to = NULL;
  for (size_t i = 0; i < library_count; i++) close_file(library_files[i]);
}
