/* What the launcher needs to know of x86-64: how the kernel is called, and how to get in and out without a C
 * library. */

#define MACHINE EM_X86_64

static inline long kernel(long number, long a, long b, long c, long d, long e, long f) {
  long result;
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

/*
 * _start: the kernel enters here with the stack pointer at argc. launch() gets that address, works on a stack of its
 * own, and returns the new stack in rax and the loader's entry in rdx. The loader finds everything on the stack; the
 * ABI wants rdx (a function to call at exit) to be 0.
 *
 * after_loading: the loader jumps here, as to the entry of a program. Its rdx, the loader's clean-up function, has to
 * reach the runtime: it waits in rbx, which C preserves. The stack is aligned as a call needs it.
 */
__asm__(".text\n"
        ".globl _start\n"
        "_start:\n"
        "  mov %rsp, %rdi\n"
        "  lea launcher_stack+" STACK_SIZE_TEXT "(%rip), %rsp\n"
        "  xor %ebp, %ebp\n"
        "  call launch\n"
        "  mov %rax, %rsp\n"
        "  mov %rdx, %rax\n"
        "  xor %edx, %edx\n"
        "  jmp *%rax\n"
        ".globl after_loading\n"
        "after_loading:\n"
        "  mov %rdx, %rbx\n"
        "  mov %rsp, %rdi\n"
        "  call take_back_preloads\n"
        "  mov %rbx, %rdx\n"
        "  jmp *runtime_entry(%rip)\n");
