/*
 * The helper: performs the rest of a plan's steps in a memory of its own, and becomes the program.
 *
 * The child that shares memory executes it with two descriptors: the plan, in a memory file, and a pipe for the report.
 * Both are closed by the last exec. A report without a failure says that this exec comes next; an end of the pipe after it
 * is the caller's news that all went well. An end without any report is that of a helper which somebody has ended.
 *
 * It has no C library: what that does before main(), and the pages that it touches, take longer than all that is done here. So it has an
 * entry of its own, and of the library's functions the few that decode.c calls.
 */
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "child/plan.h"
#include "child/sys.h"

/* ---------------------------------------------------------------- what decode.c takes from a C library */

char **environ;

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
  for (size_t i = 0; i < size; i++) ((char *)to)[i] = ((const char *)from)[i];
  return to;
}

void *memset(void *at, int value, size_t size) {
  for (size_t i = 0; i < size; i++) ((char *)at)[i] = (char)value;
  return at;
}

void *memchr(const void *at, int wanted, size_t size) {
  for (const char *byte = at; size > 0; byte++, size--)
    if (*byte == (char)wanted) return (void *)byte;
  return NULL;
}

size_t strlen(const char *text) {
  size_t length = 0;
  while (text[length] != '\0') length++;
  return length;
}

char *strchr(const char *text, int wanted) {
  for (;; text++) {
    if (*text == (char)wanted) return (char *)text;
    if (*text == '\0') return NULL;
  }
}

/*
 * Memory that is never given back: the exec does that. It is empty, as the kernel gives it. Most plans find room in the first few
 * pages, which take no system call.
 */
void *malloc(size_t size) {
  static _Alignas(16) char room[64 * 1024];
  static size_t used;
  if (size > (size_t)PTRDIFF_MAX) return NULL;
  const size_t rounded = (size + 15) & ~(size_t)15;
  if (rounded <= sizeof room - used) {
    used += rounded;
    return room + used - rounded;
  }
  const long at = sys6(SYS_mmap, 0, (long)rounded, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return at < 0 && at > -4096 ? NULL : (void *)at;
}

void *calloc(size_t count, size_t size) {
  size_t bytes;
  return __builtin_mul_overflow(count, size, &bytes) ? NULL : malloc(bytes);
}

void free(void *memory) {
  (void)memory;
}

/* ---------------------------------------------------------------- the helper */

/* The plan's bytes, or NULL and a negative errno. */
static char *read_all(int fd, size_t *ret_size, long *ret_why) {
  struct stat stat;
  *ret_why = SYS2(SYS_fstat, fd, &stat);
  if (*ret_why < 0) return NULL;
  *ret_why = -EPROTO;
  if (stat.st_size <= 0) return NULL;
  const size_t size = (size_t)stat.st_size;
  char *bytes = malloc(size);
  *ret_why = -ENOMEM;
  if (bytes == NULL) return NULL;
  const long got = SYS4(SYS_pread64, fd, bytes, size, 0);
  *ret_why = got < 0 ? got : -EPROTO;
  *ret_size = size;
  return got == stat.st_size ? bytes : NULL;
}

/* A number of the command line, which the library has written. */
static int number_of(const char *text) {
  int number = 0;
  for (; *text >= '0' && *text <= '9'; text++) number = number * 10 + (*text - '0');
  return number;
}

/* Performs the plan. Returns only if that failed: a negative errno where no step of it was performed, and 0 where the report tells. */
static long perform_plan(int plan_fd, int report_fd, struct report *report) {
  long why = SYS3(SYS_fcntl, plan_fd, F_SETFD, FD_CLOEXEC);
  if (why >= 0) why = SYS3(SYS_fcntl, report_fd, F_SETFD, FD_CLOEXEC);
  if (why < 0) return why;
  size_t size = 0;
  char *bytes = read_all(plan_fd, &size, &why);
  if (bytes == NULL) return why;
  const char *problem;
  struct plan *plan = plan_decode(bytes, size, &problem);
  /* Without a problem, there was no memory for it; with one, it was not understood: a helper of another version? */
  if (plan == NULL) return problem == NULL ? -ENOMEM : -EPROTO;
  child_run(plan, 0, report);
  return 0;
}

static int run(int argc, char **argv) {
  if (argc != 3) {
    static const char hint[] =
        "This program is a part of vircommand, which starts it to change privileges. It is of no use by itself.\n";
    (void)SYS3(SYS_write, 2, hint, sizeof hint - 1);
    return 125;
  }
  const int report_fd = number_of(argv[2]);
  struct report report = {0};
  const long why = perform_plan(number_of(argv[1]), report_fd, &report);
  if (why < 0) report = (struct report){.failed = 1, .step = -1, .errno_ = (int32_t)-why};
  (void)SYS3(SYS_write, report_fd, &report, sizeof report); /* Nobody is left to be told if nobody reads it. */
  return 127;
}

/* The kernel begins with the number of arguments on top of the stack, the arguments behind it, and then the variables. */
__attribute__((noreturn, used)) void helper_begin(long *stack) {
  const int argc = (int)stack[0];
  char **argv = (char **)(stack + 1);
  environ = argv + argc + 1;
  (void)SYS1(SYS_exit_group, run(argc, argv));
  __builtin_unreachable();
}

#if defined(__x86_64__)
__asm__(
    ".globl _start\n"
    "_start:\n\t"
    "xor %ebp, %ebp\n\t"
    "mov %rsp, %rdi\n\t"
    "and $-16, %rsp\n\t"
    "call helper_begin\n\t"
    "ud2\n");
#elif defined(__aarch64__)
__asm__(
    ".globl _start\n"
    "_start:\n\t"
    "mov x29, #0\n\t"
    "mov x0, sp\n\t"
    "bl helper_begin\n\t"
    "brk #0\n");
#endif
