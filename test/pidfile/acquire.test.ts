import { execFileSync, spawnSync } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { inspect } from 'node:util';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Command, PidFile, PidFileError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { rejection, umask, useDirectory } from '../helpers/tools.js';
import { needsRoot, useNativeEngine } from '../helpers/native.js';
import { lockHolder } from '../helpers/daemons.js';

useNativeEngine();
const path = useDirectory();

const file = () => path('x.pid');
const own = String(process.pid);

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
