/*
 * A launch plan as the child reads it: decoded, checked, and at rest.
 *
 * TypeScript writes it (src/wire/encode.ts) as one flat buffer of little-endian numbers:
 *
 *   header   magic, version, total size, argc, envc, operation count, file        7 x u32
 *   vectors  argc + envc offsets of strings                                       u32 each
 *   padding  to a multiple of 8
 *   operations                                                                    struct operation each
 *   strings  NUL-terminated bytes, and arrays of u32
 *
 * Every offset counts from the start of the buffer.
 */
#ifndef VIRCOMMAND_PLAN_H
#define VIRCOMMAND_PLAN_H

#include <stddef.h>
#include <stdint.h>

#define PLAN_MAGIC 0x43524956u /* "VIRC" */
#define PLAN_VERSION 1u
#define PLAN_INHERITED \
  0xffffffffu /* in the place of envc: the program gets the variables of this process, as they are */

/* One thing for the child to do. Which numbers mean what is told in child.c, at the operation. */
struct operation {
  uint32_t code; /* enum step_code */
  uint32_t step; /* the place of the plan's step that this belongs to, for the error */
  uint64_t a;
  uint64_t b;
  uint32_t text;  /* offset of a string or an array, or 0 */
  uint32_t count; /* the bytes of the string, or the elements of the array */
};

struct plan {
  char *bytes; /* the buffer; strings and arrays are offsets into it */
  const char *file;
  char **argv;
  char **envp;
  const struct operation *operations;
  uint32_t count;
};

/* What a child that failed leaves behind: the step, and why. A step of the library's own has no errno; it does not fail. */
struct report {
  int32_t failed; /* 0 or 1 */
  int32_t step;
  int32_t errno_;
  int32_t daemon_pid; /* the daemon, where the plan makes one; if its pidfile failed, the detail of pidfile_acquire() */
};

/*
 * Reads a plan from a copy of its bytes, which it takes over. NULL: the bytes are no plan, and *why says what is wrong; or there
 * is no memory, and *why is NULL. A plan that is not understood as a whole is not executed in part.
 */
struct plan *plan_decode(char *bytes, size_t size, const char **ret_why);

/* The same from bytes of somebody else's, which could change meanwhile: they are copied first. */
struct plan *plan_copy(const void *bytes, size_t size, const char **ret_why);
void plan_free(struct plan *plan);

/* Performs the plan's steps in this process. Returns only if one failed; then *report says which. */
void child_run(const struct plan *plan, uint32_t from, struct report *report);

#endif
