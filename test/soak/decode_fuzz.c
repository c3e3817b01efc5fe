/*
 * The decoder of plans, fed with bytes that are almost a plan.
 *
 * Nothing is executed here: of what the child would do, only the reading and the one writing is done. A plan is good if all
 * that stays inside its buffer, which AddressSanitizer watches, and if the writing does not change what was checked.
 *
 * Built with -DWITH_LIBFUZZER it is a target for libFuzzer. Otherwise it is a program: decode_fuzz SEED MILLISECONDS FILE...
 * takes each file through every systematic change, then through random ones until the time is over, and prints how many
 * plans were refused and accepted.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "child/plan.h"
#include "child/steps.h"

static void fail(const char *what) {
  fprintf(stderr, "decode_fuzz: %s\n", what);
  abort();
}

static volatile size_t sink;

static void read_string(const char *text) {
  sink += strlen(text);
}

/* Does to the plan's memory what child.c would. */
static void use(const struct plan *plan, size_t size) {
  read_string(plan->file);
  size_t argc = 0, envc = 0;
  for (; plan->argv[argc] != NULL; argc++) read_string(plan->argv[argc]);
  for (; plan->envp[envc] != NULL; envc++) read_string(plan->envp[envc]);
  if (argc == 0 || plan->count == 0) fail("a plan without a program");
  if ((const char *)(plan->operations + plan->count) > plan->bytes + size) fail("operations outside the buffer");

  const size_t length = plan->count * sizeof *plan->operations;
  struct operation *before = malloc(length);
  if (before == NULL) exit(2);
  memcpy(before, plan->operations, length);
  for (uint32_t i = 0; i < plan->count; i++) {
    const struct operation *operation = &plan->operations[i];
    const char *text = plan->bytes + operation->text;
    switch (operation->code) {
      case STEP_CGROUP:
      case STEP_OOM_SCORE_ADJ:
      case STEP_PIDFILE:
      case STEP_SELINUX:
      case STEP_APPARMOR:
      case STEP_CHDIR:
        if (strlen(text) != operation->count) fail("a string of another length");
        break;
      case STEP_EXECVE:
        if (operation->b != 0 && strlen(text) != operation->count) fail("a string of another length");
        break;
      case STEP_SETGROUPS:
        for (uint32_t group = 0; group < operation->count; group++)
          sink += ((const uint32_t *)(const void *)text)[group];
        break;
      case STEP_LISTEN_PID: {
        if (operation->a >= envc) fail("a variable that is not there");
        char *value = strchr(plan->envp[operation->a], '=');
        static const char longest[] = "18446744073709551615";
        if (value == NULL || strlen(value + 1) < sizeof longest - 1) fail("a variable without room for a pid");
        memcpy(value + 1, longest, sizeof longest);
        break;
      }
      default:
        if (operation->code >= STEP_COUNT) fail("an unknown operation");
    }
  }
  if (plan->operations[plan->count - 1].code != STEP_EXECVE) fail("a plan that does not end in a program");
  if (memcmp(before, plan->operations, length) != 0) fail("the child can rewrite its own plan");
  free(before);
}

/* 1: it was accepted. The copy is exactly as long as the plan, so that one byte too far is seen. */
static int try_plan(const unsigned char *bytes, size_t size) {
  char *copy = malloc(size > 0 ? size : 1);
  const char *why = NULL;
  if (copy == NULL) exit(2);
  if (size > 0) memcpy(copy, bytes, size);
  struct plan *plan = plan_decode(copy, size, &why);
  if (plan == NULL) {
    if (why == NULL || *why == '\0') fail("a refusal without a reason");
    return 0;
  }
  use(plan, size);
  plan_free(plan);
  return 1;
}

#ifdef WITH_LIBFUZZER

int LLVMFuzzerTestOneInput(const unsigned char *bytes, size_t size) {
  (void)try_plan(bytes, size);
  return 0;
}

#else

static unsigned long accepted, refused;

static void attempt(const unsigned char *bytes, size_t size) {
  if (try_plan(bytes, size))
    accepted++;
  else
    refused++;
}

/* xorshift64*: the same bytes everywhere for the same seed. */
static uint64_t state;

static uint64_t next_random(void) {
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1dULL;
}

static const uint32_t interesting[] = {0,      1,      2,          3,           4,           7,          8,    27,
                                       28,     31,     32,         33,          0x7f,        0x80,       0xff, 0x100,
                                       0x7fff, 0xffff, 0x7fffffff, 0x80000000u, 0xfffffffeu, 0xffffffffu};
enum {
  INTERESTING = sizeof interesting / sizeof *interesting,
  SIZE_AT = 8,
  ARGC_AT = 12,
  VECTORS_AT = 28,
  MAX_GROWTH = 64
};

static void put_word(unsigned char *bytes, size_t at, uint32_t word) {
  memcpy(bytes + at, &word, sizeof word);
}

static void systematic(const unsigned char *plan, size_t size, unsigned char *work) {
  for (size_t length = 0; length < size; length++) {
    attempt(plan, length);
    memcpy(work, plan, size);
    if (length < SIZE_AT + 4) continue;
    put_word(work, SIZE_AT, (uint32_t)length); /* The header agrees, so that the rest is looked at. */
    attempt(work, length);
  }
  for (size_t growth = 1; growth <= MAX_GROWTH; growth++) {
    memcpy(work, plan, size);
    memset(work + size, 'x', growth);
    attempt(work, size + growth);
    put_word(work, SIZE_AT, (uint32_t)(size + growth));
    attempt(work, size + growth);
  }
  for (size_t bit = 0; bit < size * 8; bit++) {
    memcpy(work, plan, size);
    work[bit / 8] ^= (unsigned char)(1u << (bit % 8));
    attempt(work, size);
  }
  uint32_t argc, envc;
  memcpy(&argc, plan + ARGC_AT, sizeof argc);
  memcpy(&envc, plan + ARGC_AT + 4, sizeof envc);
  /* Each string of the vectors begins everywhere. */
  for (size_t at = VECTORS_AT; at < VECTORS_AT + 4 * (size_t)(argc + envc); at += 4) {
    memcpy(work, plan, size);
    for (uint32_t offset = 0; offset <= size; offset++) {
      put_word(work, at, offset);
      attempt(work, size);
    }
  }
  for (size_t at = 0; at + 4 <= size; at += 4) {
    for (size_t i = 0; i < INTERESTING + 4; i++) {
      const uint32_t near_the_end[] = {(uint32_t)size, (uint32_t)size - 1, (uint32_t)size - 4, (uint32_t)at};
      memcpy(work, plan, size);
      put_word(work, at, i < INTERESTING ? interesting[i] : near_the_end[i - INTERESTING]);
      attempt(work, size);
    }
  }
}

static void at_random(const unsigned char *plan, size_t size, unsigned char *work) {
  size_t length = size;
  memcpy(work, plan, size);
  for (uint64_t changes = 1 + next_random() % 6; changes > 0; changes--) {
    const size_t word = next_random() % (length / 4) * 4;
    switch (next_random() % 6) {
      case 0:
        work[next_random() % length] = (unsigned char)next_random();
        break;
      case 1:
        put_word(work, word, interesting[next_random() % INTERESTING]);
        break;
      case 2:
        put_word(work, word, (uint32_t)(next_random() % (length + 8)));
        break;
      case 3: /* One word of the plan in the place of another. */
        memcpy(work + word, plan + next_random() % (size / 4) * 4, 4);
        break;
      case 4:
        if (length > 64) length -= next_random() % 32;
        put_word(work, SIZE_AT, (uint32_t)length);
        break;
      default: { /* A whole operation or string in the place of another. */
        const size_t piece = 32 < length ? 32 : length;
        memmove(work + next_random() % (length - piece + 1), plan + next_random() % (size - piece + 1), piece);
      }
    }
  }
  attempt(work, length);
}

static long long now_ms(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * 1000LL + time.tv_nsec / 1000000;
}

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  state = strtoull(argv[1], NULL, 0) | 1;
  const long long until = now_ms() + atoll(argv[2]);
  for (int i = 3; i < argc; i++) {
    FILE *file = fopen(argv[i], "rb");
    if (file == NULL) return 2;
    static unsigned char plan[65536], work[65536 + MAX_GROWTH];
    const size_t size = fread(plan, 1, sizeof plan, file);
    fclose(file);
    if (!try_plan(plan, size)) fail("a whole plan was refused");
    systematic(plan, size, work);
    const long long share = now_ms() + (until - now_ms()) / (argc - i);
    do {
      for (int round = 0; round < 1000; round++) at_random(plan, size, work);
    } while (now_ms() < share);
  }
  printf("{\"accepted\":%lu,\"refused\":%lu}\n", accepted, refused);
  return 0;
}

#endif
