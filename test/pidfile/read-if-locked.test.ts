import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Command, PidFile, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { eventually, FOREVER, isRunning, rejection, useDirectory, useUmask } from '../helpers/tools.js';
import { asNobody, inParent, lanes, needsNobody, useNativeEngine } from '../helpers/native.js';
import { useHolders } from './tools.js';

useNativeEngine();
const path = useDirectory();
const { keep, stranger, holder } = useHolders();

const file = () => path('x.pid');
const own = String(process.pid);

describe('PidFile.readIfLocked', () => {
  test.for(lanes)('gives the pid of a daemon of ours, as long as it runs: %s', async ([, take]) => {
    const { pid } = await take(new Command('sleep', FOREVER).daemonize()).pidFile(file()).run();
    keep(pid);
    expect(await PidFile.readIfLocked(file())).toBe(pid);
    process.kill(pid, 'SIGKILL');
    await eventually('it has ended', () => !isRunning(pid));
    expect(await PidFile.readIfLocked(file())).toBeUndefined();
    expect(readFileSync(file(), 'utf8')).toBe(String(pid));
  });

  test('gives nothing for a living process that has only got the pid', async () => {
    const pid = await stranger();
    writeFileSync(file(), String(pid));
    expect([
      await PidFile.readIfLocked(file()),
      await PidFile.readIfAlive(file()),
      await PidFile.readIfAlive(file(), process.execPath),
    ]).toEqual([undefined, pid, undefined]);
  });

  test.each(['', 'junk', '0'])(
    'gives nothing for a file that nobody holds, whatever stands in it: %j',
    async (content) => {
      writeFileSync(file(), content);
      expect(await PidFile.readIfLocked(file())).toBeUndefined();
    },
  );

  test('gives nothing for a file that is missing, and refuses one that is held and holds no pid', async () => {
    expect(await PidFile.readIfLocked(file())).toBeUndefined();
    using _ = await PidFile.acquire(file());
    truncateSync(file());
    expect((await rejection(PidFileError, PidFile.readIfLocked(file()))).message).toBe(
      `Pidfile '${file()}' holds '', which is no pid. Remove the file, or choose another one.`,
    );
  });

  test('a pid that lives and does not hold the lock is an error with both numbers', async () => {
    const [other, named] = [await holder(file(), { pid: 1 }), await stranger()];
    for (const pid of [1, named]) {
      writeFileSync(file(), String(pid));
      expect(await rejection(PidFileError, PidFile.readIfLocked(file()))).toMatchObject({
        message: `Pidfile '${file()}' is held by process ${other.pid} (\`node\`), but names process ${pid}. Trust neither; have the holder write its own pid.`,
        heldBy: other.pid,
        named: pid,
      });
    }
  });

  test('gives nothing for the 0 of a cleaner, and for a pid that has ended', async () => {
    using _ = await PidFile.acquire(file());
    for (const content of ['0', '2147483647']) {
      writeFileSync(file(), content);
      expect(await PidFile.readIfLocked(file())).toBeUndefined();
    }
  });

  test.for<[string, (pid: number) => string]>([
    ['the pid of a former owner stands there', String],
    ['nothing stands there', () => ''],
  ])('waits for an owner that has the lock and has not written yet: %s', async ([, before]) => {
    using _ = await PidFile.acquire(file());
    writeFileSync(file(), before(await stranger()));
    const reading = PidFile.readIfLocked(file());
    // Timers of one loop keep their order: the reader has looked by then, and will look again.
    await delay(20);
    writeFileSync(file(), own);
    expect(await reading).toBe(process.pid);
  });

  test('needs no right to write, and turns no starter away', async ({ skip }) => {
    needsNobody(skip);
    useUmask(0o022);
    let done = false;
    const reading = inParent(
      async ({ PidFile: Files }, name) => {
        const seen = new Set<number | undefined>();
        for (let looks = 0; looks < 2000; looks += 1) {
          await Files.readIfLocked(name).then(
            (pid) => seen.add(pid),
            (error: unknown) => {
              if ((error as PidFileError).errno !== 'ENOENT') throw error;
            },
          );
        }
        return Array.from(seen, (pid) => pid ?? null);
      },
      file(),
      { through: asNobody },
    ).finally(() => (done = true));
    while (!done) (await PidFile.acquire(file())).release();
    expect(await reading).toContain(process.pid);
  });
});
