/*
 * Bytes into a plan. The bytes come from our own TypeScript, but what the child executes must not rest on that:
 * each number is checked before anything follows it.
 */
#include "child/plan.h"

#include <stdlib.h>
#include <string.h>

#include "child/steps.h"

extern char **environ;

enum {
  HEADER_WORDS = 7,
  PID_ROOM = 20, /* the digits of the largest number of 64 bits: see write_listen_pid() of child.c */
};

struct reader {
  const char *bytes;
  size_t size;
  size_t strings; /* where the operations end */
};

static uint32_t word_at(const char *bytes, size_t at) {
  uint32_t word;
  memcpy(&word, bytes + at, sizeof word);
  return word;
}

/*
 * A string is good if it ends inside the buffer, and does not begin in what was checked before: the child writes into one of
 * them, and must not rewrite an operation.
 */
static int is_string(const struct reader *reader, uint32_t at) {
  return at >= reader->strings && at < reader->size && memchr(reader->bytes + at, '\0', reader->size - at) != NULL;
}

/* An operation says how long its string is, so that the child need not count. */
static int is_counted_string(const struct reader *reader, uint32_t at, uint32_t length) {
  return is_string(reader, at) && strlen(reader->bytes + at) == length;
}

static int is_array(const struct reader *reader, uint32_t at, uint32_t count) {
  return at % sizeof(uint32_t) == 0 && at >= reader->strings && at <= reader->size &&
         count <= (reader->size - at) / sizeof(uint32_t);
}

/* The child writes a pid behind the first '='. */
static int has_room_for_pid(const char *entry) {
  const char *equals = strchr(entry, '=');
  return equals != NULL && strlen(equals + 1) >= PID_ROOM;
}

/* What an operation may carry, by the third column of steps.h. What it does not carry is zero: nothing is there that nobody has checked. */
enum operand { NOTHING, NUMBERS, TEXT, PATH, PROGRAM, ARRAY, VARIABLE, NEVER };

#define STEP_OPERAND(name, text, operand) [STEP_##name] = operand,
static const unsigned char operands[STEP_COUNT] = {FOR_EACH_STEP(STEP_OPERAND)};
#undef STEP_OPERAND

static int is_operation(const struct reader *reader, const struct plan *plan, const struct operation *operation,
                        uint32_t envc) {
  if (operation->code >= STEP_COUNT) return 0;
  switch ((enum operand)operands[operation->code]) {
    case NOTHING:
      return operation->a == 0 && operation->b == 0 && operation->text == 0 && operation->count == 0;
    case NUMBERS:
      return operation->text == 0;
    case TEXT:
      return operation->b == 0 && is_counted_string(reader, operation->text, operation->count);
    case PATH:
      return is_counted_string(reader, operation->text, operation->count);
    case PROGRAM:
      if (operation->b == 0) return operation->text == 0 && operation->count == 0;
      return is_counted_string(reader, operation->text, operation->count);
    case ARRAY:
      return operation->a == 0 && operation->b == 0 && is_array(reader, operation->text, operation->count);
    case VARIABLE:
      return operation->b == 0 && operation->text == 0 && operation->count == 0 && operation->a < envc &&
             has_room_for_pid(plan->envp[operation->a]);
    case NEVER:
      return 0;
  }
  return 0;
}

static int fill_vector(const struct reader *reader, char **vector, size_t at, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    uint32_t offset = word_at(reader->bytes, at + i * sizeof(uint32_t));
    if (!is_string(reader, offset)) return 0;
    vector[i] = (char *)reader->bytes + offset;
  }
  vector[count] = NULL;
  return 1;
}

struct plan *plan_decode(char *bytes, size_t size, const char **ret_why) {
  struct reader reader = {bytes, size, size};
  const char *why = "the buffer is shorter than its header";
  struct plan *plan = NULL;

  if (size < HEADER_WORDS * sizeof(uint32_t) || size > UINT32_MAX) goto refuse;
  why = "the header is not that of a plan";
  if (word_at(bytes, 0) != PLAN_MAGIC || word_at(bytes, 4) != PLAN_VERSION || word_at(bytes, 8) != size) goto refuse;

  const int inherits = word_at(bytes, 16) == PLAN_INHERITED;
  const uint32_t argc = word_at(bytes, 12), envc = inherits ? 0 : word_at(bytes, 16), count = word_at(bytes, 20),
                 file = word_at(bytes, 24);
  const size_t vectors = HEADER_WORDS * sizeof(uint32_t);
  why = "the vectors do not fit into the buffer";
  if (argc == 0 || argc > size / 4 || envc > size / 4) goto refuse;
  const size_t operations = (vectors + ((size_t)argc + envc) * sizeof(uint32_t) + 7) & ~(size_t)7;
  if (operations > size || count == 0 || count > (size - operations) / sizeof(struct operation)) goto refuse;

  reader.strings = operations + count * sizeof(struct operation);

  why = NULL;
  plan = calloc(1, sizeof *plan + ((size_t)argc + envc + 2) * sizeof(char *));
  if (plan == NULL) goto refuse;
  plan->bytes = bytes;
  plan->argv = (char **)(plan + 1);
  plan->envp = inherits && environ != NULL ? environ : plan->argv + argc + 1;
  plan->operations = (const struct operation *)(bytes + operations);
  plan->count = count;

  why = "a string does not lie inside the buffer";
  if (!is_string(&reader, file)) goto refuse;
  plan->file = bytes + file;
  if (!fill_vector(&reader, plan->argv, vectors, argc)) goto refuse;
  if (!inherits && !fill_vector(&reader, plan->envp, vectors + argc * sizeof(uint32_t), envc)) goto refuse;

  why = "an operation is unknown, or points outside the buffer";
  uint32_t writes = 0;
  for (uint32_t i = 0; i < count; i++) {
    if (!is_operation(&reader, plan, &plan->operations[i], envc)) goto refuse;
    writes += plan->operations[i].code == STEP_LISTEN_PID;
  }
  /* Variables may overlap: what the first wrote could have taken the second's room, which was checked before. */
  why = "it writes its pid more than once";
  if (writes > 1) goto refuse;
  why = "it does not end by executing a program";
  if (plan->operations[count - 1].code != STEP_EXECVE) goto refuse;
  return plan;

refuse:
  *ret_why = why;
  free(plan);
  free(bytes);
  return NULL;
}

struct plan *plan_copy(const void *bytes, size_t size, const char **ret_why) {
  char *copy = malloc(size > 0 ? size : 1);
  *ret_why = NULL;
  if (copy == NULL) return NULL;
  memcpy(copy, bytes, size);
  return plan_decode(copy, size, ret_why);
}

void plan_free(struct plan *plan) {
  if (plan == NULL) return;
  free(plan->bytes);
  free(plan);
}
