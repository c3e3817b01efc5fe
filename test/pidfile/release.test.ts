import { chmodSync, existsSync, readFileSync, renameSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { PidFile, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { rejection, useDirectory } from '../helpers/tools.js';
import { asNobody, inParent, needsNobody, useNativeEngine } from '../helpers/native.js';
import { lockHolder } from '../helpers/daemons.js';
import { useHolders } from './tools.js';

useNativeEngine();
const path = useDirectory();
const { holder } = useHolders();

const file = () => path('x.pid');

describe('PidFile.release', () => {
  test('takes the lock or the path, and finds no fault in what was released or is gone', async () => {
    const first = await PidFile.acquire(file());
    await PidFile.release(file());
    expect([first.isHeld, existsSync(file())]).toEqual([false, false]);
    await PidFile.release(first);
    const second = await PidFile.acquire(file());
    unlinkSync(file());
    await PidFile.release(second);
    first.release();
    expect(second.isHeld).toBe(false);
  });

  test('refuses a path that is not held, and leaves the file', async () => {
    writeFileSync(file(), '1');
    const error = await rejection(PidFileError, PidFile.release(file()));
    expect(error.message).toBe(
      `Pidfile '${file()}' is not held by this thread, so there is nothing to release. A file that nobody holds is removed by PidFile.remove().`,
    );
    expect(existsSync(file())).toBe(true);
  });

  test('never removes a file that has come to the place of its own', async () => {
    const lock = await PidFile.acquire(file());
    renameSync(file(), path('moved'));
    const other = await holder(file());
    lock.release();
    expect([readFileSync(file(), 'utf8'), lockHolder(file()), lockHolder(path('moved'))]).toEqual([
      String(other.pid),
      other.pid,
      undefined,
    ]);
  });

  test('removes the file before the lock goes', async () => {
    // Somebody who waits for the lock on that very file gets it only when no path leads there any more.
    const names = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const name = path(`${index}.pid`);
        const lock = await PidFile.acquire(name);
        const { ino } = statSync(name);
        const waiting = PidFile.acquire(name, { wait: true });
        lock.release();
        using successor = await waiting;
        return [successor.isHeld, statSync(name).ino === ino && lockHolder(name) !== process.pid];
      }),
    );
    expect(names).toEqual(names.map(() => [true, false]));
  });

  test('gives up the lock also where the file cannot be removed, and tells why', async ({ skip }) => {
    needsNobody(skip);
    chmodSync(path(), 0o777);
    const told = await inParent(
      async ({ PidFile: Files }, directory) => {
        const { chmodSync: chmod } = process.getBuiltinModule('node:fs');
        const name = `${directory}/own/x.pid`;
        process.getBuiltinModule('node:fs').mkdirSync(`${directory}/own`);
        const lock = await Files.acquire(name);
        chmod(`${directory}/own`, 0o555);
        const message = await Files.release(lock).then(
          () => 'removed',
          (error: unknown) => (error as Error).message,
        );
        return [message, lock.isHeld, (await Files.readIfLocked(name)) ?? null];
      },
      path(),
      { through: asNobody },
    );
    expect(told).toEqual([`Pidfile '${path('own/x.pid')}' cannot be removed (unlink: EACCES).`, false, null]);
  });
});
