import { existsSync, realpathSync, symlinkSync } from 'node:fs';
import { relative } from 'node:path';
import { type Argument, Command, UnsupportedError, UsageError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import type { EngineUnderTest } from './engine.js';
import { rejection, sh, useDirectory } from '../helpers/tools.js';

/** Tells the shell's own argument vector, as the kernel has it. The colon keeps the shell there while `cat` looks. */
const TELL_ARGV = 'cat /proc/$$/cmdline; :';

/** The vector of a program that was given these arguments. */
async function argvSeen(...args: Argument[]): Promise<Buffer[]> {
  const { stdout } = await new Command('sh', '-c', TELL_ARGV, 'sh', ...args).outputBuffer({ encoding: 'buffer' }).run();
  return words(stdout).slice(4);
}

/** Words that each end in a NUL byte. */
function words(bytes: Buffer): Buffer[] {
  const found: Buffer[] = [];
  for (let at = 0, end = bytes.indexOf(0); end !== -1; at = end + 1, end = bytes.indexOf(0, at))
    found.push(bytes.subarray(at, end));
  return found;
}

/** What a program gets of an argument: a whole number has all its digits, as printf's %lld gives them. */
const asBytes = (arg: Argument): Buffer =>
  arg instanceof Uint8Array
    ? Buffer.from(arg)
    : Buffer.from(String(Number.isInteger(arg) ? BigInt(arg as number) : arg));

/** The characters with these codes. */
const characters = (first: number, last: number): string[] =>
  Array.from({ length: last - first + 1 }, (_, index) => String.fromCharCode(first + index));

const vectors: readonly (readonly [name: string, args: readonly Argument[]])[] = [
  ['no argument', []],
  ['empty ones', ['', 'a', '', '']],
  ['spaces and tabs', [' ', 'a b', '\ta', 'a\t ']],
  ['quotes and backslashes', ["'", '"', '`', '\\', '\\\\', "'\"'", '"\\"']],
  ['newlines', ['\n', 'a\nb', 'a\r\n', '\n\n']],
  ['leading dashes', ['-', '--', '-e', '--option=value', '-- ']],
  [
    'what a shell would expand',
    ['*', '?', '$HOME', '$(id)', '`id`', '~', '{a,b}', '!!', '# no', '; id', '| id', '&', '> x', '%s'],
  ],
  ['each character of ASCII alone', characters(0x01, 0x7f)],
  ['all characters of ASCII in one', [characters(0x01, 0x7f).join('')]],
  ['UTF-8', ['é', 'ß', '日本語', '🙂', 'e\u0301', '\u{10FFFF}', '\uFEFFmark', '\uFFFD']],
  ['numbers', [0, -0, -1, 1.5, 1e21, 2 ** 70, 12345678901234567890n]],
  ['bytes that are UTF-8', [Buffer.from('é'), new Uint8Array([0xe6, 0x97, 0xa5])]],
  ['100 kB in one', ['x'.repeat(100_000)]],
  ['10,000 arguments', Array.from({ length: 10_000 }, (_, index) => index)],
];

export function argumentContract(engine: EngineUnderTest): void {
  describe('arguments', () => {
    const path = useDirectory();

    test.for(vectors)('the program gets %s byte by byte', async ([, args]) => {
      expect(await argvSeen(...args)).toEqual(args.map(asBytes));
    });

    test.for(vectors)('the printed command, run by a shell, gives %s again', async ([, args]) => {
      const printed = new Command('sh', '-c', TELL_ARGV, 'sh', ...args).toString();
      const { stdout } = await new Command('sh').inputBuffer(printed).outputBuffer({ encoding: 'buffer' }).run();
      expect(words(stdout).slice(4)).toEqual(args.map(asBytes));
    });

    test('bytes that are no UTF-8 arrive as they are, or are refused', async () => {
      const bytes = Uint8Array.from({ length: 255 }, (_, index) => index + 1);
      if (engine.passesBytes) expect(await argvSeen(bytes)).toEqual([Buffer.from(bytes)]);
      else
        expect(await rejection(UnsupportedError, argvSeen(bytes))).toMatchObject({
          feature: 'arg',
          engine: engine.name,
        });
    });

    test.for([
      ['text', 'a\0b'],
      ['bytes', new Uint8Array([97, 0, 98])],
    ] as const)('a NUL in %s is refused before anything is started', async ([, arg]) => {
      const { mistakes } = await rejection(UsageError, sh('touch "$1"', path('started')).arg(arg).run());
      expect(mistakes).toMatchObject([{ problem: 'the value holds a NUL byte, which ends a string for the kernel' }]);
      expect(existsSync(path('started'))).toBe(false);
    });

    test.for<[string, () => string]>([
      ['bare', () => 'sh'],
      ['absolute', () => path('tool')],
      ['relative', () => relative(process.cwd(), path('tool'))],
      ['dotted', () => `${path()}/./tool`],
    ])('argv[0] is the program as it was named, here %s, and the file is what that leads to', async ([, name]) => {
      const shell = realpathSync('/bin/sh');
      symlinkSync(shell, path('tool'));
      const command = new Command(name(), '-c', `${TELL_ARGV}; readlink /proc/$$/exe`).outputBuffer({
        encoding: 'buffer',
      });
      const { stdout } = await command.run();
      expect(String(words(stdout)[0])).toBe(name());
      expect(stdout.toString().split('\0').at(-1)).toBe(`${shell}\n`);
    });

    test('the file that runs is the one that binaryPath() tells', async () => {
      const command = new Command('sh', '-c', 'readlink /proc/$$/exe; :').outputBuffer();
      expect((await command.run()).stdout).toBe(`${realpathSync(command.binaryPath())}\n`);
    });
  });
}
