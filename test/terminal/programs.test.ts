import { readFileSync, writeFileSync } from 'node:fs';
import { Command } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { useNativeEngine } from '../helpers/native.js';
import { plain, Sitting } from '../helpers/terminals.js';
import { fixture, hasProgram, useDirectory } from '../helpers/tools.js';

useNativeEngine();
const path = useDirectory();

/** A program at a terminal that most programs can draw on; it is not installed everywhere. */
async function at(skip: (why: string) => never, program: string, ...args: string[]) {
  if (!hasProgram(program)) skip(`${program} is not installed`);
  const child = await new Command(program, ...args)
    .envInherit()
    .env('TERM', 'vt100')
    .env('LC_ALL', 'C')
    .terminal()
    .runAsync();
  return { child, sitting: new Sitting(child) };
}

/** The same in the foreground of the terminal of a Node program, which is at one of ours. */
async function inForeground(skip: (why: string) => never, program: string, ...args: string[]) {
  if (!hasProgram(program)) skip(`${program} is not installed`);
  return at(skip, process.execPath, fixture('foreground.js'), 'run', program, ...args);
}

describe.each([
  ['a terminal of its own', at, ''],
  ["the foreground of a Node program's terminal", inForeground, 'end: 0'],
] as const)('at %s,', (_name, begin, last) => {
  test('less shows a page, goes to the last one, and quits', async ({ skip }) => {
    writeFileSync(path('lines'), Array.from({ length: 500 }, (_, line) => `line ${line}\n`).join(''));
    const { child, sitting } = await begin(skip, 'less', path('lines'));
    await sitting.until(/line 5\r/);
    expect(plain(sitting.all)).not.toContain('line 499');
    sitting.type('G');
    await sitting.until(/line 499/);
    sitting.type('q');
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });

  test('vi takes a text, and writes it into its file', async ({ skip }) => {
    const { child, sitting } = await begin(skip, 'vi', '-u', 'NONE', path('note'));
    await sitting.until(/note[^]*~/);
    sitting.type('ihello from the keyboard\x1b');
    await sitting.until(/keyboard/);
    sitting.type(':wq\r');
    expect((await child.wait()).exitCode).toBe(0);
    expect(readFileSync(path('note'), 'utf8')).toBe('hello from the keyboard\n');
    expect(sitting.all).toContain(last);
  });

  test('top draws its table, and quits by its key', async ({ skip }) => {
    const { child, sitting } = await begin(skip, 'top', '-d', '60');
    await sitting.until(/PID[^]*COMMAND/);
    sitting.type('q');
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });

  test('script(1) has a terminal within a terminal', async ({ skip }) => {
    const { child, sitting } = await begin(
      skip,
      'script',
      '-q',
      '-c',
      'tty; stty size; read word; echo "word: $word"',
      path('typescript'),
    );
    await sitting.until(/\/dev\/pts\/\d+\r\n24 80\r\n/);
    sitting.type('inner\r');
    await sitting.until(/word: inner/);
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });

  test('su asks nobody who is root, and gives a shell to the user', async ({ skip }) => {
    if (process.geteuid?.() !== 0) skip('only root is not asked for a password');
    const { child, sitting } = await begin(
      skip,
      'su',
      '-s',
      '/bin/sh',
      '-c',
      'id -un; tty; read word; echo "word: $word"',
      'nobody',
    );
    await sitting.until(/nobody\r\n\/dev\/pts\/\d+\r\n/);
    sitting.type('typed\r');
    await sitting.until(/word: typed/);
    expect((await child.wait()).exitCode).toBe(0);
    expect(sitting.all).toContain(last);
  });
});
