import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { Command, LaunchError, PidFile, PidFileError } from '../../src/index.js';
import { dryRun, type DryRunFailure } from '../../src/testing.js';
import { rejection, useDirectory } from '../helpers/tools.js';

const path = useDirectory();
const failing = (fail: DryRunFailure) => dryRun({ strict: true, respond: () => ({ fail }) });

describe('a launch that a dry run has fail', () => {
  // What a real launch says is the right value.
  test.each<[string, DryRunFailure, () => Command]>([
    ['of a program by its path', { step: 'execve', errno: 'ENOENT' }, () => new Command(path('absent'), 'a')],
    ['of a program by its name', { step: 'path-search', errno: 'ENOENT' }, () => new Command('vircommand-absent')],
    ['of its input', { step: 'open', errno: 'ENOENT' }, () => new Command('true').inputFile(path('absent'))],
    ['of its output', { step: 'open', errno: 'EISDIR' }, () => new Command('true').outputFile(path('directory'))],
    [
      'of its directory',
      { step: 'chdir', errno: 'ENOENT' },
      () => new Command('true').workingDirectory(path('absent')),
    ],
    [
      'of a file as a directory',
      { step: 'chdir', errno: 'ENOTDIR' },
      () => new Command('true').workingDirectory(path('file')),
    ],
    ['of a long argument', { step: 'execve', errno: 'E2BIG' }, () => new Command('/bin/true', 'x'.repeat(200_000))],
  ])('has the sentence of a real one: %s', async (_, fail, command) => {
    mkdirSync(path('directory'));
    writeFileSync(path('file'), '');
    chmodSync(path('file'), 0o644);
    const real = await rejection(LaunchError, command().run());
    using dry = failing(fail);
    const played = await rejection(LaunchError, command().run());
    const fieldsOf = ({ message, step, errno, syscall, path: file, tried, command: printed }: LaunchError) => ({
      message,
      step,
      errno,
      syscall,
      path: file,
      tried,
      printed,
    });
    expect(fieldsOf(played)).toEqual(fieldsOf(real));
    expect(dry.commands).toHaveLength(1);
  });

  test.each<[DryRunFailure, () => Command, string]>([
    [
      { step: 'execve', errno: 'EACCES' },
      () => new Command('/usr/sbin/x'),
      "Cannot start `/usr/sbin/x`: '/usr/sbin/x' may not be executed (execve: EACCES). Look at its permissions, at those of each directory above it and of its interpreter, and for a security module that forbids it.",
    ],
    [
      { step: 'setpriority', errno: 'EPERM' },
      () => new Command('/x').nice(-5),
      'Cannot start `/x`: this process may not take the nice value -5 (setpriority: EPERM). Run as root, or with the capability CAP_SYS_NICE.',
    ],
    [
      { step: 'setpriority', errno: 'EACCES' },
      () => new Command('/x').nice(-5),
      'Cannot start `/x`: this process may not take the nice value -5 (setpriority: EACCES). Run as root, or with the capability CAP_SYS_NICE.',
    ],
    [
      { step: 'cgroup', errno: 'ENOENT', path: '/g' },
      () => new Command('/x').cgroup('/sys/fs/cgroup/absent'),
      "Cannot start `/x`: the control group '/g' does not exist (cgroup: ENOENT). Make a directory below the mount point of version 2, and name that.",
    ],
    [
      { step: 'clone', errno: 'EAGAIN' },
      () => new Command('/x'),
      'Cannot start `/x`: the kernel makes no further process for this user (clone: EAGAIN). Look at `ulimit -u`, at the pids limit of the control group, and at /proc/sys/kernel/pid_max.',
    ],
    [
      { step: 'pipe', errno: 'EMFILE' },
      () => new Command('/x'),
      'Cannot start `/x`: this process has no descriptor left (pipe: EMFILE). Close some, or raise its limit (`ulimit -n`).',
    ],
  ])('is told without a look at this machine: %o', async (fail, command, message) => {
    using _dry = failing(fail);
    expect((await rejection(LaunchError, command().run())).message).toBe(message);
    expect(() => command().runSync()).toThrow(message);
    expect((await rejection(LaunchError, command().runAsync())).message).toBe(message);
  });

  test('by a file of PATH that is not executable names it', async () => {
    using _dry = failing({ step: 'path-search', errno: 'EACCES' });
    expect(await rejection(LaunchError, new Command('vircommand-absent').run())).toMatchObject({
      step: 'path-search',
      errno: 'EACCES',
      message: /stands in PATH, but not as an executable \('.*\/vircommand-absent'\)/,
    });
  });

  test('by its pidfile is a PidFileError, and no pidfile is left', async () => {
    const command = new Command('/x').daemonize().pidFile(path('x.pid'));
    {
      using _dry = failing({ step: 'pidfile', errno: 'EROFS' });
      expect(await rejection(PidFileError, command.run())).toMatchObject({
        errno: 'EROFS',
        message: `Pidfile '${path('x.pid')}' cannot be written (open: EROFS).`,
        command: '/x',
      });
    }
    using _dry = failing({ step: 'execve', errno: 'ENOENT' });
    await rejection(LaunchError, command.run());
    await expect(PidFile.read(path('x.pid'))).rejects.toThrow('ENOENT');
  });

  test.each([
    [undefined, 'respond() gave as fail undefined; give a step and an errno'],
    [{ step: 'execve' }, "respond() gave the errno undefined; write its name, as 'ENOENT'."],
    [{ step: 'exec', errno: 'ENOENT' }, "respond() gave the step 'exec'; the steps are: abort, path-search,"],
    [
      { step: 'chdir', errno: 'ENOENT' },
      "respond() gave the step 'chdir'; this launch has none of that name; it has: pipe, clone, sigaction, ",
    ],
    [{ step: 'abort', errno: 'ENOENT' }, "respond() gave the step 'abort'; this launch has none of that name"],
    [{ step: 'path-search', errno: 'ENOENT' }, "respond() gave the step 'path-search'; this launch has none"],
  ])('with %o is a TypeError', async (fail, words) => {
    using _dry = dryRun({ respond: () => ({ fail }) as never });
    const error = await rejection(TypeError, new Command('/x').run());
    expect(error.message).toContain(words);
  });

  test('by an errno that no search gives is a TypeError', async () => {
    using _dry = failing({ step: 'path-search', errno: 'EIO' });
    await expect(new Command('x').run()).rejects.toThrow("a search in PATH fails with 'ENOENT' or 'EACCES'");
  });
});
