import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { Command, killPainfully } from 'vircommand';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import type * as time from '../../src/host/time.js';
import { end, eventually, exists, FOREVER, isRunning, processStat, useProcesses } from '../helpers/tools.js';
import { inParent, useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const started = useProcesses();

/** The patience that was asked for. Nobody has it: every wait of a second or more is as long as `patienceMs`. */
const waits = vi.hoisted(() => ({ asked: [] as number[], patienceMs: 50 }));
vi.mock('../../src/host/time.js', async (original) => {
  const real = await original<typeof time>();
  const setTimeout = (callback: () => void, ms: number) => {
    if (ms < 1000) return real.setTimeout(callback, ms);
    waits.asked.push(Math.round(ms / 1000) * 1000);
    return real.setTimeout(callback, waits.patienceMs);
  };
  return { ...real, setTimeout };
});

beforeEach(() => {
  waits.asked.length = 0;
  waits.patienceMs = 50;
});

/** The descriptors of this process that are of a process. */
const pidfds = (): number =>
  readdirSync('/proc/self/fd').filter((fd) => {
    try {
      return (
        readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[pidfd]' ||
        readlinkSync(`/proc/self/fd/${fd}`).startsWith('pidfd:')
      );
    } catch {
      // The one that the directory was read by.
      return false;
    }
  }).length;

async function stubborn(detached = false): Promise<ReturnType<typeof spawn>> {
  const child = spawn('sh', ['-c', "trap '' TERM; echo; while :; do sleep 0.05; done"], {
    stdio: ['ignore', 'pipe', 'ignore'],
    detached,
  });
  started(child.pid!);
  await once(child.stdout, 'data');
  return child;
}

describe('killPainfully', () => {
  test('ends a process by SIGTERM, and leaves its exit status to whoever waits for it', async () => {
    waits.patienceMs = 20_000;
    const child = spawn('sleep', [FOREVER]);
    const exit = once(child, 'exit');
    const before = pidfds();
    await killPainfully(child.pid!);
    expect(await exit).toEqual([null, 'SIGTERM']);
    expect(waits.asked).toEqual([15_000]);
    expect(pidfds()).toBe(before);
  });

  test('gives up after 15 s without force, and lets go of the process', async () => {
    const child = await stubborn();
    const before = pidfds();
    await expect(killPainfully(child.pid!)).rejects.toMatchObject({
      code: 'EBUSY',
      message: `Cannot end process ${child.pid!}: it ignored SIGTERM for 15 s; say { force: true }.`,
    });
    expect(waits.asked).toEqual([15_000]);
    expect(isRunning(child.pid!)).toBe(true);
    expect(pidfds()).toBe(before);
  });

  test('sends SIGKILL after 10 s with force, and then waits 30 s', async () => {
    const child = await stubborn();
    const exit = once(child, 'exit');
    waits.patienceMs = 1000 - 1;
    await killPainfully(child.pid!, { force: true });
    expect(await exit).toEqual([null, 'SIGKILL']);
    expect(waits.asked).toEqual([10_000, 30_000]);
  });

  test('a zombie is gone: it has exited, whether its parent reaps it or not', async () => {
    // The shell becomes a program that never waits for its child.
    const parent = spawn('sh', ['-c', `sleep ${FOREVER} & echo $!; exec sleep ${FOREVER}`], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    started(parent.pid!);
    const pid = started(Number(String((await once(parent.stdout, 'data'))[0])));
    await eventually(
      'the shell has become the other program',
      () => readFileSync(`/proc/${parent.pid}/comm`, 'utf8') === 'sleep\n',
    );
    waits.patienceMs = 20_000;
    await killPainfully(pid);
    expect(processStat(pid)?.state).toBe('Z');
    await killPainfully(pid);
  });

  test('finds no fault in a process that is gone', async () => {
    const child = spawn('true');
    await once(child, 'exit');
    await killPainfully(child.pid!);
    await killPainfully(child.pid!, { group: true });
  });

  test("ends a daemon that is nobody's child here, and all of its group", async () => {
    const { pid } = await new Command('sh', '-c', `sleep ${FOREVER} & exec sleep ${FOREVER}`).daemonize().run();
    started(pid);
    const group = processStat(pid)!.group;
    // Its group was led by the process in the middle, which is dead.
    expect(group).not.toBe(pid);
    const members = await eventually('both are there', () => {
      const pids = readdirSync('/proc')
        .map(Number)
        .filter((each) => each > 0 && processStat(each)?.group === group && isRunning(each));
      return pids.length === 2 && pids;
    });
    for (const member of members) started(member);
    waits.patienceMs = 20_000;
    await killPainfully(pid, { group: true });
    expect(members.filter(isRunning)).toEqual([]);
  });

  test('waits for every member of a group, and ends those that ignore SIGTERM', async () => {
    const leader = await stubborn(true);
    const exit = once(leader, 'exit');
    waits.patienceMs = 900;
    await killPainfully(leader.pid!, { group: true, force: true });
    expect(await exit).toEqual([null, 'SIGKILL']);
    // Whether there was anybody left to wait for after SIGKILL is a matter of microseconds.
    expect(waits.asked[0]).toBe(10_000);
  });

  test('ends a group whose leader is gone', async () => {
    const leader = spawn('sh', ['-c', `sleep ${FOREVER} & echo $!`], {
      stdio: ['ignore', 'pipe', 'ignore'],
      detached: true,
    });
    const exit = once(leader, 'exit');
    const member = started(Number(String((await once(leader.stdout, 'data'))[0])));
    await exit;
    expect(exists(leader.pid!)).toBe(false);
    expect(isRunning(member)).toBe(true);
    waits.patienceMs = 20_000;
    await killPainfully(leader.pid!, { group: true });
    expect(isRunning(member)).toBe(false);
  });

  test('refuses to signal the group that this process is in', async () => {
    const child = spawn('sleep', [FOREVER]);
    started(child.pid!);
    await expect(killPainfully(child.pid!, { group: true })).rejects.toMatchObject({
      code: 'EINVAL',
      message: `Cannot end process ${child.pid!}: its process group is the one that this process is in; leave out { group: true }.`,
    });
    expect(isRunning(child.pid!)).toBe(true);
  });

  test('a worker that ends while it waits for a stranger does not take the stranger along', async () => {
    const child = await stubborn();
    const library = new URL('../../dist/index.js', import.meta.url).href;
    const worker = new Worker(
      `import(${JSON.stringify(library)}).then(({ killPainfully }) => {
      killPainfully(${child.pid!}); require('node:worker_threads').parentPort.postMessage('waits');
    });`,
      { eval: true, env: { ...process.env, VIRCOMMAND_ENGINE: 'native' } },
    );
    await once(worker, 'message');
    await worker.terminate();
    expect(isRunning(child.pid!)).toBe(true);
    end(child.pid!);
  });

  test('this process lives until the end of what it ends has come', async () => {
    const told = await inParent(async ({ killPainfully: kill }) => {
      const { spawn: start } = process.getBuiltinModule('node:child_process');
      const child = start('sh', ['-c', "trap 'sleep 0.3; exit 3' TERM; echo; while :; do sleep 0.05; done"], {
        stdio: ['ignore', 'pipe', 'ignore'],
      });
      await new Promise((resolve) => child.stdout.once('data', resolve));
      child.unref();
      child.stdout.destroy();
      await kill(child.pid!);
      return 'it is gone';
    });
    expect(told).toBe('it is gone');
  });
});
