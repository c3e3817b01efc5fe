import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Command } from '../../src/index.js';
import { temporaryDirectory } from '../helpers/temporary.js';

const ENVIRONMENT = '\x01the environment of it\x01';
const END = '\x01the end of a program\x01';

/**
 * Tells what a shell made of a printed command, as the kernel saw it: a script is started as `/bin/sh SCRIPT ARG…`, and
 * `/proc/PID/environ` is what `execve` was given, whatever the script's own shell makes of it.
 */
const DUMP = '#!/bin/sh\n/bin/cat /proc/$$/cmdline "${0%/*}/environment" /proc/$$/environ "${0%/*}/end"\n';

/** The variables that shells set by themselves. */
const SET_BY_SHELLS = ['PWD', 'OLDPWD', 'SHLVL', '_'];

interface Seen {
  readonly argv: readonly string[];
  readonly env: readonly string[];
}

/** Makes a directory with the program that tells what it was given, under some names. */
function directoryWithDump(...names: string[]): string {
  const directory = temporaryDirectory();
  writeFileSync(join(directory, 'environment'), ENVIRONMENT);
  writeFileSync(join(directory, 'end'), END);
  writeFileSync(join(directory, 'dump'), DUMP, { mode: 0o755 });
  for (const name of names) symlinkSync('dump', join(directory, name));
  return directory;
}

/** Has one shell with an empty environment run commands; each tells what it was given, one character for each byte. */
function read(shell: string, directory: string, texts: readonly string[], variables: readonly string[] = []): Seen[] {
  const script = join(directory, 'script');
  writeFileSync(script, `${texts.join('\n')}\n`);
  const { stdout, stderr } = spawnSync('env', ['-i', ...variables, shell, script], { maxBuffer: 2 ** 30 });
  const programs = stdout.toString('latin1').split(END).slice(0, -1);
  if (programs.length !== texts.length)
    throw new Error(`${programs.length} of ${texts.length} programs ran: ${String(stderr).slice(0, 2000)}`);
  return programs.map((program) => {
    const [argv = '', env = ''] = program.split(ENVIRONMENT);
    const isSaid = (entry: string) => !SET_BY_SHELLS.includes(entry.slice(0, entry.indexOf('=', 1)));
    // The last word ends in a NUL too.
    return { argv: argv.split('\0').slice(1, -1), env: env.split('\0').slice(0, -1).filter(isSaid).sort() };
  });
}

// ---------------------------------------------------------------- random commands

const bytes = fc.uint8Array({ min: 1, max: 255, maxLength: 12 });
const shellText = fc.string({
  unit: fc.constantFrom(...Array.from(' \t\r\n\'"\\$`!#&*?[]{}()<>|;~^=-:@%é€😀aA0')),
  maxLength: 12,
});
const text = fc
  .string({ unit: 'grapheme', maxLength: 12 })
  .filter((word) => !word.includes('\0') && word.isWellFormed());
const word = fc.oneof(
  bytes,
  shellText,
  text,
  fc.constantFrom('', '-', '--', '-x', '\n', '\r', '\x7f', '\\', "'", 'A=b'),
);

/** Names that bash keeps to itself: it refuses to assign them, or gives them values of its own. */
const KEPT_BY_BASH =
  /^(?:UID|EUID|PPID|GROUPS|DIRSTACK|FUNCNAME|RANDOM|SRANDOM|SECONDS|LINENO|HISTCMD|EPOCH.*|BASH.*|SHELLOPTS|POSIXLY_CORRECT|IFS|PATH|LC_.*|LANG.*)$/;
const name = fc
  .oneof(
    fc.stringMatching(/^[A-Za-z_][A-Za-z0-9_]{0,8}$/),
    fc.stringMatching(/^[a-z0-9.+@%-]{1,6}$/),
    fc.string({ unit: fc.constantFrom(...Array.from(' \'"\\$`!#é-.aB1\n')), minLength: 1, maxLength: 6 }),
  )
  .filter((variable) => !SET_BY_SHELLS.includes(variable) && !KEPT_BY_BASH.test(variable));

const command = fc.record({
  args: fc.array(word, { maxLength: 6 }),
  env: fc.array(fc.tuple(name, word), { maxLength: 4 }),
  lineBreaks: fc.boolean(),
});

// ---------------------------------------------------------------- tests

const latin1 = (value: string | Uint8Array): string =>
  (typeof value === 'string' ? Buffer.from(value) : Buffer.from(value)).toString('latin1');

describe.for(['/bin/sh', '/bin/bash'])('%s', (shell) => {
  test('reads back the exact arguments and variables of a random command', (context) => {
    if (!existsSync(shell)) return context.skip(`there is no ${shell}`);
    const directory = directoryWithDump();
    const program = join(directory, 'dump');
    const readsBack = fc.property(fc.array(command, { minLength: 60, maxLength: 60 }), (commands) => {
      const texts = commands.map(({ args, env, lineBreaks }) => {
        const built = new Command(program, ...args);
        for (const [variable, value] of env) built.env(variable, value);
        return built.toString({ lineBreaks });
      });
      const expected = commands.map(({ args, env }) => ({
        argv: [program, ...args.map(latin1)],
        env: Array.from(new Map(env), ([variable, value]) => `${latin1(variable)}=${latin1(value)}`).sort(),
      }));
      const seen = read(shell, directory, texts);
      // One by one, so that a failure shows the command that was misread, and not all sixty.
      for (const [index, wanted] of expected.entries())
        expect({ text: texts[index], ...seen[index] }).toEqual({ text: texts[index], ...wanted });
    });
    fc.assert(readsBack, { numRuns: 8, endOnFailure: true });
  });

  test('reads back every byte but NUL, alone and between letters, in an argument and in a value', (context) => {
    if (!existsSync(shell)) return context.skip(`there is no ${shell}`);
    const directory = directoryWithDump();
    const program = join(directory, 'dump');
    const single = Array.from({ length: 255 }, (_, index) => Uint8Array.of(index + 1));
    const words = [...single, ...single.map((byte) => Buffer.concat([Buffer.from('a'), byte, Buffer.from('b')]))];
    const [seen] = read(shell, directory, [String(new Command(program, ...words).env('ALL', Buffer.concat(words)))]);
    expect(seen).toEqual({ argv: [program, ...words.map(latin1)], env: [`ALL=${latin1(Buffer.concat(words))}`] });
  });

  test.for(['a b', "it's", 'if', 'time', 'a=b', 'A+=b', 'Z=', '$HOME', '~', '-n', '#x'])(
    "finds a program named '%s' in PATH",
    (program, context) => {
      if (!existsSync(shell)) return context.skip(`there is no ${shell}`);
      const directory = directoryWithDump(program);
      const [seen] = read(shell, directory, [String(new Command(program, 'x'))], [`PATH=${directory}`]);
      expect(seen).toEqual({ argv: [join(directory, program), 'x'], env: [`PATH=${directory}`] });
    },
  );

  test.for(['a b', "it's", 'é', 'if', '-v'])(
    "starts a program that lies in a directory named '%s'",
    (name, context) => {
      if (!existsSync(shell)) return context.skip(`there is no ${shell}`);
      const directory = directoryWithDump();
      const inner = join(directory, name);
      mkdirSync(inner);
      for (const file of ['dump', 'environment', 'end']) symlinkSync(join(directory, file), join(inner, file));
      const [seen] = read(shell, directory, [String(new Command(join(inner, 'dump')))]);
      expect(seen).toEqual({ argv: [join(inner, 'dump')].map(latin1), env: [] });
    },
  );

  test.for(['-i', '-u', '--', '-', '--help', '-S', 'A B', '1', '.'])(
    "assigns a variable named '%s', which no shell can",
    (variable, context) => {
      if (!existsSync(shell)) return context.skip(`there is no ${shell}`);
      const directory = directoryWithDump();
      const program = join(directory, 'dump');
      const [seen] = read(shell, directory, [String(new Command(program).env(variable, 'x'))]);
      expect(seen).toEqual({ argv: [program], env: [`${variable}=x`] });
    },
  );
});
