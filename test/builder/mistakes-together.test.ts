import { closeSync, openSync } from 'node:fs';
import { inspect } from 'node:util';
import { describe, expect, test } from 'vitest';
import { Command, OutputBuffer, UsageError } from '../../src/index.js';
import { mistaken } from '../helpers/mistaken.js';
import { anything, lookingMethods, usageError } from '../helpers/usage.js';

const GIVE = 'give a string, a number, a bigint or bytes (Uint8Array)';

describe('a command with mistakes', () => {
  const wrong = () => new Command('/bin/echo').arg(anything(null)).umask(-1).arg('fine').timeout(0);

  test('lists them all, in the order in which they were made', () => {
    expect(usageError(() => undefined, wrong()).message).toBe(
      [
        '3 mistakes in `/bin/echo fine`:',
        `  1. arg(null): the value is null; ${GIVE}.`,
        '  2. umask(-1): the mask is a whole number from 0 to 0o777.',
        '  3. timeout(0): a timeout is above 0 and at most 2147483647 milliseconds.',
      ].join('\n'),
    );
  });

  test('takes what is right all the same', () => {
    expect(wrong().argList).toEqual(['fine']);
    expect(inspect(wrong())).toBe('Command { /bin/echo fine, 3 mistakes }');
  });

  test('lists the mistakes of single calls before those of two', () => {
    const error = usageError((c) => c.uid(5).umask(-1));
    expect(error.mistakes.map(({ call }) => call)).toEqual(['umask(-1)', 'uid(5)']);
  });

  test('is refused with the same words, and starts nothing, wherever it is asked for', async () => {
    const { message } = usageError(() => undefined, wrong());
    const command = wrong();
    for (const ask of [
      () => String(command),
      () => command.spec(),
      () => command.plan(),
      () => command.explain(),
      () => command.binaryPath(),
    ]) {
      expect(ask).toThrow(UsageError);
      expect(ask).toThrow(message);
    }
    for (const start of [() => command.run(), () => command.runAsync(), () => command.daemonize().run()]) {
      await expect(start()).rejects.toThrow(UsageError);
      await expect(start()).rejects.toThrow(message);
    }
  });

  test('writes nothing to the log', () => {
    expect(() => wrong().writeArgLog(anything('no descriptor'))).toThrow(UsageError);
  });

  test('hands its mistakes to a copy, which can make more', () => {
    const original = wrong();
    const copy = original.clone().nice(99);
    expect(usageError(() => undefined, copy).mistakes).toHaveLength(4);
    expect(usageError(() => undefined, original).mistakes).toHaveLength(3);
  });
});

const beginnings: readonly (readonly [() => Command, string, string])[] = [
  [() => new Command(''), "new Command('')", 'the program has no name; give a name to look for in PATH, or a path'],
  [
    () => Command.fromArgv([]),
    "new Command('')",
    'the program has no name; give a name to look for in PATH, or a path',
  ],
  [() => new Command(anything(null)), 'new Command(null)', `the program is null; ${GIVE}`],
  [
    () => new Command('a\0'),
    String.raw`new Command('a\x00')`,
    'the program holds a NUL byte, which ends a string for the kernel',
  ],
  [() => new Command('x', anything({})), "new Command('x', {})", `the value is an object; ${GIVE}`],
];
for (const [make, call, problem] of beginnings)
  test(`the program and its first arguments are looked at too: ${call}`, () => {
    expect(usageError(() => undefined, make()).mistakes).toMatchObject([{ call, problem }]);
  });

test('a program that is wrong leaves its place to no argument', () => {
  expect(usageError(() => undefined, new Command(anything(null), 'x')).command).toBe("'' x");
});

test('a long text is cut in a message, and a long list too', () => {
  const [mistake] = usageError((c) => c.arg(`${'x'.repeat(50)}\0`)).mistakes;
  expect(mistake?.call).toBe(`arg('${'x'.repeat(39)}…')`);
  const [other] = usageError((c) => c.groups([1, 2, 3, 4, -5])).mistakes;
  expect(other?.call).toBe('groups([1, 2, 3, …])');
});

test('a buffer and a hook are named, and not printed, in a message', () => {
  const buffer = new OutputBuffer();
  const [mistake] = usageError((c) => c.outputPipe().outputBuffer(buffer)).mistakes;
  expect(mistake?.call).toBe('outputBuffer(OutputBuffer { 0 bytes })');
});

test('no call throws, whatever it is given', () => {
  const odd = [
    undefined,
    null,
    {},
    [],
    [undefined],
    Symbol('s'),
    NaN,
    -1,
    1n,
    '',
    '\0',
    '\ud800',
    () => 1,
    new URL('https://example.org/'),
    new URL('file://host/x'),
    new URL('file:///a%2Fb'),
    new Map(),
  ];
  const methods = Object.getOwnPropertyNames(Command.prototype).filter((name) => !lookingMethods.includes(name));
  const thrown = new Set<string>();
  for (const method of methods) {
    for (const values of odd.flatMap((value) => [
      [value],
      [value, value],
      ['/x', value],
      [0, value],
      ['A', '%s', value],
    ])) {
      const command = new Command('x');
      try {
        (command[method as keyof Command] as (...values: unknown[]) => unknown)(...values);
      } catch (error) {
        thrown.add(`${method}: ${String(error)}`);
      }
    }
  }
  expect(methods.length).toBeGreaterThan(50);
  expect(Array.from(thrown)).toEqual([]);
});

test('envXdg() takes no directory that is none', () => {
  expect(usageError((c) => c.envXdg(anything(undefined))).mistakes).not.toEqual([]);
});

test("the place of a mistake is the caller's, also in a file that is named as one of ours", () => {
  expect(usageError(() => undefined, mistaken()).mistakes[0]?.at).toContain('helpers');
});

test('a descriptor that is closed before the run is a mistake', () => {
  const open = () => openSync('/dev/null', 'r');
  const fds = [open(), open(), open(), open(), open()] as const;
  const command = new Command('prog')
    .preserveFd(fds[0])
    .passFd(fds[1], { as: 77 })
    .inputFd(fds[2])
    .transferFd(fds[3])
    .listenFds(fds[4]);
  for (const fd of fds) closeSync(fd);
  const mistakes = usageError(() => undefined, command)
    .mistakes.map(({ call, problem }) => `${call}: ${problem}`)
    .sort();
  expect(mistakes).toEqual(
    [
      `inputFd(${fds[2]})`,
      `preserveFd(${fds[0]})`,
      `passFd(${fds[1]}, { as: 77 })`,
      `transferFd(${fds[3]})`,
      `listenFds(${fds[4]})`,
    ]
      .map((call) => `${call}: descriptor ${/\d+/.exec(call)?.[0] ?? ''} is not open any more`)
      .sort(),
  );
});
