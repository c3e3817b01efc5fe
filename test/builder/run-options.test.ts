import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { Command, UsageError } from '../../src/index.js';
import { dryRun } from '../../src/testing.js';
import { rejection } from '../helpers/tools.js';
import { anything, usageError } from '../helpers/usage.js';

const here = fileURLToPath(import.meta.url);

type Row = readonly [option: string, value: unknown, call: string, instead: string];

function revoked(): unknown {
  const { proxy, revoke } = Proxy.revocable({}, {});
  revoke();
  return proxy;
}

/** The options of child_process, execa and Bun, with what says the same here. */
const rows: readonly Row[] = [
  ['timeout', 5, '{ timeout: 5 }', 'say .timeout(5)'],
  ['signal', AbortSignal.abort(), '{ signal: … }', 'say .abortSignal(signal)'],
  ['cwd', '/srv', '{ cwd: … }', "say .workingDirectory('/srv')"],
  [
    'env',
    { SECRET: 'hunter2' },
    '{ env: … }',
    'say .env(name, value) for each, behind .envInherit() to keep the others',
  ],
  ['input', 'hunter2', '{ input: … }', 'say .inputBuffer(data)'],
  ['stdio', 'inherit', '{ stdio: … }', 'say .inheritStdio(), or a call for each stream'],
  ['encoding', 'buffer', '{ encoding: … }', "say .outputBuffer({ encoding: 'buffer' })"],
  ['maxBuffer', 9, '{ maxBuffer: 9 }', "say .outputLimit(9, 'kill')"],
  ['killSignal', 'SIGINT', '{ killSignal: … }', "say .stopSequence([['SIGINT', 5000], ['SIGKILL', 0]])"],
  ['detached', true, '{ detached: true }', 'say .daemonize(), or .newSession()'],
  ['shell', true, '{ shell: true }', "say new Command('sh', '-c', line)"],
  ['reject', false, '{ reject: false }', 'say { check: false }'],
  ['uid', 1000, '{ uid: 1000 }', 'say .uid(1000)'],
  ['daemonize', true, '{ daemonize: true }', 'say .daemonize()'],
  ['outputBuffer', {}, '{ outputBuffer: … }', 'say .outputBuffer(…)'],
  ['chek', false, '{ chek: false }', 'the options are { check }'],
];

describe('an option that there is not is a mistake, and names the method to say instead:', () => {
  test.for(rows)('run({ %s: %o })', async ([option, value, call, instead]) => {
    using dry = dryRun();
    const error = await rejection(UsageError, new Command('prog').run(anything({ [option]: value })));
    const problem = `there is no option '${option}'; ${instead}`;
    expect(error.mistakes).toEqual([{ call: `run(${call})`, problem, at: expect.stringContaining(`${here}:`) }]);
    expect(error.message).not.toContain('hunter2');
    expect(dry.commands).toEqual([]);
  });

  test('all of them are told, with the mistakes of the command', async () => {
    const run = new Command('prog').nice(99).run(anything({ timeout: 5, uid: 1 }));
    expect((await rejection(UsageError, run)).mistakes.map(({ call }) => call)).toEqual([
      'nice(99)',
      'run({ timeout: 5 })',
      'run({ uid: 1 })',
    ]);
  });

  test('runSync(), runAsync(), exec() and wait() tell it too, where they were called', async () => {
    const options = anything({ timeout: 5 });
    const told: (() => unknown)[] = [
      () => new Command('prog').runSync(options),
      () => new Command('prog').exec(options),
      () => new Command('prog').runAsync(options),
      async () => {
        using _dry = dryRun();
        const child = await new Command('prog').runAsync();
        await child.wait(options);
      },
    ];
    const calls = [];
    for (const call of told) {
      const { mistakes } = await rejection(UsageError, (async () => call())());
      calls.push(...mistakes.map((mistake) => `${mistake.call}: ${mistake.problem}`));
      expect(mistakes[0]?.at).toContain(`${here}:`);
    }
    expect(calls).toEqual([
      "runSync({ timeout: 5 }): there is no option 'timeout'; say .timeout(5)",
      "exec({ timeout: 5 }): there is no option 'timeout'; say .timeout(5)",
      "runAsync({ timeout: 5 }): there is no option 'timeout'; say .timeout(5)",
      "wait({ timeout: 5 }): there is no option 'timeout'; say .timeout(5) of the command, before it runs",
    ]);
  });

  test.for(([
    ['x', "run('x'): these are no options; give { check }"],
    [5, 'run(5): these are no options; give { check }'],
    [null, 'run(…): these are no options; give { check }'],
    [[], 'run(…): these are no options; give { check }'],
    [{ check: 1 }, 'run({ check: 1 }): check is true, false, or an array of exit codes: [0, 1]'],
    [{ check: [-1] }, 'run({ check: [ -1 ] }): an exit code is a whole number from 0 to 255'],
    [revoked(), "run(…): the options cannot be read (Cannot perform 'IsArray' on a proxy that has been revoked); give a plain object, { check }"],
  ] as const).map(([options, told]) => ({ options, told })))('$told', async ({ options, told }) => {
    const { mistakes } = await rejection(UsageError, new Command('prog').run(anything(options)));
    expect(mistakes.map(({ call, problem }) => `${call}: ${problem}`)).toEqual([told]);
  }); // prettier-ignore

  test('undefined is no option, and neither is none', async () => {
    using dry = dryRun();
    await new Command('prog').run(undefined);
    await new Command('prog').run({});
    await new Command('prog').run({ check: undefined });
    await new Command('prog').runAsync({});
    expect(dry.commands).toHaveLength(4);
  });
});

describe('the constructor takes arguments and arrays of them,', () => {
  test('as args() does', () => {
    const command = new Command('ls', ['-l', '--'], 'a', [1, 2n]);
    expect(command.argList).toEqual(['-l', '--', 'a', '1', '2']);
    expect(new Command('ls', []).argList).toEqual([]);
  });

  // The third argument of child_process.spawn() and of execa().
  test('and no options', () => {
    const [mistake] = usageError(() => undefined, new Command('ls', ['-l'], anything({ cwd: '/tmp' }))).mistakes;
    expect(mistake).toMatchObject({
      call: "new Command('ls', ['-l'], { cwd: '/tmp' })",
      problem: "it takes arguments, and no options; say .workingDirectory('/tmp')",
    });
  });

  test('and no options, each with the call that says it', () => {
    const options = anything({ cwd: '/tmp', timeout: 5, input: 'secret' });
    const [mistake] = usageError(() => undefined, new Command('ls', ['-l'], options)).mistakes;
    expect(mistake?.problem).toBe(
      "it takes arguments, and no options; say .workingDirectory('/tmp'), .timeout(5), .inputBuffer(data)",
    );
  });

  test('and no arrays in them', () => {
    const [mistake] = usageError(() => undefined, new Command('ls', anything([['-l']]))).mistakes;
    expect(mistake?.problem).toBe('the value is an array; give a string, a number, a bigint or bytes (Uint8Array)');
  });
});

// `toString({ linebreaks: true })` printed one line, and said nothing.
test('toString() refuses options that there are not, and values that are none', () => {
  const command = new Command('ls');
  expect(() => command.toString(anything({ linebreaks: true }))).toThrow(
    new TypeError('toString({ linebreaks: true }): there is no such option; there are: lineBreaks, stripPath.'),
  );
  expect(() => command.toString(anything({ stripPath: 1 }))).toThrow(
    /^toString\(\{ stripPath: 1 \}\): stripPath is true or false/,
  );
  expect(command.toString(anything({ lineBreaks: undefined }))).toBe('ls');
});
