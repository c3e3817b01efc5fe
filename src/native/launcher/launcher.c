/*
 * One thread for each launch. It sleeps in the vfork in place of the thread that runs JavaScript, which is held for the clone() of a
 * thread only. Threads tell of their children over a pair of sockets, whose other end is in the watcher's epoll set. A pidfd travels as
 * a right, since a thread's descriptors are not this process's.
 */
#include "launcher/launcher.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "child/kernel.h"
#include "child/steps.h"
#include "child/sys.h"
#include "launcher/thread.h"

extern char **environ;

enum {
  SIGNAL_SET_SIZE = 8,
  THREAD_STACK_SIZE = CHILD_STACK_SIZE + 16 * 1024, /* The child goes deeper on the stack of its thread. */
  MOST_THREADS = 16, /* A thread stays as long as its child, and counts where processes are counted. */
};

/* A launch, and the thread that makes it. */
struct flight {
  struct thread_launch launch; /* The first: by its address the thread tells of it. */
  struct plan *plan;
  void *context;
  char **variables; /* this process's at the call, where the plan inherits them */
  int room;         /* keeps a number for the pidfd, so that there is no child without one */
  int is_flying;    /* not told of */
  int thread;
  int32_t is_alive; /* The kernel clears it when the thread has left its stack. */
  char stack[THREAD_STACK_SIZE] __attribute__((aligned(64)));
};

struct launcher {
  launcher_told on_launched;
  int told_fd, telling_fd;
  int spare; /* a number for a pidfd, where the limit has sunk below the one that was kept; or -1 */
  int is_refused;
  unsigned flying;
  struct flight *flights[MOST_THREADS];
};

/* ---------------------------------------------------------------- what a launch needs */

static int is_alive(const struct flight *flight) {
  return __atomic_load_n(&flight->is_alive, __ATOMIC_ACQUIRE) != 0;
}

/* A flight that nobody uses. NULL: there are enough, or there is no memory. */
static struct flight *free_flight(struct launcher *launcher) {
  for (int i = 0; i < MOST_THREADS; i++) {
    struct flight **place = &launcher->flights[i];
    if (*place == NULL && (*place = aligned_alloc(64, sizeof **place)) != NULL)
      memset(*place, 0, offsetof(struct flight, stack));
    if (*place == NULL) return NULL;
    if (!(*place)->is_flying && !is_alive(*place)) return *place;
  }
  return NULL;
}

/* Notes where a move begins, in the order of the numbers, once. */
static int add_source(struct thread_launch *launch, int number) {
  int at = launch->count;
  while (at > 0 && launch->sources[at - 1] > number) at--;
  if (at > 0 && launch->sources[at - 1] == number) return 1;
  if (number < 0 || launch->count == MOST_SOURCES) return 0;
  memmove(&launch->sources[at + 1], &launch->sources[at], (size_t)(launch->count - at) * sizeof(int));
  launch->sources[at] = number;
  launch->count++;
  return 1;
}

/* Notes where the moves of the plan begin: all of its descriptors. One that opens a circle begins at a number that a move has made. */
static int add_sources(struct thread_launch *launch) {
  const struct operation *operations = launch->plan->operations;
  for (uint32_t i = 0; i < launch->plan->count; i++) {
    if (operations[i].code != STEP_DUP2) continue;
    int is_made = 0;
    for (uint32_t j = 0; j < i; j++) is_made |= operations[j].code == STEP_DUP2 && operations[j].b == operations[i].a;
    if (!is_made && !add_source(launch, (int)operations[i].a)) return 0;
  }
  return 1;
}

/* A limit that was lowered after a descriptor was opened would not let the thread have one of that number. */
static int numbers_are_allowed(const struct thread_launch *launch) {
  enum { BESIDE_THE_SOURCES = 4 }; /* the pidfd of this process, the socket, their first places */
  struct rlimit limit;
  const rlim_t highest = launch->count == 0 ? 0 : (rlim_t)launch->sources[launch->count - 1];
  return getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > highest + BESIDE_THE_SOURCES;
}

/* JavaScript may change a variable while the thread is on its way: a plan that inherits them gets those of now. */
static int keep_variables(struct flight *flight) {
  if (flight->plan->envp != environ) return 1;
  size_t count = 0, size = 0;
  for (; environ[count] != NULL; count++) size += strlen(environ[count]) + 1;
  flight->variables = malloc((count + 1) * sizeof(char *) + size);
  if (flight->variables == NULL) return 0;
  char *end = (char *)(flight->variables + count + 1);
  for (size_t i = 0; i < count; i++) {
    const size_t length = strlen(environ[i]) + 1;
    flight->variables[i] = memcpy(end, environ[i], length);
    end += length;
  }
  flight->variables[count] = NULL;
  flight->plan->envp = flight->variables;
  return 1;
}

/* Whether a thread may confine itself, and take descriptors out of this process's table. 0, or an errno. */
static int try_what_it_takes(int fd) {
  static const uint32_t action = SECCOMP_RET_ALLOW;
  const long can_confine = SYS3(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action);
  if (can_confine < 0) return (int)-can_confine;
  const long self = SYS2(SYS_pidfd_open, getpid(), 0);
  if (self < 0) return (int)-self;
  const long taken = SYS3(SYS_pidfd_getfd, self, fd, 0);
  close((int)self);
  if (taken >= 0) close((int)taken);
  return taken < 0 ? (int)-taken : 0;
}

/* A sandbox may refuse that, also one that was entered since the last launch. A thread could not even tell. */
static int is_refused(struct launcher *launcher) {
  if (!launcher->is_refused && prctl(PR_GET_SECCOMP) != 0)
    launcher->is_refused = try_what_it_takes(launcher->telling_fd) != 0;
  return launcher->is_refused;
}

/* Keeps the lowest number that is free, by a copy of what is there anyway. */
static int keep_number(const struct launcher *launcher) {
  return fcntl(launcher->told_fd, F_DUPFD_CLOEXEC, 0);
}

/* Gives a number back. */
static void free_number(int *number) {
  if (*number >= 0) close(*number);
  *number = -1;
}

static void let_go(struct flight *flight) {
  free_number(&flight->room);
  free(flight->variables);
  flight->variables = NULL;
}

/* ---------------------------------------------------------------- beginning */

static int start_thread(struct flight *flight) {
  const uint64_t all = ~(uint64_t)0;
  uint64_t before;
  flight->is_alive = 1;
  /* The thread and the child have all signals blocked from their beginning on: the mask of this thread is copied. */
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, SIGNAL_SET_SIZE);
  /* No CLONE_FS: directory, umask and root are those of the call, also where they are changed a moment later. */
  flight->thread = clone(thread_main, flight->stack + THREAD_STACK_SIZE,
                         CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_CHILD_CLEARTID, &flight->launch,
                         NULL, NULL, &flight->is_alive);
  (void)SYS4(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, SIGNAL_SET_SIZE);
  if (flight->thread < 0) flight->is_alive = 0;
  return flight->thread >= 0;
}

int launcher_start(struct launcher *launcher, struct plan *plan, void *context) {
  launch_reap_adopted();
  struct flight *flight = free_flight(launcher);
  if (flight == NULL || is_refused(launcher)) return 0;
  if (launcher->spare < 0) launcher->spare = keep_number(launcher);
  flight->launch = (struct thread_launch){.plan = plan, .socket = launcher->telling_fd};
  flight->plan = plan;
  flight->context = context;
  flight->room = keep_number(launcher);
  char **const inherited = plan->envp;
  if (launcher->spare >= 0 && flight->room >= 0 && add_sources(&flight->launch) &&
      numbers_are_allowed(&flight->launch) && keep_variables(flight) && start_thread(flight)) {
    flight->is_flying = 1;
    launcher->flying++;
    return 1;
  }
  plan->envp = inherited;
  let_go(flight);
  return 0;
}

/* ---------------------------------------------------------------- telling */

/* Receives one word, at the number that is kept for its pidfd. NULL: there is none. */
static struct flight *receive(const struct launcher *launcher, int flags, int *ret_pidfd) {
  struct thread_launch *launch = NULL;
  union {
    char bytes[CMSG_SPACE(sizeof(int))];
    struct cmsghdr aligned;
  } control;
  struct iovec word = {&launch, sizeof launch};
  struct msghdr message = {
      .msg_iov = &word, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control.bytes};
  ssize_t size;
  /* Whose it is, is not known before the descriptor comes with it. A look installs none. */
  do size = recv(launcher->told_fd, &launch, sizeof launch, MSG_PEEK | flags);
  while (size < 0 && errno == EINTR);
  if (size < 0) return NULL;
  struct flight *flight = (struct flight *)launch;
  free_number(&flight->room);
  do size = recvmsg(launcher->told_fd, &message, MSG_CMSG_CLOEXEC);
  while (size < 0 && errno == EINTR);
  const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
  *ret_pidfd = -1;
  if (header != NULL && header->cmsg_type == SCM_RIGHTS && header->cmsg_len == CMSG_LEN(sizeof(int)))
    memcpy(ret_pidfd, CMSG_DATA(header), sizeof(int));
  return flight;
}

/*
 * The limit has sunk, another thread has taken the number in that very moment, or a right could not travel. The child is ours, and not
 * reaped, so its pid is its own. Gives a pidfd, or a negative errno: then it is ended.
 */
static int open_child(struct launcher *launcher, int pid) {
  long pidfd = SYS2(SYS_pidfd_open, pid, 0);
  if (pidfd < 0) {
    free_number(&launcher->spare);
    pidfd = SYS2(SYS_pidfd_open, pid, 0);
    launcher->spare = keep_number(launcher);
  }
  if (pidfd >= 0) return (int)pidfd;
  (void)kill(pid, SIGKILL);
  while (waitpid(pid, NULL, 0) < 0 && errno == EINTR) {
  }
  return (int)pidfd;
}

/*
 * The thread could make no child. It counts itself where processes are counted, and may have been the one that was too many: so this
 * thread makes the child when it has gone. It leaves its stack first, and its number a moment later; that may be another's by then.
 */
static void launch_instead(const struct flight *flight, char *stack, struct launched *ret_launched) {
  enum { LOOKS = 1000 };
  while (is_alive(flight)) (void)SYS4(SYS_futex, &flight->is_alive, FUTEX_WAIT, 1, NULL);
  for (int i = 0; i < LOOKS && SYS3(SYS_tgkill, getpid(), flight->thread, 0) == 0; i++) (void)sched_yield();
  launch(flight->plan, stack, ret_launched);
}

static void take_one(struct launcher *launcher, struct flight *flight, int pidfd, char *stack) {
  const int pid = flight->launch.pid;
  struct launched launched;
  if (pid >= 0 && pidfd < 0) pidfd = open_child(launcher, pid);
  if (pid < 0)
    launch_instead(flight, stack, &launched);
  else if (pidfd < 0)
    launched = (struct launched){.pidfd = -1, .clone_errno = -pidfd};
  else
    launch_conclude(pid, pidfd, &flight->launch.report, &launched);
  plan_free(flight->plan);
  let_go(flight);
  flight->is_flying = 0;
  launcher->flying--;
  launcher->on_launched(flight->context, &launched);
}

void launcher_take(struct launcher *launcher, char *stack, int waits) {
  struct flight *flight;
  int pidfd;
  while (launcher->flying > 0 && (flight = receive(launcher, waits ? 0 : MSG_DONTWAIT, &pidfd)) != NULL)
    take_one(launcher, flight, pidfd, stack);
}

/* ---------------------------------------------------------------- from the beginning to the end */

int launcher_fd(const struct launcher *launcher) {
  return launcher->told_fd;
}

struct launcher *launcher_new(launcher_told on_launched) {
  struct launcher *launcher = calloc(1, sizeof *launcher);
  if (launcher == NULL) return NULL;
  int ends[2];
  int why = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0 ? errno : 0;
  if (why == 0 && (why = try_what_it_takes(ends[1])) != 0) {
    close(ends[0]);
    close(ends[1]);
  }
  if (why != 0) {
    free(launcher);
    errno = why;
    return NULL;
  }
  launcher->on_launched = on_launched;
  launcher->told_fd = ends[0];
  launcher->telling_fd = ends[1];
  launcher->spare = keep_number(launcher);
  return launcher;
}

void launcher_close(struct launcher *launcher, char *stack) {
  launcher_take(launcher, stack, 1);
  for (int i = 0; i < MOST_THREADS; i++) {
    struct flight *flight = launcher->flights[i];
    /* One whose child lives on sleeps on its stack, which stays with it. */
    if (flight != NULL && !is_alive(flight)) free(flight);
  }
  free_number(&launcher->spare);
  close(launcher->told_fd);
  close(launcher->telling_fd);
  free(launcher);
}
