/*
 * The helper: performs the rest of a plan's steps in a memory of its own, and becomes the program.
 *
 * The child that shares memory executes it with two descriptors: the plan, in a memory file, and a pipe for the report.
 * Both are closed by the last exec. A report without a failure says that this exec comes next; an end of the pipe after it
 * is the caller's news that all went well. An end without any report is that of a helper which somebody has ended.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "child/plan.h"

static char *read_all(int fd, size_t *ret_size) {
  struct stat stat;
  if (fstat(fd, &stat) < 0 || stat.st_size <= 0) return NULL;
  char *bytes = malloc((size_t)stat.st_size);
  if (bytes == NULL) return NULL;
  if (pread(fd, bytes, (size_t)stat.st_size, 0) != stat.st_size) {
    free(bytes);
    return NULL;
  }
  *ret_size = (size_t)stat.st_size;
  return bytes;
}

int main(int argc, char **argv) {
  if (argc != 3) {
    static const char hint[] =
        "This program is a part of vircommand, which starts it to change privileges. It is of no use by itself.\n";
    (void)!write(STDERR_FILENO, hint, sizeof hint - 1);
    return 125;
  }
  const int plan_fd = atoi(argv[1]), report_fd = atoi(argv[2]);
  struct report report = {.failed = 1, .step = -1};
  errno = 0;
  if (fcntl(plan_fd, F_SETFD, FD_CLOEXEC) == 0 && fcntl(report_fd, F_SETFD, FD_CLOEXEC) == 0) {
    size_t size = 0;
    const char *why;
    char *bytes = read_all(plan_fd, &size);
    struct plan *plan = bytes == NULL ? NULL : plan_decode(bytes, size, &why);
    if (plan != NULL) {
      report.failed = 0;
      child_run(plan, 0, &report);
    }
  }
  /* No step of the plan was performed. Without an errno, the plan itself was not understood: a helper of another version? */
  if (report.failed && report.errno_ == 0) report.errno_ = errno != 0 ? errno : EPROTO;
  (void)!write(report_fd, &report, sizeof report); /* Nobody is left to be told if nobody reads it. */
  return 127;
}
