/* What the launcher needs to know of 64-bit Arm: how the kernel is called, and how to get in and out without a C
 * library. */

#define MACHINE EM_AARCH64

static inline long kernel(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc #0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

/*
 * _start: the kernel enters here with the stack pointer at argc. launch() gets that address, works on a stack of its
 * own, and returns the new stack in x0 and the loader's entry in x1. The loader finds everything on the stack.
 *
 * after_loading: the loader jumps here, as to the entry of a program. Its x0, the loader's clean-up function, has to
 * reach the runtime: it waits in x19, which C preserves.
 */
__asm__(".text\n"
        ".globl _start\n"
        "_start:\n"
        "  mov x0, sp\n"
        "  adrp x1, launcher_stack+" STACK_SIZE_TEXT "\n"
        "  add x1, x1, :lo12:launcher_stack+" STACK_SIZE_TEXT "\n"
        "  mov sp, x1\n"
        "  mov x29, xzr\n"
        "  mov x30, xzr\n"
        "  bl launch\n"
        "  mov sp, x0\n"
        "  mov x0, xzr\n"
        "  br x1\n"
        ".globl after_loading\n"
        "after_loading:\n"
        "  mov x19, x0\n"
        "  mov x0, sp\n"
        "  bl take_back_preloads\n"
        "  mov x0, x19\n"
        "  adrp x16, runtime_entry\n"
        "  ldr x16, [x16, :lo12:runtime_entry]\n"
        "  br x16\n");
