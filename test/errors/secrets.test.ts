import { Console } from 'node:console';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { PassThrough } from 'node:stream';
import { format, inspect } from 'node:util';
import { serialize } from 'node:v8';
import {
  adoptOrphans,
  Command,
  CommandError,
  type CommandSpec,
  ExitError,
  killTree,
  LaunchError,
  PidFile,
  PidFileError,
  pidWait,
  ProcessError,
  UnsupportedError,
  UsageError,
} from 'vircommand';
import { dryRun } from 'vircommand/testing';
import { afterEach, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { anything } from '../helpers/usage.js';
import {
  eventually,
  exists,
  fixture,
  FOREVER,
  NOWHERE,
  rejection,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';

/** A secret, and the place where it was planted. */
const secret = (place: string): string => `hunter2-${place}`;

/** What every secret looks like: as text, in base64, and as the bytes that Node prints in hexadecimal and in decimal. */
const leak = /hunter2-?\w*|aHVudGVyM|68 75 6e 74 65 72 32|104,\s*117,\s*110,\s*116,\s*101,\s*114,\s*50/;

const whole = { showHidden: true, depth: Infinity, maxArrayLength: Infinity, maxStringLength: Infinity };

/** Every way in which somebody may look at a value. */
const looksAt = (value: unknown): string[] => [
  inspect(value, whole),
  inspect([value], { ...whole, getters: true }),
  format('%o %O', value, value),
];

/** Every way in which somebody may print a value, as text or as data. */
function viewsOf(value: unknown): string[] {
  const table = new PassThrough();
  new Console(table).table(value);
  const json = [value, [value]].map((what) => JSON.stringify(what));
  return [...looksAt(value), String(value), format('%s', value), ...json, String(table.read())];
}

/** Every string and every bytes below a value, by whatever property; but not `spec`, which holds the values, since the program needs them. */
function partsOf(value: unknown, seen = new Set<unknown>()): string[] {
  if (typeof value === 'string') return [value];
  if (typeof value !== 'object' || value === null || seen.has(value)) return [];
  seen.add(value);
  if (value instanceof Uint8Array) return [Buffer.from(value).toString('latin1')];
  return Reflect.ownKeys(value)
    .filter((key) => key !== 'spec')
    .flatMap((key) => partsOf((value as Record<PropertyKey, unknown>)[key], seen));
}

const leaksIn = (texts: readonly string[]): string[] => texts.flatMap((text) => leak.exec(text)?.[0] ?? []);

/** An error of this library gives nothing away, whoever looks at it, sends it to another thread or writes it down. */
function expectSilent(error: unknown): void {
  const copied = serialize(error).toString('latin1');
  const { message, stack } = error as Error;
  expect(leaksIn([message, stack ?? '', copied, ...viewsOf(error), ...partsOf(error)]), inspect(error)).toEqual([]);
}

/** A command with a secret in each place that any engine has. */
const secretive = (program: string, ...args: string[]): Command =>
  new Command(program, ...args)
    .secretArg(secret('argument'))
    .secretArg(Buffer.from(secret('bytes')))
    .env('ONE', secret('env'))
    .envString(`TWO=${secret('string')}`)
    .envFormat('THREE', `${secret('format')}-%s`, secret('value'))
    .env('PATH', process.env['PATH'] ?? '');
const withInput = (command: Command): Command => command.inputBuffer(secret('input'));

const channels = [
  'vircommand:launch',
  'vircommand:exit',
  'vircommand:error',
  'vircommand:adopted',
  'child_process',
  'tracing:child_process.spawn:start',
  'tracing:child_process.spawn:end',
  'tracing:child_process.spawn:error',
] as const;

describe.for(['native', 'portable'])('no secret leaves the %s engine', (engine) => {
  const isNative = engine === 'native';
  const path = useDirectory();
  const track = useProcesses();
  const heard: { on: string; event: unknown }[] = [];
  const listeners = channels.map((on) => ({ on, listen: (event: unknown): void => void heard.push({ on, event }) }));
  beforeEach(({ skip }) => {
    const native = isNative ? loadNative() : undefined;
    if (typeof native === 'string') skip(native);
    vi.stubEnv('VIRCOMMAND_ENGINE', engine);
    vi.stubEnv('VIRCOMMAND_TEST_INHERITED', secret('inherited'));
    heard.length = 0;
    for (const { on, listen } of listeners) subscribe(on, listen);
  });
  afterEach(() => {
    for (const { on, listen } of listeners) unsubscribe(on, listen);
    vi.unstubAllEnvs();
    // Node's own messages of a launch by child_process hold its ChildProcess, with all arguments: nobody else can change that.
    const ours = heard.filter(({ on }) => isNative || on.startsWith('vircommand:'));
    expect(leaksIn(ours.flatMap(({ event }) => [...viewsOf(event), ...partsOf(event)]))).toEqual([]);
  });

  test.for<[string, (command: Command) => unknown]>([
    ['secretArg(), a NUL', (c) => c.secretArg(`${secret('argument')}\0`)],
    ['secretArg(), a symbol', (c) => c.secretArg(anything(Symbol(secret('argument'))))],
    ['secretArg(), an object', (c) => c.secretArg(anything({ secret: secret('argument') }))],
    ['env(), a NUL', (c) => c.env('A', `${secret('env')}\0`)],
    ['env(), a symbol', (c) => c.env('A', anything(Symbol(secret('env'))))],
    ['env(), where envString() was meant', (c) => c.env(`A=${secret('env')}`, anything(undefined))],
    ['env(), an object', (c) => c.env(anything({ A: secret('env') }), anything(undefined))],
    ['env(), pairs', (c) => c.env(anything([['A', secret('env')]]), anything(undefined))],
    ['envPass(), where envString() was meant', (c) => c.envPass(`A=${secret('pass')}`)],
    ['envString(), no name', (c) => c.envString(secret('string'))],
    ['envString(), an empty name', (c) => c.envString(`=${secret('string')}`)],
    ['envString(), a NUL', (c) => c.envString(`A=${secret('string')}\0`)],
    ['envString(), an object', (c) => c.envString(anything({ A: secret('string') }))],
    ['envFormat(), the format', (c) => c.envFormat('A', `${secret('format')} %q`, 1)],
    ['envFormat(), its values', (c) => c.envFormat('A', '%d', secret('value'))],
    ['envFormat(), too many values', (c) => c.envFormat('A', secret('format'), secret('value'))],
    ['envFormat(), where envString() was meant', (c) => c.envFormat(`A=${secret('format')}`, '')],
    ['inputBuffer(), a symbol', (c) => c.inputBuffer(anything(Symbol(secret('input'))))],
    ['inputBuffer(), an object', (c) => c.inputBuffer(anything({ input: secret('input') }))],
    ['inputBuffer(), twice', (c) => c.inputBuffer(secret('input')).inputBuffer(secret('input'))],
    ['inputBuffer(), and another input', (c) => c.inputBuffer(secret('input')).inputFile('/dev/null')],
    ['a daemon with inputBuffer()', (c) => c.inputBuffer(secret('input')).daemonize()],
    ['envInherit(), twice', (c) => c.envInherit().envInherit()],
    ['check(), no codes', (c) => c.check(anything(['none']))],
    ['timeout(), options that are none', (c) => c.timeout(5, anything({ none: true }))],
    ['preExecHook(), a symbol', (c) => c.preExecHook(() => 0, Symbol(secret('opaque')))],
    ['preExecHook(), a function', (c) => c.preExecHook(() => 0, { f: () => 'hunter2-opaque' })],
  ])('by the mistake of a call: %s', async ([, build]) => {
    const command = secretive('prog').umask(-1);
    build(command);
    expectSilent(await rejection(UsageError, command.run() as Promise<unknown>));
    expect(leaksIn([command, command.clone()].flatMap(looksAt))).toEqual([]);
    expect(leaksIn([inspect(command, { ...whole, customInspect: false })])).toEqual([]);
  });

  test('by a command that inherits all variables and says which exit codes are no error', async () => {
    const command = withInput(secretive('sh', '-c', 'exit 3'))
      .envInherit()
      .check([0, 1])
      .outputBuffer();
    expect(leaksIn([...looksAt(command), ...looksAt(command.spec()), command.explain()])).toEqual([]);
    expectSilent(await rejection(ExitError, command.run()));
    const result = await command.clone().run({ check: [3] });
    expect(leaksIn([...viewsOf(result), ...partsOf(result)])).toEqual([]);
  });

  const spec = (): CommandSpec => JSON.parse(JSON.stringify(withInput(secretive('prog')).spec())) as CommandSpec;
  test.for<[string, object]>([
    ['variables that are no list', { env: secret('env') }],
    ['variables that are an object', { env: { A: secret('env') } }],
    ['a variable that is no pair', { env: [`A=${secret('env')}`] }],
    ['a variable that is an object', { env: [{ A: secret('env') }] }],
    ['a variable with a NUL', { env: [['A', `${secret('env')}\0`]] }],
    ['a variable with a value in its name', { env: [[`A=${secret('env')}`, '']] }],
    ['a variable that is an array', { env: [['A', [secret('env')]]] }],
    ['an argument that is an object', { argv: ['prog', { secret: secret('argument') }] }],
    ['secret places that are none', { secretArgs: [0, 7, 1.5] }],
    ['secret places that are text', { secretArgs: secret('argument') }],
    ['input that is an object', { stdin: { from: 'buffer', data: { text: secret('input') } } }],
    ['input of an unknown kind', { stdin: { from: secret('input') } }],
    ['input with two meanings', { stdin: { from: 'null', data: secret('input') } }],
    ['bytes with more', { stdin: { from: 'buffer', data: { base64: secret('input'), more: secret('input') } } }],
    ['a bad field elsewhere', { umask: -1, timeoutMs: 0 }],
  ])('by the mistake of a spec: %s', async ([, wrong]) => {
    const command = Command.fromSpec({ ...spec(), ...wrong });
    expectSilent(await rejection(UsageError, command.run()));
    expect(leaksIn(looksAt(command))).toEqual([]);
  });

  test('by a variable of this process that no program can get', async () => {
    const before = process.env;
    onTestFinished(() => void (process.env = before));
    for (const value of [`${secret('inherited')}\0`, Symbol(secret('inherited'))]) {
      process.env = { ...before, ODD: value as string };
      expectSilent(await rejection(UsageError, new Command('true').run()));
    }
  });

  test.for<[string, (file: (name?: string) => string) => Command]>([
    ['a program that PATH has not', () => secretive('no-such-program')],
    ['a program that is nowhere', () => secretive(NOWHERE)],
    ['a program that is a directory', () => secretive('/')],
    ['a directory that is nowhere', () => secretive('true').workingDirectory(NOWHERE)],
    ['a file that is nowhere', () => secretive('true').outputFile(`${NOWHERE}/file`)],
    ['an interpreter that is nowhere', (file) => {
      writeFileSync(file('script'), `#!${NOWHERE}\n`, { mode: 0o755 });
      return secretive(file('script'));
    }],
    ['no format', (file) => {
      writeFileSync(file('text'), 'neither\n', { mode: 0o755 });
      return secretive(file('text'));
    }],
    ['an argument that is too long', () => secretive('true').secretArg(secret('argument').repeat(20_000))],
    ['a variable that is too long', () => secretive('true').env('LONG', secret('env').repeat(20_000))],
    ['all too long', () => Array.from({ length: 80 }).reduce<Command>((c) => c.secretArg(secret('a').repeat(10_000)), secretive('true'))],
    ['an abort before', () => secretive('true').abortSignal(AbortSignal.abort())],
  ])('by a program that cannot be launched: %s', async ([, build]) => {
    expectSilent(await rejection(LaunchError, withInput(build(path)).run()));
    expectSilent(await rejection(LaunchError, build(path).runAsync()));
    if (isNative) expect(() => withInput(build(path)).runSync()).toThrow(expect.toSatisfy((error) => (expectSilent(error), true)));
    expectSilent(await rejection(LaunchError, build(path).daemonize().run()).catch((error: unknown) => error as UsageError));
  }); // prettier-ignore

  test('by a hook that fails', async ({ skip }) => {
    if (!isNative) skip('the portable engine runs no hooks');
    const opaque = { secret: secret('opaque') };
    const hooks = [
      (): never => {
        throw new Error('no');
      },
      (): never => process.exit(3),
      (): Promise<void> => new Promise(() => undefined),
      (): void => process.kill(process.pid, 'SIGKILL') as unknown as undefined,
      (): number => 5,
    ];
    for (const hook of hooks)
      expectSilent(await rejection(LaunchError, secretive('true').preExecHook(hook, opaque).run()));
    expectSilent(await rejection(LaunchError, secretive('true').preExecHook(new URL('file:///nowhere'), opaque).run()));
    const told = await rejection(
      LaunchError,
      secretive('true')
        .preExecHook((o: unknown) => o as never, opaque)
        .run(),
    );
    expectSilent(told);
    const command = secretive('true').preExecHook(() => 0, opaque);
    expect(leaksIn([...looksAt(command), JSON.stringify(command.spec().attached), command.explain()])).toEqual([]);
  });

  test('by a program that does not end well', async () => {
    const ends = [
      secretive('sh', '-c', 'exit 3'),
      secretive('sh', '-c', 'kill -KILL $$'),
      secretive('sh', '-c', `exec sleep ${FOREVER}`).timeout(20),
      secretive('sh', '-c', 'seq 100').outputBuffer().outputLimit(10, 'kill'),
    ];
    for (const command of ends) {
      const error = await rejection(ExitError, withInput(command).run());
      expectSilent(error);
      expect(leaksIn([...viewsOf(error.result), ...partsOf(error.result)])).toEqual([]);
    }
    const controller = new AbortController();
    const child = await secretive('sh', '-c', `exec sleep ${FOREVER}`).abortSignal(controller.signal).runAsync();
    controller.abort();
    expectSilent(await rejection(ExitError, child.wait()));
  });

  test('by what the engine cannot do', async () => {
    const refused = isNative
      ? undefined
      : await rejection(UnsupportedError, withInput(secretive('true')).umask(0).run());
    if (refused !== undefined) expectSilent(refused);
    vi.stubEnv('VIRCOMMAND_ENGINE', 'none');
    expectSilent(await rejection(CommandError, withInput(secretive('true')).run()));
  });

  test('by a pidfile that is held', async () => {
    const file = path('held.pid');
    const script = `trap 'exit 0' TERM; while :; do sleep 0.05; done`;
    const { pid } = await secretive('sh', '-c', script).daemonize().pidFile(file).run();
    track(pid);
    const second = await rejection(PidFileError, secretive('true').daemonize().pidFile(file).run());
    expect(second.heldBy).toBe(pid);
    expectSilent(second);
    // The portable engine takes no lock, and says so.
    const acquired = await rejection(CommandError, PidFile.acquire(file));
    expect(acquired).toMatchObject(isNative ? { name: 'PidFileError', heldBy: pid } : { name: 'UnsupportedError' });
    expectSilent(acquired);
  });

  test('by a process', async () => {
    const child = await secretive('sh', '-c', `exec sleep ${FOREVER}`).runAsync();
    const gone = child.pid;
    expect(() => child.signal(anything(secret('x').replace(/.*/, 'SIGNOPE')))).toThrow(TypeError);
    expectSilent(await rejection(UsageError, child.handshakeWait()));
    expect(leaksIn([...viewsOf(child), inspect(child, { customInspect: false, showHidden: true })])).toEqual([]);
    await child.abort();
    const error = await rejection(ExitError, child.wait());
    expectSilent(error);
    expect(leaksIn(viewsOf(child))).toEqual([]);
    for (const call of [
      () => pidWait(gone),
      () => killTree(anything(withInput(secretive('prog')).spec())),
      () => killTree(anything(withInput(secretive('prog')))),
    ]) {
      const failure: unknown = await (async () => await call())().catch((e: unknown) => e);
      if (failure instanceof Error) expectSilent(failure);
    }
    expectSilent(new ProcessError('x', { code: 'ESRCH', syscall: 'kill' }));
  });

  test('by a child with pipes, nor by what was written into them', async () => {
    await using child = await secretive('sh', '-c', 'cat >/dev/null').inputPipe().outputPipe().errorPipe().runAsync();
    expect(leaksIn([...viewsOf(child), ...viewsOf(child.stdout), ...viewsOf(child.stderr)])).toEqual([]);
    child.stdin.end(secret('written'));
    const result = await child.wait();
    expect(leaksIn([...viewsOf(child), ...viewsOf(result), ...partsOf(result)])).toEqual([]);
  });

  test('by a daemon, nor by what was written to its standard input', async () => {
    const daemon = await secretive('sh', '-c', `cat >/dev/null; exec sleep ${FOREVER}`).daemonize().inputPipe().run();
    track(daemon.pid);
    expect(leaksIn(viewsOf(daemon))).toEqual([]);
    await new Promise<void>((resolve) => daemon.stdin.end(secret('daemon'), resolve));
    expect(leaksIn([...viewsOf(daemon), ...viewsOf(daemon.stdin)])).toEqual([]);
    expectSilent(await rejection(UsageError, daemon.handshakeNotify()));
    daemon.stdin.destroy();
  });

  test('by what is printed of a command, its spec, its plan and a dry run of it', async () => {
    using dry = dryRun();
    const command = withInput(secretive('prog'));
    await command.run();
    const things = [command, command.spec(), command.plan(), new Command('prog').plan(), dry, dry.specs];
    for (const thing of things) expect(leaksIn(looksAt(thing))).toEqual([]);
    expect(leaksIn([command.explain()])).toEqual([]);
  });

  test('but for what is to hold values: docs/errors.md has the table', async () => {
    using dry = dryRun();
    const command = withInput(secretive('prog'));
    await command.run();
    const log = openSync(path('log'), 'w+');
    onTestFinished(() => {
      closeSync(log);
    });
    command.writeArgLog(log);
    const places = (text: string): string[] => Array.from(new Set(text.match(/hunter2-[a-z]+/g) ?? [])).sort();
    const variables = ['env', 'format', 'string', 'value'].map(secret);
    for (const text of [String(command), readFileSync(path('log'), 'utf8'), ...dry.commands]) {
      expect(places(text)).toEqual(variables);
      expect(text).toContain('***');
    }
    const everything = [...variables, secret('argument'), secret('bytes'), secret('input')].sort();
    for (const text of [JSON.stringify(command.spec()), JSON.stringify(dry.specs)])
      expect(places(text)).toEqual(everything);
    const { argv, envp } = command.plan();
    expect(places(Buffer.concat(argv.flatMap((word) => [word, Buffer.of(0)])).toString())).toEqual([
      secret('argument'),
      secret('bytes'),
    ]);
    expect(places(Buffer.concat(envp.flatMap((word) => [word, Buffer.of(0)])).toString())).toEqual(variables);
    for (const words of [command.argList, dry.argv.flat()])
      expect(places(words.join(' '))).toEqual([secret('argument'), secret('bytes')]);
  });

  test('by the end of an adopted process', async ({ skip }) => {
    if (!isNative) skip('the portable engine adopts no orphans');
    const ends: unknown[] = [];
    using _adoption = adoptOrphans({ onEnd: (end) => void ends.push(end) });
    const daemon = await secretive('sh', '-c', 'sleep 0.05').daemonize().run();
    await secretive('sh', '-c', '(sleep 0.1; exit 7) & exit 0').run();
    await eventually('both have been reaped', () => ends.length >= 2 && !exists(daemon.pid));
    expect(leaksIn(ends.flatMap((end) => [...viewsOf(end), ...partsOf(end)]))).toEqual([]);
  });

  test('in the lines of NODE_DEBUG, of this library or of what stands below it', async () => {
    const result = await new Command(process.execPath, fixture('speak.js'))
      .env('NODE_DEBUG', 'vircommand,execa')
      .env('PATH', process.env['PATH'] ?? '')
      .env('VIRCOMMAND_ENGINE', engine)
      .outputBuffer()
      .errorBuffer()
      .run();
    expect(result.stderr).toContain('VIRCOMMAND');
    expect(result.stderr + result.stdout).not.toMatch(/hunter2|swordfish/);
  });
});
