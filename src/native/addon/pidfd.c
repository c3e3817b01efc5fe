/*
 * Processes by descriptor. A pid may mean another process tomorrow; a pidfd never does.
 *
 * Nothing here decides anything, keeps anything, or waits: every function asks the kernel one question and gives its answer.
 */
#include "addon/pidfd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef P_PIDFD
#define P_PIDFD 3
#endif
#ifndef SYS_pidfd_open
#define SYS_pidfd_open 434
#endif
#ifndef SYS_pidfd_send_signal
#define SYS_pidfd_send_signal 424
#endif
#ifndef PIDFD_SIGNAL_PROCESS_GROUP
#define PIDFD_SIGNAL_PROCESS_GROUP (1U << 2) /* Linux 6.9; older kernels answer EINVAL */
#endif

/* ---------------------------------------------------------------- values */

static napi_value number(napi_env env, double value) {
  napi_value result = NULL;
  (void)napi_create_double(env, value, &result); /* Fails only without an environment. */
  return result;
}

enum { MOST_ARGUMENTS = 3 };

/* The arguments as numbers; what is not there, or no number, is 0. The last may be an array of doubles. */
struct arguments {
  int32_t numbers[MOST_ARGUMENTS];
  double *doubles;
  size_t length;
};

static struct arguments arguments_of(napi_env env, napi_callback_info info) {
  struct arguments arguments = {0};
  size_t argc = MOST_ARGUMENTS;
  napi_value values[MOST_ARGUMENTS];
  if (napi_get_cb_info(env, info, &argc, values, NULL, NULL) != napi_ok) return arguments;
  for (size_t i = 0; i < argc && i < MOST_ARGUMENTS; i++) {
    napi_typedarray_type type;
    void *data;
    bool is_array = false;
    if (napi_is_typedarray(env, values[i], &is_array) == napi_ok && is_array) {
      size_t length;
      if (napi_get_typedarray_info(env, values[i], &type, &length, &data, NULL, NULL) != napi_ok ||
          type != napi_float64_array)
        continue;
      arguments.doubles = data;
      arguments.length = length;
    } else if (napi_get_value_int32(env, values[i], &arguments.numbers[i]) != napi_ok) {
      arguments.numbers[i] = 0;
    }
  }
  return arguments;
}

/* ---------------------------------------------------------------- one process */

/* openPid(pid): pidfd, closed on exec, or a negative errno */
static napi_value open_pid(napi_env env, napi_callback_info info) {
  const struct arguments arguments = arguments_of(env, info);
  const long fd = syscall(SYS_pidfd_open, arguments.numbers[0], 0);
  return number(env, fd < 0 ? -errno : fd);
}

/* signalPid(pidfd, signal, toGroup): 0, or a negative errno. With toGroup, to the process group that the process leads. */
static napi_value signal_pid(napi_env env, napi_callback_info info) {
  const struct arguments arguments = arguments_of(env, info);
  const unsigned flags = arguments.numbers[2] != 0 ? PIDFD_SIGNAL_PROCESS_GROUP : 0;
  return number(
      env, syscall(SYS_pidfd_send_signal, arguments.numbers[0], arguments.numbers[1], NULL, flags) < 0 ? -errno : 0);
}

/* hasEnded(pidfd): 1 or 0. All of its threads count, and nobody need have reaped it. */
static napi_value has_ended(napi_env env, napi_callback_info info) {
  struct pollfd entry = {.fd = arguments_of(env, info).numbers[0], .events = POLLIN};
  return number(env, poll(&entry, 1, 0) > 0 && (entry.revents & (POLLIN | POLLHUP)) != 0);
}

static double milliseconds(struct timeval time) {
  return (double)time.tv_sec * 1e3 + (double)time.tv_usec / 1e3;
}

/*
 * reap(pidfd, peek, end: Float64Array[5]): 1 if the child has ended, 0 if it runs, or a negative errno. With peek, it is
 * only looked at. Sets code, status, user ms, system ms, KiB at most resident. Children of other threads are ECHILD here.
 */
static napi_value reap(napi_env env, napi_callback_info info) {
  const struct arguments arguments = arguments_of(env, info);
  const int options = WEXITED | WNOHANG | __WNOTHREAD | (arguments.numbers[1] != 0 ? WNOWAIT : 0);
  siginfo_t child = {0};
  struct rusage usage = {0};
  long result;
  do {
    /* The C library's waitid() has no place for the usage. */
    result = syscall(SYS_waitid, P_PIDFD, arguments.numbers[0], &child, options, &usage);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return number(env, -errno);
  if (child.si_pid == 0) return number(env, 0);
  if (arguments.length >= 5) {
    const double end[] = {child.si_code, child.si_status, milliseconds(usage.ru_utime), milliseconds(usage.ru_stime),
                          (double)usage.ru_maxrss};
    memcpy(arguments.doubles, end, sizeof end);
  }
  return number(env, 1);
}

/* ---------------------------------------------------------------- many processes */

/* setSubreaper(isOn): what it was before, 1 or 0, or a negative errno. It is the whole process's, whichever thread asks. */
static napi_value set_subreaper(napi_env env, napi_callback_info info) {
  int before = 0;
  if (prctl(PR_GET_CHILD_SUBREAPER, &before, 0, 0, 0) < 0) return number(env, -errno);
  if (prctl(PR_SET_CHILD_SUBREAPER, arguments_of(env, info).numbers[0], 0, 0, 0) < 0) return number(env, -errno);
  return number(env, before != 0);
}

enum { COLUMNS = 6 };

/* Reads a row of the table: pid, parent, group, session, state, start. 0: there is no such process any more. */
static int read_row(int proc, const char *pid, double *row) {
  char path[32], text[1024];
  if (snprintf(path, sizeof path, "%.10s/stat", pid) < 0) return 0;
  const int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return 0;
  const ssize_t size = read(fd, text, sizeof text - 1);
  close(fd);
  if (size <= 0) return 0;
  text[size] = '\0';
  /* The second field is the program's name, in parentheses, and may hold any character. */
  const char *rest = strrchr(text, ')');
  char state;
  int parent, group, session;
  unsigned long long start;
  if (rest == NULL) return 0;
  if (sscanf(rest, ") %c %d %d %d %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %llu", &state, &parent,
             &group, &session, &start) != 5)
    return 0;
  const double values[COLUMNS] = {atoi(pid), parent, group, session, state, (double)start};
  memcpy(row, values, sizeof values);
  return 1;
}

/* processes(): Float64Array, six numbers for each process that /proc shows: pid, parent, group, session, state, start in ticks. Throws without memory. */
static napi_value processes(napi_env env, napi_callback_info info) {
  (void)info;
  double *rows = NULL;
  size_t count = 0, capacity = 0;
  DIR *directory = opendir("/proc");
  for (struct dirent *entry; directory != NULL && (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    if (count == capacity) {
      const size_t larger = capacity == 0 ? 256 : capacity * 2;
      double *grown = realloc(rows, larger * COLUMNS * sizeof *rows);
      if (grown == NULL) { /* Half of a tree would be worse than none. */
        (void)closedir(directory);
        free(rows);
        napi_throw_error(env, NULL, "vircommand: there is no memory for the table of processes");
        return NULL;
      }
      rows = grown;
      capacity = larger;
    }
    if (read_row(dirfd(directory), entry->d_name, rows + count * COLUMNS)) count++;
  }
  if (directory != NULL) (void)closedir(directory); /* Only a bad stream fails. */
  napi_value buffer, result = NULL;
  void *data;
  const size_t size = count * COLUMNS * sizeof *rows;
  if (napi_create_arraybuffer(env, size, &data, &buffer) == napi_ok) {
    if (size > 0) memcpy(data, rows, size);
    (void)napi_create_typedarray(env, napi_float64_array, count * COLUMNS, buffer, 0,
                                 &result); /* The buffer has that very size. */
  }
  free(rows);
  return result;
}

napi_status pidfd_define(napi_env env, napi_value exports) {
  const napi_property_descriptor functions[] = {
      {"openPid", NULL, open_pid, NULL, NULL, NULL, napi_enumerable, NULL},
      {"signalPid", NULL, signal_pid, NULL, NULL, NULL, napi_enumerable, NULL},
      {"hasEnded", NULL, has_ended, NULL, NULL, NULL, napi_enumerable, NULL},
      {"reap", NULL, reap, NULL, NULL, NULL, napi_enumerable, NULL},
      {"setSubreaper", NULL, set_subreaper, NULL, NULL, NULL, napi_enumerable, NULL},
      {"processes", NULL, processes, NULL, NULL, NULL, napi_enumerable, NULL},
  };
  return napi_define_properties(env, exports, sizeof functions / sizeof *functions, functions);
}
