import { Script, createContext } from 'node:vm';
import { describe, expect, test } from 'vitest';
import { Command, type CommandSpec, UsageError } from '../../src/index.js';
import { anything, usageError } from '../helpers/usage.js';

/** A value of another realm, as a test environment with a window of its own has them. */
const elsewhere = (source: string): unknown => new Script(source).runInContext(createContext({ URL }));

function detached(): Uint8Array {
  const bytes = Uint8Array.of(1, 2, 3);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

function revoked(target: object): unknown {
  const { proxy, revoke } = Proxy.revocable(target, {});
  revoke();
  return proxy;
}

const nasty = {
  toString: (): never => {
    throw new Error('toString() was called');
  },
  get [Symbol.toStringTag](): never {
    throw new Error('the tag was read');
  },
  get length(): never {
    throw new Error('the length was read');
  },
};

/** Whatever is handed over, and that no method takes. */
const odd: readonly (readonly [string, () => unknown])[] = [
  ['undefined', () => undefined],
  ['null', () => null],
  ['a symbol', () => Symbol('s')],
  ['a function', () => () => 0],
  ['an object whose own code throws', () => nasty],
  ['a proxy that was revoked', () => revoked({})],
  ['an array that was revoked', () => revoked([])],
  ['a function that was revoked', () => revoked(() => 0)],
  ['an array that holds itself', () => { const a: unknown[] = []; a.push(a); return a; }],
  ['bytes that were transferred', detached],
  ['a buffer without a view', () => new ArrayBuffer(3)],
  ['shared memory without a view', () => new SharedArrayBuffer(3)],
  ['NaN', () => NaN],
  ['a date that is none', () => new Date(NaN)],
  ['an object without a prototype', () => Object.create(null) as unknown],
]; // prettier-ignore

/** `undefined` is an option that was not said, or a default; `null` is a value. */
const said = (value: unknown): never => anything(value ?? null);

/** Every method that takes a value, with the value in each of its places. */
const methods: readonly (readonly [string, (c: Command, value: never) => unknown])[] = [
  ['arg', (c, v) => c.arg(v)],
  ['args', (c, v) => c.args([v])],
  ['argPair', (c, v) => c.argPair(v, v)],
  ['argFormat', (c, v) => c.argFormat(v, v)],
  ['argFormat, the value', (c, v) => c.argFormat('%d', v)],
  ['argFormat, the width', (c, v) => c.argFormat('%*d', v, 1)],
  ['secretArg', (c, v) => c.secretArg(v)],
  ['env', (c, v) => c.env('A', v)],
  ['env, the name', (c, v) => c.env(v, 'a')],
  ['envString', (c, v) => c.envString(v)],
  ['envFormat', (c, v) => c.envFormat('A', v)],
  ['envPass', (c, v) => c.envPass(v)],
  ['envXdg', (c, v) => c.envXdg(v)],
  ['preserveFd', (c, v) => c.preserveFd(v)],
  ['transferFd', (c, v) => c.transferFd(v)],
  ['passFd, as', (c, v) => c.passFd(0, { as: said(v) })],
  ['listenFds', (c, v) => c.listenFds(v)],
  ['inputFd', (c, v) => c.inputFd(v)],
  ['outputFd', (c, v) => c.outputFd(v)],
  ['errorFd', (c, v) => c.errorFd(v)],
  ['inputFile', (c, v) => c.inputFile(v)],
  ['outputFile', (c, v) => c.outputFile(v)],
  ['outputFile, append', (c, v) => c.outputFile('f', { append: said(v) })],
  ['errorFile', (c, v) => c.errorFile(v)],
  ['inputBuffer', (c, v) => c.inputBuffer(v)],
  ['outputBuffer', (c, v) => c.outputBuffer({ encoding: said(v) })],
  ['errorBuffer', (c, v) => c.errorBuffer({ encoding: said(v) })],
  ['outputLimit', (c, v) => c.outputLimit(v)],
  ['outputLimit, the policy', (c, v) => c.outputLimit(5, said(v))],
  ['workingDirectory', (c, v) => c.workingDirectory(v)],
  ['umask', (c, v) => c.umask(v)],
  ['limit', (c, v) => c.limit(v, 1)],
  ['limit, soft', (c, v) => c.limit('as', v)],
  ['maxFiles', (c, v) => c.maxFiles(v)],
  ['nice', (c, v) => c.nice(v)],
  ['oomScoreAdjust', (c, v) => c.oomScoreAdjust(v)],
  ['pipeSize', (c, v) => c.pipeSize(v)],
  ['cgroup', (c, v) => c.cgroup(v)],
  ['dieWithParent', (c, v) => c.dieWithParent(said(v))],
  ['user', (c, v) => c.user(v)],
  ['uid', (c, v) => c.gid(1).uid(v)],
  ['gid', (c, v) => c.gid(v)],
  ['groups', (c, v) => c.groups(v)],
  ['groups, one', (c, v) => c.groups([v])],
  ['allowCap', (c, v) => c.allowCap(v)],
  ['selinuxLabel', (c, v) => c.selinuxLabel(v)],
  ['appArmorProfile', (c, v) => c.appArmorProfile(v)],
  ['runAmong', (c, v) => c.runAmong(v)],
  ['pidFile', (c, v) => c.daemonize().pidFile(v)],
  ['check', (c, v) => c.check(v)],
  ['check, a code', (c, v) => c.check([v])],
  ['timeout', (c, v) => c.timeout(v)],
  ['abortSignal', (c, v) => c.abortSignal(v)],
  ['stopSequence', (c, v) => c.stopSequence(v)],
  ['stopSequence, the signal', (c, v) => c.stopSequence([[v, 1]])],
  ['stopSequence, the time', (c, v) => c.stopSequence([['SIGTERM', v]])],
];

/** Settings: what can be said once. Without a value, each is not said. */
const settings = ['env', 'inputFd', 'outputFd', 'errorFd', 'inputFile', 'outputFile', 'errorFile', 'inputBuffer', 'outputLimit',
  'workingDirectory', 'umask', 'limit, soft', 'maxFiles', 'nice', 'oomScoreAdjust', 'pipeSize', 'cgroup', 'user', 'uid', 'gid', 'groups', 'selinuxLabel',
  'appArmorProfile', 'runAmong', 'pidFile', 'check', 'timeout', 'abortSignal', 'stopSequence']; // prettier-ignore

/** What is right in the place of a value that is odd elsewhere. */
const right = new Set(['argFormat, the value: NaN', ...settings.map((name) => `${name}: undefined`)]);

describe('an odd value is one mistake, and no method throws:', () => {
  test.for(methods.map(([name, call]) => ({ name, call })))('$name', ({ name, call }) => {
    for (const [kind, make] of odd) {
      if (right.has(`${name}: ${kind}`)) continue;
      const what = `${name} of ${kind}`;
      const command = new Command('prog');
      expect(() => call(command, anything(make())), what).not.toThrow();
      const { mistakes } = usageError(() => undefined, command);
      const [{ call: printed, problem } = { call: '', problem: '' }] = mistakes;
      expect(mistakes.length, what).toBe(name === 'argPair' ? 2 : 1);
      expect(printed, what).toMatch(new RegExp(`^${name.split(',', 1)[0] ?? ''}\\(`));
      expect(problem, what).not.toMatch(/\.$|was read|was called|Cannot read|undefined \(/);
    }
  });

  test.for(settings)('%s of undefined was not said, as an option of Node that is undefined', (name) => {
    const call = methods.find(([method]) => method === name)?.[1];
    const command = new Command('prog');
    const said =
      name === 'pidFile' ? { daemonize: true } : name === 'uid' ? { gid: 1 } : name === 'env' ? { env: [] } : {};
    expect(call?.(command, anything(undefined))).toBe(command);
    const { version: _, argv: _argv, stdin, stdout, stderr, ...more } = command.spec();
    expect([more, stdin, stdout, stderr]).toEqual([said, { from: 'null' }, { to: 'unclaimed' }, { to: 'unclaimed' }]);
  });

  test('preExecHook', () => {
    for (const [kind, make] of odd) {
      if (kind === 'a function') continue;
      const { mistakes } = usageError((c) => c.preExecHook(anything(make())));
      expect(mistakes, kind).toHaveLength(1);
    }
  });

  test('the constructors', () => {
    for (const [kind, make] of odd) {
      expect(() => new Command(anything(make())).spec(), kind).toThrow(UsageError);
      expect(() => Command.fromArgv(anything(make())).spec(), kind).toThrow(UsageError);
      expect(() => Command.fromSpec(anything(make())).spec(), kind).toThrow(UsageError);
    }
    expect(() => Command.fromArgv(anything('ls -l')).spec()).toThrow(
      "Mistake: fromArgv('ls -l'): give an array of the program and its arguments.",
    );
  });

  test('options that throw, that were revoked, or that inherit', () => {
    const options: readonly (readonly [unknown, string | RegExp])[] = [
      [{ get append(): never { throw new Error('not today.'); } }, 'the options cannot be read (not today); give a plain object, { append }'],
      [revoked({}), /^the options cannot be read \(/],
      [[], 'these are no options; give { append }'],
      [null, 'these are no options; give { append }'],
      [{ [Symbol('append')]: true }, 'there is no option Symbol(append); the options are { append }'],
    ]; // prettier-ignore
    for (const [value, problem] of options) {
      const [mistake] = usageError((c) => c.outputFile('f', anything(value))).mistakes;
      if (typeof problem === 'string') expect(mistake?.problem).toBe(problem);
      else expect(mistake?.problem).toMatch(problem);
    }
  });
});

describe('what comes from another realm is taken by what it is, as child_process and fs take it:', () => {
  test('bytes', () => {
    const bytes = elsewhere('Uint8Array.of(104, 105)') as Uint8Array;
    expect(bytes).not.toBeInstanceOf(Uint8Array);
    const spec = new Command('prog').arg(bytes).secretArg(bytes).env('A', bytes).inputBuffer(bytes).spec();
    expect(spec).toMatchObject({ argv: ['prog', 'hi', 'hi'], env: [['A', 'hi']], stdin: { data: { base64: 'aGk=' } } });
  });

  test('options, arrays and functions', () => {
    const options = elsewhere('({ append: true })');
    const command = new Command('prog').outputFile('/f', anything(options)).groups(anything(elsewhere('[1, 2]')));
    command.preExecHook(anything(elsewhere('() => 0')));
    expect(command.spec()).toMatchObject({
      stdout: { append: true },
      groups: [1, 2],
      preExecHook: { source: '() => 0' },
    });
  });

  test('an abort signal and an address, which a window brings along', () => {
    // The classes of a window: of the right name and behaviour, and related to none of Node's.
    class AbortSignal extends EventTarget {
      aborted = false;
      readonly [Symbol.toStringTag] = 'AbortSignal';
    }
    class Address {
      readonly href = 'file:///d/a%20b';
      readonly [Symbol.toStringTag] = 'URL';
    }
    const command = new Command('prog').abortSignal(anything(new AbortSignal()));
    expect(command.workingDirectory(anything(new Address())).spec()).toMatchObject({
      workingDirectory: '/d/a b',
      attached: ['abortSignal'],
    });
    const [mistake] = usageError((c) => c.abortSignal(anything({ aborted: false }))).mistakes;
    expect(mistake?.problem).toBe('give an AbortSignal, as a controller has in its property signal');
  });
});

test('a number is written with all its digits, as C prints it with %lld and Python with str(int())', () => {
  const numbers: readonly (readonly [number | bigint, string])[] = [
    [1e21, '1000000000000000000000'],
    [-1e21, '-1000000000000000000000'],
    [2 ** 70, '1180591620717411303424'],
    [Number.MAX_VALUE, BigInt(Number.MAX_VALUE).toString()],
    [1e-7, '0.0000001'],
    [-1.5e-10, '-0.00000000015'],
    [0.1, '0.1'],
    [-0, '0'],
    [2n ** 80n, '1208925819614629174706176'],
  ];
  for (const [value, text] of numbers) {
    expect(new Command('prog').arg(value).argFormat('%s', value).env('A', value).spec()).toMatchObject({
      argv: ['prog', text, text],
      env: [['A', text]],
    });
  }
});

describe('bytes are copied when they are said', () => {
  test('so that what becomes of them later does not matter', () => {
    const bytes = Buffer.from('hi');
    const command = new Command('prog').arg(bytes).inputBuffer(bytes);
    bytes.fill('x');
    expect(command.spec()).toMatchObject({ argv: ['prog', 'hi'], stdin: { data: { base64: 'aGk=' } } });
  });

  test('also those in shared memory, in memory that grows, and none at all', () => {
    const shared = new Uint8Array(new SharedArrayBuffer(2)).fill(0x61);
    // The library of this version of TypeScript does not know memory that grows.
    const Growing = ArrayBuffer as unknown as new (
      size: number,
      options: object,
    ) => ArrayBuffer & { resize(to: number): void };
    const memory = new Growing(2, { maxByteLength: 8 });
    const growing = new Uint8Array(memory).fill(0x62);
    const command = new Command('prog').args(shared, growing, new Uint8Array(0)).inputBuffer(growing);
    memory.resize(0);
    expect(command.spec()).toMatchObject({ argv: ['prog', 'aa', 'bb', ''], stdin: { data: { base64: 'YmI=' } } });
  });

  test('and become base64 only in JSON and in copies, which both come back', () => {
    const command = new Command('prog').inputBuffer(Uint8Array.of(0, 0xff));
    const spec = command.spec();
    for (const carried of [spec, JSON.parse(JSON.stringify(spec)) as CommandSpec, structuredClone(spec)])
      expect(Command.fromSpec(carried).spec()).toEqual(spec);
  });

  test('more of them than a string can hold are taken, and refused where JSON is asked for, with the way out', () => {
    const command = new Command('/bin/true').inputBuffer(Buffer.alloc(410 << 20));
    const spec = command.clone().spec();
    expect(command.plan().descriptors[0]).toEqual({ childFd: 0, source: { kind: 'pipe', for: 'buffer' } });
    expect(() => JSON.stringify(spec)).toThrow(
      '429916160 bytes are more than a string can hold in base64. Leave inputBuffer() out of what becomes JSON and ' +
        'say it again behind fromSpec(), or put the bytes into a file and say inputFile().',
    );
  });
});
