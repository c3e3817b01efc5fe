/*
 * System calls without a C library: nothing here touches errno, a lock, or any memory but its arguments.
 *
 * A result below zero is a negative errno, as the kernel gives it.
 */
#ifndef VIRCOMMAND_SYS_H
#define VIRCOMMAND_SYS_H

#include <stddef.h>
#include <sys/syscall.h>

#if defined(__x86_64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  register long r10 __asm__("r10") = d;
  register long r8 __asm__("r8") = e;
  register long r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

#elif defined(__aarch64__)

static inline long sys6(long number, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = number;
  register long x0 __asm__("x0") = a;
  register long x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c;
  register long x3 __asm__("x3") = d;
  register long x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
  return x0;
}

#else
#error "The native engine knows the system calls of x86-64 and arm64 only."
#endif

#define SYS0(number) sys6(number, 0, 0, 0, 0, 0, 0)
#define SYS1(number, a) sys6(number, (long)(a), 0, 0, 0, 0, 0)
#define SYS2(number, a, b) sys6(number, (long)(a), (long)(b), 0, 0, 0, 0)
#define SYS3(number, a, b, c) sys6(number, (long)(a), (long)(b), (long)(c), 0, 0, 0)
#define SYS4(number, a, b, c, d) sys6(number, (long)(a), (long)(b), (long)(c), (long)(d), 0, 0)
#define SYS5(number, a, b, c, d, e) sys6(number, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), 0)

#endif
