/*
 * The one list of steps: for plans, for errors, and for the child that takes them.
 *
 * src/text/step-names.ts holds the same names in the same order; a test compares the two. A step's number is its place here, and is
 * what stands in an encoded plan. What a step means is told in child.c, where it is taken.
 */
#ifndef VIRCOMMAND_STEPS_H
#define VIRCOMMAND_STEPS_H

#define FOR_EACH_STEP(STEP)            \
  STEP(ABORT, "abort")                 \
  STEP(PATH_SEARCH, "path-search")     \
  STEP(OPEN, "open")                   \
  STEP(PIPE, "pipe")                   \
  STEP(CLONE, "clone")                 \
  STEP(CGROUP, "cgroup")               \
  STEP(SIGACTION, "sigaction")         \
  STEP(SETSID, "setsid")               \
  STEP(SETPGID, "setpgid")             \
  STEP(DAEMON_FORK, "daemon-fork")     \
  STEP(DUP2, "dup2")                   \
  STEP(CLOSE_RANGE, "close_range")     \
  STEP(UMASK, "umask")                 \
  STEP(SETPRIORITY, "setpriority")     \
  STEP(OOM_SCORE_ADJ, "oom_score_adj") \
  STEP(SCHED_CORE, "sched_core")       \
  STEP(PIDFILE, "pidfile")             \
  STEP(HOOK, "hook")                   \
  STEP(LISTEN_PID, "listen_pid")       \
  STEP(SELINUX, "selinux")             \
  STEP(APPARMOR, "apparmor")           \
  STEP(PRLIMIT, "prlimit")             \
  STEP(CAPBSET_DROP, "capbset_drop")   \
  STEP(SETGROUPS, "setgroups")         \
  STEP(SETGID, "setgid")               \
  STEP(SETUID, "setuid")               \
  STEP(CAPSET, "capset")               \
  STEP(CAP_AMBIENT, "cap_ambient")     \
  STEP(CHDIR, "chdir")                 \
  STEP(NO_NEW_PRIVS, "no_new_privs")   \
  STEP(PDEATHSIG, "pdeathsig")         \
  STEP(HANDSHAKE, "handshake")         \
  STEP(SIGPROCMASK, "sigprocmask")     \
  STEP(PTRACE, "ptrace")               \
  STEP(EXECVE, "execve")

#define STEP_NUMBER(name, text) STEP_##name,
enum step_code { FOR_EACH_STEP(STEP_NUMBER) STEP_COUNT };
#undef STEP_NUMBER

#endif
