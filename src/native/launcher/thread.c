/*
 * A launcher thread: it makes one child, tells of it, and stays until that has ended. The thread that runs JavaScript goes on meanwhile.
 *
 * It is copied from its maker at the call, so it has what a fork at the call would inherit: ids, capabilities, directory, umask,
 * namespaces, nice value, affinity and the rest, and its child has all that from it. One thing is not copied: descriptors. The thread
 * begins with an empty table, and takes from its maker's what the plan needs, at the numbers that the plan has for it. So the child
 * never holds another descriptor of this process, and what is closed there is closed.
 *
 * It sleeps in the vfork, so that the kernel sees what it sees of any launch: a child that borrows the memory of a parent which waits.
 *
 * And it stays because it is the child's parent. A program may ask for a signal at the end of its parent, which is that of this thread:
 * one that left at once would end a program that has just asked. While it stays, its process may give up ids; so it confines itself.
 *
 * The rules are those of child.c. The C library does not know of this thread, and its thread-local memory is that of its maker.
 */
#include "launcher/thread.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/prctl.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>
#include <time.h>

#include "child/kernel.h"
#include "child/sys.h"

static const struct timespec a_millisecond = {.tv_nsec = 1000000};

/* Asks again for what the kernel has no room for just now. That it is allowed, the maker has tried. */
static long insist(long number, long a, long b, long c) {
  long result;
  while ((result = SYS3(number, a, b, c)) < 0) (void)SYS2(SYS_nanosleep, &a_millisecond, 0);
  return result;
}

/* An empty table, but for the pidfd of this very process, which it gives, and the socket: both above all sources. */
static long begin_table(const struct thread_launch *launch, long *ret_socket) {
  const int above = launch->count == 0 ? 0 : launch->sources[launch->count - 1] + 1;
  long result = SYS3(SYS_close_range, 0, ~0u, CLOSE_RANGE_UNSHARE);
  if (result < 0) return result; /* The table is still that of all. */
  const long low = insist(SYS_pidfd_open, SYS0(SYS_getpid), 0, 0);
  const long socket = *ret_socket = insist(SYS_pidfd_getfd, low, launch->socket, 0);
  const long high = SYS3(SYS_fcntl, socket, F_DUPFD_CLOEXEC, above);
  if (high < 0) return high;
  *ret_socket = high;
  const long self = SYS3(SYS_fcntl, low, F_DUPFD_CLOEXEC, above);
  if (self < 0) return self;
  (void)SYS1(SYS_close, low); /* Two names of what is kept. */
  (void)SYS1(SYS_close, socket);
  return self;
}

/*
 * Takes the sources, the highest number first. Those that are still to come are below it, and fewer than the numbers there are: so the
 * lowest free number, which the kernel gives, is never above the one that is wanted.
 */
static long take_sources(const struct thread_launch *launch, long self) {
  for (int i = launch->count - 1; i >= 0; i--) {
    const int number = launch->sources[i];
    const long taken = SYS3(SYS_pidfd_getfd, self, number, 0);
    if (taken < 0) return taken;
    if (taken == number) continue;
    const long placed = SYS3(SYS_dup3, taken, number, O_CLOEXEC);
    (void)SYS1(SYS_close, taken); /* This process has it open, too. */
    if (placed < 0) return placed;
  }
  return 0;
}

static __attribute__((noreturn, noinline)) void run_child(struct thread_launch *launch) {
  child_run(launch->plan, 0, &launch->report);
  (void)SYS1(SYS_exit_group, 127);
  __builtin_unreachable();
}

/*
 * The child goes deeper on this stack while the thread sleeps, as a daemon does in child.c. What lies above stays as it is: the child
 * does nothing here but call a function that never comes back.
 */
static __attribute__((noinline)) long clone_child(struct thread_launch *launch) {
  const long pid = SYS5(SYS_clone, CLONE_VM | CLONE_VFORK | CLONE_PIDFD | SIGCHLD, 0, &launch->pidfd, 0, 0);
  if (pid == 0) run_child(launch);
  return pid;
}

/* Says that it is done. Where the pidfd cannot travel, the pid is enough: nobody but the receiver reaps that child. */
static void tell(struct thread_launch *launch, long socket) {
  struct {
    struct cmsghdr header;
    int fd;
  } control;
  struct iovec word;
  struct msghdr message;
  word.iov_base = &launch;
  word.iov_len = sizeof launch;
  control.header.cmsg_level = SOL_SOCKET;
  control.header.cmsg_type = SCM_RIGHTS;
  control.header.cmsg_len = CMSG_LEN(sizeof(int));
  control.fd = launch->pidfd;
  message.msg_name = 0;
  message.msg_namelen = 0;
  message.msg_iov = &word;
  message.msg_iovlen = 1;
  message.msg_flags = 0;
  message.msg_control = launch->pid < 0 ? 0 : &control;
  message.msg_controllen = launch->pid < 0 ? 0 : sizeof control;
  if (SYS3(SYS_sendmsg, socket, &message, MSG_NOSIGNAL) >= 0) return;
  (void)insist(SYS_write, socket, (long)&launch, sizeof launch);
}

/* Whether this process could give up ids or capabilities. This thread would keep them, as the C library has the threads that it knows follow. */
static int has_something_to_give_up(void) {
  uint32_t uid[3], gid[3];
  struct __user_cap_header_struct header;
  struct __user_cap_data_struct data[2];
  header.version = _LINUX_CAPABILITY_VERSION_3;
  header.pid = 0;
  if (SYS3(SYS_getresuid, &uid[0], &uid[1], &uid[2]) < 0 || SYS3(SYS_getresgid, &gid[0], &gid[1], &gid[2]) < 0)
    return 1;
  if (SYS2(SYS_capget, &header, data) < 0) return 1;
  return uid[0] != uid[1] || uid[0] != uid[2] || gid[0] != gid[1] || gid[0] != gid[2] ||
         (data[0].permitted | data[1].permitted) != 0;
}

/*
 * From now on this thread can wait for its child and leave, and nothing else, whatever becomes of the memory that it shares. So it is of
 * no use to anybody who takes over a process that has given up its ids. To change the thread's own would not do: it is the change of
 * ids that makes memory private to root, or open to another user.
 */
static void confine(void) {
#if defined(__x86_64__)
  enum { ARCH = AUDIT_ARCH_X86_64 };
#else
  enum { ARCH = AUDIT_ARCH_AARCH64 };
#endif
  static const struct sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)ARCH, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ppoll, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_exit, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  struct sock_fprog program;
  program.len = sizeof filter / sizeof *filter;
  program.filter = (struct sock_filter *)filter;
  (void)SYS5(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  while (SYS3(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) == -ENOMEM)
    (void)SYS2(SYS_nanosleep, &a_millisecond, 0);
}

/* Waits for the end of the child, for at most so long, and leaves it to be reaped by whoever looks after it. Whether it has ended. */
static int await_end(int pidfd, struct timespec *limit) {
  struct pollfd child;
  long result;
  child.fd = pidfd;
  child.events = POLLIN;
  while ((result = SYS5(SYS_ppoll, &child, 1, limit, 0, 0)) == -EINTR) {
  }
  return result != 0;
}

/* Stays as long as the child. Most programs that run beside another one have ended before a filter would be worth its time. */
static void stay(int pidfd) {
  struct timespec shortly;
  shortly.tv_sec = 0;
  shortly.tv_nsec = 10 * 1000000;
  if (await_end(pidfd, &shortly)) return;
  if (has_something_to_give_up()) confine();
  (void)await_end(pidfd, 0);
}

int thread_main(void *argument) {
  struct thread_launch *launch = argument;
  long socket = launch->socket;
  const long self = begin_table(launch, &socket);
  long pid = self < 0 ? self : take_sources(launch, self);
  if (pid >= 0) pid = clone_child(launch);
  launch->pid = (int)pid;
  /* Before anybody hears of the child: who reads its output waits for the last writer. */
  for (int i = 0; i < launch->count && self >= 0; i++) (void)SYS1(SYS_close, launch->sources[i]);
  tell(launch, socket);
  if (pid >= 0) stay(launch->pidfd);
  (void)SYS1(SYS_exit, 0);
  __builtin_unreachable();
}
