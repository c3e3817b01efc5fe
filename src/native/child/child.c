/*
 * Everything that happens between clone() and execve(), one step after the other.
 *
 * In shared memory this runs inside the parent's, on a stack of its own, while the parent's thread sleeps. Hence:
 *
 *   1. System calls only, by sys.h. No C library: no malloc, no stdio, no locks, no errno.
 *      `npm run check` compares the symbols that this file needs with a list, and the list is empty.
 *   2. Write only to this stack, to the report, and to LISTEN_PID, which the plan holds for that.
 *   3. Nothing that changes ids or waits, be it for a disk: a plan that does so goes to the helper, which runs this same code
 *      in a memory of its own. A change of ids here would take the parent's dumpable flag, and have two privileges on one memory.
 *
 * The order of the steps is the plan's. Why each stands where it does is told in src/plan/step-table.ts and docs/internals.md.
 */
#include "child/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include "child/kernel.h"
#include "child/pidfile.h"
#include "child/steps.h"
#include "child/sys.h"

enum { SIGNALS = 64, SIGNAL_SET_SIZE = 8, NUMBER_SIZE = 24 };

/* The kernel's own struct: the C library's has another shape. */
struct kernel_sigaction {
  void (*handler)(int);
  unsigned long flags;
  void (*restorer)(void);
  uint64_t mask;
};

/* Writes a number in decimal, and gives its length. */
static size_t print_number(char buffer[NUMBER_SIZE], uint64_t value) {
  size_t length = 0;
  for (uint64_t rest = value; length == 0 || rest > 0; rest /= 10) length++;
  for (size_t i = length; i > 0; i--, value /= 10) buffer[i - 1] = (char)('0' + value % 10);
  buffer[length] = '\0';
  return length;
}

/* Writes a text to a file of the kernel, which takes it whole or refuses it. */
static long write_file(const char *path, const char *text, size_t length) {
  long fd = SYS4(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
  if (fd < 0) return fd;
  long written = SYS3(SYS_write, fd, text, length);
  (void)SYS1(SYS_close, fd); /* It was only written to; the answer to that has been given. */
  if (written < 0) return written;
  return (size_t)written == length ? 0 : -EIO;
}

static long enter_cgroup(const char *procs) {
  char pid[NUMBER_SIZE];
  return write_file(procs, pid, print_number(pid, (uint64_t)SYS0(SYS_getpid)));
}

/* Every signal back to its default, also those that the parent ignores: execve() would hand that on to the program. */
static long default_signals(void) {
  const struct kernel_sigaction to_default = {0};
  for (int signal = 1; signal <= SIGNALS; signal++) {
    /* SIGKILL and SIGSTOP answer EINVAL; nothing can be changed about them, and need not be. */
    (void)SYS4(SYS_rt_sigaction, signal, &to_default, NULL, SIGNAL_SET_SIZE);
  }
  return 0;
}

static long unblock_signals(void) {
  const uint64_t none = 0;
  return SYS4(SYS_rt_sigprocmask, 2 /* SIG_SETMASK */, &none, NULL, SIGNAL_SET_SIZE);
}

/*
 * A process group of its own, in the foreground of the terminal. Whoever is in the background is stopped by SIGTTOU for that, unless
 * the signal is blocked, as all are here.
 */
static long take_foreground(long terminal) {
  const long result = SYS2(SYS_setpgid, 0, 0);
  const int32_t group = (int32_t)SYS0(SYS_getpid);
  return result < 0 ? result : SYS3(SYS_ioctl, terminal, TIOCSPGRP, &group);
}

/* The plan has put the moves into an order in which none overwrites what a later one needs. */
static long place_descriptor(long from, long to) {
  if (from == to) return SYS3(SYS_fcntl, to, F_SETFD, 0);
  return SYS3(SYS_dup3, from, to, 0);
}

static int is_pipe(long fd) {
  return SYS3(SYS_fcntl, fd, F_GETPIPE_SZ, 0) >= 0;
}

/* A terminal that leads to the same one when it is opened again. The master of a pair would make another pair. */
static int is_terminal(long fd) {
  char attributes[64]; /* The kernel's struct has 36 bytes, or 44. */
  unsigned number;
  return SYS3(SYS_ioctl, fd, TCGETS, attributes) >= 0 && SYS3(SYS_ioctl, fd, TIOCGPTN, &number) < 0;
}

/* Opens a descriptor's file anew in its place, in blocking mode. It is opened without, or a pipe with no other end would hold us. */
static long open_anew(long fd, long flags) {
  char path[sizeof "/proc/self/fd/" + NUMBER_SIZE] = "/proc/self/fd/";
  (void)print_number(path + sizeof "/proc/self/fd/" - 1, (uint64_t)fd);
  const long anew = SYS4(SYS_openat, AT_FDCWD, path, (flags & O_ACCMODE) | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0);
  if (anew < 0) return anew;
  long result = SYS3(SYS_fcntl, anew, F_SETFL, flags & ~O_NONBLOCK);
  if (result >= 0) result = SYS3(SYS_dup3, anew, fd, 0);
  (void)SYS1(SYS_close, anew); /* Nothing was written to it. */
  return result;
}

/*
 * Few programs expect that their standard streams do not block. It is a property of the open file, and so of all who share it:
 * Node sets it for its own pipes, terminals and sockets, and may do so while the program runs. So a pipe is opened anew in any
 * case, and a terminal where it does not block; this process keeps its own. Where that cannot be, as with a socket, `is_for_all`
 * changes it for all. libuv does the same for 0, 1 and 2 of its children.
 */
static void let_block(long fd, int is_for_all) {
  const long flags = SYS3(SYS_fcntl, fd, F_GETFL, 0);
  if (flags < 0) return; /* A step that uses it tells. */
  const int does_block = (flags & O_NONBLOCK) == 0;
  if ((is_pipe(fd) || (!does_block && is_terminal(fd))) && open_anew(fd, flags) >= 0) return;
  if (!does_block && is_for_all) (void)SYS3(SYS_fcntl, fd, F_SETFL, flags & ~O_NONBLOCK);
}

/* A descriptor is placed; then, where the plan says so, it is let block: 1, where nobody else notices, or 2, in any case. */
static long perform_dup2(const struct operation *operation) {
  const long result = place_descriptor((long)operation->a, (long)operation->b);
  if (result >= 0 && operation->count != 0) let_block((long)operation->b, operation->count > 1);
  return result;
}

static long join_core(uint64_t among) {
  if (among == 0) return SYS5(SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_CREATE, 0, PR_SCHED_CORE_SCOPE_THREAD_GROUP, 0);
  return SYS5(SYS_prctl, PR_SCHED_CORE, PR_SCHED_CORE_SHARE_FROM, among, PR_SCHED_CORE_SCOPE_THREAD, 0);
}

static long set_limit(const struct operation *operation) {
  const struct { uint64_t soft, hard; } limit = {operation->a, operation->b};
  return SYS4(SYS_prlimit64, 0, operation->count, &limit, NULL);
}

/* Drops from the bounding set what is not kept. The kernel's last capability is where it answers EINVAL. */
static long bound_capabilities(uint64_t keep, int tolerant) {
  for (int capability = 0; capability < 64; capability++) {
    if ((keep >> capability & 1) != 0) continue;
    long result = SYS5(SYS_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0);
    if (result == -EINVAL) return 0;
    /* As libvirt does: who has no privileges to lose may be told to lose them. */
    if (result == -EPERM && tolerant) return 0;
    if (result < 0) return result;
  }
  return 0;
}

static long set_capabilities(uint64_t keep) {
  const struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  struct __user_cap_data_struct data[2];
  for (int half = 0; half < 2; half++) {
    uint32_t bits = (uint32_t)(keep >> (32 * half));
    data[half].effective = data[half].permitted = data[half].inheritable = bits;
  }
  return SYS2(SYS_capset, &header, data);
}

static long raise_ambient(uint64_t keep) {
  for (int capability = 0; capability < 64; capability++) {
    if ((keep >> capability & 1) == 0) continue;
    long result = SYS5(SYS_prctl, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0);
    if (result < 0) return result;
  }
  return 0;
}

/* Sets all three ids, and looks whether that is so: a change that did not take would be the worst of failures. */
static long set_id(long set, long get, uint64_t id) {
  uint32_t real, effective, saved;
  long result = SYS3(set, id, id, id);
  if (result < 0) return result;
  result = SYS3(get, &real, &effective, &saved);
  if (result < 0) return result;
  return real == id && effective == id && saved == id ? 0 : -EPERM;
}

/* The kernel forgets the signal if the parent is gone before it was asked for; hence the look afterwards. */
static long die_with_parent(uint64_t signal, uint64_t parent) {
  long result = SYS5(SYS_prctl, PR_SET_PDEATHSIG, signal, 0, 0, 0);
  if (result < 0) return result;
  return parent == 0 || (uint64_t)SYS0(SYS_getppid) == parent ? 0 : -ESRCH;
}

/* Fills the pid into a variable that the plan made wide enough for any. */
static long write_listen_pid(char *entry) {
  char *value = entry;
  while (*value != '=') value++;
  (void)print_number(value + 1, (uint64_t)SYS0(SYS_getpid));
  return 0;
}

/*
 * The pidfile is locked by the process that it names, for as long as that lives: the descriptor is not closed at exec, because
 * the lock would go with it. Gives the descriptor.
 */
static long acquire_pidfile(long directory, const char *path, struct report *report) {
  char pid[NUMBER_SIZE];
  const size_t length = print_number(pid, (uint64_t)SYS0(SYS_getpid));
  int32_t detail;
  const long fd = pidfile_acquire(directory, path, O_CREAT, pid, length, &detail);
  if (fd < 0) report->daemon_pid = detail;
  return fd;
}

/*
 * Tells the caller that all is ready, and waits for its word. Only in the helper, where waiting holds nobody else. The end
 * of the pipe is a word as well: the caller has given up, or is dead.
 */
static long shake_hands(long ready, long go) {
  const char byte = '1';
  char answer;
  long result;
  do result = SYS3(SYS_write, ready, &byte, 1);
  while (result == -EINTR);
  if (result < 0) return result;
  do result = SYS3(SYS_read, go, &answer, 1);
  while (result == -EINTR);
  (void)SYS1(SYS_close, ready); /* The program has no use for them. */
  (void)SYS1(SYS_close, go);
  return result == 0 ? -ECANCELED : result;
}

/*
 * Says that the exec comes next, to whom nobody else would tell how a daemon ended. Signals are unblocked by now, and the
 * caller may be dead: that must not end the daemon too.
 */
static void announce_exec(long report_fd) {
  const struct kernel_sigaction ignore = {.handler = SIG_IGN}, to_default = {0};
  const struct report nothing_failed = {0};
  (void)SYS4(SYS_rt_sigaction, SIGPIPE, &ignore, NULL, SIGNAL_SET_SIZE);
  (void)SYS3(SYS_write, report_fd, &nothing_failed,
             sizeof nothing_failed); /* Nobody is left to be told if nobody reads it. */
  (void)SYS4(SYS_rt_sigaction, SIGPIPE, &to_default, NULL, SIGNAL_SET_SIZE);
}

/* The directory that an operation's path begins in. */
static long directory_of(const struct operation *operation) {
  return operation->b == 0 ? AT_FDCWD : (long)operation->b - 1;
}

static long enter_directory(const struct operation *operation, const char *path) {
  const long result = operation->b == 0 ? 0 : SYS1(SYS_fchdir, directory_of(operation));
  return result < 0 ? result : SYS1(SYS_chdir, path);
}

static int leads_to(const char *path, const struct stat *file) {
  struct stat found;
  return SYS4(SYS_newfstatat, AT_FDCWD, path, &found, 0) == 0 && found.st_ino == file->st_ino &&
         found.st_dev == file->st_dev;
}

/* Writes the name that a directory has now, and behind it a path from there. 0: it has none that fits, or there is no /proc. */
static int name_from(char name[PATH_MAX], long directory, const char *path) {
  char link[sizeof "/proc/self/fd/" + NUMBER_SIZE] = "/proc/self/fd/";
  (void)print_number(link + sizeof "/proc/self/fd/" - 1, (uint64_t)directory);
  long length = SYS4(SYS_readlinkat, AT_FDCWD, link, name, PATH_MAX - 1);
  if (length <= 0) return 0;
  for (name[length++] = '/'; length < PATH_MAX; length++, path++) {
    name[length] = *path;
    if (*path == '\0') return 1;
  }
  return 0;
}

/*
 * Executes a file by its path from a directory that the process is not in any more. It goes by a name wherever one leads to that very
 * file: the interpreter of a script opens it by the name that the kernel hands on, and cannot by a descriptor that is closed
 * by then. First by the name that the plan has, then by the one that the directory has now.
 */
static long execute_from(const struct plan *plan, long directory, const char *path) {
  struct stat file;
  char name[PATH_MAX];
  long result = SYS4(SYS_newfstatat, directory, path, &file, 0);
  if (result < 0) return result;
  if (leads_to(plan->file, &file)) return SYS3(SYS_execve, plan->file, plan->argv, plan->envp);
  if (name_from(name, directory, path) && leads_to(name, &file)) return SYS3(SYS_execve, name, plan->argv, plan->envp);
  return SYS5(SYS_execveat, directory, path, plan->argv, plan->envp, 0);
}

static long perform(const struct plan *plan, const struct operation *operation, struct report *report) {
  const char *text = plan->bytes + operation->text;
  switch (operation->code) {
    case STEP_CGROUP:
      return enter_cgroup(text);
    case STEP_SIGACTION:
      return default_signals();
    case STEP_SETSID:
      return SYS0(SYS_setsid);
    case STEP_TIOCSCTTY:
      return SYS3(SYS_ioctl, operation->a, TIOCSCTTY, 0);
    case STEP_SETPGID:
      return SYS2(SYS_setpgid, 0, 0);
    case STEP_TCSETPGRP:
      return take_foreground((long)operation->a);
    case STEP_DUP2:
      return perform_dup2(operation);
    case STEP_CLOSE_RANGE:
      return SYS3(SYS_close_range, operation->a, operation->b, CLOSE_RANGE_CLOEXEC);
    case STEP_UMASK:
      (void)SYS1(SYS_umask, operation->a); /* It gives the old mask, and cannot fail. */
      return 0;
    case STEP_SETPRIORITY:
      return SYS3(SYS_setpriority, 0 /* PRIO_PROCESS */, 0, (int64_t)operation->a);
    case STEP_OOM_SCORE_ADJ:
      return write_file("/proc/self/oom_score_adj", text, operation->count);
    case STEP_SCHED_CORE:
      return join_core(operation->a);
    case STEP_PRLIMIT:
      return set_limit(operation);
    case STEP_PIDFILE:
      /* a: the descriptor of one that was acquired before the hook, and is held; only a failure still has to know of it. */
      return operation->a != 0 ? (long)operation->a : acquire_pidfile(directory_of(operation), text, report);
    case STEP_LISTEN_PID:
      return write_listen_pid(plan->envp[operation->a]);
    case STEP_SELINUX:
      return write_file("/proc/thread-self/attr/exec", text, operation->count);
    case STEP_APPARMOR:
      return write_file("/proc/thread-self/attr/apparmor/exec", text, operation->count);
    case STEP_CAPBSET_DROP:
      return bound_capabilities(operation->a, operation->b != 0);
    case STEP_SETGROUPS:
      return SYS2(SYS_setgroups, operation->count, text);
    case STEP_SETGID:
      return set_id(SYS_setresgid, SYS_getresgid, operation->a);
    case STEP_SETUID: {
      long result = operation->b == 0 ? 0 : SYS5(SYS_prctl, PR_SET_KEEPCAPS, 1, 0, 0, 0);
      return result < 0 ? result : set_id(SYS_setresuid, SYS_getresuid, operation->a);
    }
    case STEP_CAPSET:
      return set_capabilities(operation->a);
    case STEP_CAP_AMBIENT:
      return raise_ambient(operation->a);
    case STEP_CHDIR:
      return enter_directory(operation, text);
    case STEP_NO_NEW_PRIVS:
      return SYS5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    case STEP_PDEATHSIG:
      return die_with_parent(operation->a, operation->b);
    case STEP_HANDSHAKE:
      return shake_hands((long)operation->a, (long)operation->b);
    case STEP_SIGPROCMASK:
      return unblock_signals();
    case STEP_PTRACE:
      /* For a rehearsal: the exec that comes is followed by a stop, before the program's first instruction. */
      return SYS4(SYS_ptrace, 0 /* PTRACE_TRACEME */, 0, 0, 0);
    case STEP_EXECVE:
      if (operation->a != 0) announce_exec((long)operation->a);
      return operation->b == 0 ? SYS3(SYS_execve, plan->file, plan->argv, plan->envp)
                               : execute_from(plan, directory_of(operation), text);
    default:
      return -ENOSYS;
  }
}

/*
 * Forks once more, so that the program leads no session and is nobody's child but init's. The daemon goes on; the process in
 * the middle sleeps until the daemon has executed its program or failed, and ends. Both share this stack: the daemon only
 * goes deeper, and the middle one reads nothing of it but what it keeps in registers.
 */
static inline __attribute__((always_inline)) long fork_daemon(struct report *report) {
  const long pid = SYS5(SYS_clone, CLONE_VM | CLONE_VFORK | SIGCHLD, 0, 0, 0, 0);
  if (pid > 0) {
    if (!report->failed) report->daemon_pid = (int32_t)pid;
    (void)SYS1(SYS_exit_group, report->failed ? 127 : 0);
  }
  return pid;
}

void child_run(const struct plan *plan, uint32_t from, struct report *report) {
  const char *pidfile = NULL;
  long pidfile_fd = -1, pidfile_directory = AT_FDCWD;
  for (uint32_t i = from; i < plan->count; i++) {
    const struct operation *operation = &plan->operations[i];
    const long result = operation->code == STEP_DAEMON_FORK ? fork_daemon(report) : perform(plan, operation, report);
    if (result >= 0) {
      if (operation->code == STEP_PIDFILE) {
        pidfile = plan->bytes + operation->text;
        pidfile_fd = result;
        pidfile_directory = directory_of(operation);
      }
      continue;
    }
    /* A pidfile of a daemon that never was. Its lock is still ours; but a handshake may have lasted, and who knows no locks
     * may have put another file there. */
    if (pidfile != NULL) pidfile_remove(pidfile_fd, pidfile_directory, pidfile);
    report->step = (int32_t)operation->step;
    report->errno_ = (int32_t)-result;
    report->failed = 1;
    return;
  }
}
