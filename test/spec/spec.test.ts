import { inspect } from 'node:util';
import fc from 'fast-check';
import { describe, expect, onTestFinished, test, vi } from 'vitest';
import { type AnyCommand, Command, type CommandSpec, OutputBuffer, UsageError } from '../../src/index.js';
import { dryRun } from '../../src/testing.js';
import { lookingMethods } from '../helpers/usage.js';

/** Every method that says something, and what the spec then holds. */
const methods: readonly (readonly [string, (c: Command) => AnyCommand, Partial<CommandSpec>])[] = [
  ['arg', (c) => c.arg('a').arg(5).arg(6n).arg(Buffer.from('é')), { argv: ['prog', 'a', '5', '6', 'é'] }],
  ['arg, bytes', (c) => c.arg(Uint8Array.of(0xff)), { argv: ['prog', { base64: '/w==' }] }],
  ['args', (c) => c.args('a', ['b', 1], 'c'), { argv: ['prog', 'a', 'b', '1', 'c'] }],
  [
    'argPair',
    (c) => c.argPair('--a', 'b').argPair('c', Uint8Array.of(0xff)),
    { argv: ['prog', '--a=b', { base64: 'Yz3/' }] },
  ],
  ['argFormat', (c) => c.argFormat('%s-%d', 'a', 7), { argv: ['prog', 'a-7'] }],
  ['secretArg', (c) => c.arg('a').secretArg('b').arg('c'), { argv: ['prog', 'a', 'b', 'c'], secretArgs: [2] }],
  [
    'env',
    (c) => c.env('A', 'b').env('B', Uint8Array.of(0xff)).env('A', 1),
    {
      env: [
        ['A', '1'],
        ['B', { base64: '/w==' }],
      ],
    },
  ],
  ['envString', (c) => c.envString('A=b=c'), { env: [['A', 'b=c']] }],
  ['envFormat', (c) => c.envFormat('A', '%03d', 5), { env: [['A', '005']] }],
  [
    'envPass',
    (c) => c.envPass('VIRCOMMAND_UNIT_SET', 'VIRCOMMAND_UNIT_UNSET'),
    { env: [['VIRCOMMAND_UNIT_SET', 'here']] },
  ],
  ['envPass of nothing', (c) => c.envPass('VIRCOMMAND_UNIT_UNSET'), { env: [] }],
  [
    'envXdg',
    (c) => c.envXdg('/x'),
    {
      env: [
        ['XDG_DATA_HOME', '/x/.local/share'],
        ['XDG_CACHE_HOME', '/x/.cache'],
        ['XDG_CONFIG_HOME', '/x/.config'],
      ],
    },
  ],
  ['envClear', (c) => c.env('A', 'b').envClear(), { env: [] }],
  ['preserveFd', (c) => c.passFd(0, { as: 8 }), { descriptors: [{ fd: 0, as: 8 }] }],
  [
    'passFd, given away',
    (c) => c.passFd(0, { as: 8, closeInParent: true }),
    { descriptors: [{ fd: 0, as: 8, closeInParent: true }] },
  ],
  [
    'passFd to a stream',
    (c) => c.passFd(1, { as: 0 }).passFd(0, { as: 2, closeInParent: true }),
    { stdin: { from: 'fd', fd: 1 }, stderr: { to: 'fd', fd: 0, closeInParent: true } },
  ],
  ['listenFds', (c) => c.listenFds(0, 1), { listenFds: [0, 1] }],
  [
    'inputFd, outputFd, errorFd',
    (c) => c.inputFd(0).outputFd(1).errorFd(2),
    { stdin: { from: 'fd', fd: 0 }, stdout: { to: 'fd', fd: 1 }, stderr: { to: 'fd', fd: 2 } },
  ],
  [
    'inheritStdio',
    (c) => c.inheritStdio(),
    { stdin: { from: 'fd', fd: 0 }, stdout: { to: 'fd', fd: 1 }, stderr: { to: 'fd', fd: 2 } },
  ],
  [
    'inputPipe, outputPipe, errorPipe',
    (c) => c.inputPipe().outputPipe().errorPipe(),
    { stdin: { from: 'pipe' }, stdout: { to: 'pipe' }, stderr: { to: 'pipe' } },
  ],
  ['errorToOutput', (c) => c.errorToOutput(), { stderr: { to: 'stdout' } }],
  [
    'inputFile, outputFile, errorFile',
    (c) => c.inputFile('a').outputFile('b', { append: true }).errorFile(new URL('file:///c%20d')),
    {
      stdin: { from: 'file', path: 'a' },
      stdout: { to: 'file', path: 'b', append: true },
      stderr: { to: 'file', path: '/c d' },
    },
  ],
  ['envInherit', (c) => c.envInherit(), { envInherit: true }],
  ['envInherit, and more', (c) => c.envInherit().env('A', 1), { envInherit: true, env: [['A', '1']] }],
  ['nonblockingFds', (c) => c.nonblockingFds(), { nonblockingFds: true }],
  ['inputBuffer', (c) => c.inputBuffer('é\0'), { stdin: { from: 'buffer', data: 'é\0' } }],
  [
    'inputBuffer, bytes',
    (c) => c.inputBuffer(Uint8Array.of(0, 0xff)),
    { stdin: { from: 'buffer', data: { base64: 'AP8=' } } },
  ],
  [
    'outputBuffer, errorBuffer',
    (c) => c.outputBuffer().errorBuffer({ encoding: 'buffer' }),
    { stdout: { to: 'buffer', encoding: 'utf8' }, stderr: { to: 'buffer', encoding: 'buffer' } },
  ],
  [
    'tee',
    (c) => c.outputBuffer().tee('a', { append: true }).errorBuffer().tee(Uint8Array.of(0xff), { from: 'stderr' }),
    {
      stdout: { to: 'buffer', encoding: 'utf8' },
      stderr: { to: 'buffer', encoding: 'utf8' },
      stdoutTee: { path: 'a', append: true },
      stderrTee: { path: { base64: '/w==' } },
    },
  ],
  ['pipeSize', (c) => c.pipeSize(1), { pipeSize: 1 }],
  ['outputLimit', (c) => c.outputLimit(5, 'headAndTail'), { outputLimit: { bytes: 5, policy: 'headAndTail' } }],
  ['waitForOutputEnd', (c) => c.waitForOutputEnd(), { waitForOutputEnd: true }],
  ['workingDirectory', (c) => c.workingDirectory('a'), { workingDirectory: 'a' }],
  ['umask', (c) => c.umask(0), { umask: 0 }],
  [
    'limit',
    (c) => c.limit('as', 5, Infinity).limit('cpu', 2n ** 60n),
    {
      limits: [
        { resource: 'as', soft: 5, hard: 'unlimited' },
        { resource: 'cpu', soft: '1152921504606846976', hard: '1152921504606846976' },
      ],
    },
  ],
  [
    'maxMemLock, maxProcesses, maxFiles, maxCoreSize',
    (c) => c.maxMemLock('unlimited').maxProcesses(1).maxFiles(2).maxCoreSize(0),
    {
      limits: [
        { resource: 'memlock', soft: 'unlimited', hard: 'unlimited' },
        { resource: 'nproc', soft: 1, hard: 1 },
        { resource: 'nofile', soft: 2, hard: 2 },
        { resource: 'core', soft: 0, hard: 0 },
      ],
    },
  ],
  ['nice, oomScoreAdjust', (c) => c.nice(0).oomScoreAdjust(-1000), { nice: 0, oomScoreAdjust: -1000 }],
  ['runAlone', (c) => c.runAlone(), { coreScheduling: 'alone' }],
  ['runAmong', (c) => c.runAmong(7), { coreScheduling: { among: 7 } }],
  ['cgroup', (c) => c.cgroup('/c'), { cgroup: '/c' }],
  [
    'selinuxLabel, appArmorProfile',
    (c) => c.selinuxLabel('a').appArmorProfile('b'),
    { selinuxLabel: 'a', appArmorProfile: 'b' },
  ],
  ['user', (c) => c.user('joe'), { user: 'joe' }],
  ['user, by number', (c) => c.user(0), { user: 0 }],
  ['uid, gid, groups', (c) => c.uid(0).gid(0).groups([]), { uid: 0, gid: 0, groups: [] }],
  [
    'clearCaps, allowCap',
    (c) => c.clearCaps().allowCap('CAP_KILL').allowCap('CAP_BPF'),
    { clearCaps: true, allowCaps: ['CAP_KILL', 'CAP_BPF'] },
  ],
  ['noNewPrivileges, newSession', (c) => c.noNewPrivileges().newSession(), { noNewPrivileges: true, newSession: true }],
  ['processGroup', (c) => c.processGroup(), { processGroup: true }],
  ['terminal', (c) => c.terminal(), { terminal: { columns: 80, rows: 24 } }],
  ['terminal, of a size', (c) => c.terminal({ columns: 1, rows: 65_535 }), { terminal: { columns: 1, rows: 65_535 } }],
  ['inheritTerminal', (c) => c.inheritTerminal(), { inheritTerminal: true }],
  ['dieWithParent', (c) => c.dieWithParent(), { dieWithParent: 'SIGKILL' }],
  ['daemonize, pidFile', (c) => c.daemonize().pidFile('/p'), { daemonize: true, pidFile: '/p' }],
  ['preExecHook, a module', (c) => c.preExecHook(new URL('file:///h.js')), { preExecHook: { module: 'file:///h.js' } }],
  ['preExecHook, a function', (c) => c.preExecHook(() => 0), { preExecHook: { source: '() => 0' } }],
  ['requireHandshake', (c) => c.requireHandshake(), { handshake: true }],
  ['check', (c) => c.check([0, 1]), { check: [0, 1] }],
  ['check, of every end', (c) => c.check(false), { check: false }],
  ['timeout', (c) => c.timeout(0.5), { timeoutMs: 0.5 }],
  ['silenceTimeout', (c) => c.silenceTimeout(5), { silenceTimeoutMs: 5 }],
  ['timeout, of the tree', (c) => c.timeout(5, { tree: true }), { timeoutMs: 5, timeoutTree: true }],
  [
    'outputLimit, of the tree',
    (c) => c.outputLimit(9, 'kill', { tree: true }),
    { outputLimit: { bytes: 9, policy: 'kill', tree: true } },
  ],
  [
    'stopSequence',
    (c) =>
      c.stopSequence([
        ['SIGINT', 5],
        ['SIGRTMIN+1', 0],
      ]),
    {
      stopSequence: [
        ['SIGINT', 5],
        ['SIGRTMIN+1', 0],
      ],
    },
  ],
];

process.env['VIRCOMMAND_UNIT_SET'] = 'here';
const empty = {
  version: 1,
  argv: ['prog'],
  stdin: { from: 'null' },
  stdout: { to: 'unclaimed' },
  stderr: { to: 'unclaimed' },
};

/** The paths of whatever in a value could still be changed. */
function changeable(value: unknown, path = 'spec'): string[] {
  if (typeof value !== 'object' || value === null) return [];
  return [
    ...(Object.isFrozen(value) ? [] : [path]),
    ...Object.entries(value).flatMap(([key, part]) => changeable(part, `${path}.${key}`)),
  ];
}

const ran = (command: AnyCommand): Promise<unknown> => command.run();
const begun = (command: AnyCommand): Promise<unknown> => command.runAsync();

/** What a dry run has recorded of a run: the spec, or the mistakes. */
async function saidBy(run: () => Promise<unknown>): Promise<unknown> {
  using dry = dryRun();
  try {
    await run();
  } catch (error) {
    if (error instanceof UsageError) return error.message;
    throw error;
  }
  return dry.specs;
}

describe('the spec', () => {
  test('of a command that says nothing more is short', () => {
    expect(new Command('prog').spec()).toEqual(empty);
  });

  test.for(methods.map(([name, build, expected]) => ({ name, build, expected })))(
    'of $name holds what was said, frozen, and comes back from JSON, from a copy, and from itself',
    ({ build, expected }) => {
      const spec = build(new Command('prog')).spec();
      expect(spec).toEqual({ ...empty, ...expected });
      expect(changeable(spec)).toEqual([]);
      for (const carried of [spec, JSON.parse(JSON.stringify(spec)) as CommandSpec, structuredClone(spec)]) {
        expect(carried).toEqual(spec);
        expect(Command.fromSpec(carried).spec()).toEqual(spec);
      }
      expect(String(Command.fromSpec(spec))).toBe(String(build(new Command('prog'))));
    },
  );

  // What is given away is closed here, by a dry run too: it would be a stream of this process.
  const keeping = methods.filter(([, , expected]) => !JSON.stringify(expected).includes('closeInParent'));

  test.for(keeping.map(([name, build]) => ({ name, build })))(
    'of a command that has run holds what is said afterwards: $name',
    async ({ build }) => {
      for (const run of [ran, begun]) {
        const command = new Command('prog');
        expect(await saidBy(() => run(command))).toHaveLength(1);
        expect(await saidBy(() => run(build(command)))).toEqual(await saidBy(() => run(build(new Command('prog')))));
      }
    },
  );

  test('can be made of every method', () => {
    const said = new Set(methods.flatMap(([name]) => name.split(/, | of | to /)));
    const others = [
      'transferFd',
      'envPassCommon',
      'abortSignal',
      'onLine',
      'sendBuffer',
      'inputStream',
      'outputTo',
      'errorTo',
    ];
    expect(
      Object.getOwnPropertyNames(Command.prototype).filter(
        (name) => ![...said, ...lookingMethods, ...others].includes(name),
      ),
    ).toEqual([]);
  });

  test('of envPassCommon() begins with LC_ALL=C', () => {
    const names =
      new Command('prog')
        .envPassCommon()
        .spec()
        .env?.map(([name]) => name) ?? [];
    expect(names[0]).toBe('LC_ALL');
    const common = [
      'LD_PRELOAD',
      'LD_LIBRARY_PATH',
      'DYLD_INSERT_LIBRARIES',
      'DYLD_FORCE_FLAT_NAMESPACE',
      'PATH',
      'HOME',
      'USER',
      'LOGNAME',
      'TMPDIR',
    ];
    expect(names.slice(1)).toEqual(common.filter((name) => process.env[name] !== undefined));
  });

  test('names what is attached and is no data, which does not come back', () => {
    const { signal } = new AbortController();
    const command = new Command('prog')
      .outputBuffer(new OutputBuffer())
      .errorBuffer(new OutputBuffer())
      .abortSignal(signal)
      .onLine(() => undefined)
      .preExecHook(() => 0, { key: 'hunter2' });
    expect(command.spec().attached).toEqual(['outputBuffer', 'errorBuffer', 'abortSignal', 'onLine', 'opaque']);
    expect(JSON.stringify(command.spec())).not.toContain('hunter2');
    expect(Command.fromSpec(command.spec()).spec()).toEqual(omit(command.spec(), 'attached'));
  });

  test('of one buffer for both streams says that they share a descriptor', () => {
    const both = new OutputBuffer();
    expect(new Command('prog').outputBuffer(both).errorBuffer(both).spec()).toMatchObject({
      stdout: { to: 'buffer', encoding: 'utf8' },
      stderr: { to: 'stdout' },
    });
  });

  test('of a umask that looks like decimal comes back, since it was meant', () => {
    const spec = new Command('prog').umask('0o026').spec();
    expect(spec.umask).toBe(0o26);
    expect(Command.fromSpec(spec).spec()).toEqual(spec);
  });

  test('is checked anew when it comes from elsewhere', () => {
    const spec = {
      ...empty,
      umask: -1,
      limits: [{ resource: 'files', soft: 1, hard: 1 }],
      env: [['A=B', 'c']],
    } as unknown as CommandSpec;
    expect(() => Command.fromSpec(spec).spec()).toThrow(/^3 mistakes in `prog`:/);
  });

  test('random commands come back from JSON', () => {
    const word = fc.oneof(
      fc.string({ unit: 'grapheme' }).filter((text) => !text.includes('\0') && text.isWellFormed()),
      fc.uint8Array({ min: 1 }),
      fc.integer(),
      fc.bigInt(),
    );
    const name = fc.stringMatching(/^[^=\0\ud800-\udfff]+$/);
    const some = fc.subarray(methods.filter(([, build]) => onlyOnce(build)).map(([, build]) => build));
    fc.assert(
      fc.property(
        fc.array(word),
        fc.array(fc.tuple(name, word)),
        fc.option(word),
        some,
        (args, env, secret, builds) => {
          const command = new Command('prog', ...args);
          for (const [variable, value] of env) command.env(variable, value);
          if (secret !== null) command.secretArg(secret).arg('last');
          for (const build of builds) build(command);
          const spec = command.spec();
          expect(changeable(spec)).toEqual([]);
          expect(Command.fromSpec(JSON.parse(JSON.stringify(spec)) as CommandSpec).spec()).toEqual(spec);
        },
      ),
      { numRuns: 200 },
    );
  });
});

/** Whether a row can stand beside every other of its kind: it sets none of the streams, ids and limits twice. */
function onlyOnce(build: (c: Command) => AnyCommand): boolean {
  const spec = build(new Command('prog')).spec();
  const single = [
    'outputLimit',
    'workingDirectory',
    'umask',
    'nice',
    'cgroup',
    'selinuxLabel',
    'timeoutMs',
    'stopSequence',
    'dieWithParent',
    'clearCaps',
    'noNewPrivileges',
    'waitForOutputEnd',
  ];
  return single.some((key) => key in spec) && spec.timeoutTree === undefined && spec.outputLimit?.tree === undefined;
}

function omit<T extends object>(value: T, key: keyof T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([name]) => name !== key)) as Partial<T>;
}

describe('clone()', () => {
  test('gives a command that goes its own way', () => {
    const original = new Command('prog', 'a').env('A', 1).maxFiles(5).allowCap('CAP_KILL').passFd(0, { as: 8 });
    const before = original.spec();
    const copy = original.clone();
    expect(copy.spec()).toEqual(before);
    copy
      .arg('b')
      .secretArg('c')
      .env('B', 2)
      .env('A', 3)
      .maxCoreSize(0)
      .allowCap('CAP_BPF')
      .passFd(0, { as: 9 })
      .umask(0)
      .umask(1);
    expect(original.spec()).toEqual(before);
    original.arg('z').umask(7);
    expect(copy.argList).toEqual(['a', 'b', 'c']);
  });

  test('knows what has been set, and shares what is attached', () => {
    const buffer = new OutputBuffer();
    const copy = new Command('prog').umask(1).outputBuffer(buffer).clone();
    expect(copy.spec().attached).toEqual(['outputBuffer']);
    expect(() => copy.umask(2).spec()).toThrow('umask(1) has set this already');
  });
});

describe('clone() of a subclass', () => {
  class Tool extends Command {
    readonly tags = new Set<string>();
    level = 1;
    constructor(level: number) {
      super('/bin/echo', String(level));
      if (typeof level !== 'number') throw new Error('clone() must not call this');
      this.level = level;
    }
    tag(name: string): this {
      this.tags.add(name);
      return this.arg(name);
    }
  }

  test('is of the same class, with its properties, and goes its own way', async () => {
    const original = new Tool(7).tag('a');
    const copy = original.clone();
    expect(copy).toBeInstanceOf(Tool);
    expect(copy).toMatchObject({ level: 7, tags: original.tags });
    copy.tag('b').level = 8;
    expect(original.argList).toEqual(['7', 'a']);
    expect(original.level).toBe(7);
    const { stdout } = await copy.clone().outputBuffer().run();
    expect(stdout).toBe('7 a b\n');
  });

  test('begins with no mistake, and keeps those of the original', () => {
    expect(() => new Tool(1).clone().spec()).not.toThrow();
    expect(() => new Tool(1).umask(-1).clone().spec()).toThrow(/^Mistake in `\/bin\/echo 1`: umask\(-1\)/);
  });
});

describe('what is shown', () => {
  const command = () =>
    new Command('prog', '-v')
      .secretArg('hunter2')
      .env('PASSWORD', 'hunter2')
      .env('B', Buffer.from('hunter2'))
      .inputBuffer('hunter2');

  test('of a command is one line without values of variables and secrets', () => {
    expect(inspect(command())).toBe("Command { prog -v '***' }");
    expect(inspect({ deep: [command()] }, { depth: 10 })).not.toContain('hunter2');
  });

  test('of a spec is a block without them', () => {
    const text = inspect(command().spec());
    expect(text).toMatch(/^CommandSpec \{/);
    expect(text).toContain("argv: [ 'prog', '-v', '***' ]");
    expect(text).toContain("env: [ 'PASSWORD', 'B' ]");
    expect(text).not.toContain('hunter2');
  });

  test('of a plan has none of them, not even as bytes', () => {
    const plan = new Command('/prog').secretArg('hunter2').env('PASSWORD', 'hunter2').plan();
    expect(inspect(plan, { depth: 10 })).not.toMatch(/hunter2|68 75 6e 74 65 72 32/);
  });

  const failures: readonly (readonly [string, (c: Command) => Command, string])[] = [
    ['a program that is nowhere', (c: Command) => c, '/nowhere/prog'],
    ['a directory that is nowhere', (c: Command) => c.workingDirectory('/nowhere'), '/bin/true'],
    ['a program that fails', (c: Command) => c, '/bin/false'],
    ['a mistake', (c: Command) => c.umask(-1), '/bin/true'],
  ];
  test.for(
    failures.flatMap(([name, build, program]) => ['', 'portable'].map((engine) => ({ name, build, program, engine }))),
  )('of the error of $name has none of them, engine "$engine"', async ({ build, program, engine }) => {
    vi.stubEnv('VIRCOMMAND_ENGINE', engine);
    onTestFinished(() => void vi.unstubAllEnvs());
    const secretive = build(
      new Command(program).secretArg('hunter2').env('PASSWORD', 'hunter2').inputBuffer('hunter2'),
    );
    const error: unknown = await secretive.run().then(
      () => undefined,
      (reason: unknown) => reason,
    );
    expect(error).toBeInstanceOf(Error);
    expect((error as Error).message + inspect(error, { depth: 10 }) + JSON.stringify(error)).not.toContain('hunter2');
    // A cause is printed with the error, so it counts as well.
    expect(JSON.stringify((error as Error).cause ?? null)).not.toContain('hunter2');
  });

  test('toString() hides a secret and shows variables, for whoever wants to run it', () => {
    expect(String(new Command('prog').secretArg('hunter2').env('A', 'b'))).toBe("A=b prog '***'");
  });
});
