/* Mapping an executable out of a part of the file, as the kernel's own ELF loader does it. */
#include <elf.h>

struct image {
  uintptr_t base; /* what is added to the addresses in the ELF file */
  uintptr_t entry;
  uintptr_t headers;
  size_t header_count;
};

static uintptr_t page_size = 4096; /* set from the auxiliary vector: 64-bit Arm also has kernels with 16 or 64 KiB */

static uintptr_t page_start(uintptr_t address) { return address & ~(page_size - 1); }
static uintptr_t page_end(uintptr_t address) { return page_start(address + page_size - 1); }

static void map_segment(uintptr_t base, const Elf64_Phdr *segment, int file, const struct member *m) {
  int protection = (segment->p_flags & PF_R ? PROT_READ : 0) | (segment->p_flags & PF_W ? PROT_WRITE : 0) |
                   (segment->p_flags & PF_X ? PROT_EXEC : 0);
  uintptr_t start = base + segment->p_vaddr;
  uintptr_t file_end = start + segment->p_filesz;
  uintptr_t memory_end = page_end(start + segment->p_memsz);
  uintptr_t mapped_end = page_start(start);
  size_t before = start - page_start(start);
  static const char cannot[] = "cannot map the runtime into memory";

  if (segment->p_filesz > 0) {
    long mapped = map(start - before, segment->p_filesz + before, protection, MAP_PRIVATE | MAP_FIXED, file,
                      m->offset + segment->p_offset - before);
    if (failed(mapped)) die(cannot, mapped, free_memory);
    /* The rest of the last page holds what follows in the file. It has to be zero, and up to the page's end, not only
     * to the segment's: glibc's loader takes its first allocations from what is left of its last page. */
    mapped_end = page_end(file_end);
    if (protection & PROT_WRITE) memset((void *)file_end, 0, mapped_end - file_end);
  }
  if (memory_end > mapped_end) {
    long mapped = map(mapped_end, memory_end - mapped_end, protection, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS, -1, 0);
    if (failed(mapped)) die(cannot, mapped, free_memory);
  }
}

static struct image map_executable(int file, const struct member *m) {
  static union {
    Elf64_Ehdr header;
    char bytes[4096];
  } start;
  if (m->size < sizeof start || read_at(file, &start, sizeof start, m->offset) != sizeof start)
    damaged("cannot read a part of its own file");
  const Elf64_Ehdr *header = &start.header;
  const char *ident = (const char *)header->e_ident;
  if (!starts_with(ident, ELFMAG) || ident[EI_CLASS] != ELFCLASS64 || header->e_machine != MACHINE ||
      header->e_type != ET_DYN || header->e_phentsize != sizeof(Elf64_Phdr) || header->e_phnum == 0 ||
      header->e_phoff % sizeof(uint64_t) != 0 || header->e_phoff > sizeof start ||
      header->e_phnum > (sizeof start - header->e_phoff) / sizeof(Elf64_Phdr))
    damaged("a part of its own file is no executable for this machine");
  const Elf64_Phdr *segments = (const Elf64_Phdr *)(start.bytes + header->e_phoff);

  uintptr_t lowest = UINTPTR_MAX, highest = 0;
  for (size_t i = 0; i < header->e_phnum; i++) {
    const Elf64_Phdr *s = &segments[i];
    if (s->p_type != PT_LOAD) continue;
    if (s->p_filesz > m->size || s->p_offset > m->size - s->p_filesz || s->p_filesz > s->p_memsz ||
        s->p_memsz > 1UL << 40 || s->p_vaddr > 1UL << 40 || (s->p_vaddr - s->p_offset) % page_size != 0)
      damaged("a segment of a part of its own file makes no sense");
    if (page_start(s->p_vaddr) < lowest) lowest = page_start(s->p_vaddr);
    if (page_end(s->p_vaddr + s->p_memsz) > highest) highest = page_end(s->p_vaddr + s->p_memsz);
  }
  if (lowest >= highest) damaged("a part of its own file has no segments");

  /* One reservation for all segments keeps their distances; where it lies is the kernel's (random) choice. */
  long reserved = map(0, highest - lowest, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (failed(reserved)) die("cannot reserve address space for the runtime", reserved, "raise the limit (ulimit -v)");
  uintptr_t base = (uintptr_t)reserved - lowest;
  for (size_t i = 0; i < header->e_phnum; i++)
    if (segments[i].p_type == PT_LOAD) map_segment(base, &segments[i], file, m);
  /* Both executables begin with a segment that holds the ELF header and the program headers. */
  return (struct image){base, base + header->e_entry, base + lowest + header->e_phoff, header->e_phnum};
}
