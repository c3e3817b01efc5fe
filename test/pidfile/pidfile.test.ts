import { execFileSync, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import {
  chmodSync,
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Worker } from 'node:worker_threads';
import { Command, PidFile, PidFileError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import {
  eventually,
  FOREVER,
  isRunning,
  processStat,
  rejection,
  umask,
  useDirectory,
  useProcesses,
  useUmask,
} from '../helpers/tools.js';
import {
  asNobody,
  inParent,
  type Library,
  lanes,
  needsNobody,
  needsProgram,
  needsRoot,
  parentWords,
  resultIn,
  root,
  useNativeEngine,
} from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

/** The library, as built, for worker threads. */
const library = new URL('../../dist/index.js', import.meta.url).href;

const file = () => path('x.pid');
const own = String(process.pid);

/** The pid that holds a lock on a file, as the kernel lists it. */
function lockHolder(name: string): number | undefined {
  const { ino } = statSync(name);
  const line = readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .find((row) => row.includes(`:${ino} `) && row.includes('POSIX'));
  return line === undefined ? undefined : Number(line.trim().split(/\s+/)[4]);
}

/** A pid that is alive, and nobody's business. */
async function stranger(): Promise<number> {
  const child = spawn('/bin/sleep', [FOREVER], { stdio: 'ignore' });
  await once(child, 'spawn');
  return keep(child.pid ?? expect.fail());
}

/** Another process that holds the file until its standard input ends; then it releases it. */
async function holder(
  name: string,
  options: { pid?: number; detached?: boolean } = {},
): Promise<ChildProcess & { pid: number }> {
  const [program = '', ...words] = parentWords(
    async ({ PidFile: Files }, { name: held, pid }) => {
      const lock = await Files.acquire(held, pid === undefined ? {} : { pid });
      process.stdout.write('held\n');
      await process.getBuiltinModule('node:events').once(process.stdin.resume(), 'end');
      lock.release();
    },
    { name, pid: options.pid },
  );
  const child = spawn(program, words, {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: options.detached === true,
    env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
  });
  keep(child.pid ?? expect.fail());
  await once(child.stdout, 'data');
  return child as ChildProcess & { pid: number };
}

/** Does the same in several processes at once, each with its own library. */
const inParents = <T, A>(
  count: number,
  body: (library: Library, argument: A) => Promise<T>,
  argument: A,
): Promise<T[]> => Promise.all(Array.from({ length: count }, () => inParent(body, argument)));

describe('PidFile.acquire', () => {
  test('writes the pid, no newline, into a file that others can read, and locks it until it is released', async () => {
    const lock = await PidFile.acquire(file());
    expect([lock.path, lock.pid, lock.isHeld]).toEqual([file(), process.pid, true]);
    expect(readFileSync(file(), 'utf8')).toBe(own);
    expect(statSync(file()).mode & 0o777).toBe(0o644 & ~umask());
    expect(lockHolder(file())).toBe(process.pid);
    expect(inspect(lock)).toBe(`PidFileLock { '${file()}', pid ${own} }`);
    lock.release();
    expect([existsSync(file()), lock.isHeld, inspect(lock)]).toEqual([
      false,
      false,
      `PidFileLock { '${file()}', pid ${own}, released }`,
    ]);
  });

  test('shortens a file in which more stood', async () => {
    writeFileSync(file(), '99999999999 and more\n');
    using _ = await PidFile.acquire(file());
    expect(readFileSync(file(), 'utf8')).toBe(own);
  });

  test('writes another pid where one is given, under the lock of this process', async () => {
    using lock = await PidFile.acquire(file(), { pid: 1 });
    expect([readFileSync(file(), 'utf8'), lock.pid, lockHolder(file())]).toEqual(['1', 1, process.pid]);
  });

  test('means a relative path from where this process stands', async () => {
    const before = process.cwd();
    process.chdir(path());
    onTestFinished(() => process.chdir(before));
    const lock = await PidFile.acquire('x.pid');
    process.chdir('/');
    expect([lock.path, readFileSync(file(), 'utf8')]).toEqual([file(), own]);
    lock.release();
    expect(existsSync(file())).toBe(false);
  });

  test.for<[string, string, (name: string) => void]>([
    [
      'a symbolic link',
      "Pidfile 'PATH' is a symbolic link, which is not followed (open: ELOOP). Give the path of the file itself.",
      (name) => symlinkSync(`${name}.target`, name),
    ],
    [
      'a symbolic link to a file',
      "Pidfile 'PATH' is a symbolic link, which is not followed (open: ELOOP). Give the path of the file itself.",
      (name) => {
        writeFileSync(`${name}.target`, 'precious');
        symlinkSync(`${name}.target`, name);
      },
    ],
    [
      'a FIFO',
      "Pidfile 'PATH' is no regular file, and was left as it is. Choose another path.",
      (name) => {
        execFileSync('mkfifo', [name]);
      },
    ],
    ['a directory', "Pidfile 'PATH' cannot be written (open: EISDIR).", (name) => mkdirSync(name)],
    [
      'below a file',
      "Pidfile 'PATH' cannot be written (open: ENOTDIR).",
      (name) => {
        writeFileSync(join(name, '..'), '');
      },
    ],
    [
      'in a directory that is not there',
      "Pidfile 'PATH' cannot be written: its directory 'PATH/..' does not exist (open: ENOENT). Make it first.",
      (name) => {
        execFileSync('rmdir', [join(name, '..')]);
      },
    ],
  ])('refuses %s, and leaves it as it is', async ([kind, sentence, make]) => {
    const name = path('d/x.pid');
    if (kind !== 'below a file') mkdirSync(path('d'));
    make(name);
    const before = readdirSync(path(), { recursive: true, encoding: 'utf8' }).sort();
    for (const wait of [false, true]) {
      const error = await rejection(PidFileError, PidFile.acquire(name, { wait }));
      expect([error.message, error.heldBy, error.path]).toEqual([
        sentence.replace('PATH/..', dirname(name)).replace('PATH', name),
        undefined,
        name,
      ]);
    }
    expect(readdirSync(path(), { recursive: true, encoding: 'utf8' }).sort()).toEqual(before);
    if (before.includes('d/x.pid.target')) expect(readFileSync(`${name}.target`, 'utf8')).toBe('precious');
  });

  test('refuses a device, and leaves it there', async ({ skip }) => {
    needsRoot(skip);
    execFileSync('mknod', [file(), 'c', '1', '3']);
    const calls: readonly ((name: string) => Promise<unknown>)[] = [
      PidFile.acquire,
      PidFile.readIfLocked,
      PidFile.forceCleanup,
      PidFile.read,
    ];
    for (const call of calls) {
      expect((await rejection(PidFileError, call(file()))).message).toBe(
        `Pidfile '${file()}' is no regular file, and was left as it is. Choose another path.`,
      );
    }
    expect(statSync(file()).isCharacterDevice()).toBe(true);
  });

  test.each(['', 'a\0b'])('refuses the path %j', async (name) => {
    const calls: readonly ((path: string) => Promise<unknown>)[] = [
      PidFile.acquire,
      PidFile.forceCleanup,
      PidFile.release,
    ];
    for (const call of calls) {
      await expect(call(name)).rejects.toThrow(
        /: give the path of a pidfile, text or bytes that are not empty and hold no NUL; PidFile\.path\(\) makes one\.$/,
      );
    }
  });

  test.each([0, -1, 1.5, 2 ** 31, NaN])('refuses the pid %d', async (pid) => {
    await expect(PidFile.acquire(file(), { pid })).rejects.toThrow(
      `PidFile.acquire('${file()}', { pid: ${pid} }): a pid is a whole number from 1 to 2147483647.`,
    );
    expect(existsSync(file())).toBe(false);
  });

  test('gives nothing of the file to children, whoever starts them', async () => {
    using _ = await PidFile.acquire(file());
    const list = 'readlink /proc/self/fd/*';
    const { stdout } = await new Command('sh', '-c', list).outputBuffer().run({ check: false });
    expect(`${stdout}${spawnSync('sh', ['-c', list], { encoding: 'utf8' }).stdout}`).not.toContain(file());
  });

  test('holds on without a variable, whatever the garbage collector does', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    await PidFile.acquire(file());
    for (let round = 0; round < 5; round += 1) {
      collect();
      await delay(1);
    }
    expect(lockHolder(file())).toBe(process.pid);
    await PidFile.release(file());
  });

  test('leaves no thread and no descriptor behind, held or refused', async () => {
    const count = () => [readdirSync('/proc/self/task').length, readdirSync('/proc/self/fd').length];
    using _ = await PidFile.acquire(path('other.pid'));
    const before = count();
    for (let round = 0; round < 200; round += 1) {
      using lock = await PidFile.acquire(file());
      await rejection(PidFileError, PidFile.acquire(file()));
      expect(lock.isHeld).toBe(true);
    }
    expect(count()).toEqual(before);
    const [threads = 0, descriptors = 0] = before;
    const fd = openSync('/dev/null', 'r');
    using more = await PidFile.acquire(file());
    expect([more.isHeld, ...count()]).toEqual([true, threads + 1, descriptors + 1]);
    closeSync(fd);
  });
});

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

describe('PidFile.forceCleanup', () => {
  test('finds no fault in a file that is not there, and makes none', async () => {
    await PidFile.forceCleanup(file());
    await PidFile.forceCleanup(path('missing/x.pid'));
    expect(readdirSync(path())).toEqual([]);
  });

  test('removes a file that nobody holds, and leaves the process alone that has its pid now', async () => {
    const pid = await stranger();
    for (const content of [String(pid), '2147483647', '0', own]) {
      writeFileSync(file(), content);
      await PidFile.forceCleanup(file());
      expect([existsSync(file()), isRunning(pid)]).toEqual([false, true]);
    }
  });

  test.each(['', 'junk', '-5'])('refuses a file that holds %j, and leaves it', async (content) => {
    writeFileSync(file(), content);
    expect((await rejection(PidFileError, PidFile.forceCleanup(file()))).message).toBe(
      `Pidfile '${file()}' holds '${content}', which is no pid. Remove the file, or choose another one.`,
    );
    expect(readFileSync(file(), 'utf8')).toBe(content);
  });

  test.each(['a FIFO', 'a symbolic link'])('refuses %s, and leaves it', async (kind) => {
    if (kind === 'a FIFO') {
      execFileSync('mkfifo', [file()]);
    } else {
      writeFileSync(path('target'), '2147483647');
      symlinkSync('target', file());
    }
    await rejection(PidFileError, PidFile.forceCleanup(file()));
    expect(readdirSync(path()).includes('x.pid')).toBe(true);
    if (kind !== 'a FIFO') expect(readFileSync(path('target'), 'utf8')).toBe('2147483647');
  });

  test.for(lanes)('ends a daemon of ours and removes its file: %s', async ([, take]) => {
    const { pid } = await take(new Command('sleep', FOREVER).daemonize()).pidFile(file()).run();
    keep(pid);
    await PidFile.forceCleanup(file());
    expect([isRunning(pid), existsSync(file())]).toEqual([false, false]);
  });

  test('ends the processes of the group, where that is asked for, and no others', async () => {
    for (const group of [false, true]) {
      const script = `sleep ${FOREVER} & echo $! >"$0.new"; mv "$0.new" "$0"; wait`;
      const { pid } = await new Command('sh', '-c', script, path('member')).daemonize().pidFile(file()).run();
      keep(pid);
      const member = keep(
        await eventually(
          'it has started another one',
          () => existsSync(path('member')) && Number(readFileSync(path('member'), 'utf8')),
        ),
      );
      expect(processStat(member)?.group).toBe(processStat(pid)?.group);
      await PidFile.forceCleanup(file(), { group });
      expect([group, isRunning(pid), existsSync(file()), isRunning(member)]).toEqual([group, false, false, !group]);
      unlinkSync(path('member'));
    }
  });

  test('ends an owner that removes its own file when it is asked to end', async () => {
    const other = await holder(file());
    other.once('exit', () => undefined);
    await PidFile.forceCleanup(file());
    expect([isRunning(other.pid), existsSync(file())]).toEqual([false, false]);
  });

  test('never ends this process, nor its own group', async () => {
    using _ = await PidFile.acquire(file());
    for (const options of [{}, { group: true }]) {
      expect((await rejection(PidFileError, PidFile.forceCleanup(file(), options))).message).toBe(
        `Pidfile '${file()}' is held by this process itself. Release it there first, with PidFile.release().`,
      );
    }
    const other = await holder(path('other.pid'));
    expect((await rejection(PidFileError, PidFile.forceCleanup(path('other.pid'), { group: true }))).message).toMatch(
      new RegExp(
        `^Pidfile '.*' is held by process ${other.pid} \\(.*\\), and that is in the process group of this process\\. Leave \\{ group: true \\} out\\.$`,
      ),
    );
    expect([isRunning(other.pid), readFileSync(file(), 'utf8'), lockHolder(path('other.pid'))]).toEqual([
      true,
      own,
      other.pid,
    ]);
  });

  test('signals nobody where one stands in the file and another holds it', async () => {
    const named = await stranger();
    const other = await holder(file(), { pid: named });
    expect((await rejection(PidFileError, PidFile.forceCleanup(file()))).message).toMatch(
      new RegExp(
        `^Pidfile '.*' is held by process ${other.pid} \\(.*\\), but names process ${named}\\. Nothing was signaled; stop the right one yourself\\.$`,
      ),
    );
    expect([isRunning(named), isRunning(other.pid), lockHolder(file())]).toEqual([true, true, other.pid]);
  });

  test('waits for another cleaner, whose 0 stands in the file, and does not signal it', async () => {
    const other = await holder(file());
    const exited = once(other, 'exit');
    writeFileSync(file(), '0');
    const cleaning = PidFile.forceCleanup(file());
    await delay(60);
    expect([isRunning(other.pid), readFileSync(file(), 'utf8')]).toEqual([true, '0']);
    other.stdin?.end();
    await cleaning;
    const [code] = (await exited) as [number | null];
    expect([code, existsSync(file())]).toEqual([0, false]);
  });

  test('tells why a holder was not ended, and leaves the file', async ({ skip }) => {
    needsNobody(skip);
    const other = await holder(file());
    chmodSync(file(), 0o666);
    chmodSync(path(), 0o777);
    const told = await inParent(
      async ({ PidFile: Files }, name) => {
        return await Files.forceCleanup(name).then(
          () => 'cleaned',
          (error: unknown) => {
            const { message, heldBy, errno } = error as PidFileError;
            return { message, heldBy, errno };
          },
        );
      },
      file(),
      { through: asNobody },
    );
    expect(told).toEqual({
      message: expect.stringMatching(
        / is held by process \d+ \(.*\), which could not be ended \(kill: EPERM\)\. Stop that process yourself\.$/,
      ),
      heldBy: other.pid,
      errno: 'EPERM',
    });
    expect([isRunning(other.pid), readFileSync(file(), 'utf8')]).toEqual([true, String(other.pid)]);
  });

  test('refuses to end one that has come after the owner', async () => {
    // Of the owner's group, one ignores SIGTERM: so the cleaner is still at work when the owner has gone.
    const script = `(trap '' TERM; exec sleep ${FOREVER}) & echo $! >"$0.new"; mv "$0.new" "$0"; wait`;
    const { pid } = await new Command('sh', '-c', script, path('member')).daemonize().pidFile(file()).run();
    keep(pid);
    const member = keep(
      await eventually(
        'it has started another one',
        () => existsSync(path('member')) && Number(readFileSync(path('member'), 'utf8')),
      ),
    );
    await eventually('that ignores SIGTERM', () => readFileSync(`/proc/${member}/cmdline`, 'utf8').startsWith('sleep'));
    const cleaning = rejection(PidFileError, PidFile.forceCleanup(file(), { group: true }));
    await eventually('the owner has gone', () => lockHolder(file()) === undefined);
    const successor = await holder(file());
    process.kill(member, 'SIGKILL');
    const error = await cleaning;
    expect(error.heldBy).toBe(successor.pid);
    expect(error.message).toMatch(
      /^Pidfile '.*' is held by process \d+ \(.*\)\. Stop that process, or choose another file\.$/,
    );
    expect([isRunning(successor.pid), readFileSync(file(), 'utf8')]).toEqual([true, String(successor.pid)]);
  });
});

// ---------------------------------------------------------------- races

const PARENTS = 4;
const ROUNDS = 150;
const CLEANUPS = 3;

test('of fifty that want a file at once, from several processes, one gets it, and the others are told its pid', async () => {
  for (const content of [undefined, '2147483647']) {
    const name = path(`race-${content ?? 'new'}`);
    if (content !== undefined) writeFileSync(name, content);
    const told = await inParents(
      5,
      async ({ PidFile: Files }, { race, at, done }) => {
        await process.getBuiltinModule('node:timers/promises').setTimeout(at - Date.now());
        const outcomes = await Promise.allSettled(Array.from({ length: 10 }, () => Files.acquire(race)));
        // Who has it keeps it until all have tried.
        const fs = process.getBuiltinModule('node:fs');
        fs.writeFileSync(`${done}/${process.pid}`, '');
        while (fs.readdirSync(done).length < 5) await process.getBuiltinModule('node:timers/promises').setTimeout(5);
        return {
          pid: process.pid,
          holders: outcomes.map((outcome) =>
            outcome.status === 'fulfilled' ? 'won' : (outcome.reason as { heldBy?: number }).heldBy,
          ),
        };
      },
      {
        race: name,
        at: Date.now() + 800,
        done: mkdirSync(path(`done-${content ?? 'new'}`), { recursive: true }) ?? '',
      },
    );
    const winners = told.flatMap(({ pid, holders }) => holders.filter((each) => each === 'won').map(() => pid));
    expect(winners).toEqual([Number(readFileSync(name, 'utf8'))]);
    expect(told.flatMap(({ holders }) => holders.filter((each) => each !== 'won'))).toEqual(Array(49).fill(winners[0]));
  }
});

test('starters, owners that release and readers never make two owners, nor one whose path leads elsewhere', async () => {
  const told = await inParents(
    PARENTS,
    async ({ PidFile: Files }, { name, inside, rounds }) => {
      const fs = process.getBuiltinModule('node:fs');
      const found = { owned: 0, refused: 0, wrong: [] as string[] };
      for (let round = 0; round < rounds; round += 1) {
        try {
          const lock = await Files.acquire(name, { wait: round % 3 === 0 });
          found.owned += 1;
          fs.closeSync(fs.openSync(inside, 'wx')); // EEXIST: another owner is inside
          const [seen, locked] = [fs.readFileSync(name, 'utf8'), await Files.readIfLocked(name)];
          if (seen !== String(process.pid) || locked !== process.pid)
            found.wrong.push(`the file of ${process.pid} says ${seen}, ${locked}`);
          fs.unlinkSync(inside);
          lock.release();
        } catch (error) {
          const { heldBy, message } = error as { heldBy?: number; message: string };
          if (heldBy === undefined || heldBy === process.pid) found.wrong.push(message);
          found.refused += 1;
        }
      }
      return found;
    },
    { name: file(), inside: path('inside'), rounds: ROUNDS },
  );
  expect(told.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(told.every(({ owned }) => owned >= ROUNDS / 3)).toBe(true);
  expect(told.some(({ refused }) => refused > 0)).toBe(true);
  expect(readdirSync(path())).toEqual([]);
});

/**
 * Another process that takes the file with each `fcntl()` slowed down, so that the moment before or after the lock becomes
 * long enough to do something in it. Gives what it says in the end, once it has opened the file.
 */
async function slowStarter(
  skip: (why: string) => never,
  inject: 'delay_enter' | 'delay_exit',
): Promise<{ pid: number; end: Promise<unknown> }> {
  needsProgram(skip, 'strace');
  const [program = '', ...words] = parentWords(async ({ PidFile: Files }, name) => {
    process.stdout.write('ready\n');
    await process.getBuiltinModule('node:events').once(process.stdin, 'data');
    process.stdin.destroy();
    return await Files.acquire(name).then(
      () => process.getBuiltinModule('node:fs').readFileSync(name, 'utf8'),
      (error: unknown) => (error as Error).message,
    );
  }, file());
  const starter = spawn(program, words, {
    cwd: root,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
  });
  const pid = keep(starter.pid ?? expect.fail());
  let output = '';
  starter.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await eventually('it has started', () => output.includes('ready'));
  const tracer = spawn(
    'strace',
    ['-f', '-p', String(pid), '-e', 'trace=fcntl', '-e', `inject=fcntl:${inject}=300000`, '-o', '/dev/null'],
    { stdio: 'ignore' },
  );
  const traced = once(tracer, 'exit');
  const ended = once(starter, 'close');
  await eventually('it is traced', () => {
    if (tracer.exitCode !== null) skip('strace may not attach to a process here');
    return readFileSync(`/proc/${pid}/status`, 'utf8').includes(`TracerPid:\t${tracer.pid ?? -1}\n`);
  });
  starter.stdin.write('go');
  const opened = (task: string) => {
    try {
      return readdirSync(`/proc/${pid}/task/${task}/fd`).some(
        (fd) => readlinkSync(`/proc/${pid}/task/${task}/fd/${fd}`) === file(),
      );
    } catch {
      return false; // The thread, or the descriptor, is gone.
    }
  };
  await eventually('it has opened the file', () => readdirSync(`/proc/${pid}/task`).some(opened));
  return { pid, end: Promise.all([ended, traced]).then(() => resultIn(output, '')) };
}

test('a starter that has locked a file which was removed meanwhile takes the one that the path leads to', async ({
  skip,
}) => {
  const lock = await PidFile.acquire(file());
  const { pid, end: told } = await slowStarter(skip, 'delay_enter');
  lock.release();
  expect(await told).toBe(String(pid));
});

test('a starter whose rival has gone before it could be named takes the file', async ({ skip }) => {
  const lock = await PidFile.acquire(file());
  const { pid, end: told } = await slowStarter(skip, 'delay_exit');
  await delay(50); // It has been refused by now, and is about to ask by whom.
  lock.release();
  expect(await told).toBe(String(pid));
});

test('cleaners of one file at once end its owner once, and all come to an end', async () => {
  for (let round = 0; round < 3; round += 1) {
    const { pid } = await new Command('sleep', FOREVER).daemonize().pidFile(file()).run();
    keep(pid);
    const told = await inParents(
      PARENTS,
      async ({ PidFile: Files }, name) => {
        return await Promise.all(
          [0, 1, 2].map(() =>
            Files.forceCleanup(name).then(
              () => 'done',
              (error: unknown) => (error as Error).message,
            ),
          ),
        );
      },
      file(),
    );
    expect(told.flat()).toEqual(Array(PARENTS * 3).fill('done'));
    expect([isRunning(pid), existsSync(file())]).toEqual([false, false]);
  }
});

test('cleaners and starters at once leave no daemon whose path leads elsewhere', async () => {
  const wish = { name: file(), done: path('done'), cleanups: CLEANUPS };
  const cleaning = inParents(
    2,
    async ({ PidFile: Files }, { name, cleanups }) => {
      const wrong: string[] = [];
      for (let cleaned = 0; cleaned < cleanups;) {
        const there = process.getBuiltinModule('node:fs').existsSync(name);
        await Files.forceCleanup(name).catch((error: unknown) => {
          // It has ended one, and the next has taken the file by then: that one is told.
          if ((error as PidFileError).heldBy === undefined) wrong.push((error as Error).message);
        });
        cleaned += Number(there);
        await process.getBuiltinModule('node:timers/promises').setTimeout(5);
      }
      return { started: [] as number[], wrong };
    },
    wish,
  ).finally(() => writeFileSync(wish.done, ''));
  const starting = inParents(
    2,
    async ({ Command: Program }, { name, done }) => {
      const started: number[] = [];
      const wrong: string[] = [];
      while (!process.getBuiltinModule('node:fs').existsSync(done)) {
        try {
          started.push((await new Program('sleep', '600').daemonize().pidFile(name).run()).pid);
        } catch (error) {
          const { heldBy, message } = error as PidFileError;
          // A cleaner may end a daemon that has its file already, and not yet its program.
          if (heldBy === undefined && !message.includes('something ended it before it could execute its program'))
            wrong.push(message);
        }
        await process.getBuiltinModule('node:timers/promises').setTimeout(5);
      }
      return { started, wrong };
    },
    wish,
  );
  const told = (await Promise.all([cleaning, starting])).flat();
  const started = told.flatMap((each) => each.started).map(keep);
  expect(told.flatMap(({ wrong }) => wrong)).toEqual([]);
  expect(started.length).toBeGreaterThanOrEqual(CLEANUPS);
  const alive = started.filter(isRunning);
  expect(alive.length).toBeLessThanOrEqual(1);
  if (alive.length === 1)
    expect([readFileSync(file(), 'utf8'), lockHolder(file())]).toEqual([String(alive[0]), alive[0]]);
});
