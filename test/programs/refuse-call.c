/*
 * Executes a program in a sandbox that refuses one system call: ERRNO CALL PROGRAM [ARGUMENT...]. A `clone` is refused only where
 * it asks for a pidfd, since Node starts its threads by the same call.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef CLONE_PIDFD
#define CLONE_PIDFD 0x00001000
#endif

static const struct {
  const char *name;
  unsigned number;
} calls[] = {
    {"clone", SYS_clone},
    {"close_range", 436},
    {"dup3", SYS_dup3},
#ifdef SYS_epoll_wait
    {"epoll_wait", SYS_epoll_wait},
#endif
    {"memfd_create", SYS_memfd_create},
    {"pidfd_getfd", 438},
    {"pidfd_open", 434},
    {"pidfd_send_signal", 424},
    {"prlimit64", SYS_prlimit64},
    {"waitid", SYS_waitid},
};

int main(int argc, char **argv) {
  if (argc < 4) return 2;
  const unsigned refused = strcmp(argv[1], "ENOSYS") == 0 ? ENOSYS : EPERM;
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    if (strcmp(calls[i].name, argv[2]) != 0) continue;
    const int is_clone = calls[i].number == SYS_clone;
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, calls[i].number, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
        BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, is_clone ? CLONE_PIDFD : 0, 0, is_clone ? 1 : 0),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | refused),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) != 0) {
      perror("seccomp");
      return 3;
    }
    execv(argv[3], argv + 3);
    perror(argv[3]);
    return 4;
  }
  fprintf(stderr, "%s is not in the list of this program\n", argv[2]);
  return 2;
}
