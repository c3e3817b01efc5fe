import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeEach, describe, expect, test } from 'vitest';
import type { Command } from 'vircommand';
import { inParent, type Library, needsRoot, useNativeEngine } from '../helpers/native.js';
import { hasProgram, useDirectory, writeProgram } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

describe.for(['EPERM', 'ENOSYS'])('a sandbox that refuses a system call with %s', (errno) => {
  const built = mkdtempSync(join(tmpdir(), 'vircommand-sandbox-'));
  const program = join(built, 'refuse-call');
  afterAll(() => {
    rmSync(built, { recursive: true });
  });
  beforeEach(({ skip }) => {
    if (!hasProgram('cc')) skip('there is no C compiler');
    const source = fileURLToPath(new URL('../programs/refuse-call.c', import.meta.url));
    execFileSync('cc', ['-o', program, source], { stdio: 'inherit' });
  });

  /** Runs a program to its end, one that has to be ended, and one that needs the helper; and tells how each ended. */
  async function tell({ Command, engineInfo }: Library) {
    const { engine, why } = engineInfo();
    const end = (command: Command) => command.run().then(({ exitCode }) => exitCode, String);
    return {
      engine,
      why,
      ends: await end(new Command('true')),
      isEnded: await end(new Command('sleep', '600').timeout(20)),
      beside: await Promise.all([0, 1, 2].map(() => end(new Command('true')))),
      helper: await end(new Command('true').clearCaps()),
      hook: await end(new Command('true').preExecHook(() => 0)),
    };
  }
  const inSandbox = (call: string) =>
    inParent(tell, undefined, { through: [program, errno, call], env: { VIRCOMMAND_ENGINE: '' } });

  const isEnded = '`sleep 600` did not finish within 20 ms. It was ended by SIGTERM.';

  test.for(['clone', 'close_range', 'dup3', 'epoll_wait', 'pidfd_send_signal', 'prlimit64', 'waitid'])(
    '%s, which every launch takes: the portable engine takes over as where there is no addon, and says why',
    async (call, { skip }) => {
      if (call === 'epoll_wait' && process.arch !== 'x64') skip('this machine has no such system call');
      expect(await inSandbox(call)).toMatchObject({
        engine: 'portable',
        why: `the native engine needs ${call}(), which is refused here (${errno}): the kernel is older than Linux 5.11, or a sandbox or an emulator stands before it`,
        ends: 0,
        isEnded: `ExitError: ${isEnded}`,
        helper: expect.stringContaining('child_process does not know capabilities') as string,
      });
    },
  );

  test('memfd_create, which only the helper and hooks take: they are refused by name, and all else runs', async () => {
    const why = `because the helper that performs this step gets it in a file in memory, and memfd_create() is refused here (${errno}): a sandbox stands before the kernel`;
    expect(await inSandbox('memfd_create')).toEqual({
      engine: 'native',
      why: 'the addon was loaded',
      ends: 0,
      isEnded: `ExitError: ${isEnded}`,
      beside: [0, 0, 0],
      helper: expect.stringMatching(
        /^UnsupportedError: Cannot start `true`: the native engine cannot do clearCaps\(\), /,
      ) as string,
      hook: expect.stringContaining(`the native engine cannot do preExecHook(), ${why}.`) as string,
    });
  });

  test.for(['pidfd_open', 'pidfd_getfd'])(
    '%s, which only a launch beside this thread takes: everything runs',
    async (call) => {
      expect(await inSandbox(call)).toEqual({
        engine: 'native',
        why: 'the addon was loaded',
        ends: 0,
        isEnded: `ExitError: ${isEnded}`,
        beside: [0, 0, 0],
        helper: 0,
        hook: 0,
      });
    },
  );
});

describe('where /proc is not mounted', () => {
  const withoutProc = ['unshare', '-m', 'sh', '-c', 'mount -t tmpfs none /proc && cd "$0" && exec "$@"'];

  test('a hook is refused, and no file of the current directory is taken for Node', async ({ skip }) => {
    needsRoot(skip);
    if (!hasProgram('bash')) skip('there is no bash, which can call a program by another name');
    try {
      execFileSync('unshare', ['-m', 'sh', '-c', 'mount -t tmpfs none /proc']);
    } catch {
      skip('this process may not mount anything');
    }
    const marker = path('was-run');
    writeProgram(path('node'), `#!/bin/sh\ntouch '${marker}'\n`);
    // Node calls itself so when nothing tells it its file.
    const asName = ['bash', '-c', 'node=$1; shift; exec -a node "$node" "$@"', 'bash'];
    const told = await inParent(
      async ({ Command, engineInfo }: Library) => ({
        execPath: process.execPath,
        refuses: engineInfo().refuses['hook'],
        hook: await new Command('true')
          .preExecHook(() => 0)
          .run()
          .then(({ exitCode }) => exitCode, String),
        plain: await new Command('true').run().then(({ exitCode }) => exitCode, String),
      }),
      undefined,
      { through: [...withoutProc, path(), ...asName] },
    );
    const why =
      "the file of Node itself is not known: process.execPath is 'node', and /proc, which tells the file, is not mounted";
    expect(told).toEqual({
      execPath: 'node',
      refuses: why,
      hook: `UnsupportedError: Cannot start \`true\`: the native engine cannot do preExecHook(), because ${why}. Leave the call out, or use an engine that can: see docs/engines.md.`,
      plain: 0,
    });
    expect(execFileSync('ls', [path()], { encoding: 'utf8' })).toBe('node\n');
  });
});
