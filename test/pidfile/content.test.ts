import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, existsSync, mkdirSync, renameSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { PidFile, PidFileError } from '../../src/index.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const fileWith = (content: string | Uint8Array): string => {
  const path = join(temporaryDirectory(), 'p');
  writeFileSync(path, content);
  return path;
};

/** A program that runs until the test has ended. */
async function running(program: string): Promise<ChildProcess & { pid: number }> {
  const child = spawn(program, ['1000'], { stdio: 'ignore' });
  await once(child, 'spawn');
  onTestFinished(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  return child as ChildProcess & { pid: number };
}

/** The pid of a process that has been, and is reaped. */
async function deadPid(): Promise<number> {
  const child = spawn('/bin/true');
  await once(child, 'exit');
  return child.pid!;
}

describe('PidFile.path', () => {
  test.each([
    ['/run/x', 'default', '/run/x/default.pid'],
    ['/run/x/', 'a.b', '/run/x/a.b.pid'],
    ['', 'x', 'x.pid'],
  ])("of '%s' and '%s' is '%s'", (directory, name, path) => {
    expect(PidFile.path(directory, name)).toBe(path);
  });
});

describe('PidFile.read', () => {
  test.each([
    ['1234', 1234],
    ['1234\n', 1234],
    ['1234 \t\r\n\n', 1234],
    ['0', 0],
    ['007', 7],
    ['2147483647', 2147483647],
    // As strtoll() takes them, with which virPidFileReadPath reads.
    [' 1234', 1234],
    ['\n\t\v\f\r 1234\n', 1234],
    ['000000000000000001234', 1234],
    [' 0000', 0],
    ['+5', 5],
    ['12\0', 12],
  ])('reads %j as %i', async (content, pid) => {
    expect(await PidFile.read(fileWith(content))).toBe(pid);
  });

  test.each(['1234\n/var/lib/data\n5432\n', '1234 x'])(
    'reads digits up to white space, whatever follows, as libvirt does: %j',
    async (content) => {
      expect(await PidFile.read(fileWith(content))).toBe(1234);
    },
  );

  test.each([
    '',
    '\n',
    'junk',
    'pid 5',
    '5x',
    '-5',
    '5.0',
    '0x10',
    '1e3',
    '2147483648',
    '4294967297',
    '99999999999',
    '9'.repeat(400),
    '- 5',
    '+ 5',
    '+-5',
    '\u00a05',
    '5\u00a0',
    `${'0'.repeat(64)}5`,
    ' '.repeat(64),
    '99999999999999999999999',
    'junk 5',
    '\0' + '5',
  ])('refuses %j, which is no pid', async (content) => {
    const path = fileWith(content);
    const error: unknown = await PidFile.read(path).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(PidFileError);
    expect(error).toMatchObject({
      path,
      message: expect.stringMatching(
        /^Pidfile '.*' holds '[^]*', which is no pid\. Remove the file, or choose another one\.$/,
      ),
    });
    expect((error as PidFileError).errno).toBeUndefined();
    expect((error as PidFileError).message.length).toBeLessThan(path.length + 150);
  });

  test('refuses bytes that are no text', async () => {
    await expect(PidFile.read(fileWith(Uint8Array.of(0xff, 0x31)))).rejects.toBeInstanceOf(PidFileError);
  });

  test('tells why a file cannot be read', async () => {
    const directory = temporaryDirectory();
    const path = join(directory, 'p');
    await expect(PidFile.read(path)).rejects.toMatchObject({
      name: 'PidFileError',
      errno: 'ENOENT',
      path,
      message: `Pidfile '${path}' cannot be read (open: ENOENT).`,
    });
    await expect(PidFile.read(directory)).rejects.toMatchObject({
      errno: 'EISDIR',
      message: `Pidfile '${directory}' cannot be read (read: EISDIR).`,
    });
  });
});

describe('PidFile.readIfAlive', () => {
  test('gives the pid of a process that lives', async () => {
    expect(await PidFile.readIfAlive(fileWith(String(process.pid)))).toBe(process.pid);
  });

  test('gives nothing for one that has ended', async () => {
    expect(await PidFile.readIfAlive(fileWith(String(await deadPid())))).toBeUndefined();
    expect(await PidFile.readIfAlive(fileWith('2147483647'))).toBeUndefined();
  });

  test('gives nothing for 0, which would mean a whole process group', async () => {
    expect(await PidFile.readIfAlive(fileWith('0'))).toBeUndefined();
  });

  test('refuses a file that holds no pid', async () => {
    await expect(PidFile.readIfAlive(fileWith('junk'))).rejects.toBeInstanceOf(PidFileError);
  });

  test('gives the pid of a process that executes the program, by any of its names', async () => {
    const directory = temporaryDirectory();
    const program = join(directory, 'napper');
    copyFileSync('/bin/sleep', program);
    symlinkSync('napper', join(directory, 'link'));
    const { pid } = await running(join(directory, 'link'));
    const file = fileWith(String(pid));
    for (const name of [program, join(directory, 'link'), join(directory, '.', 'napper')])
      expect(await PidFile.readIfAlive(file, name)).toBe(pid);
  });

  test('gives nothing where the pid has gone to another program', async () => {
    const file = fileWith(String(process.pid));
    expect(await PidFile.readIfAlive(file, '/bin/sleep')).toBeUndefined();
    expect(await PidFile.readIfAlive(file, '/nowhere/at/all')).toBeUndefined();
  });

  test('gives the pid of a program whose file was replaced or removed since, by its name', async () => {
    const directory = temporaryDirectory();
    const program = join(directory, 'napper');
    copyFileSync('/bin/sleep', program);
    const { pid } = await running(program);
    const file = fileWith(String(pid));
    unlinkSync(program);
    expect(await PidFile.readIfAlive(file, program)).toBe(pid);
    copyFileSync('/bin/true', program);
    expect(await PidFile.readIfAlive(file, program)).toBe(pid);
    expect(await PidFile.readIfAlive(file, join(directory, 'other'))).toBeUndefined();
  });

  test('gives the pid by a link to a replaced file, and nothing for a program that was moved away', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'real'));
    const program = join(directory, 'real', 'napper');
    copyFileSync('/bin/sleep', program);
    symlinkSync(program, join(directory, 'link'));
    const { pid } = await running(program);
    const file = fileWith(String(pid));
    renameSync(program, `${program}.old`);
    copyFileSync('/bin/true', program);
    expect(await PidFile.readIfAlive(file, `${program}.old`)).toBe(pid);
    expect(await PidFile.readIfAlive(file, join(directory, 'link'))).toBeUndefined();
  });
});

describe('PidFile.remove', () => {
  test('removes the file, and finds no fault in one that is not there', async () => {
    const path = fileWith('1');
    await PidFile.remove(path);
    expect(existsSync(path)).toBe(false);
    await PidFile.remove(path);
  });

  test('tells why a file cannot be removed', async () => {
    const directory = temporaryDirectory();
    await expect(PidFile.remove(directory)).rejects.toMatchObject({
      name: 'PidFileError',
      path: directory,
      message: expect.stringMatching(/^Pidfile '.*' cannot be removed \(unlink: E[A-Z]+\)\.$/),
    });
  });
});
