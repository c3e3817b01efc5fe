import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { Command, LaunchError, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import {
  children,
  eventually,
  FOREVER,
  isRunning,
  NOWHERE,
  rejection,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';
import { holdersOf, lockHolder, marked, programOf, sleeper } from '../helpers/daemons.js';
import { inParent, needsRoot, NOBODY, useNativeEngine, type Library } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

const HELPER = 'vircommand-helper';
const ABORTS = 50;

/** A daemon with a handshake and a pidfile. What it executes leaves a file behind, or is named. */
const waiting = (...argv: [string, ...string[]]) =>
  Command.fromArgv(argv.length > 0 ? argv : ['true'])
    .daemonize()
    .pidFile(path('pid'))
    .requireHandshake();
const leavesFile = () => waiting('sh', '-c', `: >"$0"; exec sleep ${FOREVER}`, path('ran'));

async function nothingIsLeft(pid: number): Promise<void> {
  await eventually('the daemon is gone', () => !isRunning(pid));
  expect([existsSync(path('pid')), existsSync(path('ran'))]).toEqual([false, false]);
}

describe('a daemon that shakes hands', () => {
  test('has its pidfile, and has not executed its program, when run() resolves; then it waits, and goes on when it is told', async () => {
    const daemon = await leavesFile().run();
    const { pid } = daemon;
    keep(pid);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
    expect(lockHolder(path('pid'))).toBe(pid);
    await daemon.handshakeWait();
    expect([basename(programOf(pid)), existsSync(path('ran'))]).toEqual([HELPER, false]);
    await daemon.handshakeNotify();
    expect(basename(programOf(pid))).not.toBe(HELPER);
    await eventually('the program runs', () => existsSync(path('ran')));
    expect([isRunning(pid), lockHolder(path('pid'))]).toEqual([true, pid]);
  });

  test('whose setup fails rejects run(), with the step, and closes the pipes of the caller', async () => {
    await new Command('true').clearCaps().run();
    const before = readdirSync('/proc/self/fd').length;
    const command = waiting('sleep', FOREVER)
      .limit('nofile', 2 ** 40)
      .inputPipe()
      .outputPipe()
      .errorPipe();
    expect(await rejection(LaunchError, command.run())).toMatchObject({ step: 'prlimit', errno: 'EPERM' });
    await eventually('all is closed', () => readdirSync('/proc/self/fd').length === before);
    expect([existsSync(path('pid')), children()]).toEqual([false, []]);
  });

  test('whose exec fails rejects handshakeNotify(), and leaves no pidfile and no process', async () => {
    const daemon = await waiting(NOWHERE).run();
    keep(daemon.pid);
    expect(await rejection(LaunchError, daemon.handshakeNotify())).toMatchObject({
      step: 'execve',
      errno: 'ENOENT',
      path: NOWHERE,
    });
    await nothingIsLeft(daemon.pid);
  });

  test('is told to go on once', async () => {
    const daemon = await leavesFile().run();
    keep(daemon.pid);
    await daemon.handshakeNotify();
    const again = await rejection(UsageError, daemon.handshakeNotify());
    expect(again.mistakes).toEqual([
      { call: 'handshakeNotify()', problem: 'the handshake is complete already; say it once' },
    ]);
    const tooLate = await rejection(UsageError, daemon.handshakeAbort());
    expect(tooLate.mistakes).toEqual([
      { call: 'handshakeAbort()', problem: 'the handshake is complete already; end the program with killPainfully()' },
    ]);
    expect(isRunning(daemon.pid)).toBe(true);
  });

  test('and is ended by somebody else meanwhile was no success: handshakeNotify() rejects, and its pidfile is gone', async () => {
    const daemon = await leavesFile().run();
    process.kill(daemon.pid, 'SIGKILL');
    await eventually('it has ended', () => !isRunning(daemon.pid));
    const error = await rejection(LaunchError, daemon.handshakeNotify());
    expect([error.step, error.errno]).toEqual(['execve', undefined]);
    expect(error.message).toMatch(
      /: something ended it before it could execute its program\. Look for who signaled it, and for the kernel's out-of-memory report\.$/,
    );
    await nothingIsLeft(daemon.pid);
  });

  test('and is asked to end meanwhile ends before its program, which is no success either', async () => {
    const daemon = await leavesFile().run();
    // It has all signals blocked until it goes on.
    process.kill(daemon.pid, 'SIGTERM');
    expect(await rejection(LaunchError, daemon.handshakeNotify())).toMatchObject({ step: 'execve', errno: undefined });
    await nothingIsLeft(daemon.pid);
  });
});

describe('a handshake that is given up', () => {
  test('by handshakeAbort() means that the program never runs; the daemon has ended and its pidfile is gone when that resolves', async () => {
    const daemon = await marked(leavesFile(), path('mark')).outputPipe().run();
    expect(holdersOf(path('mark'))).toEqual([daemon.pid]);
    await daemon.handshakeAbort();
    expect(existsSync(path('pid'))).toBe(false);
    await daemon.handshakeAbort();
    await nothingIsLeft(daemon.pid);
    expect([holdersOf(path('mark')), daemon.stdout.destroyed]).toEqual([[], true]);
    const error = await rejection(UsageError, daemon.handshakeNotify());
    expect(error.mistakes).toEqual([
      { call: 'handshakeNotify()', problem: 'the handshake was given up, and the program will not run; start it anew' },
    ]);
  });

  test('leaves the pidfile to the next starter', async () => {
    const given = await leavesFile().run();
    await given.handshakeAbort();
    const { pid } = await sleeper().pidFile(path('pid')).run();
    keep(pid);
    expect(readFileSync(path('pid'), 'utf8')).toBe(String(pid));
  });

  test('as another user, who may not remove the pidfile, has it removed too, every time', async ({ skip }) => {
    needsRoot(skip);
    // The daemon tells of its end before it lets go of the file: a race that one try would mostly win.
    for (let time = 0; time < ABORTS; time += 1) {
      const daemon = await leavesFile().uid(NOBODY).gid(NOBODY).run();
      expect(readFileSync(path('pid'), 'utf8')).toBe(String(daemon.pid));
      await daemon.handshakeAbort();
      expect([time, existsSync(path('pid'))]).toEqual([time, false]);
      await nothingIsLeft(daemon.pid);
    }
  });

  test('leaves a pidfile that another starter has taken meanwhile', async () => {
    const daemon = await leavesFile().run();
    process.kill(daemon.pid, 'SIGKILL');
    await eventually('it has ended', () => !isRunning(daemon.pid));
    // The report of its end has not been read yet, or the file is being removed: the next starter waits for nobody.
    const [next, error] = await Promise.all([
      sleeper()
        .pidFile(path('pid'))
        .run()
        .catch((reason: unknown) => reason as Error),
      rejection(LaunchError, daemon.handshakeNotify()),
    ]);
    expect(error.step).toBe('execve');
    const second = next instanceof Error ? await sleeper().pidFile(path('pid')).run() : next;
    keep(second.pid);
    expect([readFileSync(path('pid'), 'utf8'), lockHolder(path('pid'))]).toEqual([String(second.pid), second.pid]);
  });

  test('by the end of its block is so only where nobody has completed it', async () => {
    let left = 0;
    let kept = 0;
    let plain = 0;
    const failing = async () => {
      await using daemon = await leavesFile().run();
      left = daemon.pid;
      throw new Error('the network is not there');
    };
    await expect(failing()).rejects.toThrow('the network is not there');
    await nothingIsLeft(left);
    {
      await using daemon = await leavesFile().run();
      kept = keep(daemon.pid);
      await daemon.handshakeNotify();
    }
    {
      await using daemon = await sleeper().run();
      plain = keep(daemon.pid);
    }
    expect([isRunning(kept), isRunning(plain)]).toEqual([true, true]);
  });

  test.for<[string, (library: Library, argument: { pidFile: string; ran: string }) => Promise<unknown>]>([
    [
      'ends',
      async ({ Command: Program }, { pidFile, ran }) => {
        const { pid } = await new Program('touch', ran).daemonize().pidFile(pidFile).requireHandshake().run();
        return pid;
      },
    ],
    [
      'exits',
      async ({ Command: Program }, { pidFile, ran }) => {
        const { pid } = await new Program('touch', ran).daemonize().pidFile(pidFile).requireHandshake().run();
        process.stdout.write(`\nRESULT ${pid}\n`, () => process.exit());
        return new Promise(() => undefined);
      },
    ],
    [
      'is killed',
      async ({ Command: Program }, { pidFile, ran }) => {
        const { pid } = await new Program('touch', ran).daemonize().pidFile(pidFile).requireHandshake().run();
        process.stdout.write(`\nRESULT ${pid}\n`, () => process.kill(process.pid, 'SIGKILL'));
        return new Promise(() => undefined);
      },
    ],
  ])('by a caller that %s without a word is the same', async ([, body]) => {
    const pid = keep((await inParent(body, { pidFile: path('pid'), ran: path('ran') })) as number);
    await nothingIsLeft(pid);
  });
});

test('a daemon without a handshake says so, to the letter', async () => {
  const daemon = await sleeper().run();
  keep(daemon.pid);
  for (const method of ['handshakeWait', 'handshakeNotify', 'handshakeAbort'] as const) {
    // The same error as that of a child.
    const { message } = await rejection(UsageError, daemon[method]());
    expect(message).toMatch(
      new RegExp(`: ${method}\\(\\): no handshake was asked for; call requireHandshake\\(\\) before run\\(\\)\\.$`),
    );
  }
  expect(isRunning(daemon.pid)).toBe(true);
});

test('a caller that waits for nothing but the end of a handshake stays until then', async () => {
  const told = await inParent(async ({ Command: Program }, pidFile: string) => {
    const daemon = await new Program('true').daemonize().pidFile(pidFile).requireHandshake().run();
    await daemon.handshakeAbort();
    const second = await new Program('true').daemonize().pidFile(pidFile).requireHandshake().run();
    await second.handshakeNotify();
    return 'came to its end';
  }, path('pid'));
  expect(told).toBe('came to its end');
});
