import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, test } from 'vitest';
import { Command, engineInfo, UnsupportedError } from 'vircommand';
import { portableLimits, portableRefusals } from '../src/engine/portable.js';

// docs/engines.md and the table in README.md say what the portable engine refuses. Here they are held against it.

beforeAll(() => {
  process.env['VIRCOMMAND_ENGINE'] = 'portable';
});

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
const page = read('docs/engines.md');

/** The text below a heading, up to the next one. */
function section(title: string): string {
  const [, text = ''] = page.split(`## ${title}\n`);
  return text.split('\n## ')[0] ?? '';
}

const rows = (text: string) =>
  Array.from(text.matchAll(/^\|(.+)\|$/gm), ([, row = '']) => row.split('|').map((cell) => cell.trim())).filter(([first]) => !/^-+$/.test(first ?? ''));

/** The methods that a cell of a table names. */
const methodsIn = (cell: string) => Array.from(cell.matchAll(/`\.(\w+)\(/g), ([, method = '']) => method);

/** A call of each method that the portable engine refuses. */
const calls: Readonly<Record<string, (command: Command) => unknown>> = {
  cgroup: (command) => command.cgroup('/sys/fs/cgroup/test').run(),
  processGroup: (command) => command.processGroup().run(),
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
  runSync: (command) => command.runSync(),
  exec: (command) => command.exec(),
};

async function refusal(method: string): Promise<UnsupportedError> {
  const call = calls[method];
  const error = await Promise.resolve(new Command('true'))
    .then(call)
    .catch((problem: unknown) => problem);
  expect(error, method).toBeInstanceOf(UnsupportedError);
  return error as UnsupportedError;
}

describe('docs/engines.md', () => {
  const [, ...table] = rows(section('What it refuses'));

  test('has the table of what the portable engine refuses', () => {
    expect(Object.fromEntries(table.map(([step = '', , why]) => [step.replaceAll('`', ''), why]))).toEqual(portableRefusals);
    expect(engineInfo().refuses).toEqual(portableRefusals);
  });

  test('names every method that asks for a refused step, and that method is refused', async () => {
    const named = new Set(table.flatMap(([, methods = '']) => methodsIn(methods)));
    expect(new Set([...named, 'runSync', 'exec'])).toEqual(new Set(Object.keys(calls)));
    for (const [, methods = '', why] of table) {
      // Of the three steps about capabilities, the first one that is in a plan is the one that is refused.
      for (const method of methodsIn(methods)) expect((await refusal(method)).why).toBe(why);
    }
  });

  test('has the list of what the portable engine promises less of', () => {
    expect(Array.from(section('What it promises less of').matchAll(/^\* (.+)$/gm), ([, limit]) => limit)).toEqual(portableLimits);
    expect(engineInfo().limits).toEqual(portableLimits);
  });
});

describe('the table in README.md', () => {
  const table = rows(read('README.md').split('## From libvirt to vircommand')[1]?.split('\n## ')[0] ?? '');
  const [, ...functions] = table;

  test('names every function of the page and of the design', () => {
    const text = functions.map(([names]) => names).join(' ');
    const missing = [
      'New', 'NewArgs', 'NewArgList', 'NewVAList', 'AddArg', 'AddArgSet', 'AddArgList', 'AddArgBuffer', 'AddArgPair', 'AddArgFormat',
      'AddEnvPair', 'AddEnvString', 'AddEnvFormat', 'AddEnvPass', 'AddEnvPassCommon', 'AddEnvXDG', 'PreserveFD', 'TransferFD', 'PassFD',
      'PassListenFDs', 'SetInputFD', 'SetOutputFD', 'SetErrorFD', 'NonblockingFDs', 'SetInputBuffer', 'SetOutputBuffer', 'SetErrorBuffer',
      'SetSendBuffer', 'DoAsyncIO', 'SetWorkingDirectory', 'SetUmask', 'SetPidFile', 'Daemonize', 'ClearCaps', 'AllowCap', 'SetUID', 'SetGID',
      'SetMaxMemLock', 'SetMaxProcesses', 'SetMaxFiles', 'SetMaxCoreSize', 'SetSELinuxLabel', 'SetAppArmorProfile', 'SetRunAlone', 'SetRunAmong',
      'SetPreExecHook', 'RawStatus', 'RequireHandshake', 'HandshakeWait', 'HandshakeNotify', 'ToString', 'ToStringFull', 'WriteArgLog',
      'GetBinaryPath', 'GetArgList', 'GetUID', 'GetGID', 'Run', 'RunAsync', 'Wait', 'Abort', 'Free', 'virPidWait', 'virPidAbort', 'KillPainfully',
      'RunRegex', 'RunNul', 'Exec', 'SetDryRun', 'PeekSendBuffers',
    ].filter((name) => !new RegExp(`(?:^|[ ,(]|virCommand|virProcess)${name}(?:[ ,()]|$)`).test(text));
    expect(missing).toEqual([]);
  });

  const marked = (mark: string) => new Set(functions.filter(([, , here]) => here?.startsWith(mark)).flatMap(([, methods = '']) => methodsIn(methods)));
  const exists = (method: string) => method in Command.prototype;

  test('marks as refused exactly what is refused', async () => {
    expect(marked('refused')).toEqual(new Set(Object.keys(calls)));
    for (const method of marked('refused')) await refusal(method);
  });

  test('marks as there what is there, and as later what is not', () => {
    expect(Array.from(marked('yes')).filter((method) => !exists(method))).toEqual([]);
    expect(Array.from(marked('later')).filter(exists)).toEqual([]);
  });

  test('names every method of Command', () => {
    const named = functions.map(([, methods]) => methods).join(' ');
    const methods = Object.getOwnPropertyNames(Command.prototype).filter((method) => !['constructor', 'clone', 'plan'].includes(method));
    expect(methods.filter((method) => !named.includes(`.${method}`))).toEqual([]);
  });
});
