/** The steps that this process performs before there is a child. */
export const parentSteps = ['abort', 'path-search', 'open', 'pipe', 'clone'] as const;

/**
 * The steps that the child performs before it is the program, in the order in which they come.
 * A step is named after the system call that does it, where there is one. What each means is told in plan/step-table.ts.
 */
export const childSteps = [
  'cgroup',
  'sigaction',
  'setsid',
  'tiocsctty',
  'setpgid',
  'tcsetpgrp',
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

/** The steps of a launch, by the names that plans and errors use, in the order in which they are performed. */
export const stepNames = [...parentSteps, ...childSteps] as const;

/** One of the {@link childSteps}. */
export type ChildStep = (typeof childSteps)[number];

/** One of the {@link stepNames}. */
export type StepName = (typeof stepNames)[number];
