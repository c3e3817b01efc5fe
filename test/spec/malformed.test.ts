import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Command, type CommandSpec, UsageError } from '../../src/index.js';

const empty = {
  version: 1,
  argv: ['prog'],
  stdin: { from: 'null' },
  stdout: { to: 'unclaimed' },
  stderr: { to: 'unclaimed' },
};

/** The mistake of what is no spec, as its command tells it. */
function mistakeOf(spec: unknown): string {
  const command = Command.fromSpec(spec as CommandSpec);
  try {
    command.spec();
  } catch (error) {
    expect(error).toBeInstanceOf(UsageError);
    const { mistakes, message } = error as UsageError;
    expect(mistakes.map(({ call }) => call)).toEqual(['fromSpec(…)']);
    expect(mistakes[0]?.at).toContain('malformed.test.ts:');
    expect(message).toBe(`Mistake: fromSpec(…): ${String(mistakes[0]?.problem)}.`);
    return String(mistakes[0]?.problem);
  }
  throw new Error(`${inspect(spec)} was taken`);
}

const deep = (): unknown => {
  let value: unknown = [];
  for (let depth = 0; depth < 10_000; depth++) value = [value];
  return value;
};
const circular: Record<string, unknown> = { ...empty };
circular['env'] = circular;
const revoked = (target: object): unknown => {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
};
const throwing = (name: string): object => ({
  ...empty,
  get [name]() {
    throw new Error('not today.');
  },
});

const rows: readonly (readonly [unknown, string | RegExp])[] = [
  [undefined, 'a spec is an object, and this is undefined'],
  ['{"argv":["hunter2"]}', 'a spec is an object, and this is a string'],
  [5n, 'a spec is an object, and this is a bigint'],
  [[], 'it is no spec of the version 1, as spec() gives it'],
  [{ ...empty, version: 2 }, 'it is no spec of the version 1, as spec() gives it'],
  [{ ...empty, argv: undefined }, 'it has no field argv; spec() gives all that are needed'],
  [{ ...empty, stdin: undefined }, 'it has no field stdin; spec() gives all that are needed'],
  [{ ...empty, argv: 'prog' }, 'its field argv is an array, and not a string'],
  [{ ...empty, argv: ['prog', 5] }, "its field argv[1] is a string, or { base64: '…' }, and not a number"],
  [{ ...empty, argv: [{ base64: 5 }] }, "its field argv[0] is a string, or { base64: '…' }, and not an object"],
  [
    { ...empty, argv: [{ base64: '', and: 1 }] },
    "its field argv[0] is a string, or { base64: '…' }, and not an object",
  ],
  [{ ...empty, argv: new Array(2 ** 32 - 1) }, 'its field argv has 4294967295 entries, more than any program can get'],
  [{ ...empty, stdin: 'null' }, 'its field stdin is an object, and not a string'],
  [{ ...empty, stdin: null }, 'its field stdin is an object, and not null'],
  [
    { ...empty, stdin: { from: 'toString' } },
    /^its field stdin\.from is 'null' or 'fd' or .*, and not another string$/,
  ],
  [{ ...empty, stdin: { from: 'fd' } }, 'its field stdin.fd is missing'],
  [{ ...empty, stdin: { from: 'buffer', data: 5 } }, /^its field stdin\.data is a string, or /],
  [{ ...empty, stdout: { to: 'zzz' } }, /^its field stdout\.to is 'unclaimed' or 'fd' or .*, and not another string$/],
  [{ ...empty, stdout: { to: 'file' } }, 'its field stdout.path is missing'],
  [
    { ...empty, stdout: { to: 'file', path: 'a', apend: true } },
    "its field stdout has a field 'apend', which no spec has there",
  ],
  [{ ...empty, stderr: { to: 'buffer', encoding: 8 } }, 'its field stderr.encoding is a string, and not a number'],
  [{ ...empty, env: [1] }, 'its field env[0] is a pair of a name and a value, and not a number'],
  [{ ...empty, env: [['A']] }, 'its field env[0] is a pair of a name and a value, and not an array'],
  [{ ...empty, env: [['A', null]] }, "its field env[0][1] is a string, or { base64: '…' }, and not null"],
  [{ ...empty, env: { A: 'hunter2' } }, 'its field env is an array, and not an object'],
  [{ ...empty, limits: [null] }, 'its field limits[0] is an object, and not null'],
  [{ ...empty, limits: [{ resource: 'as', soft: 1 }] }, 'its field limits[0].hard is missing'],
  [
    { ...empty, limits: [{ resource: 'as', soft: 'x', hard: 1 }] },
    "its field limits[0].soft is a number, a string of digits, or 'unlimited', and not another string",
  ],
  [{ ...empty, descriptors: [{ fd: 0 }] }, 'its field descriptors[0].as is missing'],
  [{ ...empty, timeoutTree: true }, /^it has a field timeoutTree, and none timeoutMs, which it belongs to/],
  [{ ...empty, timeoutMs: 5, timeoutTree: 1 }, /^its field timeoutTree is true, or absent, and not a number/],
  [{ ...empty, stopSequence: ['SIGTERM'] }, /^its field stopSequence\[0\] is a pair of a signal and milliseconds/],
  [
    { ...empty, preExecHook: {} },
    'its field preExecHook is { module: address } or { source: text }, and not an object',
  ],
  [
    { ...empty, coreScheduling: 'among' },
    "its field coreScheduling is 'alone', or { among: pid }, and not another string",
  ],
  [{ ...empty, stdout: { to: 5 } }, /^its field stdout\.to is 'unclaimed' or 'fd' or .*, and not a number$/],
  [
    { ...empty, preExecHook: '() => 0' },
    'its field preExecHook is { module: address } or { source: text }, and not a string',
  ],
  [{ ...empty, check: 'any' }, 'its field check is false, or an array of numbers, and not a string'],
  [{ ...empty, newSession: false }, 'its field newSession is true, or absent, and not a boolean'],
  [{ ...empty, umask: '022' }, 'its field umask is a number, and not a string'],
  [{ ...empty, workingDir: '/' }, "it has a field 'workingDir', which no spec has there"],
  [{ ...empty, attached: 'opaque' }, 'its field attached is an array, and not a string'],
  [{ ...empty, env: deep() }, /^its field env\[0\] is a pair/],
  [deep(), 'it is no spec of the version 1, as spec() gives it'],
  [circular, 'its field env is an array, and not an object'],
  [throwing('umask'), 'its field umask cannot be read: not today'],
  [throwing('argv'), 'its field argv cannot be read: not today'],
  [{ ...empty, stdin: throwing('fd') }, /^its field stdin/],
  [revoked({}), /^it cannot be read: /],
  [{ ...empty, argv: revoked([]) }, 'its field argv is an array, and not an object'],
  [{ ...empty, stdout: revoked({}) }, /^it cannot be read: /],
];

describe('a spec of another shape is one mistake that names the field', () => {
  // Behind a function, since the runner prints what stands in a row, and cannot print all of these.
  test.for(rows.map(([spec, problem], index) => ({ spec: () => spec, problem, name: `${index}: ${String(problem)}` })))(
    '$name',
    ({ spec, problem }) => {
      const told = mistakeOf(spec());
      if (typeof problem === 'string') expect(told).toBe(problem);
      else expect(told).toMatch(problem);
      expect(told).not.toContain('hunter2');
    },
  );

  test('whatever is put in the place of whatever part of a spec', () => {
    const full = new Command('prog', 'a', Uint8Array.of(0xff))
      .secretArg('b')
      .env('A', 'b')
      .inputBuffer(Uint8Array.of(0))
      .outputFile('/x', { append: true })
      .errorBuffer()
      .passFd(0, { as: 7, closeInParent: true })
      .limit('as', 2n ** 60n, Infinity)
      .runAmong(1)
      .allowCap('CAP_KILL')
      .groups([1])
      .stopSequence([['SIGINT', 5]])
      .outputLimit(5)
      .preExecHook(() => 0)
      .spec();
    const text = JSON.stringify(full);
    const odd: readonly unknown[] = [
      null, undefined, true, false, 0, -0, -1, 1.5, NaN, Infinity, 2 ** 53, 1e300, 5n, '', 'zzz', 'a\0', '\ud800',
      'toString', '__proto__', [], {}, [[]], [null], [1], [{}], { base64: 'x' }, { to: 'pipe' }, { from: 'fd', fd: 0 },
      Symbol('s'), () => 0, new Map(), new Date(NaN), Buffer.from('x'), revoked({}), revoked([]), throwing('path'), circular,
      Object.create(null), new Proxy({}, { ownKeys: () => [Symbol.iterator, 'a'] }), deep(),
    ]; // prettier-ignore
    const any = fc.oneof(
      fc.nat(odd.length - 1).map((at) => () => odd[at]),
      fc.anything({ withNullPrototype: true, withSparseArray: true }).map((value) => () => value),
    );
    const paths = pathsIn(full);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.constantFrom(...paths), any), { minLength: 1, maxLength: 3 }), (changes) => {
        const spec: unknown = JSON.parse(text);
        for (const [path, value] of changes) put(spec, path, value());
        // Only a mistake ever: the calls that a spec stands for check what is of the right shape.
        try {
          Command.fromSpec(spec as CommandSpec).spec();
        } catch (error) {
          if (!(error instanceof UsageError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

type Path = readonly (string | number)[];

function pathsIn(value: unknown, path: Path = []): Path[] {
  if (typeof value !== 'object' || value === null) return [path];
  return [path, ...Object.entries(value).flatMap(([key, part]) => pathsIn(part, [...path, key]))].filter(
    (found) => found.length > 0,
  );
}

function put(spec: unknown, path: Path, value: unknown): void {
  let at = spec;
  try {
    for (const key of path.slice(0, -1)) at = (at as Record<string, unknown>)[key];
    if (typeof at === 'object' && at !== null) Reflect.set(at, path.at(-1) ?? '', value);
  } catch {
    // An earlier change has put something there that cannot be walked through.
  }
}
