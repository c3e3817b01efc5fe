import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { Command, PidFile, PidFileError } from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { afterEach, describe, expect, test } from 'vitest';
import { root, useNativeEngine } from '../helpers/native.js';
import { end, FOREVER, rejection, useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();
afterEach(() => {
  process.chdir(root);
});

/** A name that is no UTF-8. A file called `…ÿ` in UTF-8 is another one. */
const odd = (name: string): Buffer => Buffer.concat([Buffer.from(path(name)), Buffer.of(0xff)]);
const alike = (name: string): string => `${path(name)}ÿ`;
const shown = (name: string): string => `${path(name)}\\xff`;

// As with Node's own functions of files, which take bytes.
describe('a pidfile whose name is bytes that are no UTF-8', () => {
  test('is acquired, read and released, and no other', async () => {
    writeFileSync(alike('x'), '1');
    const lock = await PidFile.acquire(odd('x'));
    expect([lock.path, readFileSync(odd('x'), 'utf8')]).toEqual([shown('x'), String(process.pid)]);
    expect(await PidFile.read(odd('x'))).toBe(process.pid);
    expect(await PidFile.readIfAlive(odd('x'), process.execPath)).toBe(process.pid);
    expect(await PidFile.readIfLocked(odd('x'))).toBe(process.pid);
    expect(await rejection(PidFileError, PidFile.acquire(odd('x')))).toMatchObject({
      path: shown('x'),
      heldBy: process.pid,
    });
    // A text that looks like what a message shows is another file.
    await expect(PidFile.release(shown('x'))).rejects.toThrow('is not held by this thread');
    await PidFile.release(odd('x'));
    expect([lock.isHeld, existsSync(odd('x')), readFileSync(alike('x'), 'utf8')]).toEqual([false, false, '1']);
  });

  test('is removed, and cleaned up with its owner', async () => {
    writeFileSync(odd('x'), '1');
    await PidFile.remove(odd('x'));
    expect(existsSync(odd('x'))).toBe(false);
    const { pid } = await new Command('sleep', FOREVER).daemonize().pidFile(odd('x')).run();
    try {
      using daemon = await PidFile.open(odd('x'), { program: 'sleep' });
      expect(daemon?.pid).toBe(pid);
      await PidFile.forceCleanup(odd('x'));
    } finally {
      end(pid);
    }
    expect(existsSync(odd('x'))).toBe(false);
  });

  test('is named in errors with its odd bytes as escapes', async () => {
    writeFileSync(odd('x'), 'no pid');
    for (const call of [PidFile.read, PidFile.readIfAlive, PidFile.open, PidFile.forceCleanup])
      expect(await rejection(PidFileError, Promise.resolve(call(odd('x'))))).toMatchObject({ path: shown('x') });
    mkdirSync(odd('dir'));
    expect(await rejection(PidFileError, PidFile.remove(odd('dir')))).toMatchObject({ path: shown('dir') });
  });

  test('is put together of a directory and a name', () => {
    expect(PidFile.path(odd('run'), 'x')).toEqual(Buffer.concat([odd('run'), Buffer.from('/x.pid')]));
    expect(PidFile.path('/run', Buffer.of(0xff))).toEqual(Buffer.from('/run/\xff.pid', 'latin1'));
    expect(PidFile.path('/run/../var', 'x')).toBe('/var/x.pid');
  });

  test('is one of its own in a dry run', async () => {
    using _ = dryRun();
    const lock = await PidFile.acquire(odd('x'));
    expect(await PidFile.read(odd('x'))).toBe(process.pid);
    await expect(PidFile.acquire(odd('x'))).rejects.toMatchObject({ heldBy: process.pid });
    await PidFile.acquire(shown('x'));
    await PidFile.release(lock);
    await PidFile.acquire(odd('x'));
    await PidFile.release(odd('x'));
    expect(existsSync(odd('x'))).toBe(false);
  });

  test.each([
    ['no bytes', new Uint8Array()],
    ['bytes with a NUL', Buffer.from('/run/a\0b')],
  ])('is not %s', async (_words, value) => {
    for (const call of [PidFile.read, PidFile.acquire, PidFile.remove] as const)
      await expect(async () => call(value)).rejects.toThrow('give the path of a pidfile');
  });
});

test('a program whose name is bytes that are no UTF-8 is compared with them', async () => {
  copyFileSync('/bin/sleep', odd('tool'));
  chmodSync(odd('tool'), 0o755);
  copyFileSync('/bin/sleep', alike('tool'));
  const { pid } = await new Command(odd('tool'), FOREVER).daemonize().pidFile(path('x')).run();
  try {
    expect(await PidFile.readIfAlive(path('x'), odd('tool'))).toBe(pid);
    expect(await PidFile.readIfAlive(path('x'), alike('tool'))).toBeUndefined();
    expect(await PidFile.readIfAlive(path('x'), Buffer.from('tool\xff', 'latin1'))).toBe(pid);
    expect(await PidFile.readIfAlive(path('x'), 'toolÿ')).toBeUndefined();
    using daemon = await PidFile.open(path('x'), { program: odd('tool') });
    expect(daemon?.pid).toBe(pid);
    // By its name where it was replaced since, also through a link.
    symlinkSync(odd('tool'), odd('link'));
    copyFileSync('/bin/sleep', path('anew'));
    renameSync(path('anew'), odd('tool'));
    expect(await PidFile.readIfAlive(path('x'), odd('link'))).toBe(pid);
    expect(await PidFile.readIfAlive(path('x'), odd('tool'))).toBe(pid);
  } finally {
    end(pid);
  }
});

// As with Node's own functions of files, which have the kernel begin in the directory itself.
test('a relative path of PidFile.acquire() means the directory of this process, whatever it is called by now', async () => {
  mkdirSync(path('app'));
  process.chdir(path('app'));
  expect(process.cwd()).toBe(path('app')); // Node remembers it.
  renameSync(path('app'), path('app.old'));
  mkdirSync(path('app'));
  const lock = await PidFile.acquire('x.pid');
  expect([lock.path, existsSync(path('app.old/x.pid'))]).toEqual([path('app.old/x.pid'), true]);
  expect(await PidFile.readIfLocked('x.pid')).toBe(process.pid);
  await PidFile.release('x.pid');
  expect([lock.isHeld, existsSync(path('app.old/x.pid'))]).toEqual([false, false]);
});
