/*
 * clone(CLONE_VM | CLONE_VFORK | CLONE_PIDFD): the child runs in our memory while this thread sleeps, so a launch costs the
 * same from a process of 4 GiB as from a small one, and a failure comes back through memory, without a pipe.
 *
 * All signals are blocked meanwhile, in the parent and so in the child: a handler of the parent's that ran in the child
 * would run on the parent's data. The raw system call is needed because the C library keeps two signals for itself and
 * never blocks those.
 */
#include "process/launch.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/kernel.h"
#include "child/steps.h"
#include "child/sys.h"
#include "process/clone3.h"

enum { SIGNAL_SET_SIZE = 8 };

struct start {
  const struct plan *plan;
  uint32_t from; /* the first operation that is left for the child */
  struct report *report;
};

static int child_main(void *argument) {
  struct start *start = argument;
  child_run(start->plan, start->from, start->report);
  (void)SYS1(SYS_exit_group, 127);
  __builtin_unreachable();
}

static int clone_plain(int (*entry)(void *), void *argument, char *stack, int *ret_pidfd) {
  const int pid =
      clone(entry, stack + CHILD_STACK_SIZE, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, argument, ret_pidfd);
  return pid < 0 ? -errno : pid;
}

/* The child is born in the control group of a descriptor. Nobody waits then, as whoever moves a process to another group has to. */
static int clone_into(int group, int (*entry)(void *), void *argument, char *stack, int *ret_pidfd) {
  const struct clone3_arguments arguments = {
      .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_INTO_CGROUP,
      .pidfd = (uint64_t)(uintptr_t)ret_pidfd,
      .exit_signal = SIGCHLD,
      .stack = (uint64_t)(uintptr_t)stack,
      .stack_size = CHILD_STACK_SIZE,
      .cgroup = (uint64_t)group,
  };
  return (int)clone3_call(&arguments, entry, argument);
}

static uint64_t block_signals(void) {
  const uint64_t all = ~(uint64_t)0;
  uint64_t before;
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNAL_SET_SIZE); /* Fails only for bad arguments. */
  return before;
}

static void restore_signals(uint64_t before) {
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNAL_SET_SIZE);
}

/*
 * A descriptor of the control group that the child shall enter, or -1: where it enters none, or has something to do before, or the
 * directory cannot be opened.
 */
static int open_group(const struct plan *plan) {
  if (plan->operations[0].code != STEP_CGROUP) return -1;
  const char *procs = plan->bytes + plan->operations[0].text, *end = strrchr(procs, '/');
  char directory[PATH_MAX];
  if (end == NULL || end == procs || (size_t)(end - procs) >= sizeof directory) return -1;
  memcpy(directory, procs, (size_t)(end - procs));
  directory[end - procs] = '\0';
  return open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/*
 * Makes the child. Where the kernel, its age or a sandbox does not let it be born in its control group, the child enters that by
 * itself, with its first step: what is wrong with the group is told by that, and by nothing else.
 */
static int clone_child(struct start *start, char *stack, int *ret_pidfd) {
  const int group = open_group(start->plan);
  const uint64_t before = block_signals();
  int pid = -1;
  if (group >= 0) {
    start->from = 1;
    pid = clone_into(group, child_main, start, stack, ret_pidfd);
  }
  if (pid < 0) {
    start->from = 0;
    pid = clone_plain(child_main, start, stack, ret_pidfd);
  }
  restore_signals(before);
  if (group >= 0) close(group);
  return pid;
}

void launch_reap(int pidfd) {
  siginfo_t info;
  while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0 && errno == EINTR) {
  }
  close(pidfd);
}

/* ---------------------------------------------------------------- children without a thread */

/* The only state that threads share. A child that is over is nobody's concern but the kernel's, which keeps its entry. */
static pthread_mutex_t adopted_lock = PTHREAD_MUTEX_INITIALIZER;
static struct adopted {
  struct adopted *next;
  int pidfd;
} * adopted;

void launch_adopt(int pidfd) {
  struct adopted *entry = malloc(sizeof *entry);
  if (entry == NULL) {
    close(pidfd); /* Its entry in the process table stays until this process ends. */
    return;
  }
  entry->pidfd = pidfd;
  (void)pthread_mutex_lock(&adopted_lock); /* Fails only for a thread that holds it already. */
  entry->next = adopted;
  adopted = entry;
  (void)pthread_mutex_unlock(&adopted_lock);
}

void launch_reap_adopted(void) {
  if (adopted == NULL || pthread_mutex_trylock(&adopted_lock) != 0) return;
  for (struct adopted **link = &adopted; *link != NULL;) {
    struct adopted *entry = *link;
    siginfo_t info = {0};
    const int result = waitid((idtype_t)P_PIDFD, (id_t)entry->pidfd, &info, WEXITED | WNOHANG);
    if (result == 0 && info.si_pid == 0) {
      link = &entry->next; /* It still runs. */
      continue;
    }
    *link = entry->next;
    close(entry->pidfd);
    free(entry);
  }
  (void)pthread_mutex_unlock(&adopted_lock);
}

/* ---------------------------------------------------------------- launching */

void launch_conclude(int pid, int pidfd, const struct report *report, struct launched *ret_launched) {
  struct launched launched = {.pid = pid, .pidfd = pidfd, .report = *report};
  if (report->failed || report->daemon_pid != 0) {
    /* The child has ended: it failed, or it was the one that forked the daemon. */
    launch_reap(pidfd);
    launched.pidfd = -1;
    launched.pid = report->failed ? 0 : report->daemon_pid;
  }
  *ret_launched = launched;
}

void launch(const struct plan *plan, char *stack, struct launched *ret_launched) {
  struct launched launched = {.pidfd = -1};
  /* The child writes here while we sleep; the compiler must not think that it knows what stands in it. */
  volatile struct report *report = &launched.report;
  struct start start = {.plan = plan, .report = (struct report *)report};

  launch_reap_adopted();
  const int pid = clone_child(&start, stack, &launched.pidfd);
  if (pid >= 0)
    launch_conclude(pid, launched.pidfd, (struct report *)report, ret_launched);
  else
    *ret_launched = (struct launched){.pidfd = -1, .clone_errno = -pid};
}

int launch_kill(int pidfd) {
  return SYS4(SYS_pidfd_send_signal, pidfd, SIGKILL, NULL, 0) != -EPERM; /* It may just have ended, which is as good. */
}

static int probe_main(void *argument) {
  *(volatile int *)argument = 1;
  (void)SYS1(SYS_exit_group, 0);
  __builtin_unreachable();
}

/* Out of descriptors, processes or memory just now: that says nothing of what is possible. */
static int is_scarcity(int why) {
  return why == EMFILE || why == ENFILE || why == EAGAIN || why == ENOMEM;
}

/*
 * Calls what changes nothing. A sandbox answers such a call before the kernel looks at its arguments, so another answer than
 * the kernel's says that the call is refused. What libuv itself cannot do without needs no question.
 */
static int call_refused(const char **ret_call) {
  struct epoll_event event;
  /* The last number there is: nothing is open there. The flag came with Linux 5.11, and all else before it. */
  long answer = SYS3(SYS_close_range, ~0u, ~0u, CLOSE_RANGE_CLOEXEC);
  *ret_call = "close_range";
  if (answer < 0) return (int)-answer;
  answer = SYS3(SYS_dup3, -1, -1, 0);
  *ret_call = "dup3";
  if (answer != -EINVAL) return (int)-answer;
  answer = SYS4(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, NULL);
  *ret_call = "prlimit64";
  if (answer < 0) return (int)-answer;
  *ret_call = "epoll_wait";
  return epoll_wait(-1, &event, 1, 0) < 0 && errno != EBADF ? errno : 0;
}

/* How a child that has ended is signaled and reaped, which it is in any case. */
static int end_refused(int pid, int pidfd, const char **ret_call) {
  siginfo_t info = {0};
  struct rusage usage;
  long answer = SYS4(SYS_pidfd_send_signal, pidfd, 0, NULL, 0);
  *ret_call = "pidfd_send_signal";
  int why = answer < 0 && answer != -ESRCH ? (int)-answer : 0;
  do answer = SYS5(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | __WALL, &usage);
  while (answer == -EINTR);
  if (answer < 0) (void)waitpid(pid, NULL, 0);
  if (why != 0 || answer >= 0) return why;
  *ret_call = "waitid";
  return (int)-answer;
}

int launch_probe(char *stack, const char **ret_call) {
  int why = call_refused(ret_call);
  if (why != 0) return why;
  volatile int shared = 0;
  int pidfd = -1;
  const uint64_t before = block_signals();
  const int pid = clone_plain(probe_main, (void *)&shared, stack, &pidfd);
  restore_signals(before);
  *ret_call = "clone";
  if (pid < 0) return is_scarcity(-pid) ? 0 : -pid;
  if (pidfd < 0) { /* A kernel that ignores CLONE_PIDFD. */
    (void)waitpid(pid, NULL, 0);
    return EINVAL;
  }
  why = end_refused(pid, pidfd, ret_call);
  close(pidfd);
  if (why != 0 || shared == 1) return why;
  *ret_call = "clone";
  return -1;
}

int launch_has_core_scheduling(void) {
  unsigned long cookie = 0; /* To ask for one's own changes nothing. */
  return prctl(PR_SCHED_CORE, PR_SCHED_CORE_GET, 0, PR_SCHED_CORE_SCOPE_THREAD, &cookie) == 0;
}
