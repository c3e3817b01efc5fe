import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { Command, type Lane } from 'vircommand';
import { afterEach, describe, expect, test } from 'vitest';
import { lanes, outputOf, parentWords, root, useNativeEngine } from '../helpers/native.js';
import { useDirectory, writeProgram } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();
afterEach(() => {
  process.chdir(root);
});

const itself = 'the directory itself';

/** Makes this process stand in a directory that is renamed then; another one has its old name. */
function moveAway(): void {
  for (const [directory, word] of [
    ['app', itself],
    ['other', 'another'],
  ] as const) {
    mkdirSync(path(directory));
    mkdirSync(path(`${directory}/sub`));
    writeFileSync(path(`${directory}/sub/in`), word);
    writeFileSync(path(`${directory}/in`), word);
    writeProgram(path(`${directory}/tool`), `#!/bin/sh\necho ${word}; cat in\n`);
  }
  process.chdir(path('app'));
  expect(process.cwd()).toBe(path('app')); // Node remembers it.
  renameSync(path('app'), path('app.old'));
  renameSync(path('other'), path('app'));
}

// As a child of child_process, which is in the directory itself.
describe('what begins in a directory that was renamed is found there', () => {
  test.each(lanes)('by the lane %s', async (lane: Lane, take) => {
    moveAway();
    expect(take(new Command('./tool')).plan().lane).toBe(lane);
    expect(await outputOf(take(new Command('./tool')))).toBe(`${itself}\n${itself}`);
    expect(await outputOf(take(new Command('./tool').workingDirectory('sub')))).toBe(`${itself}\n${itself}`);
    expect(await outputOf(take(new Command('cat').inputFile('in')))).toBe(itself);
  });

  test('by runSync()', () => {
    moveAway();
    const { stdout } = new Command('./tool').workingDirectory('sub').errorFile('log').outputBuffer().runSync();
    expect(stdout).toBe(`${itself}\n${itself}`);
    expect(readFileSync(path('app.old/log'), 'utf8')).toBe('');
    expect(new Command('./tool').outputBuffer().runSync().stdout).toBe(`${itself}\n${itself}`);
  });

  test('by exec()', () => {
    moveAway();
    const [program = '', ...words] = parentWords(async ({ Command: Program }, directory) => {
      const { renameSync: rename, mkdirSync: make } = process.getBuiltinModule('node:fs');
      process.chdir(directory);
      process.cwd();
      rename(directory, `${directory}.again`);
      make(directory);
      new Program('./tool').workingDirectory('sub').exec();
    }, path('app.old'));
    const { stdout, stderr } = spawnSync(program, words, { cwd: root, encoding: 'utf8' });
    expect({ stdout, stderr }).toEqual({ stdout: `${itself}\n${itself}`, stderr: '' });
  });
});

test('bytes that are no UTF-8 reach the kernel as they are by runSync() and through every lane', async () => {
  const odd = Buffer.concat([Buffer.from(path('d')), Buffer.of(0xff)]);
  mkdirSync(odd);
  writeFileSync(Buffer.concat([odd, Buffer.from('/in')]), itself);
  mkdirSync(path('dÿ'));
  writeFileSync(path('dÿ/in'), 'another');
  const cat = (): Command => new Command('cat', 'in').workingDirectory(odd);
  expect(cat().outputBuffer().runSync().stdout).toBe(itself);
  for (const [, take] of lanes) expect(await outputOf(take(cat()))).toBe(itself);
});
