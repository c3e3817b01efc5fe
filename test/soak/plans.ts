import { encode, type Operation } from '../../src/wire/encode.js';

const bytes = (words: readonly string[]): Buffer[] => words.map((word) => Buffer.from(word));

/** Wide enough for the pid that the child writes. */
const LISTEN_PID = `LISTEN_PID=${'0'.repeat(20)}`;

/** Every operation there is, with what it needs. */
const everything: readonly Operation[] = [
  { code: 'cgroup', step: 0, text: '/sys/fs/cgroup/a/cgroup.procs' },
  { code: 'sigaction', step: 1 },
  { code: 'setsid', step: 2 },
  { code: 'tiocsctty', step: 2, a: 17 },
  { code: 'setpgid', step: 2 },
  { code: 'tcsetpgrp', step: 2, a: 17 },
  { code: 'chdir', step: 3, text: '/' },
  { code: 'chdir', step: 3, b: 10, text: 'sub' },
  { code: 'daemon-fork', step: 4 },
  { code: 'dup2', step: 5, a: 17, b: 0 },
  { code: 'close_range', step: 6, a: 3, b: 0xffff_ffff },
  { code: 'umask', step: 7, a: 0o22 },
  { code: 'setpriority', step: 8, a: -5 },
  { code: 'oom_score_adj', step: 9, text: '-1000' },
  { code: 'sched_core', step: 10 },
  { code: 'prlimit', step: 11, a: 0xffff_ffff_ffff_ffffn, b: 1024, count: 7 },
  { code: 'pidfile', step: 12, b: 10, text: 'a.pid' },
  { code: 'listen_pid', step: 13, a: 1 },
  { code: 'selinux', step: 14, text: 'system_u:system_r:a_t:s0' },
  { code: 'apparmor', step: 15, text: 'exec a' },
  { code: 'capbset_drop', step: 16, a: 1n << 40n, b: 1 },
  { code: 'setgroups', step: 17, text: [1, 2, 0xffff_fffe] },
  { code: 'setgid', step: 18, a: 65_534 },
  { code: 'setuid', step: 19, a: 65_534, b: 1 },
  { code: 'capset', step: 20, a: 1n << 40n },
  { code: 'cap_ambient', step: 21, a: 1n << 40n },
  { code: 'no_new_privs', step: 22 },
  { code: 'pdeathsig', step: 23, a: 15, b: 1 },
  { code: 'handshake', step: 24, a: 5, b: 6 },
  { code: 'sigprocmask', step: 25 },
  { code: 'execve', step: 26, a: 7, b: 10, text: './a' },
];

/**
 * A plan with an operation that looks like a variable with room for a pid, as far as one can: a digit less, for what an operation does not
 * carry is zero. Nobody may write there.
 */
function decoy(): Buffer {
  const digits = 0x3030_3030;
  const twice = BigInt(digits) * 0x1_0000_0001n;
  return encode({
    file: '/bin/a',
    argv: bytes(['a']),
    envp: bytes([LISTEN_PID]),
    operations: [
      { code: 'umask', step: digits + 0xd, a: twice, b: twice, count: digits },
      { code: 'listen_pid', step: 1, a: 0 },
      { code: 'execve', step: 2 },
    ],
  });
}

/** Plans to change: the smallest, one with every operation, one with long vectors, and a trap. */
export const seeds: Readonly<Record<string, Buffer>> = {
  smallest: encode({ file: '/bin/true', argv: bytes(['true']), envp: [], operations: [{ code: 'execve', step: 0 }] }),
  everything: encode({
    file: '/bin/a',
    argv: bytes(['a', '-b', '']),
    envp: bytes(['A=1', LISTEN_PID]),
    operations: everything,
  }),
  vectors: encode({
    file: '/bin/a',
    argv: bytes(Array.from({ length: 40 }, (_, index) => `${index}=`)),
    envp: bytes([LISTEN_PID, ...Array.from({ length: 40 }, (_, index) => `V${index}=${'x'.repeat(index)}`)]),
    operations: [
      { code: 'setgroups', step: 0, text: [] },
      { code: 'listen_pid', step: 1, a: 0 },
      { code: 'execve', step: 2 },
    ],
  }),
  decoy: decoy(),
};
