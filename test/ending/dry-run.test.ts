import { spawn } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import {
  adoptOrphans,
  Command,
  killPainfully,
  killTree,
  pidAbort,
  PidFile,
  PidFileError,
  type PidFileLock,
  UsageError,
} from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { describe, expect, test } from 'vitest';
import { useNativeEngine } from '../helpers/native.js';
import { FOREVER, isRunning, rejection, useDirectory, useProcesses } from '../helpers/tools.js';

useNativeEngine();
const started = useProcesses();
const path = useDirectory();

function sleeper(): number {
  return started(spawn('sleep', [FOREVER], { stdio: 'ignore', detached: true }).pid!);
}

/** A child that was released before the dry run. */
const released = async (): Promise<number> => started((await new Command('sleep', FOREVER).runAsync()).release());

describe.each([false, true])('a dry run (strict: %o) touches nothing real', (strict) => {
  test('kills are recorded, and nothing is signaled', async () => {
    const [stranger, child] = [sleeper(), await released()];
    using dry = dryRun({ strict });
    await killPainfully(stranger, { force: true, group: true });
    expect(await killTree(stranger)).toEqual({ level: 'walk', ended: [stranger], survivors: [] });
    await pidAbort(child);
    expect(dry.kills).toEqual([
      { call: 'killPainfully', pid: stranger, signal: 'SIGTERM' },
      { call: 'killTree', pid: stranger, signal: 'SIGKILL' },
      { call: 'pidAbort', pid: child, signal: 'SIGTERM' },
    ]);
    // A signal that was sent would have come by then.
    await delay(50);
    expect([stranger, child].map(isRunning)).toEqual([true, true]);
  });

  test('mistakes are errors as in earnest, and are not recorded', async () => {
    using dry = dryRun({ strict });
    await expect(killPainfully(1.5)).rejects.toThrow(TypeError);
    await expect(killTree(1)).rejects.toThrow(TypeError);
    await expect(pidAbort(1)).rejects.toMatchObject({ code: 'ECHILD' });
    await killPainfully(0);
    expect(dry.kills).toEqual([]);
  });

  test('pidfiles are held in memory alone', async () => {
    const file = path('x.pid');
    using _dry = dryRun({ strict });
    const lock = await PidFile.acquire(file, { pid: 4321 });
    expect([lock.isHeld, lock.path, existsSync(file)]).toEqual([true, file, false]);
    expect([await PidFile.read(file), await PidFile.readIfLocked(file)]).toEqual([4321, 4321]);
    const error = await rejection(PidFileError, PidFile.acquire(file));
    expect([error.heldBy, error.message]).toEqual([
      process.pid,
      `Pidfile '${file}' is held by this process itself. Release it there first, with PidFile.release().`,
    ]);
    expect((await rejection(PidFileError, PidFile.forceCleanup(file))).heldBy).toBe(process.pid);
    const next = PidFile.acquire(file, { wait: true });
    await PidFile.release(file);
    (await next).release();
    expect(await rejection(PidFileError, PidFile.release(file))).toMatchObject({ message: /is not held/ });
    expect(existsSync(file)).toBe(false);
  });

  test('a wait for a pidfile in memory can be aborted', async () => {
    using _dry = dryRun({ strict });
    using _lock = await PidFile.acquire(path('x.pid'));
    const waiting = PidFile.acquire(path('x.pid'), { wait: true, signal: AbortSignal.timeout(50) });
    expect(await rejection(PidFileError, waiting)).toMatchObject({ heldBy: process.pid });
    expect(existsSync(path('x.pid'))).toBe(false);
  });

  test('real pidfiles stay, and so does a real lock', async () => {
    const [held, stale] = [path('held.pid'), path('stale.pid')];
    writeFileSync(stale, '4321');
    using lock: PidFileLock = await PidFile.acquire(held);
    {
      using _dry = dryRun({ strict });
      await PidFile.remove(stale);
      await PidFile.forceCleanup(stale);
      await PidFile.remove(held);
      await PidFile.release(held);
      await PidFile.release(lock);
      expect(await PidFile.read(stale)).toBe(4321);
      expect(await PidFile.readIfLocked(held)).toBe(process.pid);
      expect([readFileSync(stale, 'utf8'), readFileSync(held, 'utf8'), lock.isHeld]).toEqual([
        '4321',
        String(process.pid),
        true,
      ]);
    }
    await PidFile.release(held);
    expect([existsSync(held), lock.isHeld]).toEqual([false, false]);
  });

  test('nothing is adopted, also where the engine could not', async () => {
    process.env['VIRCOMMAND_ENGINE'] = 'portable';
    try {
      using _dry = dryRun({ strict });
      adoptOrphans({ onEnd: () => expect.fail('an end was told') })[Symbol.dispose]();
      using _lock = await PidFile.acquire(path('x.pid'));
      expect(process.listenerCount('SIGCHLD')).toBe(0);
    } finally {
      process.env['VIRCOMMAND_ENGINE'] = 'native';
    }
  });
});

describe('a strict dry run forbids outside of its scope', () => {
  /** Does something while a strict dry run stands somewhere else. */
  async function beside<T>(work: () => Promise<T>): Promise<T> {
    let end: () => void = () => undefined;
    const ended = new Promise<void>((resolve) => (end = resolve));
    const elsewhere = (async () => {
      await delay(1);
      using _dry = dryRun({ strict: true });
      await ended;
    })();
    await delay(20);
    try {
      return await work();
    } finally {
      end();
      await elsewhere;
    }
  }

  test.each<[string, () => unknown]>([
    ['killPainfully', () => killPainfully(sleeper())],
    ['killTree', () => killTree(sleeper())],
    ['PidFile.acquire', () => PidFile.acquire(path('x.pid'))],
    ['PidFile.release', () => PidFile.release(path('x.pid'))],
    ['PidFile.forceCleanup', () => PidFile.forceCleanup(path('x.pid'))],
    ['PidFile.remove', () => PidFile.remove(path('x.pid'))],
    ['adoptOrphans', () => adoptOrphans()],
  ])('%s()', async (name, act) => {
    writeFileSync(path('x.pid'), '4321');
    const error = await rejection(
      UsageError,
      beside(async () => act()),
    );
    expect(error.message).toBe(
      `Mistake: ${name}(): a strict dryRun() stands, and this call came from outside its scope; enter a dryRun() where the call is made.`,
    );
    expect(readFileSync(path('x.pid'), 'utf8')).toBe('4321');
  });

  test('pidAbort(), and what is held as an object is real everywhere', async () => {
    const child = await new Command('sleep', FOREVER).runAsync();
    const [pid, lock] = [await released(), await PidFile.acquire(path('x.pid'))];
    await beside(async () => {
      await expect(pidAbort(pid)).rejects.toThrow(UsageError);
      await child.abort();
      lock.release();
    });
    expect([isRunning(pid), isRunning(child.pid), existsSync(path('x.pid'))]).toEqual([true, false, false]);
    await pidAbort(pid);
  });
});
