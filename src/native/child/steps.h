/*
 * The one list of steps: for plans, for errors, for the decoder, and for the child that performs them.
 *
 * src/text/step-names.ts holds the same names in the same order, and src/plan/step-table.ts writes the operations; a test compares them.
 * A step's number is its place here, and is what stands in an encoded plan. The third column is what an operation of the step carries, and
 * so what decode.c lets pass:
 *
 *   NOTHING   no operand
 *   NUMBERS   a and b, and a number in the place of count
 *   TEXT      a string, whose length is count; a as well, where child.c says so
 *   PATH      the same, and b: the descriptor of the directory that it begins in, plus 1; 0 where the process is in it
 *   PROGRAM   a; and, where b names a directory as with PATH, a string
 *   ARRAY     count numbers of 32 bits
 *   VARIABLE  a: the place of a variable that the child writes its pid into
 *   NEVER     no child performs it
 *
 * What a step means is told in child.c, where it is performed.
 */
#ifndef VIRCOMMAND_STEPS_H
#define VIRCOMMAND_STEPS_H

#define FOR_EACH_STEP(STEP)                   \
  STEP(ABORT, "abort", NEVER)                 \
  STEP(PATH_SEARCH, "path-search", NEVER)     \
  STEP(OPEN, "open", NEVER)                   \
  STEP(PIPE, "pipe", NEVER)                   \
  STEP(CLONE, "clone", NEVER)                 \
  STEP(CGROUP, "cgroup", TEXT)                \
  STEP(SIGACTION, "sigaction", NOTHING)       \
  STEP(SETSID, "setsid", NOTHING)             \
  STEP(TIOCSCTTY, "tiocsctty", NUMBERS)       \
  STEP(SETPGID, "setpgid", NOTHING)           \
  STEP(TCSETPGRP, "tcsetpgrp", NUMBERS)       \
  STEP(DAEMON_FORK, "daemon-fork", NOTHING)   \
  STEP(DUP2, "dup2", NUMBERS)                 \
  STEP(CLOSE_RANGE, "close_range", NUMBERS)   \
  STEP(UMASK, "umask", NUMBERS)               \
  STEP(SETPRIORITY, "setpriority", NUMBERS)   \
  STEP(OOM_SCORE_ADJ, "oom_score_adj", TEXT)  \
  STEP(SCHED_CORE, "sched_core", NUMBERS)     \
  STEP(PIDFILE, "pidfile", PATH)              \
  STEP(HOOK, "hook", NEVER)                   \
  STEP(LISTEN_PID, "listen_pid", VARIABLE)    \
  STEP(SELINUX, "selinux", TEXT)              \
  STEP(APPARMOR, "apparmor", TEXT)            \
  STEP(PRLIMIT, "prlimit", NUMBERS)           \
  STEP(CAPBSET_DROP, "capbset_drop", NUMBERS) \
  STEP(SETGROUPS, "setgroups", ARRAY)         \
  STEP(SETGID, "setgid", NUMBERS)             \
  STEP(SETUID, "setuid", NUMBERS)             \
  STEP(CAPSET, "capset", NUMBERS)             \
  STEP(CAP_AMBIENT, "cap_ambient", NUMBERS)   \
  STEP(CHDIR, "chdir", PATH)                  \
  STEP(NO_NEW_PRIVS, "no_new_privs", NOTHING) \
  STEP(PDEATHSIG, "pdeathsig", NUMBERS)       \
  STEP(HANDSHAKE, "handshake", NUMBERS)       \
  STEP(SIGPROCMASK, "sigprocmask", NOTHING)   \
  STEP(PTRACE, "ptrace", NOTHING)             \
  STEP(EXECVE, "execve", PROGRAM)

#define STEP_NUMBER(name, text, operand) STEP_##name,
enum step_code { FOR_EACH_STEP(STEP_NUMBER) STEP_COUNT };
#undef STEP_NUMBER

#endif
