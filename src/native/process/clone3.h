/*
 * clone3(), for which the C library has no function that gives the child a stack of its own. It is asked for one thing only, which
 * clone() cannot do: a child that is born in a control group.
 */
#ifndef VIRCOMMAND_CLONE3_H
#define VIRCOMMAND_CLONE3_H

#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL /* Linux 5.7 */
#endif

/* The kernel's own struct, as it has been since then. An older kernel takes a shorter one, and answers E2BIG. */
struct clone3_arguments {
  uint64_t flags;
  uint64_t pidfd; /* the address of an int */
  uint64_t child_tid, parent_tid;
  uint64_t exit_signal;
  uint64_t stack, stack_size; /* the lowest address, and the bytes from there: a multiple of 16 */
  uint64_t tls;
  uint64_t set_tid, set_tid_size;
  uint64_t cgroup; /* a descriptor of the directory; one made with O_PATH will do */
};

/*
 * The child calls `entry`, which must not return, on the stack that the arguments name. Gives the pid, or a negative errno. The
 * function and its argument are in registers: the child's stack is empty, and that of the parent is not the child's.
 */
static inline long clone3_call(const struct clone3_arguments *arguments, int (*entry)(void *), void *argument) {
#if defined(__x86_64__)
  long result;
  __asm__ volatile(
      "syscall\n\t"
      "test %%rax, %%rax\n\t"
      "jnz 1f\n\t"
      "mov %[argument], %%rdi\n\t"
      "call *%[entry]\n\t"
      "ud2\n"
      "1:"
      : "=a"(result)
      : "a"((long)SYS_clone3), "D"(arguments), "S"(sizeof *arguments), [entry] "r"(entry), [argument] "r"(argument)
      : "rcx", "r11", "cc", "memory");
  return result;
#elif defined(__aarch64__)
  register long x8 __asm__("x8") = SYS_clone3;
  register long x0 __asm__("x0") = (long)arguments;
  register long x1 __asm__("x1") = (long)sizeof *arguments;
  __asm__ volatile(
      "svc 0\n\t"
      "cbnz x0, 1f\n\t"
      "mov x0, %[argument]\n\t"
      "blr %[entry]\n\t"
      "brk #0\n"
      "1:"
      : "+r"(x0)
      : "r"(x8), "r"(x1), [entry] "r"(entry), [argument] "r"(argument)
      : "cc", "memory");
  return x0;
#else
#error "The native engine knows the system calls of x86-64 and arm64 only."
#endif
}

#endif
