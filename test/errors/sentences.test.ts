import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { subjectOf } from '../../src/errors/command-error.js';
import type { StopReport } from '../../src/errors/exit-error.js';
import type { LaunchFailure } from '../../src/errors/launch-error.js';
import type { PidFileProblem } from '../../src/errors/pidfile-error.js';
import {
  Command,
  CommandError,
  type CommandSpec,
  ExitError,
  KillTreeResult,
  LaunchError,
  PidFileError,
  RunResult,
  UnsupportedError,
  UsageError,
} from '../../src/index.js';
import { dryRun } from '../../src/testing.js';
import type { RunResultFields } from '../../src/result/run-result.js';

const spec = (...argv: string[]): CommandSpec => ({
  version: 1,
  argv,
  stdin: { from: 'null' },
  stdout: { to: 'unclaimed' },
  stderr: { to: 'unclaimed' },
});
const subject = subjectOf(spec('/bin/prog', 'a b'));
const START = "Cannot start `/bin/prog 'a b'`: ";

test('a LaunchError has a reason only where somebody ended the launch', () => {
  expect('reason' in new LaunchError(subject, { step: 'chdir', errno: 'ENOENT', path: '/srv' })).toBe(false);
  expect(new LaunchError(subject, { step: 'abort', cause: 'no more' }).reason).toBe('aborted');
});

describe('LaunchError tells the step that failed, its errno and the way out:', () => {
  const rows: readonly (readonly [LaunchFailure, string])[] = [
    [{ step: 'abort', cause: new Error('the user left.') }, 'its signal was aborted before the start: the user left.'],
    [{ step: 'abort', cause: 'no more' }, 'its signal was aborted before the start: no more.'],
    [{ step: 'abort', cause: undefined }, 'its signal was aborted before the start: undefined.'],
    [
      { step: 'path-search', errno: 'ENOENT', path: 'prog', tried: ['/usr/bin/prog', '/bin/prog'] },
      "no executable named 'prog' in PATH ('/usr/bin', '/bin').",
    ],
    [
      { step: 'path-search', errno: 'ENOENT', path: 'prog', tried: [] },
      "no executable named 'prog' in PATH (which names no directory).",
    ],
    [
      { step: 'path-search', errno: 'EACCES', path: 'prog', tried: ['/usr/bin/prog', '/bin/prog'] },
      "'prog' stands in PATH, but not as an executable ('/usr/bin/prog', '/bin/prog'). Run `chmod +x` on the file that is meant.",
    ],
    [{ step: 'chdir', errno: 'ENOENT', path: '/srv' }, "the working directory '/srv' does not exist (chdir: ENOENT)."],
    [
      { step: 'chdir', errno: 'ENOTDIR', path: '/srv' },
      "the working directory '/srv' is not a directory (chdir: ENOTDIR).",
    ],
    [
      { step: 'chdir', errno: 'EACCES', path: '/srv' },
      "the working directory '/srv' cannot be entered (chdir: EACCES). The user that the program runs as needs the permission x on it and on each directory above it.",
    ],
    [
      { step: 'chdir', errno: 'EACCES', path: '/srv/app', closed: '/srv' },
      "the working directory '/srv/app' cannot be entered (chdir: EACCES). The user that the program runs as needs the permission x on '/srv'.",
    ],
    [{ step: 'chdir', errno: 'EIO', path: '/srv' }, "the working directory '/srv' cannot be entered (chdir: EIO)."],
    [
      { step: 'open', errno: 'ENOENT', path: '/x', wanted: 'be opened for reading' },
      "'/x' cannot be opened for reading: it, or the directory it would stand in, does not exist (open: ENOENT).",
    ],
    [
      { step: 'open', errno: 'EACCES', path: '/x', wanted: 'be opened for writing' },
      "'/x' cannot be opened for writing: permission is denied (open: EACCES).",
    ],
    [{ step: 'open', errno: 'EISDIR', path: '/x' }, "'/x' cannot be opened: it is a directory (open: EISDIR)."],
    [{ step: 'open', errno: 'EROFS', path: '/x' }, "'/x' cannot be opened (open: EROFS)."],
    [{ step: 'execve', errno: 'ENOENT', path: '/x' }, "'/x' does not exist (execve: ENOENT)."],
    [
      {
        step: 'execve',
        errno: 'ENOENT',
        path: '/x',
        obstacle: { errno: 'ENOENT', role: 'interpreter', path: '/bin/zsh', of: '/x', is: 'missing' },
      },
      "the interpreter of '/x', '/bin/zsh', does not exist (execve: ENOENT). Mend the first line of the script, or install the interpreter.",
    ],
    [
      {
        step: 'execve',
        errno: 'ENOENT',
        path: '/x',
        obstacle: { errno: 'ENOENT', role: 'loader', path: '/lib/ld.so', of: '/x', is: 'missing' },
      },
      "the loader of '/x', '/lib/ld.so', does not exist (execve: ENOENT). The program was built for another C library; install that one, or a program built for this system.",
    ],
    [
      { step: 'execve', errno: 'ENOTDIR', path: '/x/y' },
      "a part of the path '/x/y' is not a directory (execve: ENOTDIR).",
    ],
    [
      { step: 'execve', errno: 'EACCES', path: '/x' },
      "'/x' may not be executed (execve: EACCES). Look at its permissions, at those of each directory above it and of its interpreter, and for a security module that forbids it.",
    ],
    [
      {
        step: 'execve',
        errno: 'EACCES',
        path: '/x',
        obstacle: { errno: 'EACCES', role: 'program', path: '/x', is: 'not-executable' },
      },
      "'/x' is not executable (execve: EACCES). Run `chmod +x` on it, or name its interpreter as the program.",
    ],
    [
      {
        step: 'execve',
        errno: 'EACCES',
        path: '/x',
        obstacle: { errno: 'EACCES', role: 'program', path: '/x', is: 'directory' },
      },
      "'/x' is a directory (execve: EACCES).",
    ],
    [
      {
        step: 'execve',
        errno: 'EACCES',
        path: '/x',
        obstacle: { errno: 'EACCES', role: 'program', path: '/x', is: 'socket' },
      },
      "'/x' is a socket (execve: EACCES).",
    ],
    [
      {
        step: 'execve',
        errno: 'EACCES',
        path: '/x',
        obstacle: { errno: 'EACCES', role: 'loader', path: '/l', of: '/x', is: 'not-executable' },
      },
      "the loader of '/x', '/l', is not executable (execve: EACCES). Run `chmod +x` on the loader.",
    ],
    [
      {
        step: 'execve',
        errno: 'EACCES',
        path: '/x',
        obstacle: { errno: 'EACCES', role: 'interpreter', path: '/i', of: '/x', is: 'unreadable' },
      },
      "the interpreter of '/x', '/i', may not be read, so it cannot be told whether the kernel executes it (execve: EACCES). Run `chmod +r` on it, or use the native engine, which asks the kernel.",
    ],
    [
      {
        step: 'execve',
        errno: 'EACCES',
        path: '/x',
        obstacle: { errno: 'EACCES', role: 'interpreter', path: '/i', of: '/x', is: 'noexec', detail: '/mnt' },
      },
      "the interpreter of '/x', '/i', lies on a file system from which nothing may be executed, since '/mnt' is mounted with noexec (execve: EACCES). Move it to another file system, or mount that one with exec.",
    ],
    [
      {
        step: 'execve',
        errno: 'ELOOP',
        path: '/x',
        obstacle: { errno: 'ELOOP', role: 'interpreter', path: '/i', of: '/x', is: 'behind-links' },
      },
      "the interpreter of '/x', '/i', goes through too many symbolic links (execve: ELOOP). Mend the first line of the script.",
    ],
    [
      {
        step: 'execve',
        errno: 'ENAMETOOLONG',
        path: '/x',
        obstacle: { errno: 'ENAMETOOLONG', role: 'interpreter', path: '/i', of: '/x', is: 'too-long-a-path' },
      },
      "the path '/i' is too long (execve: ENAMETOOLONG). Mend the first line of the script.",
    ],
    [
      {
        step: 'execve',
        errno: 'ENOEXEC',
        path: '/x',
        obstacle: { errno: 'ENOEXEC', role: 'program', path: '/x', is: 'text' },
      },
      "'/x' has no '#!' line and is not a binary of this machine (execve: ENOEXEC). Begin it with '#!/bin/sh', or name its interpreter as the program.",
    ],
    [
      { step: 'execve', errno: 'ENOEXEC', path: '/x' },
      "'/x' is in no format that the kernel of this machine executes (execve: ENOEXEC). Name its interpreter as the program, or install the program that is built for this machine.",
    ],
    [
      {
        step: 'execve',
        errno: 'ELIBBAD',
        path: '/x',
        obstacle: { errno: 'ELIBBAD', role: 'loader', path: '/l', of: '/x', is: 'no-loader' },
      },
      "the loader of '/x', '/l', is no loader (execve: ELIBBAD). Install the C library anew that the program was built for.",
    ],
    [
      { step: 'execve', errno: 'E2BIG', path: '/x', bytes: 3_000_000 },
      'the arguments and variables take 3000000 bytes, more than the kernel allows (execve: E2BIG). Hand the data over with inputBuffer() or in a file. All together may take a quarter of the stack limit (`ulimit -s`), and 6 MiB at most.',
    ],
    [
      { step: 'execve', errno: 'E2BIG', path: '/x' },
      'the arguments and variables take more room than the kernel allows (execve: E2BIG). Hand the data over with inputBuffer() or in a file. All together may take a quarter of the stack limit (`ulimit -s`), and 6 MiB at most.',
    ],
    [
      { step: 'execve', errno: 'ETXTBSY', path: '/x' },
      "'/x' is being written by some process (execve: ETXTBSY). Start it when the file is closed.",
    ],
    [{ step: 'execve', errno: 'ELOOP', path: '/x' }, "'/x' goes through too many symbolic links (execve: ELOOP)."],
    [{ step: 'execve', errno: 'ENAMETOOLONG', path: '/x' }, "the path '/x' is too long (execve: ENAMETOOLONG)."],
    [{ step: 'execve', errno: 'EIO', path: '/x' }, "'/x' cannot be executed (execve: EIO)."],
    [{ step: 'execve', errno: 'EIO' }, 'it cannot be executed (execve: EIO).'],
    [
      { step: 'execve', wasEnded: true },
      "something ended it before it could execute its program. Look for who signaled it, and for the kernel's out-of-memory report.",
    ],
    [
      { step: 'pipe', errno: 'EMFILE', syscall: 'socket' },
      'this process has no descriptor left (socket: EMFILE). Close some, or raise its limit (`ulimit -n`).',
    ],
    [
      { step: 'pipe', errno: 'ENFILE' },
      'the system has no file handle left (pipe: ENFILE). Look at /proc/sys/fs/file-nr.',
    ],
    [
      { step: 'pipe', errno: 'EPERM', syscall: 'fcntl', pipeSize: { bytes: 2_097_152, most: 1_048_576 } },
      'this process may not give a pipe 2097152 bytes (fcntl: EPERM). Without the capability CAP_SYS_RESOURCE, the kernel gives 1048576 at most (/proc/sys/fs/pipe-max-size).',
    ],
    [
      { step: 'pipe', errno: 'EPERM', syscall: 'fcntl', pipeSize: { bytes: 1_048_576, most: undefined } },
      'this process may not give a pipe 1048576 bytes (fcntl: EPERM). The pipes of its user hold as much as they may all together (/proc/sys/fs/pipe-user-pages-soft and -hard).',
    ],
    [
      { step: 'pipe', errno: 'ENOMEM', syscall: 'fcntl', pipeSize: { bytes: 2_147_483_648, most: undefined } },
      'no pipe can be given 2147483648 bytes (fcntl: ENOMEM). Say less in pipeSize().',
    ],
    [
      { step: 'clone', errno: 'EAGAIN' },
      'the kernel makes no further process for this user (clone: EAGAIN). Look at `ulimit -u`, at the pids limit of the control group, and at /proc/sys/kernel/pid_max.',
    ],
    [
      { step: 'clone', errno: 'ENOMEM' },
      'the kernel has no memory for another process (clone: ENOMEM). Look at /proc/meminfo and /proc/sys/vm/overcommit_memory.',
    ],
    [
      {
        step: 'setpriority',
        errno: 'EACCES',
        wanted: 'take the nice value -5',
        privilege: { isRoot: true, capability: 'CAP_SYS_NICE', isHeld: false, isInNamespace: false },
      },
      'this process may not take the nice value -5 (setpriority: EACCES). It is root without the capability CAP_SYS_NICE; have the container or service that it runs in give it.',
    ],
    [
      { step: 'selinux', errno: 'EACCES', wanted: 'take the SELinux label x' },
      'it could not take the SELinux label x (selinux: EACCES).',
    ],
    [
      {
        step: 'setuid',
        errno: 'EPERM',
        wanted: 'take the uid 5',
        privilege: { isRoot: false, capability: 'CAP_SETUID', isHeld: false, isInNamespace: false },
      },
      'this process may not take the uid 5 (setuid: EPERM). Run as root, or with the capability CAP_SETUID.',
    ],
    [
      {
        step: 'setuid',
        errno: 'EPERM',
        wanted: 'take the uid 5',
        privilege: { isRoot: true, capability: 'CAP_SETUID', isHeld: false, isInNamespace: false },
      },
      'this process may not take the uid 5 (setuid: EPERM). It is root without the capability CAP_SETUID; have the container or service that it runs in give it.',
    ],
    [
      {
        step: 'setuid',
        errno: 'EPERM',
        wanted: 'take the uid 5',
        privilege: { isRoot: true, capability: 'CAP_SETUID', isHeld: true, isInNamespace: true },
      },
      'this process may not take the uid 5 (setuid: EPERM). It is root of a user namespace, which is not root of the machine; run it outside of that.',
    ],
    [
      {
        step: 'setuid',
        errno: 'EPERM',
        wanted: 'take the uid 5',
        privilege: { isRoot: true, capability: 'CAP_SETUID', isHeld: true, isInNamespace: false },
      },
      'this process may not take the uid 5 (setuid: EPERM). It is root, so look for a security module or a system call filter (seccomp) that forbids it.',
    ],
    [
      {
        step: 'setuid',
        errno: 'EPERM',
        wanted: 'take the uid 5',
        privilege: { isRoot: true, capability: 'CAP_SETUID', isHeld: undefined, isInNamespace: false },
      },
      'this process may not take the uid 5 (setuid: EPERM). It is root, so look for a security module or a system call filter (seccomp) that forbids it.',
    ],
    [
      { step: 'setgroups', errno: 'EPERM' },
      'this process may not perform the step setgroups (setgroups: EPERM). Run as root, or with the capability that the step needs.',
    ],
    [
      { step: 'umask', errno: 'EINVAL', wanted: 'set the umask to 022' },
      'it could not set the umask to 022 (umask: EINVAL).',
    ],
    [
      { step: 'cgroup', path: '/c', group: { isVersion1: true, mounts: ['/m', '/n'] } },
      "'/c' is a control group of version 1, and cgroup() takes one of version 2. Make a directory below '/m', '/n', where version 2 is mounted, and name that.",
    ],
    [
      { step: 'cgroup', path: '/c', group: { isVersion1: false, mounts: [] } },
      "'/c' is no control group. Version 2 is not mounted here; mount it, or leave cgroup() out.",
    ],
    [
      { step: 'cgroup', path: '/c', errno: 'ENOENT', group: { isVersion1: false, mounts: undefined } },
      "the control group '/c' does not exist (cgroup: ENOENT). Make a directory below the mount point of version 2, and name that.",
    ],
    [
      { step: 'cgroup', path: '/c', errno: 'EBUSY' },
      "the control group '/c' has controllers for the groups below it, and may hold no process itself (cgroup: EBUSY). Name a group below it.",
    ],
    [
      { step: 'cgroup', path: '/c', errno: 'EACCES', wanted: "enter the control group '/c'" },
      "this process may not enter the control group '/c' (cgroup: EACCES). It has to be able to write cgroup.procs there, and in the lowest group that holds both that one and its own.",
    ],
    [
      {
        step: 'setpriority',
        errno: 'EACCES',
        wanted: 'take the nice value -5',
        privilege: { isRoot: false, capability: 'CAP_SYS_NICE', isHeld: false, isInNamespace: false },
      },
      'this process may not take the nice value -5 (setpriority: EACCES). Run as root, or with the capability CAP_SYS_NICE.',
    ],
    [
      { step: 'selinux', errno: 'EACCES', wanted: 'take the SELinux label x' },
      'it could not take the SELinux label x (selinux: EACCES).',
    ],
    [{ step: 'prlimit', errno: 'EINVAL' }, 'it could not perform the step prlimit (prlimit: EINVAL).'],
  ];
  for (const [failure, sentence] of rows)
    test(sentence, () => {
      const error = new LaunchError(subject, failure);
      expect(error.message).toBe(START + sentence);
      expect(error).toMatchObject({
        code: 'ERR_COMMAND_LAUNCH',
        name: 'LaunchError',
        command: "/bin/prog 'a b'",
        step: failure.step,
        path: failure.path,
        tried: failure.tried ?? [],
      });
      expect(error.errno).toBe(failure.errno);
      // To search PATH is no system call, though the errno says what kind of failure it was.
      const called = failure.errno !== undefined && failure.step !== 'path-search';
      expect(error.syscall).toBe(called ? (failure.syscall ?? failure.step) : undefined);
      expect(error.reason).toBe(failure.step === 'abort' ? 'aborted' : undefined);
      expect('cause' in error).toBe('cause' in failure);
      expect(error.cause).toBe(failure.cause);
    });
});

// ---------------------------------------------------------------- ends

const result = (fields: Partial<RunResultFields> = {}): RunResult =>
  new RunResult({
    command: 'prog -x',
    pid: 7,
    exitCode: 0,
    signal: null,
    coreDumped: undefined,
    rawStatus: 0,
    stdout: undefined,
    stderr: undefined,
    outputBytes: { stdout: 0, stderr: 0 },
    outputHeldOpen: false,
    outputTruncated: false,
    inputWritten: 0,
    timedOut: false,
    tree: undefined,
    durationMs: 1300,
    resourceUsage: undefined,
    ...fields,
  });
const bySignal = (signal: 'SIGKILL' | 'SIGTERM' | 'SIGSEGV', durationMs = 1300) =>
  result({ exitCode: null, signal, durationMs });
const sent = (...signals: (readonly ['SIGTERM' | 'SIGINT' | 'SIGKILL', number])[]) =>
  signals.map(([signal, atMs]) => ({ signal, atMs }));

describe('ExitError tells how the program ended:', () => {
  const rows: readonly (readonly [RunResult, StopReport | undefined, string, string])[] = [
    [result({ exitCode: 2 }), undefined, 'exit-code', '`prog -x` exited with code 2 after 1.3 s.'],
    [bySignal('SIGSEGV'), undefined, 'signal', '`prog -x` was ended by SIGSEGV after 1.3 s.'],
    [
      bySignal('SIGKILL'),
      undefined,
      'signal',
      "`prog -x` was ended by SIGKILL after 1.3 s. This process did not send it; look for the kernel's out-of-memory report.",
    ],
    [
      bySignal('SIGTERM'),
      { reason: 'timeout', limit: 1000, sent: sent(['SIGTERM', 1000]) },
      'timeout',
      '`prog -x` did not finish within 1 s. It was ended by SIGTERM.',
    ],
    [
      bySignal('SIGKILL', 7001),
      { reason: 'timeout', limit: 5000, sent: sent(['SIGTERM', 5000], ['SIGKILL', 7000]) },
      'timeout',
      '`prog -x` did not finish within 5 s. It ignored SIGTERM for 2 s and was ended by SIGKILL.',
    ],
    [
      bySignal('SIGKILL', 9001),
      { reason: 'timeout', limit: 5000, sent: sent(['SIGINT', 5000], ['SIGTERM', 7000], ['SIGKILL', 9000]) },
      'timeout',
      '`prog -x` did not finish within 5 s. It ignored SIGINT and SIGTERM for 4 s and was ended by SIGKILL.',
    ],
    [
      bySignal('SIGKILL'),
      {
        reason: 'aborted',
        sent: [
          { signal: 'SIGTERM', atMs: 800, graceMs: 10 },
          { signal: 'SIGKILL', atMs: 813, graceMs: 0 },
        ],
      },
      'aborted',
      '`prog -x` was aborted after 800 ms. It was ended by SIGKILL, since SIGTERM had not ended it within 10 ms.',
    ],
    [
      bySignal('SIGKILL', 1000),
      {
        reason: 'aborted',
        sent: [
          { signal: 'SIGTERM', atMs: 800, graceMs: 100 },
          { signal: 'SIGKILL', atMs: 903, graceMs: 0 },
        ],
      },
      'aborted',
      '`prog -x` was aborted after 800 ms. It ignored SIGTERM for 103 ms and was ended by SIGKILL.',
    ],
    [
      result({ exitCode: 0 }),
      { reason: 'timeout', limit: 50, sent: sent(['SIGTERM', 50]) },
      'timeout',
      '`prog -x` did not finish within 50 ms. It exited with code 0 after SIGTERM.',
    ],
    [
      result({ exitCode: 3 }),
      { reason: 'timeout', limit: 125_000, sent: [] },
      'timeout',
      '`prog -x` did not finish within 2 min 5 s. It exited with code 3.',
    ],
    [
      bySignal('SIGSEGV'),
      { reason: 'timeout', limit: 50, sent: sent(['SIGTERM', 50], ['SIGKILL', 60]) },
      'timeout',
      '`prog -x` did not finish within 50 ms. It was ended by SIGSEGV.',
    ],
    [
      bySignal('SIGTERM'),
      { reason: 'aborted', sent: sent(['SIGTERM', 800]) },
      'aborted',
      '`prog -x` was aborted after 800 ms. It was ended by SIGTERM.',
    ],
    [
      bySignal('SIGTERM'),
      { reason: 'aborted', sent: sent(['SIGTERM', 800]), cause: new Error('no need.') },
      'aborted',
      '`prog -x` was aborted after 800 ms: no need. It was ended by SIGTERM.',
    ],
    [
      bySignal('SIGTERM'),
      { reason: 'aborted', sent: sent(['SIGTERM', 800]), cause: { why: 1 } },
      'aborted',
      '`prog -x` was aborted after 800 ms: { why: 1 }. It was ended by SIGTERM.',
    ],
    [
      result({ exitCode: 0, durationMs: 12 }),
      { reason: 'aborted', sent: [] },
      'aborted',
      '`prog -x` was aborted after 12 ms. It exited with code 0.',
    ],
    [
      bySignal('SIGTERM'),
      { reason: 'output-limit', limit: 4096, stream: 'stderr', sent: sent(['SIGTERM', 800]) },
      'output-limit',
      "`prog -x` wrote more than 4096 bytes to stderr. It was ended by SIGTERM. Raise outputLimit(), or choose its policy 'truncate' or 'headAndTail'.",
    ],
    [
      result({ exitCode: 0 }),
      { reason: 'out-of-memory', limit: 65_536, stream: 'stdout', sent: [] },
      'out-of-memory',
      '`prog -x` wrote more to stdout than this process had memory for; it kept 65536 bytes. It exited with code 0. Send large output to a file, or set outputLimit().',
    ],
  ];
  for (const [ended, stop, reason, sentence] of rows)
    test(sentence, () => {
      const error = new ExitError(spec('prog', '-x'), ended, '', stop);
      expect(error.message).toBe(sentence);
      expect(error).toMatchObject({
        code: 'ERR_COMMAND_EXIT',
        name: 'ExitError',
        command: 'prog -x',
        reason,
        result: ended,
      });
      expect(error.cause).toBe(stop?.cause);
    });

  test.each<[ConstructorParameters<typeof KillTreeResult>, string]>([
    [[{ level: 'cgroup', ended: [7, 8], survivors: [] }, true], 'Its tree was ended by its control group.'],
    [[{ level: 'group', ended: [7], survivors: [] }, true], 'Its tree was ended by its session or process group.'],
    [[{ level: 'walk', ended: [7], survivors: [] }, true], 'Its tree was ended by a walk from parent to child.'],
    [
      [{ level: 'walk', ended: [7], survivors: [] }, false],
      'Its tree was ended by a walk from parent to child, as far as it could be seen.',
    ],
    [[{ level: 'root', ended: [7], survivors: [] }, false], 'Its tree was ended as far as it could be seen.'],
    [
      [{ level: 'group', ended: [7], survivors: [8, 9] }, false],
      'Its tree was ended by its session or process group, but for 8, 9.',
    ],
  ])('tells what became of the tree: %j', (reached, sentence) => {
    const ended = result({ exitCode: null, signal: 'SIGTERM', tree: new KillTreeResult(...reached) });
    const sent = [{ signal: 'SIGTERM', atMs: 1000 }] as const;
    const { message } = new ExitError(spec('prog', '-x'), ended, '', { reason: 'timeout', limit: 1000, sent });
    expect(message).toBe(`\`prog -x\` did not finish within 1 s. It was ended by SIGTERM. ${sentence}`);
  });

  const withLimit = (resource: 'cpu' | 'fsize'): CommandSpec => ({
    ...spec('prog'),
    limits: [{ resource, soft: 1, hard: 2 }],
  });
  const usage = (userMs: number) => ({ userMs, systemMs: 100, maxRssKib: 1 });
  test.each([
    ['SIGKILL', spec('prog'), undefined, 'killTree()', 'This process sent it, by killTree().'],
    [
      'SIGKILL',
      withLimit('cpu'),
      usage(1900),
      undefined,
      "It had used 2 s of the 2 s of processor time that limit('cpu') gives it.",
    ],
    [
      'SIGKILL',
      withLimit('cpu'),
      usage(800),
      undefined,
      "This process did not send it; look for the kernel's out-of-memory report.",
    ],
    [
      'SIGKILL',
      withLimit('cpu'),
      undefined,
      undefined,
      "This process did not send it; look for the kernel's out-of-memory report.",
    ],
    [
      'SIGXCPU',
      withLimit('cpu'),
      undefined,
      undefined,
      "It had used all of the processor time that limit('cpu') gives it.",
    ],
    [
      'SIGXCPU',
      spec('prog'),
      undefined,
      undefined,
      'It had used all of the processor time that it may take (`ulimit -t`).',
    ],
    [
      'SIGXFSZ',
      withLimit('fsize'),
      undefined,
      undefined,
      "It was about to write a file longer than limit('fsize') allows.",
    ],
    ['SIGXFSZ', spec('prog'), undefined, undefined, 'It was about to write a file longer than it may (`ulimit -f`).'],
  ] as const)('%s is told with its reason, where that is known (%#)', (signal, said, resourceUsage, killer, reason) => {
    const ended = result({ exitCode: null, signal, resourceUsage });
    expect(new ExitError(said, ended, '', undefined, killer).message).toBe(
      `\`prog -x\` was ended by ${signal} after 1.3 s. ${reason}`,
    );
  });

  const message = (log: string) => new ExitError(spec('prog'), result({ exitCode: 1 }), log).message;
  const SENTENCE = '`prog -x` exited with code 1 after 1.3 s.';

  test('the last lines of standard error follow after a blank line', () => {
    expect(message('one\ntwo\n')).toBe(`${SENTENCE}\n\none\ntwo`);
  });

  test('ten lines at most', () => {
    const lines = Array.from({ length: 12 }, (_, index) => `line ${index + 1}`);
    expect(message(`${lines.join('\n')}\n\n\n`)).toBe(`${SENTENCE}\n\n${lines.slice(2).join('\n')}`);
  });

  test('two thousand characters at most, of which the last', () => {
    expect(message(`${'a'.repeat(3000)}end`)).toBe(`${SENTENCE}\n\n${'a'.repeat(1997)}end`);
  });

  test('what would drive a terminal is escaped in it, and line breaks and tabs are what they are', () => {
    expect(message('\x1b]0;title\x07\r\nred:\t\x1b[31mno\x1b[m\n')).toBe(
      `${SENTENCE}\n\n${String.raw`\x1b]0;title\x07\r`}\n${String.raw`red:`}\t${String.raw`\x1b[31mno\x1b[m`}`,
    );
  });

  test.each(['', '\n', ' \n\t\n'])('no blank line where standard error is %j', (log) => {
    expect(message(log)).toBe(SENTENCE);
  });
});

describe('a command in a message', () => {
  const message = (...argv: string[]) =>
    new LaunchError(subjectOf(spec(...argv)), { step: 'execve', errno: 'ENOENT', path: '/x' }).message;
  const END = ": '/x' does not exist (execve: ENOENT).";

  test('of 120 characters is whole', () => {
    expect(message('x'.repeat(120))).toBe(`Cannot start \`${'x'.repeat(120)}\`${END}`);
  });

  test('of 121 characters is cut to 120, the last of them …', () => {
    expect(message('x'.repeat(121))).toBe(`Cannot start \`${'x'.repeat(119)}…\`${END}`);
  });

  test('is on one line', () => {
    expect(message('sh', '-c', 'a\nb')).toBe(String.raw`Cannot start ${'`'}sh -c 'a\nb'${'`'}${END}`);
  });

  // As ls and git print names: a terminal must do nothing that a name or an output says.
  test.each([
    ['\x1b[31mred', String.raw`\x1b[31mred`],
    ['a\rb\tc\x07\x7f', String.raw`a\rb\tc\x07\x7f`],
    ['\x9b2J', String.raw`\x9b2J`],
    ['\u202etxt.exe\u2028', String.raw`\u202etxt.exe\u2028`],
    ['é😀', 'é😀'],
  ])('drives no terminal: %j', (word, shown) => {
    expect(message('echo', `${word} .`)).toBe(`Cannot start \`echo '${shown} .'\`${END}`);
  });

  test('is printed exactly by toString(), whatever it holds', () => {
    expect(new Command('echo', '\x1b[31m').toString()).toBe("echo '\x1b[31m'");
  });

  test.each([117, 118, 119])('is cut between characters, and not in one: %i', (length) => {
    expect(message('x'.repeat(length) + '😀'.repeat(5)).isWellFormed()).toBe(true);
  });

  test('shows no variables, and *** for a secret', () => {
    const secretive: CommandSpec = { ...spec('prog', 'hunter2'), secretArgs: [1], env: [['PASSWORD', 'hunter3']] };
    expect(subjectOf(secretive)).toMatchObject({ command: "prog '***'", spec: secretive });
  });
});

// ---------------------------------------------------------------- what is printed in a template

describe('in a template stands a sentence:', () => {
  test('how a run ended', () => {
    expect(String(result({ exitCode: 3 }))).toBe('`prog -x` exited with code 3 after 1.3 s.');
    expect(String(result({ signal: 'SIGTERM', exitCode: null }))).toBe('`prog -x` was ended by SIGTERM after 1.3 s.');
  });

  test('what a child does, and how it has ended', async () => {
    const child = await new Command('cat').inputPipe().runAsync();
    expect(String(child)).toBe(`\`cat\` runs as process ${child.pid}.`);
    child.stdin.end();
    const ended = await child.wait();
    expect(String(child)).toBe(String(ended));
    expect(String(ended)).toMatch(/^`cat` exited with code 0 after \d/);
  });

  test('what a daemon is, and what was ended', async () => {
    using _dry = dryRun();
    const daemon = await new Command('sleep', '60').secretArg('x').daemonize().pidFile('/run/x.pid').run();
    expect(String(daemon)).toBe(
      `\`sleep 60 '***'\` was launched as daemon ${daemon.pid}, with the pidfile '/run/x.pid'.`,
    );
    expect(String(daemon.process)).toBe(`process ${daemon.pid}`);
    const fields = { level: 'group', ended: [5, 6], survivors: [7] } as const;
    expect(String(new KillTreeResult(fields, true))).toBe('Ended: 5, 6 (by session or group); still there: 7.');
    const nothing = { level: 'walk', ended: [], survivors: [] } as const;
    expect(String(new KillTreeResult(nothing, true))).toBe('No process was ended (by walk).');
    expect(String(new KillTreeResult(nothing, false))).toBe(
      'No process was ended (by walk); not all may have been seen.',
    );
  });
});

// ---------------------------------------------------------------- the others

test('UnsupportedError names the feature, the engine and the reason', () => {
  const error = new UnsupportedError(subject, {
    feature: 'umask',
    engine: 'portable',
    why: 'child_process sets no umask',
  });
  expect(error.message).toBe(
    `${START}the portable engine cannot do umask(), because child_process sets no umask. Leave the call out, or use an engine that can: see docs/engines.md.`,
  );
  expect(error).toMatchObject({
    code: 'ERR_COMMAND_UNSUPPORTED',
    name: 'UnsupportedError',
    feature: 'umask',
    engine: 'portable',
    why: 'child_process sets no umask',
  });
});

test('UnsupportedError lists every refused call', () => {
  const error = new UnsupportedError(subject, {
    feature: 'umask',
    engine: 'portable',
    why: 'child_process sets no umask',
    others: [{ feature: 'nice', why: 'it sets no priority' }],
  });
  expect(error.message).toBe(
    [
      `${START}the portable engine cannot do 2 of its calls:`,
      '  1. umask(), because child_process sets no umask.',
      '  2. nice(), because it sets no priority.',
      'Leave them out, or use an engine that can: see docs/engines.md.',
    ].join('\n'),
  );
  expect(error).toMatchObject({
    feature: 'umask',
    why: 'child_process sets no umask',
    refused: [
      { feature: 'umask', why: 'child_process sets no umask' },
      { feature: 'nice', why: 'it sets no priority' },
    ],
  });
});

test('UnsupportedError of what is no command names the feature alone', () => {
  const error = new UnsupportedError(
    { command: '', spec: undefined },
    { feature: 'PidFile.acquire', engine: 'portable', why: 'it has no locks' },
  );
  expect(error.message).toBe(
    'The portable engine cannot do PidFile.acquire(), because it has no locks. Leave the call out, or use an engine that can: see docs/engines.md.',
  );
});

const pidFileRows: readonly (readonly [PidFileProblem, string])[] = [
  [
    { heldBy: { pid: 43, command: 'node server.js' } },
    "Pidfile '/p' is held by process 43 (`node server.js`). Stop that process, or choose another file.",
  ],
  [
    { heldBy: { pid: 43, command: undefined } },
    "Pidfile '/p' is held by process 43. Stop that process, or choose another file.",
  ],
  [
    { heldBy: { pid: process.pid, command: 'node server.js' } },
    "Pidfile '/p' is held by this process itself. Release it there first, with PidFile.release().",
  ],
  [
    { heldBy: { pid: undefined, command: undefined }, errno: 'EAGAIN' },
    "Pidfile '/p' is held by a process that cannot be seen from here, such as one of another container or machine. Stop that process, or choose another file.",
  ],
  [
    { heldBy: { pid: 43, command: 'node' }, named: 44 },
    "Pidfile '/p' is held by process 43 (`node`), but names process 44. Trust neither; have the holder write its own pid.",
  ],
  [
    { heldBy: { pid: undefined, command: undefined }, named: 44 },
    "Pidfile '/p' is held by a process that cannot be seen from here, such as one of another container or machine, but names process 44. Trust neither; have the holder write its own pid.",
  ],
  [
    { named: 44, errno: 'EACCES', syscall: 'readlink' },
    "Pidfile '/p' names process 44, and the program of that cannot be seen (readlink: EACCES). Run as its user or as root, or leave the program out.",
  ],
  [
    { heldBy: { pid: 43, command: 'node server.js' }, notEnded: { named: 44 } },
    "Pidfile '/p' is held by process 43 (`node server.js`), but names process 44. Nothing was signaled; stop the right one yourself.",
  ],
  [
    { heldBy: { pid: 43, command: 'node server.js' }, notEnded: 'own-group' },
    "Pidfile '/p' is held by process 43 (`node server.js`), and that is in the process group of this process. Leave { group: true } out.",
  ],
  [
    { heldBy: { pid: 43, command: 'node server.js' }, notEnded: 'failed', errno: 'EPERM', syscall: 'kill' },
    "Pidfile '/p' is held by process 43 (`node server.js`), which could not be ended (kill: EPERM). Stop that process yourself.",
  ],
  [
    { aborted: true, cause: new Error('no time.') },
    "Pidfile '/p' was not taken, since the wait for it was aborted: no time.",
  ],
  [
    { aborted: true, cause: 'no time', heldBy: { pid: 43, command: 'node server.js' } },
    "Pidfile '/p' was still held by process 43 (`node server.js`) when the wait for it was aborted: no time.",
  ],
  [
    { isNot: 'regular', errno: 'EINVAL' },
    "Pidfile '/p' is no regular file, and was left as it is. Choose another path.",
  ],
  [
    { isNot: 'held' },
    "Pidfile '/p' is not held by this thread, so there is nothing to release. A file that nobody holds is removed by PidFile.remove().",
  ],
  [
    { action: 'written', errno: 'ELOOP', syscall: 'open' },
    "Pidfile '/p' is a symbolic link, which is not followed (open: ELOOP). Give the path of the file itself.",
  ],
  [
    { content: 'junk\n' },
    String.raw`Pidfile '/p' holds 'junk\n', which is no pid. Remove the file, or choose another one.`,
  ],
  [
    { action: 'written', errno: 'ENOENT', syscall: 'open' },
    "Pidfile '/p' cannot be written: its directory '/' does not exist (open: ENOENT). Make it first.",
  ],
  [{ action: 'read', errno: 'ENOENT', syscall: 'open' }, "Pidfile '/p' cannot be read (open: ENOENT)."],
  [{ action: 'removed', errno: 'EPERM', syscall: 'unlink' }, "Pidfile '/p' cannot be removed (unlink: EPERM)."],
  [{}, "Pidfile '/p' cannot be used (open: unknown)."],
];
for (const [problem, sentence] of pidFileRows)
  test(`PidFileError: ${sentence}`, () => {
    const error = new PidFileError('/p', problem);
    expect(error.message).toBe(sentence);
    expect(error).toMatchObject({ code: 'ERR_COMMAND_PIDFILE', name: 'PidFileError', path: '/p', command: '' });
    expect([error.heldBy, error.errno, error.spec]).toEqual([problem.heldBy?.pid, problem.errno, undefined]);
  });

test('UsageError without a command names none', () => {
  const error = new UsageError({ command: '', spec: undefined }, [{ call: 'x()', problem: 'it is wrong' }]);
  expect(error.message).toBe('Mistake: x(): it is wrong.');
  expect(error).toMatchObject({ code: 'ERR_COMMAND_USAGE', name: 'UsageError' });
});

describe('every error', () => {
  const secretive = subjectOf({
    ...spec('prog', 'hunter2'),
    secretArgs: [1],
    env: [['A', 'hunter3']],
    stdin: { from: 'buffer', data: 'hunter4' },
  });
  const all = [
    new UsageError(secretive, [{ call: 'x()', problem: 'y' }]),
    new LaunchError(secretive, { step: 'execve', errno: 'ENOENT', path: '/x', cause: new Error('cause') }),
    new ExitError(secretive.spec, result({ exitCode: 1, command: secretive.command }), 'log'),
    new UnsupportedError(secretive, { feature: 'a', engine: 'b', why: 'c' }),
    new PidFileError('/p', {}, secretive),
  ];
  for (const error of all)
    test(`${error.name} is a CommandError and an Error, with its spec in hiding`, () => {
      const { name } = error;
      expect(error).toBeInstanceOf(CommandError);
      expect(error).toBeInstanceOf(Error);
      expect(Object.prototype.toString.call(error)).toBe('[object Error]');
      expect(String(error)).toBe(`${name}: ${error.message}`);
      expect(error.stack).toContain(`${name}: `);
      expect(error.command).toBe("prog '***'");
      expect(error.spec).toBe(secretive.spec);
      expect(Object.keys(error)).not.toContain('spec');
      for (const text of [
        error.message,
        inspect(error, { depth: 10 }),
        JSON.stringify(error),
        JSON.stringify(Object.entries(error)),
      ]) {
        expect(text).not.toMatch(/hunter/);
      }
    });
});
