import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { type Child, Command, engineInfo, PidFile, UnsupportedError } from 'vircommand';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { portableLimits, portableRefusals } from '../../src/engine/portable/refusals.js';
import { stepNames } from '../../src/text/step-names.js';

// docs/engines.md and the table in docs/from-libvirt.md say what each engine refuses. Here they are held against the engines.

let chosen: string | undefined;
beforeEach(() => {
  chosen = process.env['VIRCOMMAND_ENGINE'];
  use('portable');
});
afterEach(() => {
  if (chosen === undefined) delete process.env['VIRCOMMAND_ENGINE'];
  else process.env['VIRCOMMAND_ENGINE'] = chosen;
});

function use(engine: 'native' | 'portable'): void {
  process.env['VIRCOMMAND_ENGINE'] = engine;
}

/** Goes on with the native engine, or skips where there is none. */
function useNative(skip: (why: string) => void): void {
  use('native');
  const { why } = engineInfo();
  if (why !== 'VIRCOMMAND_ENGINE asks for it') skip(why);
}

const read = (file: string) => readFileSync(new URL(`../../${file}`, import.meta.url), 'utf8');

/** The text below a heading, up to the next one. */
function section(file: string, title: string): string {
  const [, text = ''] = read(file).split(`## ${title}\n`);
  return text.split('\n## ')[0] ?? '';
}

const rows = (text: string) =>
  Array.from(text.matchAll(/^\|(.+)\|$/gm), ([, row = '']) => row.split('|').map((cell) => cell.trim())).filter(
    ([first]) => !/^-+$/.test(first ?? ''),
  );

/** The methods that a cell of a table names. */
const methodsIn = (cell: string) => Array.from(cell.matchAll(/`\.(\w+)\(/g), ([, method = '']) => method);

/** The steps that a cell names. */
const stepsIn = (cell = '') => Array.from(cell.matchAll(/`([\w-]+)`/g), ([, step = '']) => step);

/** A call of each method that the portable engine refuses. */
const calls: Readonly<Record<string, (command: Command) => unknown>> = {
  cgroup: (command) => command.cgroup('/sys/fs/cgroup/test').run(),
  processGroup: (command) => command.processGroup().run(),
  terminal: (command) => command.terminal().run(),
  inheritTerminal: (command) => command.inheritTerminal().run(),
  umask: (command) => command.umask(0).run(),
  nice: (command) => command.nice(5).run(),
  oomScoreAdjust: (command) => command.oomScoreAdjust(0).run(),
  runAlone: (command) => command.runAlone().run(),
  runAmong: (command) => command.runAmong(process.pid).run(),
  limit: (command) => command.limit('cpu', 10).run(),
  maxMemLock: (command) => command.maxMemLock(0).run(),
  maxProcesses: (command) => command.maxProcesses(10).run(),
  maxFiles: (command) => command.maxFiles(10).run(),
  maxCoreSize: (command) => command.maxCoreSize(0).run(),
  listenFds: (command) => command.listenFds(2).run(),
  preExecHook: (command) => command.preExecHook(() => 0).run(),
  selinuxLabel: (command) => command.selinuxLabel('system_u:object_r:bin_t:s0').run(),
  appArmorProfile: (command) => command.appArmorProfile('unconfined').run(),
  clearCaps: (command) => command.clearCaps().run(),
  allowCap: (command) => command.allowCap('CAP_NET_ADMIN').run(),
  noNewPrivileges: (command) => command.noNewPrivileges().run(),
  dieWithParent: (command) => command.dieWithParent().run(),
  requireHandshake: (command) => command.requireHandshake().runAsync(),
  pipeSize: (command) => command.pipeSize(4096).run(),
  runSync: (command) => command.runSync(),
  // It would be the end of this test: a command that can only fail tells as well whether it is refused.
  exec: (command) => command.workingDirectory('/nowhere').exec(),
};

/** What comes of a call: an error, or nothing of interest. A child that was started is ended. */
async function outcome(method: string): Promise<unknown> {
  try {
    const started: unknown = await calls[method]?.(new Command('true'));
    if (started instanceof Object && 'abort' in started) await (started as Child).abort();
    return undefined;
  } catch (error) {
    return error;
  }
}

async function refusal(method: string): Promise<UnsupportedError> {
  const error = await outcome(method);
  expect(error, method).toBeInstanceOf(UnsupportedError);
  return error as UnsupportedError;
}

describe('docs/engines.md, of the portable engine,', () => {
  const [, ...table] = rows(section('docs/engines.md', 'What the portable engine refuses'));

  test('has the table of what it refuses', () => {
    expect(Object.fromEntries(table.map(([step = '', , why]) => [step.replaceAll('`', ''), why]))).toEqual(
      portableRefusals,
    );
    expect(engineInfo().refuses).toEqual(portableRefusals);
  });

  test('names every method that asks for a refused step, and that method is refused', async () => {
    const named = new Set(table.flatMap(([, methods = '']) => methodsIn(methods)));
    expect(new Set([...named, 'pipeSize', 'runSync', 'exec'])).toEqual(new Set(Object.keys(calls)));
    for (const [, methods = '', why] of table) {
      // Of the three steps about capabilities, the first one that is in a plan is the one that is refused.
      for (const method of methodsIn(methods)) expect((await refusal(method)).why).toBe(why);
    }
  });

  test('names what it refuses of PidFile, which is refused with the reason', async () => {
    const text = section('docs/engines.md', 'What the portable engine refuses');
    const functions = Object.entries({
      acquire: () => PidFile.acquire('/nowhere/pid'),
      readIfLocked: () => PidFile.readIfLocked('/nowhere/pid'),
      forceCleanup: () => PidFile.forceCleanup('/nowhere/pid'),
    });
    expect(Array.from(text.matchAll(/`PidFile\.(\w+)\(\)`/g), ([, name]) => name)).toEqual(
      functions.map(([name]) => name),
    );
    for (const [name, call] of functions) {
      const error: unknown = await call().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ name: 'UnsupportedError', feature: `PidFile.${name}`, engine: 'portable' });
      expect((error as Error).message).toMatch(
        new RegExp(
          `^The portable engine cannot do PidFile\\.${name}\\(\\), because the locks of pidfiles take the addon of the native engine, and .+\\. Leave the call out, or use an engine that can: see docs/engines\\.md\\.$`,
        ),
      );
    }
  });

  test('has the list of what it promises less of', () => {
    const list = section('docs/engines.md', 'What the portable engine promises less of');
    expect(Array.from(list.matchAll(/^\* (.+)$/gm), ([, limit]) => limit)).toEqual(portableLimits);
    expect(engineInfo().limits).toEqual(portableLimits);
  });
});

describe('docs/engines.md, of the native engine,', () => {
  const [, ...table] = rows(section('docs/engines.md', 'What the native engine refuses'));
  const documented = new Map(
    table.map(([step = '', methods = '', where, why]) => [
      step.replaceAll('`', ''),
      { methods: methodsIn(methods), where, why },
    ]),
  );

  test('has every step that it refuses here, with the reason', ({ skip }) => {
    useNative(skip);
    for (const [step, why] of Object.entries(engineInfo().refuses)) expect(documented.get(step)?.why, step).toBe(why);
    for (const [step, { where }] of documented)
      if (where === 'everywhere') expect(engineInfo().refuses).toHaveProperty(step);
    expect(engineInfo().limits).toEqual([]);
  });

  test('names the methods that it refuses, and it refuses no other', async ({ skip }) => {
    useNative(skip);
    const refuses = engineInfo().refuses;
    const refused = new Set(Array.from(documented).flatMap(([step, { methods }]) => (step in refuses ? methods : [])));
    const found = new Set<string>();
    for (const method of Object.keys(calls)) if ((await outcome(method)) instanceof UnsupportedError) found.add(method);
    expect(found).toEqual(refused);
  });
});

describe('docs/internals.md', () => {
  test('gives a reason for the place of every step, in the order in which they are taken', () => {
    const [, ...table] = rows(section('docs/internals.md', 'The order of the steps'));
    expect(table.map(([step]) => stepsIn(step)).flat()).toEqual(stepNames.slice(stepNames.indexOf('cgroup')));
  });

  test('names only files and functions that exist', () => {
    const text = read('docs/internals.md');
    const files = Array.from(text.matchAll(/`((?:src|test)\/[\w./-]+)`/g), ([, file = '']) => file);
    expect(files.filter((file) => !existsSync(new URL(`../../${file}`, import.meta.url)))).toEqual([]);
    const sources = readdirSync(new URL('../../src', import.meta.url), { recursive: true, encoding: 'utf8' }).filter(
      (file) => /\.[tch]s?$/.test(file),
    );
    const known = sources.map((file) => read(`src/${file}`)).join('\n');
    const functions = Array.from(text.matchAll(/`#?(\w+)\(\)`/g), ([, name = '']) => name);
    // System calls and functions of the C library are called somewhere, or told of as what is not called.
    expect(functions.filter((name) => !known.includes(name))).toEqual([]);
  });
});

describe('docs/errors.md', () => {
  test('names every step, but those that do not fail', () => {
    const listed = rows(section('docs/errors.md', 'LaunchError')).flatMap(([step]) => stepsIn(step));
    const quiet = [
      'sigaction',
      'setsid',
      'setpgid',
      'daemon-fork',
      'dup2',
      'close_range',
      'umask',
      'listen_pid',
      'no_new_privs',
      'sigprocmask',
      'ptrace',
    ];
    expect(new Set([...listed, ...quiet, 'pidfile'])).toEqual(new Set([...stepNames, 'step']));
  });
});

describe('the table in docs/from-libvirt.md', () => {
  const table = rows(read('docs/from-libvirt.md'));
  const [, ...functions] = table;

  test('names every function of the page and of the design', () => {
    const text = functions.map(([names]) => names).join(' ');
    const missing = [
      'New',
      'NewArgs',
      'NewArgList',
      'NewVAList',
      'AddArg',
      'AddArgSet',
      'AddArgList',
      'AddArgBuffer',
      'AddArgPair',
      'AddArgFormat',
      'AddEnvPair',
      'AddEnvString',
      'AddEnvFormat',
      'AddEnvPass',
      'AddEnvPassCommon',
      'AddEnvXDG',
      'PreserveFD',
      'TransferFD',
      'PassFD',
      'PassListenFDs',
      'SetInputFD',
      'SetOutputFD',
      'SetErrorFD',
      'NonblockingFDs',
      'SetInputBuffer',
      'SetOutputBuffer',
      'SetErrorBuffer',
      'SetSendBuffer',
      'DoAsyncIO',
      'SetWorkingDirectory',
      'SetUmask',
      'SetPidFile',
      'Daemonize',
      'ClearCaps',
      'AllowCap',
      'SetUID',
      'SetGID',
      'SetMaxMemLock',
      'SetMaxProcesses',
      'SetMaxFiles',
      'SetMaxCoreSize',
      'SetSELinuxLabel',
      'SetAppArmorProfile',
      'SetRunAlone',
      'SetRunAmong',
      'SetPreExecHook',
      'RawStatus',
      'RequireHandshake',
      'HandshakeWait',
      'HandshakeNotify',
      'ToString',
      'ToStringFull',
      'WriteArgLog',
      'GetBinaryPath',
      'GetArgList',
      'GetUID',
      'GetGID',
      'Run',
      'RunAsync',
      'Wait',
      'Abort',
      'Free',
      'virPidWait',
      'virPidAbort',
      'KillPainfully',
      'RunRegex',
      'RunNul',
      'Exec',
      'SetDryRun',
      'PeekSendBuffers',
    ].filter((name) => !new RegExp(`(?:^|[ ,(]|virCommand|virProcess)${name}(?:[ ,()]|$)`).test(text));
    expect(missing).toEqual([]);
  });

  const marked = (mark: string) =>
    new Set(functions.filter(([, , here]) => here?.startsWith(mark)).flatMap(([, methods = '']) => methodsIn(methods)));
  const exists = (method: string) => method in Command.prototype;

  test('marks as native or refused exactly what the portable engine refuses', async () => {
    expect(new Set([...marked('native'), ...marked('refused')])).toEqual(new Set(Object.keys(calls)));
    for (const method of Object.keys(calls)) await refusal(method);
  });

  test('marks as refused exactly what the native engine refuses on every machine', async ({ skip }) => {
    useNative(skip);
    for (const method of marked('refused')) await refusal(method);
    const elsewhere = new Set(['selinuxLabel', 'appArmorProfile', 'runAlone', 'runAmong']);
    for (const method of marked('native'))
      if (!elsewhere.has(method)) expect(await outcome(method), method).not.toBeInstanceOf(UnsupportedError);
  });

  test('marks as there what is there, and as later what is not', () => {
    expect(Array.from(marked('yes')).filter((method) => !exists(method))).toEqual([]);
    expect(Array.from(marked('later')).filter(exists)).toEqual([]);
  });

  test('names every method of Command', () => {
    const named = functions.map(([, methods]) => methods).join(' ');
    const methods = Object.getOwnPropertyNames(Command.prototype).filter(
      (method) => !['constructor', 'clone', 'plan'].includes(method),
    );
    expect(methods.filter((method) => !named.includes(`.${method}`))).toEqual([]);
  });
});

test('every refused call is told at once, each method once', async () => {
  const command = new Command('true')
    .umask(0)
    .nice(1)
    .clearCaps()
    .allowCap('CAP_KILL')
    .limit('core', 0)
    .limit('data', 0);
  const error = await command
    .env('A', Buffer.of(0xff))
    .run()
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UnsupportedError);
  const { refused, message } = error as UnsupportedError;
  expect(refused.map(({ feature }) => feature)).toEqual(['umask', 'nice', 'limit', 'clearCaps', 'allowCap', 'env']);
  for (const { feature, why } of refused) expect(message).toContain(`. ${feature}(), because ${why}.\n`);
});

test('supplementary groups that were asked for are refused as groups()', async () => {
  const error = await new Command('true')
    .uid(1)
    .gid(1)
    .groups([7])
    .run()
    .catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(UnsupportedError);
  expect(error).toMatchObject({ feature: 'groups' });
});
