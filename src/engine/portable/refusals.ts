import type { StepName } from '../../text/step-names.js';

/** What the portable engine promises less of, as sentences. `engineInfo()` tells them, and `docs/engines.md` prints them. */
export const portableLimits: readonly string[] = [
  'Descriptors that this process inherited without close-on-exec, and did not open itself, reach the program as well.',
  'A pidfile is written before run() resolves, but not locked: of two starters at the same instant the later one is ended after its start.',
  'A daemon is the leader of its session, and a child of this process until one of them ends.',
  'An error of a daemon after it has executed its program is its own: the log is the place to look.',
  'Pipes are socket pairs: a program that opens /dev/stdin or /dev/stdout by name gets ENXIO, unless it is given a file.',
  'The program inherits the descriptor limit of this process, which Node raised at its start.',
  'A program that is ended by a real-time signal is reported as exited with code 0, since child_process says so.',
  'resourceUsage and coreDumped are undefined.',
  'A program whose output nobody reads any more gets ECONNRESET or EPIPE from its socket, where a pipe would give SIGPIPE.',
  "A launch copies this process's page tables and holds the event loop meanwhile: about 1 ms in a small process, over 100 ms at 4 GiB.",
];

/** The steps that `child_process` has no way to take, each with the reason. `docs/engines.md` prints this table. */
export const portableRefusals: Partial<Record<StepName, string>> = {
  cgroup: 'child_process cannot place a child, and to move it after its start would be too late',
  setpgid: 'child_process can only make a new session, which is newSession()',
  umask: "child_process sets no umask, and to change this process's own for a moment would reach all its threads",
  setpriority: 'child_process sets no priority, and to set it after the start would miss what the program starts first',
  oom_score_adj: 'child_process cannot set it before the program runs',
  sched_core: 'child_process does not know core scheduling',
  prlimit: 'child_process sets no resource limits',
  listen_pid: "LISTEN_PID must hold the child's pid, which child_process tells only after the program has started",
  hook: 'child_process runs nothing between fork and exec',
  selinux: 'child_process does not know SELinux',
  apparmor: 'child_process does not know AppArmor',
  capbset_drop: 'child_process does not know capabilities',
  capset: 'child_process does not know capabilities',
  cap_ambient: 'child_process does not know capabilities',
  no_new_privs: 'child_process does not know this attribute',
  pdeathsig: 'child_process does not know the parent-death signal',
  handshake: 'child_process cannot hold a child between fork and exec',
};
