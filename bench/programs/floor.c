/*
 * What a launch costs without any library: posix_spawn and waitpid, a pipe and read. The bench compares with this.
 *
 *   floor latency|echo|capture|lines|burst <iterations> <in flight> <program> [argument]...
 *
 * Prints one line of JSON, with the same fields as trial.js.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MEBIBYTE = 1024 * 1024, WARM_UP = 10 };

static double now_us(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void die(const char *what) {
  perror(what);
  exit(1);
}

static int by_value(const void *a, const void *b) {
  const double x = *(const double *)a, y = *(const double *)b;
  return x < y ? -1 : x > y;
}

/* A child with the descriptor as its standard output, and /dev/null as the rest. */
static pid_t start(char **argv, int output, int null) {
  posix_spawn_file_actions_t actions;
  pid_t pid;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, null, 0);
  posix_spawn_file_actions_adddup2(&actions, output, 1);
  posix_spawn_file_actions_adddup2(&actions, null, 2);
  errno = posix_spawn(&pid, argv[0], &actions, NULL, argv, environ);
  if (errno != 0) die(argv[0]);
  posix_spawn_file_actions_destroy(&actions);
  return pid;
}

static void finish(pid_t pid) {
  int status;
  if (waitpid(pid, &status, 0) < 0 || status != 0) die("waitpid");
}

/* Runs once, keeps all that comes, and gives its size. A reader that knows its work: big pipe, big reads, no copy. */
static size_t capture(char **argv, int null, int big) {
  int ends[2];
  size_t size = 0, capacity = big ? MEBIBYTE : 4096;
  char *bytes = malloc(capacity);
  if (bytes == NULL || pipe2(ends, O_CLOEXEC) < 0) die("pipe2");
  if (big) (void)fcntl(ends[0], F_SETPIPE_SZ, MEBIBYTE);
  const pid_t pid = start(argv, ends[1], null);
  close(ends[1]);
  for (;;) {
    if (size == capacity) {
      capacity *= 2;
      bytes = realloc(bytes, capacity);
      if (bytes == NULL) die("realloc");
    }
    const ssize_t got = read(ends[0], bytes + size, capacity - size);
    if (got < 0) die("read");
    if (got == 0) break;
    size += (size_t)got;
  }
  close(ends[0]);
  finish(pid);
  free(bytes);
  return size;
}

/* Runs once, and counts the lines: a big pipe, big reads, and memchr. */
static size_t lines(char **argv, int null) {
  static char bytes[MEBIBYTE];
  int ends[2];
  size_t count = 0;
  if (pipe2(ends, O_CLOEXEC) < 0) die("pipe2");
  (void)fcntl(ends[0], F_SETPIPE_SZ, MEBIBYTE);
  const pid_t pid = start(argv, ends[1], null);
  close(ends[1]);
  for (;;) {
    const ssize_t got = read(ends[0], bytes, sizeof bytes);
    if (got < 0) die("read");
    if (got == 0) break;
    const char *const end = bytes + got;
    for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(end - at))) != NULL; at++) count++;
  }
  close(ends[0]);
  finish(pid);
  return count;
}

int main(int argc, char **argv) {
  if (argc < 5) return 2;
  const char *mode = argv[1];
  const int iterations = atoi(argv[2]), in_flight = atoi(argv[3]);
  char **command = argv + 4;
  const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
  if (null < 0) die("/dev/null");

  if (strcmp(mode, "capture") == 0) {
    const double before = now_us();
    const size_t size = capture(command, null, 1);
    printf("{\"seconds\":%.6f,\"bytes\":%zu}\n", (now_us() - before) / 1e6, size);
    return 0;
  }
  if (strcmp(mode, "lines") == 0) {
    const double before = now_us();
    const size_t count = lines(command, null);
    printf("{\"perSecond\":%.3f}\n", (double)count / ((now_us() - before) / 1e6));
    return 0;
  }
  if (strcmp(mode, "burst") == 0) {
    const double before = now_us();
    int running = 0, started = 0;
    while (started < iterations || running > 0) {
      if (started < iterations && running < in_flight) {
        (void)start(command, null, null);
        started++;
        running++;
        continue;
      }
      finish(-1);
      running--;
    }
    printf("{\"perSecond\":%.3f}\n", iterations / ((now_us() - before) / 1e6));
    return 0;
  }
  double *times = calloc((size_t)iterations, sizeof *times);
  if (times == NULL) die("calloc");
  for (int i = -WARM_UP; i < iterations; i++) {
    const double before = now_us();
    if (strcmp(mode, "echo") == 0)
      (void)capture(command, null, 0);
    else
      finish(start(command, null, null));
    if (i >= 0) times[i] = now_us() - before;
  }
  qsort(times, (size_t)iterations, sizeof *times, by_value);
  printf("{\"us\":%.3f,\"tenthUs\":%.3f}\n", times[iterations / 2], times[iterations / 10]);
  return 0;
}
