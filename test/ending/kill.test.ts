import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type * as time from '../../src/host/time.js';
import { killPainfully, killTree, type KillTreeResult } from '../../src/index.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { withVariables } from '../helpers/tools.js';

// What is done by number, where there are no descriptors of processes. By descriptor: test/ending/kill-painfully.test.ts.
process.env['VIRCOMMAND_ENGINE'] = 'portable';

/** The pauses between two looks that `killPainfully` asked for. Nobody waits for them, but for `during`; shorter pauses are real. */
const pauses = vi.hoisted(() => ({ asked: [] as number[], during: (): Promise<unknown> => Promise.resolve() }));
vi.mock('../../src/host/time.js', async (original) => {
  const real = await original<typeof time>();
  const delay = (ms: number) => (ms < 200 ? real.delay(ms) : (pauses.asked.push(ms), pauses.during()));
  return { ...real, delay };
});

beforeEach(() => {
  pauses.asked.length = 0;
  pauses.during = () => Promise.resolve();
  return () => {
    vi.restoreAllMocks();
  };
});

/** In the place of the kernel: answers each signal, and remembers it with the time that had passed. */
function fakeKill(answer: (signal: string | number, sent: readonly (string | number)[]) => string | undefined) {
  const sent: { pid: number; signal: string | number; atMs: number }[] = [];
  vi.spyOn(process, 'kill').mockImplementation((pid, signal = 'SIGTERM') => {
    sent.push({ pid, signal, atMs: pauses.asked.reduce((sum, ms) => sum + ms, 0) });
    const code = answer(
      signal,
      sent.map((entry) => entry.signal),
    );
    if (code !== undefined) throw Object.assign(new Error(code), { code });
    return true;
  });
  return sent;
}

const PID = 0x7fff_fffe;

describe('killPainfully', () => {
  test('ends a process that obeys SIGTERM', async () => {
    const child = spawn('sleep', ['1000']);
    const exit = once(child, 'exit');
    pauses.during = () => exit;
    await killPainfully(child.pid!);
    expect(await exit).toEqual([null, 'SIGTERM']);
  });

  test('finds no fault in a process that is gone', async () => {
    const sent = fakeKill(() => 'ESRCH');
    await killPainfully(PID);
    expect(sent).toEqual([{ pid: PID, signal: 'SIGTERM', atMs: 0 }]);
  });

  test('sends SIGTERM at once, looks every 0.2 s and resolves when the process is gone', async () => {
    const sent = fakeKill((_signal, all) => (all.length === 4 ? 'ESRCH' : undefined));
    await killPainfully(PID);
    expect(sent.map(({ signal, atMs }) => [signal, atMs])).toEqual([
      ['SIGTERM', 0],
      [0, 200],
      [0, 400],
      [0, 600],
    ]);
  });

  test('gives up after 15 s without force, and never sends SIGKILL', async () => {
    const sent = fakeKill(() => undefined);
    await expect(killPainfully(PID)).rejects.toMatchObject({
      code: 'EBUSY',
      message: `Cannot end process ${PID}: it ignored SIGTERM for 15 s; say { force: true }.`,
    });
    expect(sent.filter(({ signal }) => signal !== 0)).toEqual([{ pid: PID, signal: 'SIGTERM', atMs: 0 }]);
    expect(sent.at(-1)).toEqual({ pid: PID, signal: 0, atMs: 15_000 });
  });

  test('sends SIGKILL after 10 s with force, and gives up after 40 s', async () => {
    const sent = fakeKill(() => undefined);
    await expect(killPainfully(PID, { force: true })).rejects.toMatchObject({
      code: 'EBUSY',
      message: `Cannot end process ${PID}: it is still there 30 s after SIGKILL.`,
    });
    expect(sent.filter(({ signal }) => signal !== 0).map(({ signal, atMs }) => [signal, atMs])).toEqual([
      ['SIGTERM', 0],
      ['SIGKILL', 10_000],
    ]);
    expect(sent.at(-1)?.atMs).toBe(40_000);
  });

  test('counts a zombie as alive: only its parent can make it go', async () => {
    const sent = fakeKill((_signal, all) => (all.includes('SIGKILL') && all.length > 60 ? 'ESRCH' : undefined));
    await killPainfully(PID, { force: true });
    expect(sent).toHaveLength(61);
  });

  test('signals the whole group if asked', async () => {
    const sent = fakeKill(() => 'ESRCH');
    await killPainfully(PID, { group: true });
    expect(sent.map(({ pid }) => pid)).toEqual([-PID]);
  });

  test('refuses to signal the group that this process is in', async () => {
    const child = spawn('sleep', ['1000']);
    const exit = once(child, 'exit');
    await expect(killPainfully(child.pid!, { group: true })).rejects.toMatchObject({
      code: 'EINVAL',
      message: `Cannot end process ${child.pid!}: its process group is the one that this process is in; leave out { group: true }.`,
    });
    child.kill();
    await exit;
  });

  test('tells of a process that may not be signaled', async () => {
    fakeKill(() => 'EPERM');
    await expect(killPainfully(PID)).rejects.toMatchObject({
      code: 'EPERM',
      message: `Cannot end process ${PID}: it may not be signaled (kill: EPERM).`,
    });
  });

  test.each([1, 0, -1, -5000])('takes the pid %i for nobody, and signals nobody', async (pid) => {
    const sent = fakeKill(() => undefined);
    await killPainfully(pid, { force: true, group: true });
    expect(sent).toEqual([]);
  });

  test.each([NaN, 1.5, undefined, '7', 2 ** 31, -(2 ** 31), 7n])('refuses %o, which is no pid', async (pid) => {
    const sent = fakeKill(() => undefined);
    await expect(killPainfully(pid as number)).rejects.toThrow(
      new TypeError(`killPainfully(${inspect(pid)}): a pid is a whole number; read it with PidFile.read().`),
    );
    expect(sent).toEqual([]);
  });
});

/** The state of a process as the kernel tells it: a letter, or nothing where there is none. */
function state(pid: number): string | undefined {
  try {
    return /\) (\w)/.exec(readFileSync(`/proc/${pid}/stat`, 'latin1'))?.[1];
  } catch {
    return undefined;
  }
}

describe('killTree', () => {
  test('ends a shell, its children and theirs, and leaves nobody', async () => {
    const directory = temporaryDirectory();
    const script =
      'sleep 1000 & echo $! >>pids; sh -c "sleep 1000 & echo \\$! >>pids; echo \\$\\$ >>pids; echo ready; wait" & echo $! >>pids; wait';
    const shell = spawn('sh', ['-c', script], { cwd: directory, stdio: ['ignore', 'pipe', 'ignore'] });
    const exit = once(shell, 'exit');
    await once(shell.stdout, 'data');
    const pids = [shell.pid!, ...readFileSync(`${directory}/pids`, 'utf8').trim().split('\n').map(Number)];
    const { level, ended, survivors } = await killTree(shell.pid!);
    expect({ level, survivors }).toEqual({ level: 'walk', survivors: [] });
    expect([...ended].sort()).toEqual(Array.from(new Set(pids)).sort());
    expect(await exit).toEqual([null, 'SIGKILL']);
    for (const pid of pids) expect(state(pid) ?? 'Z').toBe('Z');
  });

  test('takes a child in the place of its pid', async () => {
    const child = spawn('sleep', ['1000']);
    const exit = once(child, 'exit');
    expect(await killTree({ pid: child.pid! })).toEqual({ level: 'walk', ended: [child.pid], survivors: [] });
    await exit;
  });

  test('finds nobody below a process that is gone', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    expect(await killTree(child.pid!)).toEqual({ level: 'walk', ended: [], survivors: [] });
  });

  // A container image without procps: `ps` is missing, and /proc tells the same.
  test('without `ps` it walks by /proc', async () => {
    const shell = spawn('sh', ['-c', 'sleep 1000 & echo $!; wait'], { stdio: ['ignore', 'pipe', 'ignore'] });
    const exit = once(shell, 'exit');
    const [line] = (await once(shell.stdout, 'data')) as [Buffer];
    const pids = [shell.pid!, Number(String(line))];
    await withVariables({ PATH: temporaryDirectory() }, async () => {
      const { level, ended, survivors } = await killTree(shell.pid!);
      expect({ level, ended: [...ended].sort(), survivors }).toEqual({
        level: 'walk',
        ended: [...pids].sort(),
        survivors: [],
      });
    });
    expect(await exit).toEqual([null, 'SIGKILL']);
  });

  test('without `ps` a tree that this process is in is refused all the same', async () => {
    await withVariables({ PATH: temporaryDirectory() }, () =>
      expect(killTree(process.ppid)).rejects.toMatchObject({ code: 'EINVAL' }),
    );
  });

  test('without `ps` and /proc it ends the root, and says that it looked no further', async ({ skip }) => {
    const [main, program] = [fileURLToPath(new URL('../../dist/index.js', import.meta.url)), process.execPath];
    const told = `
      import { spawn, spawnSync } from 'node:child_process';
      import { killTree } from ${JSON.stringify(main)};
      const child = spawn('/bin/sleep', ['1000'], { stdio: 'ignore' });
      process.env.PATH = '/nowhere';
      console.log(JSON.stringify([child.pid, await killTree(child.pid)]));`;
    const { status, stdout, stderr } = spawnSync(
      'unshare',
      ['-m', 'sh', '-c', 'mount -t tmpfs none /proc && exec "$@"', 'sh', program, '--input-type=module', '-e', told],
      { encoding: 'utf8' },
    );
    if (status !== 0 && /unshare|mount/.test(stderr)) return skip('a /proc that is covered needs root');
    const [pid, result] = JSON.parse(stdout) as [number, KillTreeResult];
    expect(result).toEqual({ level: 'root', ended: [pid], survivors: [] });
  });

  test('refuses a tree that this process is in', async () => {
    await expect(killTree(process.ppid)).rejects.toMatchObject({
      code: 'EINVAL',
      message: `killTree(${process.ppid}): this process is in that tree, and would end before it could tell; give a child of this process.`,
    });
  });

  test.each([1, 0, -5, NaN, 1.5])('refuses to start at %s', async (pid) => {
    await expect(killTree(pid)).rejects.toThrow(
      new TypeError(`killTree(${pid}): a tree starts at a process above 1; give a Child, or its pid.`),
    );
  });
});
