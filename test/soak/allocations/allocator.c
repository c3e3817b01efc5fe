/*
 * The linker puts these in the place of the addon's calls of the allocator, and of no other's. VIRCOMMAND_FAIL_ALLOCATION
 * says which call fails: "a:3" is the third from when that was set, and another letter begins anew. When it has failed, the variable
 * is empty. A call that fails takes its time: on a busy machine, a program that has just been executed has started others by then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MICROSECONDS_OF_A_FAILURE = 30 * 1000 };

static const char variable[] = "VIRCOMMAND_FAIL_ALLOCATION";

static int fails(void) {
  static char current[32];
  static int left;
  const char *wish = getenv(variable);
  const char *colon = wish == NULL ? NULL : strchr(wish, ':');
  if (colon == NULL || strlen(wish) >= sizeof current) return 0;
  if (strcmp(wish, current) != 0) {
    strcpy(current, wish);
    left = atoi(colon + 1);
  }
  if (left == 0 || --left > 0) return 0;
  (void)usleep(MICROSECONDS_OF_A_FAILURE);
  (void)setenv(variable, "", 1);
  errno = ENOMEM;
  return 1;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
void *__real_aligned_alloc(size_t alignment, size_t size);
char *__real_strdup(const char *text);

void *__wrap_malloc(size_t size) {
  return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size) {
  return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size) {
  return fails() ? NULL : __real_realloc(old, size);
}

void *__wrap_aligned_alloc(size_t alignment, size_t size) {
  return fails() ? NULL : __real_aligned_alloc(alignment, size);
}

char *__wrap_strdup(const char *text) {
  return fails() ? NULL : __real_strdup(text);
}
