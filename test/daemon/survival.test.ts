import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { eventually, fixture, isRunning, useDirectory, useProcesses } from '../helpers/tools.js';
import { lockHolder } from '../helpers/daemons.js';
import { inParent, needsProgram, useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

const SIGHUP = 1;

test('daemons survive the hang-up of the terminal that they were started from; an ordinary child does not', async ({
  skip,
}) => {
  needsProgram(skip, 'python3');
  const words = [fixture('hang-up.py'), process.execPath, fixture('start-at-terminal.js'), path('pid')];
  const { stdout, stderr } = spawnSync('python3', words, {
    encoding: 'utf8',
    env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
  });
  if (/No module named|out of pty devices/.test(stderr))
    skip(`python3 has no terminal to give here: ${stderr.trim().split('\n').at(-1) ?? ''}`);
  const { plain, locked, child } = JSON.parse(
    stdout.split('\n').find((line) => line.startsWith('{')) ?? expect.fail(stdout + stderr),
  ) as Record<'plain' | 'locked' | 'child', number>;
  for (const pid of [plain, locked, child]) keep(pid);
  expect(stdout, 'the starter has heard of it').toContain(`ended by ${SIGHUP}\n`);
  await eventually('the child has heard of it', () => !isRunning(child));
  expect([isRunning(plain), isRunning(locked)]).toEqual([true, true]);
  expect([readFileSync(path('pid'), 'utf8'), lockHolder(path('pid'))]).toEqual([String(locked), locked]);
});

test.for(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGHUP'] as const)(
  'daemons of both lanes survive the %s of the process that started them',
  async (signal) => {
    const pids = await inParent(
      async ({ Command: Program }, asked: { signal: NodeJS.Signals; pidFile: string }) => {
        const own = () => new Program('sleep', '600').daemonize();
        const daemons = [await own().run(), await own().clearCaps().run(), await own().pidFile(asked.pidFile).run()];
        process.stdout.write(`\nRESULT ${JSON.stringify(daemons.map(({ pid }) => pid))}\n`, () =>
          process.kill(process.pid, asked.signal),
        );
        setInterval(() => undefined, 1000);
        return new Promise<number[]>(() => undefined);
      },
      { signal, pidFile: path('pid') },
    );
    for (const pid of pids) keep(pid);
    expect(pids).toHaveLength(3);
    expect(pids.map(isRunning)).toEqual([true, true, true]);
    expect(lockHolder(path('pid'))).toBe(pids[2]);
  },
);

/** How long a system call takes more, in microseconds. */
const DELAY = 500_000;

/** Starts a parent in which one call takes longer; the trace tells that it did. What it starts must end by itself: strace waits for it. */
const slowed = (call: string) => ({
  through: [
    'strace',
    '-f',
    '-qq',
    '-o',
    path('trace'),
    '-e',
    `trace=${call}`,
    '-e',
    `inject=${call}:delay_enter=${DELAY}`,
  ],
});
const wasSlow = (call: string, pid: number) =>
  new RegExp(`^${pid} .*\\b${call}\\b.*\\(DELAYED\\)`, 'm').test(readFileSync(path('trace'), 'utf8'));

test('a caller that dies between the pidfile and the exec takes no daemon along', async ({ skip }) => {
  needsProgram(skip, 'strace');
  const pid = await inParent(
    async ({ Command: Program }, asked: { pidFile: string; ran: string }) => {
      void new Program('touch', asked.ran).daemonize().clearCaps().pidFile(asked.pidFile).run();
      const { existsSync: exists, readFileSync: read } = process.getBuiltinModule('node:fs');
      const { setTimeout: pause } = process.getBuiltinModule('node:timers/promises');
      while (!exists(asked.pidFile) || read(asked.pidFile, 'utf8') === '') await pause(1);
      process.stdout.write(`\nRESULT ${read(asked.pidFile, 'utf8')}\n`, () => process.kill(process.pid, 'SIGKILL'));
      return new Promise<number>(() => undefined);
    },
    { pidFile: path('pid'), ran: path('ran') },
    slowed('capset'),
  );
  expect(wasSlow('capset', pid), 'it stood before its exec').toBe(true);
  // What the helper has to say before its exec, nobody hears: that must not end it.
  expect(existsSync(path('ran'))).toBe(true);
});

test('the event loop goes on while the disk that the pidfile lies on is slow', async ({ skip }) => {
  needsProgram(skip, 'strace');
  // The call between the lock and the pid.
  const { pid, turns } = await inParent(
    async ({ Command: Program }, pidFile: string) => {
      let count = 0;
      const timer = setInterval(() => (count += 1), 1);
      const daemon = await new Program('true').daemonize().pidFile(pidFile).run();
      clearInterval(timer);
      return { pid: daemon.pid, turns: count };
    },
    path('pid'),
    slowed('ftruncate'),
  );
  expect(wasSlow('ftruncate', pid), 'it was slow').toBe(true);
  // Held, it would not have turned once before run() resolved.
  expect(turns).toBeGreaterThan(1);
});
