/*
 * Launches plans without Node: for the targets that no Node can be had for here.
 *
 * `launch_plan possible`: 1 or 0. `launch_plan launch FILE`: a child takes the plan of the file; prints failed, step, errno,
 * and how the program ended. `launch_plan take FILE`: takes the plan in this process; prints the same if that fails.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "process/launch.h"

static struct plan *read_plan(const char *path) {
  FILE *file = fopen(path, "rb");
  if (file == NULL) exit(2);
  enum { LARGEST = 1 << 20 };
  char *bytes = malloc(LARGEST);
  if (bytes == NULL) exit(2);
  const size_t size = fread(bytes, 1, LARGEST, file);
  fclose(file);
  const char *why;
  struct plan *plan = plan_decode(bytes, size, &why);
  if (plan == NULL) {
    fprintf(stderr, "%s\n", why);
    exit(2);
  }
  return plan;
}

int main(int argc, char **argv) {
  char *stack = aligned_alloc(64, CHILD_STACK_SIZE);
  if (argc < 2 || stack == NULL) return 2;
  if (strcmp(argv[1], "possible") == 0) {
    const char *call;
    printf("%d\n", launch_probe(stack, &call) == 0);
    return 0;
  }
  if (argc < 3) return 2;
  struct plan *plan = read_plan(argv[2]);
  if (strcmp(argv[1], "take") == 0) {
    struct report report = {0};
    fflush(stdout);
    child_run(plan, 0, &report);
    printf("%d %d %d\n", report.failed, report.step, report.errno_);
    return 0;
  }
  struct launched launched;
  launch(plan, stack, &launched);
  int status = 0;
  if (launched.pid > 0) (void)waitpid(launched.pid, &status, 0);
  printf("%d %d %d %d\n", launched.report.failed, launched.report.step, launched.report.errno_, WEXITSTATUS(status));
  plan_free(plan);
  free(stack);
  return 0;
}
