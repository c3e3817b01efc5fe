#include "host/processes.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "child/kernel.h"

int process_open(int pid) {
  const long fd = syscall(SYS_pidfd_open, pid, 0);
  return fd < 0 ? -errno : (int)fd;
}

int process_signal(int pidfd, int signal, int to_group) {
  const unsigned flags = to_group ? PIDFD_SIGNAL_PROCESS_GROUP : 0;
  return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, flags) < 0 ? -errno : 0;
}

int process_signal_by_report(int pid, int report_fd, int signal) {
  const int pidfd = process_open(pid);
  if (pidfd < 0) return pidfd;
  struct pollfd report = {.fd = report_fd, .events = POLLIN};
  const int is_over = poll(&report, 1, 0) > 0 && (report.revents & (POLLHUP | POLLNVAL)) != 0;
  const int result = is_over ? -ESRCH : process_signal(pidfd, signal, 0);
  close(pidfd);
  return result;
}

int process_has_ended(int pidfd) {
  struct pollfd entry = {.fd = pidfd, .events = POLLIN};
  return poll(&entry, 1, 0) > 0 && (entry.revents & (POLLIN | POLLHUP)) != 0;
}

int process_group(int pid) {
  const pid_t group = getpgid(pid);
  return group < 0 ? -errno : group;
}

int process_reap(int pidfd, int peek, struct reaped *ret_reaped) {
  /* Children of other threads are theirs: they are ECHILD here. */
  const int options = WEXITED | WNOHANG | __WNOTHREAD | (peek ? WNOWAIT : 0);
  siginfo_t child = {0};
  long result;
  do {
    /* The C library's waitid() has no place for the usage. */
    result = syscall(SYS_waitid, P_PIDFD, pidfd, &child, options, &ret_reaped->usage);
  } while (result < 0 && errno == EINTR);
  if (result < 0) return -errno;
  ret_reaped->code = child.si_code;
  ret_reaped->status = child.si_status;
  return child.si_pid != 0;
}

int process_set_subreaper(int is_on) {
  int before = 0;
  if (prctl(PR_GET_CHILD_SUBREAPER, &before, 0, 0, 0) < 0) return -errno;
  if (prctl(PR_SET_CHILD_SUBREAPER, is_on, 0, 0, 0) < 0) return -errno;
  return before != 0;
}

/* ---------------------------------------------------------------- the table */

/* Whether an errno says that a process has ended, or is hidden from this one, rather than that nothing can be read just now. */
static int means_absent(int error) {
  return error == ENOENT || error == ESRCH || error == EACCES || error == EPERM;
}

/* Reads a row. 1: it is read; 0: there is no such process any more, or it is hidden; or a negative errno. */
static int read_row(int proc, const char *pid, double row[ROW_COLUMNS]) {
  char path[32], text[1024];
  if (snprintf(path, sizeof path, "%.10s/stat", pid) < 0) return 0;
  const int fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return means_absent(errno) ? 0 : -errno;
  const ssize_t size = read(fd, text, sizeof text - 1);
  const int error = errno;
  close(fd);
  if (size < 0) return means_absent(error) ? 0 : -error;
  if (size == 0) return 0;
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
  row[ROW_PID] = atoi(pid);
  row[ROW_PARENT] = parent;
  row[ROW_GROUP] = group;
  row[ROW_SESSION] = session;
  row[ROW_STATE] = state;
  row[ROW_START] = (double)start;
  return 1;
}

int process_table(double **ret_rows, size_t *ret_count) {
  enum { FIRST_ROWS = 256 };
  double *rows = NULL;
  size_t count = 0, capacity = 0;
  DIR *directory = opendir("/proc");
  if (directory == NULL) return -errno;
  int error = 0;
  for (struct dirent *entry; error == 0 && (entry = readdir(directory)) != NULL;) {
    if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
    if (count == capacity) {
      const size_t larger = capacity == 0 ? FIRST_ROWS : capacity * 2;
      double *grown = realloc(rows, larger * ROW_COLUMNS * sizeof *rows);
      if (grown == NULL) {
        error = -ENOMEM;
        break;
      }
      rows = grown;
      capacity = larger;
    }
    const int answer = read_row(dirfd(directory), entry->d_name, rows + count * ROW_COLUMNS);
    if (answer < 0) error = answer;
    if (answer == 1) count++;
  }
  (void)closedir(directory); /* Only a bad stream fails. */
  if (error < 0) {
    free(rows);
    return error;
  }
  *ret_rows = rows;
  *ret_count = count;
  return 0;
}
