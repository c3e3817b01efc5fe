import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, openSync, readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import { PidFile, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { isRunning, rejection, useDirectory } from '../helpers/tools.js';
import { inParent, needsRoot, useNativeEngine } from '../helpers/native.js';
import { lockHolder } from '../helpers/daemons.js';
import { useHolders } from './tools.js';

useNativeEngine();
const path = useDirectory();
const { holder } = useHolders();

/** The library, as built, for worker threads. */
const library = new URL('../../dist/index.js', import.meta.url).href;

const file = () => path('x.pid');
const own = String(process.pid);

describe('a pidfile that this process holds', () => {
  const refusal = () =>
    `Pidfile '${file()}' is held by this process itself. Release it there first, with PidFile.release().`;

  test('stays locked when this process reads it, by PidFile or by fs', async () => {
    using _ = await PidFile.acquire(file());
    const looks: readonly (() => unknown)[] = [
      () => PidFile.read(file()),
      () => PidFile.readIfAlive(file()),
      () => PidFile.readIfLocked(file()),
      () => readFileSync(file()),
      () => closeSync(openSync(file(), 'r+')),
      () => rejection(PidFileError, PidFile.acquire(file())),
      () => rejection(PidFileError, PidFile.forceCleanup(file())),
    ];
    for (const look of looks) {
      await look();
      expect(lockHolder(file())).toBe(process.pid);
    }
    const others = await inParent(async ({ PidFile: Files }, name) => await Files.readIfLocked(name), file());
    expect(others).toBe(process.pid);
  });

  test('is read by this process as by any other', async () => {
    using _ = await PidFile.acquire(file());
    expect([await PidFile.read(file()), await PidFile.readIfAlive(file()), await PidFile.readIfLocked(file())]).toEqual(
      Array(3).fill(process.pid),
    );
  });

  test('is refused to this process, which is named', async () => {
    using _ = await PidFile.acquire(file());
    const error = await rejection(PidFileError, PidFile.acquire(file()));
    expect([error.heldBy, error.message]).toEqual([process.pid, refusal()]);
  });

  test('is had by one of many in this process that want it at once', async () => {
    const outcomes = await Promise.allSettled(Array.from({ length: 50 }, () => PidFile.acquire(file())));
    const winners = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
    expect(winners).toHaveLength(1);
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect((outcome.reason as PidFileError).heldBy).toBe(process.pid);
    winners[0]?.release();
  });

  test('is refused to its worker threads, whose locks end with them, and which do not have ours', async () => {
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { PidFile } = await import(workerData.library);
      const reason = (error) => error.message;
      const refused = await PidFile.acquire(workerData.held).then(() => 'taken', reason);
      const released = await PidFile.release(workerData.held).then(() => 'released', reason);
      await PidFile.acquire(workerData.free);
      parentPort.postMessage({ refused, released });
      setInterval(() => undefined, 1000);`;
    using _ = await PidFile.acquire(file());
    const workerData = { library, held: file(), free: path('free.pid') };
    const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), { workerData });
    const [told] = (await once(worker, 'message')) as [unknown];
    expect(told).toEqual({
      refused: refusal(),
      released: `Pidfile '${file()}' is not held by this thread, so there is nothing to release. A file that nobody holds is removed by PidFile.remove().`,
    });
    expect(lockHolder(path('free.pid'))).toBe(process.pid);
    expect((await rejection(PidFileError, PidFile.acquire(path('free.pid')))).heldBy).toBe(process.pid);
    await worker.terminate();
    expect([lockHolder(path('free.pid')), lockHolder(file())]).toEqual([undefined, process.pid]);
    using successor = await PidFile.acquire(path('free.pid'));
    expect(successor.isHeld).toBe(true);
  });

  test('is not left locked by a worker that ends while it takes it', async () => {
    const source = `
      import { parentPort, workerData } from 'node:worker_threads';
      const { PidFile } = await import(workerData.library);
      parentPort.postMessage('begun');
      for (;;) (await PidFile.acquire(workerData.file)).release();`;
    const threads = () =>
      readdirSync('/proc/self/task').filter(
        (thread) => readFileSync(`/proc/self/task/${thread}/comm`, 'utf8') === 'pidfile\n',
      );
    for (let round = 0; round < 20; round += 1) {
      const worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(source)}`), {
        workerData: { library, file: file() },
      });
      await once(worker, 'message');
      await delay(round % 5);
      await worker.terminate();
      expect(threads()).toEqual([]);
      using lock = await PidFile.acquire(file());
      expect([lock.isHeld, threads().length]).toEqual([true, 1]);
    }
  });
});

describe('a pidfile that another process holds', () => {
  test("is refused, and that process named with its program's name, without the arguments", async () => {
    const other = await holder(file());
    const error = await rejection(PidFileError, PidFile.acquire(file()));
    expect(error.heldBy).toBe(other.pid);
    expect(error.message).toMatch(
      new RegExp(
        `^Pidfile '${file()}' is held by process ${other.pid} \\(\`node\`\\)\\. Stop that process, or choose another file\\.$`,
      ),
    );
    expect(readFileSync(file(), 'utf8')).toBe(String(other.pid));
  });

  test('is free when that process releases it, and a waiter gets it', async () => {
    const other = await holder(file());
    const waiting = PidFile.acquire(file(), { wait: true });
    await delay(50);
    expect(lockHolder(file())).toBe(other.pid);
    other.stdin?.end();
    using lock = await waiting;
    expect([lock.isHeld, readFileSync(file(), 'utf8'), lockHolder(file())]).toEqual([true, own, process.pid]);
  });

  test('is taken over when that process is ended by SIGKILL, and a waiter gets it', async () => {
    const other = await holder(file());
    const waiting = PidFile.acquire(file(), { wait: true });
    other.kill('SIGKILL');
    using lock = await waiting;
    expect([lock.isHeld, readFileSync(file(), 'utf8'), lockHolder(file())]).toEqual([true, own, process.pid]);
  });

  test('is left in place, and stale, by one that exits without a release', async () => {
    const pid = await inParent(async ({ PidFile: Files }, name) => {
      await Files.acquire(name);
      return process.pid;
    }, file());
    expect([readFileSync(file(), 'utf8'), await PidFile.readIfLocked(file())]).toEqual([String(pid), undefined]);
    using lock = await PidFile.acquire(file());
    expect(lock.isHeld).toBe(true);
  });

  test('is removed by one that releases it when it exits', async () => {
    await inParent(async ({ PidFile: Files }, name) => {
      const lock = await Files.acquire(name);
      process.once('exit', () => lock.release());
    }, file());
    expect(existsSync(file())).toBe(false);
  });

  test('is waited for until the signal is aborted, and the event loop turns meanwhile', async () => {
    const other = await holder(file());
    const abort = new AbortController();
    const reason = new Error('no more time');
    const waiting = rejection(PidFileError, PidFile.acquire(file(), { wait: true, signal: abort.signal }));
    for (let turn = 0; turn < 10; turn += 1) await delay(10);
    abort.abort(reason);
    const error = await waiting;
    expect([error.heldBy, error.cause]).toEqual([other.pid, reason]);
    expect(error.message).toMatch(
      new RegExp(
        `^Pidfile '${file()}' was still held by process ${other.pid} \\(.*\\) when the wait for it was aborted: no more time\\.$`,
      ),
    );
    expect(lockHolder(file())).toBe(other.pid);
  });

  test('is not even tried where the signal is aborted before', async () => {
    const error = await rejection(
      PidFileError,
      PidFile.acquire(file(), { wait: true, signal: AbortSignal.abort(new Error('too late')) }),
    );
    expect(error.message).toBe(`Pidfile '${file()}' was not taken, since the wait for it was aborted: too late.`);
    expect(existsSync(file())).toBe(false);
  });
});

test('a holder that has no pid here is told as such, and nobody is signaled', async ({ skip }) => {
  needsRoot(skip);
  const inOwnNamespace = ['unshare', '--pid', '--fork'];
  if (spawnSync('unshare', ['--pid', '--fork', 'true']).status !== 0) skip('no pid namespace can be made here');
  const other = await holder(file());
  const told = await inParent(
    async ({ PidFile: Files }, name) => {
      const reason = (error: unknown) => [
        (error as Error).message,
        (error as PidFileError).heldBy ?? null,
        (error as PidFileError).errno,
      ];
      return [await Files.acquire(name).catch(reason), await Files.forceCleanup(name).catch(reason)];
    },
    file(),
    { through: inOwnNamespace },
  );
  const sentence = `Pidfile '${file()}' is held by a process that cannot be seen from here, such as one of another container or machine. Stop that process, or choose another file.`;
  expect(told).toEqual([
    [sentence, null, 'EAGAIN'],
    [sentence, null, 'EAGAIN'],
  ]);
  expect([isRunning(other.pid), readFileSync(file(), 'utf8')]).toEqual([true, String(other.pid)]);
});
