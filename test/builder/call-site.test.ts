import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { afterEach, describe, expect, test } from 'vitest';
import { Command } from '../../src/index.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { usageError } from '../helpers/usage.js';

const here = fileURLToPath(import.meta.url);
const dist = fileURLToPath(new URL('../../dist/index.js', import.meta.url));
const { prepareStackTrace, stackTraceLimit } = Error;
const hadPrepare = Object.hasOwn(Error, 'prepareStackTrace');

afterEach(() => {
  if (hadPrepare) Error.prepareStackTrace = prepareStackTrace;
  else Reflect.deleteProperty(Error, 'prepareStackTrace');
  Error.stackTraceLimit = stackTraceLimit;
});

const place = (make: (c: Command) => unknown): string | undefined => usageError(make).mistakes[0]?.at;

describe('the place of a mistake is found', () => {
  const bySettings: readonly (readonly [string, () => void])[] = [
    ['prepareStackTrace gives the frames as they are', () => (Error.prepareStackTrace = (_, frames) => frames)],
    ['prepareStackTrace throws', () => (Error.prepareStackTrace = () => { throw new Error('no stacks'); })],
    ['prepareStackTrace gives nothing', () => (Error.prepareStackTrace = () => undefined)],
    ['prepareStackTrace is no function', () => Reflect.set(Error, 'prepareStackTrace', 'none')],
    ['stacks have no frames', () => (Error.stackTraceLimit = 0)],
    ['stacks have one frame', () => (Error.stackTraceLimit = 1)],
    ['nobody says how long stacks are', () => Reflect.deleteProperty(Error, 'stackTraceLimit')],
  ]; // prettier-ignore
  test.for(bySettings.map(([name, set]) => ({ name, set })))('where $name, which stays so', ({ set }) => {
    set();
    const [prepare, limit] = [Error.prepareStackTrace, Error.stackTraceLimit];
    const at = place((c) => c.env('A=B', 'c'));
    const settings = [Error.prepareStackTrace, Error.stackTraceLimit];
    Error.stackTraceLimit = stackTraceLimit;
    Reflect.deleteProperty(Error, 'prepareStackTrace');
    expect(at).toMatch(/call-site\.test\.[tj]s:\d+:\d+$/);
    expect(settings).toEqual([prepare, limit]);
  });

  test('in the form that the program gives stacks, such as the names of its sources', () => {
    Error.prepareStackTrace = () => 'Error\n    at said (/the source/of (it).ts:7:9)';
    expect(place((c) => c.umask(-1))).toBe('/the source/of (it).ts:7:9');
    Error.prepareStackTrace = () => 'Error\n    at Array.map (<anonymous>)\n    at C:\\app\\main.js:3:4';
    expect(place((c) => c.umask(-1))).toBe('C:\\app\\main.js:3:4');
    Error.prepareStackTrace = () => 'Error\n    at node:internal/x:1:2\n    at async f (file:///a%20b.mjs:5:6)';
    expect(place((c) => c.umask(-1))).toBe('file:///a%20b.mjs:5:6');
    Error.prepareStackTrace = () => 'Error\n    at eval (eval at run (/app/main.js:1:2), <anonymous>:3:4)';
    expect(place((c) => c.umask(-1))).toBe('/app/main.js:1:2');
  });

  test('of calls that call others, and of calls through built-in functions', () => {
    class Mine extends Command {
      careless(): this {
        return this.umask(-1);
      }
    }
    const mistakes = [
      () => Command.fromSpec({ ...new Command('x').spec(), umask: -1 }).spec(),
      () => Command.fromArgv(['x', '\0']).spec(),
      () => new Mine('x').careless().spec(),
      () => new Mine('x\0').spec(),
      () => [new Command('x')].map((c) => c.umask(-1))[0]?.spec(),
    ];
    for (const make of mistakes) expect(make).toThrow(expect.objectContaining({ mistakes: [expect.objectContaining({ at: expect.stringContaining(`${here}:`) as string })] })); // prettier-ignore
  });

  test('in a bundle, where the library is no file of its own', async () => {
    const directory = temporaryDirectory();
    const entry = join(directory, 'program.mjs');
    const bundle = join(directory, 'bundle.mjs');
    writeFileSync(
      entry,
      `import { Command } from ${JSON.stringify(dist)};
       function careless(command) { return command.umask(-1); }
       try { careless(new Command('x')).spec(); } catch ({ mistakes }) { console.log(mistakes[0].at); }`,
    );
    await build({ entryPoints: [entry], outfile: bundle, bundle: true, format: 'esm', platform: 'node', logLevel: 'silent' }); // prettier-ignore
    const [at = '', file, line] = /^(.*):(\d+):\d+\n$/.exec(
      execFileSync(process.execPath, [bundle], { encoding: 'utf8', cwd: directory, env: { ...process.env, NODE_OPTIONS: '' } }),
    ) ?? []; // prettier-ignore
    expect(at).not.toBe('');
    expect(file).toMatch(/bundle\.mjs$/);
    const { readFileSync } = await import('node:fs');
    expect(readFileSync(bundle, 'utf8').split('\n')[Number(line) - 1]).toContain('return command.umask(-1)');
  });
});
