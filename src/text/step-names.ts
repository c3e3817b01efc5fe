/**
 * The steps of a launch, by the names that plans and errors use, in the order in which they are taken.
 * A step is named after the system call that does it, where there is one.
 */
export const stepNames = [
  // In this process, before there is a child.
  'abort',
  'path-search',
  'open',
  'pipe',
  'clone',
  // In the child, before it becomes the program.
  'cgroup',
  'sigaction',
  'setsid',
  'setpgid',
  'daemon-fork',
  'dup2',
  'close_range',
  'umask',
  'setpriority',
  'oom_score_adj',
  'sched_core',
  'pidfile',
  'hook',
  'listen_pid',
  'selinux',
  'apparmor',
  'prlimit',
  'capbset_drop',
  'setgroups',
  'setgid',
  'setuid',
  'capset',
  'cap_ambient',
  'chdir',
  'no_new_privs',
  'pdeathsig',
  'handshake',
  'sigprocmask',
  'ptrace',
  'execve',
] as const;

/** One of the {@link stepNames}. */
export type StepName = (typeof stepNames)[number];
