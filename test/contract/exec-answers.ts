import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command, LaunchError } from 'vircommand';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { asNobody, inParent, needsNobody, NOBODY } from '../helpers/native.js';
import { fixture, hasProgram, useDirectory, writeProgram } from '../helpers/tools.js';
import { smallBinary, withLoader } from './elf.js';
import type { EngineUnderTest } from './engine.js';

/** Makes the file that is executed, among others that it needs. Whatever a shell would run of it creates the marker. */
type Make = (path: (name?: string) => string, marker: string) => string;

const TRUE = realpathSync('/bin/true');

const trap = (marker: string): string => `\ntouch '${marker}'\nexit 0\n`;

/** A `#!` line of so many bytes, its newline not counted, and what a shell would run. */
const lineOf =
  (bytes: number, end = '\n'): Make =>
  (path, marker) =>
    writeProgram(
      path('file'),
      `#!${'/'.repeat(bytes - TRUE.length - 2)}${TRUE}${end === '' ? '' : end + trap(marker)}`,
    );

const script =
  (line: string): Make =>
  (path, marker) =>
    writeProgram(path('file'), line + trap(marker));

/** A script whose interpreter is a file of that name. */
const through =
  (make: Make): Make =>
  (path, marker) => {
    const interpreter = make((name) => path(`for-${name ?? ''}`), marker);
    return writeProgram(path('file'), `#!${interpreter}${trap(marker)}`);
  };

const chain =
  (length: number): Make =>
  (path, marker) => {
    let interpreter = TRUE;
    for (let link = 1; link <= length; link += 1)
      interpreter = writeProgram(path(`link-${link}`), `#!${interpreter}${trap(marker)}`);
    return interpreter;
  };

const fifo: Make = (path) => {
  execFileSync('mkfifo', ['-m', '755', path('fifo')]);
  return path('fifo');
};

const directory: Make = (path) => {
  mkdirSync(path('directory'));
  return path('directory');
};

const bytes =
  (content: (marker: string) => string | Uint8Array, mode = 0o755): Make =>
  (path, marker) =>
    writeProgram(path('file'), content(marker), mode);

/** The first bytes of a real program. */
const cut = (length: number): Make => bytes(() => readFileSync(TRUE).subarray(0, length));

const loadedBy =
  (make: Make): Make =>
  (path, marker) =>
    writeProgram(
      path('file'),
      withLoader(
        TRUE,
        make((name) => path(`l${name?.[0] ?? ''}`), marker),
      ) ?? '',
    );

/**
 * Files, and what is special about them. None has an answer here: the kernel is asked.
 *
 * The bounds of the `#!` line are those of Linux 5.1 and later: 255 bytes, of which a cut interpreter is ENOEXEC and a cut argument is not.
 */
const files: readonly (readonly [title: string, make: Make])[] = [
  ['a #! line of 255 bytes', lineOf(255)],
  ['a #! line of 256 bytes', lineOf(256)],
  ['a #! line of 255 bytes without a newline', lineOf(255, '')],
  ['a #! line of 256 bytes without a newline', lineOf(256, '')],
  ['a #! line that is too long by its argument', script(`#!${TRUE} ${'x'.repeat(400)}`)],
  ['a #! line that begins with 300 blanks', script(`#!${' '.repeat(300)}${TRUE}`)],
  ['a #! line of blanks', script('#! \t ')],
  ['#! and nothing else', bytes(() => '#!')],
  ['#! and the end of the line', script('#!')],
  ['#! and a NUL', script('#!\0')],
  ['#! and a blank and a NUL', script('#! \0')],
  ['an interpreter that a NUL ends', script(`#!${TRUE}\0x`)],
  ['an interpreter with blanks after it', script(`#!${TRUE} \t `)],
  ['an interpreter with a carriage return after it', script(`#!${TRUE}\r`)],
  ['an interpreter with an argument and a carriage return after it', script(`#!${TRUE} x\r`)],
  ['an interpreter that is not there', script('#!/nowhere/interpreter')],
  ['an interpreter with a relative path', script('#!nowhere/interpreter')],
  ['an interpreter that is a FIFO', through(fifo)],
  ['an interpreter that is a directory', through(directory)],
  ['an interpreter that is a device', script('#!/dev/null')],
  ['an interpreter without its x bit', through(bytes(() => `#!${TRUE}\n`, 0o644))],
  ['an interpreter that is text', through(bytes(trap))],
  ['an interpreter that is empty', through(bytes(() => ''))],
  ['an interpreter whose interpreter is not there', through(script('#!/nowhere/interpreter'))],
  ['an interpreter whose #! line is too long', through(lineOf(256))],
  ['five scripts that interpret each other', chain(5)],
  ['six scripts that interpret each other', chain(6)],
  ['a script that interprets itself', (path, marker) => writeProgram(path('self'), `#!${path('self')}${trap(marker)}`)],
  ['a byte order mark before #!', script(`\ufeff#!${TRUE}`)],
  ['text', bytes(trap)],
  ['an empty file', bytes(() => '')],
  ['a FIFO', fifo],
  ['a directory', directory],
  ['a device', () => '/dev/null'],
  ['a file without its x bit', bytes(trap, 0o644)],
  ['a binary of 20 bytes', cut(20)],
  ['a binary of 63 bytes', cut(63)],
  ['a binary of 64 bytes, its header', cut(64)],
  ['a binary of 500 bytes, in its program headers', cut(500)],
  ['a binary for x86 of 32 bits', bytes((marker) => Buffer.concat([smallBinary('i386'), Buffer.from(trap(marker))]))],
  ['a binary for x86 of 32 bits, its header', bytes(() => smallBinary('i386').subarray(0, 52))],
  [
    'a binary for ARM of 64 bits',
    bytes((marker) => Buffer.concat([smallBinary('aarch64'), Buffer.from(trap(marker))])),
  ],
  ['a program for Windows', bytes((marker) => `MZ${trap(marker)}`)],
  ['a binary without its loader', loadedBy(() => '/nowhere/l')],
  ['a binary whose loader is a directory', loadedBy(directory)],
  ['a binary whose loader is a FIFO', loadedBy(fifo)],
  ['a binary whose loader has no x bit', loadedBy(bytes(() => 'x', 0o644))],
  ['a binary whose loader is text', loadedBy(bytes(() => 'x'))],
];

/** What a file that may be executed and not read holds; native says what the kernel does, portable what it can see. */
const unreadable: readonly (readonly [
  title: string,
  content: (marker: string) => string | Uint8Array,
  portable?: string,
])[] = [
  ['a binary', () => readFileSync(TRUE)],
  ['a script', () => `#!${TRUE}\n`],
  // Of text without #! the kernel says ENOEXEC, and what is told to somebody who may not read it is that.
  ['text', trap, 'EACCES'],
];

export function execAnswerContract({ name }: EngineUnderTest): void {
  describe('what the kernel answers is what is told, and no shell runs what it refuses:', () => {
    const path = useDirectory();
    let tools = '';
    beforeAll(() => {
      tools = mkdtempSync(join(tmpdir(), 'vircommand-exec-'));
      chmodSync(tools, 0o755);
      if (hasProgram('cc')) execFileSync('cc', ['-o', join(tools, 'raw'), fixture('raw-execve.c')]);
    });
    afterAll(() => {
      rmSync(tools, { recursive: true });
    });

    /** The errno of a raw `execve`, or that it ran. */
    const kernel = (file: string, ids: { uid?: number; gid?: number } = {}): string => {
      const { status, stdout } = spawnSync(join(tools, 'raw'), [file], { encoding: 'utf8', cwd: path(), ...ids });
      return status === 99 ? stdout.trim() : 'it runs';
    };

    test.for(files)('%s', async ([, make], { skip }) => {
      if (!hasProgram('cc')) skip('there is no C compiler to ask the kernel with');
      const marker = path('marker');
      const file = make(path, marker);
      const told = await new Command(file)
        .workingDirectory(path())
        .run({ check: false })
        .then(
          () => 'it runs',
          (error: unknown) => (error instanceof LaunchError ? error.errno : error),
        );
      expect(existsSync(marker), 'whether a shell has run it').toBe(false);
      expect(told).toBe(kernel(file));
    });

    // Root reads every file, so another user asks.
    test.for(unreadable)('a file that may be executed and not read: %s', async ([, content, portable], { skip }) => {
      if (!hasProgram('cc')) skip('there is no C compiler to ask the kernel with');
      needsNobody(skip);
      const marker = path('marker');
      const file = writeProgram(path('file'), content(marker), 0o111);
      chmodSync(path(), 0o777);
      const told = await inParent(
        ({ Command: Program }, file) =>
          new Program(file).run({ check: false }).then(
            () => 'it runs',
            (error: unknown) => (error as { errno?: string }).errno ?? String(error),
          ),
        file,
        { through: asNobody, env: { VIRCOMMAND_ENGINE: name } },
      );
      expect(existsSync(marker), 'whether a shell has run it').toBe(false);
      const answer = kernel(file, { uid: NOBODY, gid: NOBODY });
      expect(told).toBe(name === 'portable' ? (portable ?? answer) : answer);
    });
  });
}
