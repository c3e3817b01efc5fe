import { existsSync, readFileSync } from 'node:fs';
import { Command, LaunchError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { children, eventually, isRunning, rejection, useDirectory, useProcesses } from '../helpers/tools.js';
import { fieldsOf, inParent, needsRoot, NOBODY, outputOf, useNativeEngine } from '../helpers/native.js';
import { sh } from './tools.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

describe('a hook comes before', () => {
  test("limits: they are the program's only", async () => {
    const limit = '^Max (?:open files|core file size) +(\\d+|unlimited)';
    const seen = await outputOf(
      sh('cat /proc/self/limits')
        .maxFiles(64)
        .maxCoreSize(0)
        .preExecHook(
          ({ file }: { file: string }) => {
            process
              .getBuiltinModule('node:fs')
              .writeFileSync(file, process.getBuiltinModule('node:fs').readFileSync('/proc/self/limits'));
          },
          { file: path('told') },
        ),
    );
    const read = (text: string) => Array.from(text.matchAll(new RegExp(limit, 'gm')), ([, value]) => value);
    expect(read(seen)).toEqual(['0', '64']);
    expect(read(readFileSync(path('told'), 'utf8'))).toEqual(read(readFileSync('/proc/self/limits', 'utf8')));
  });

  test('ids and capabilities: it runs as root, and the program does not', async ({ skip }) => {
    needsRoot(skip);
    const hook = (file: string): void =>
      process
        .getBuiltinModule('node:fs')
        .writeFileSync(file, process.getBuiltinModule('node:fs').readFileSync('/proc/self/status'));
    const status = fieldsOf(
      await outputOf(
        new Command('cat', '/proc/self/status')
          .user('nobody')
          .allowCap('CAP_NET_RAW')
          .noNewPrivileges()
          .preExecHook(hook, path('told')),
      ),
    );
    const before = fieldsOf(readFileSync(path('told'), 'utf8'));
    const own = fieldsOf(readFileSync('/proc/self/status', 'utf8'));
    expect([status['Uid'], status['CapEff'], status['CapBnd'], status['NoNewPrivs']]).toEqual([
      [NOBODY, NOBODY, NOBODY, NOBODY].join('\t'),
      '0000000000002000',
      '0000000000002000',
      '1',
    ]);
    expect(['Uid', 'Gid', 'Groups', 'CapEff', 'CapBnd', 'NoNewPrivs'].map((name) => before[name])).toEqual(
      ['Uid', 'Gid', 'Groups', 'CapEff', 'CapBnd', 'NoNewPrivs'].map((name) => own[name]),
    );
  });

  test('its handshake: runAsync() resolves when the hook is done, and the program waits', async () => {
    const command = sh('echo program >>"$0"', path('told'))
      .requireHandshake()
      .preExecHook((file: string) => process.getBuiltinModule('node:fs').writeFileSync(file, 'hook\n'), path('told'));
    const child = await command.runAsync();
    expect(readFileSync(path('told'), 'utf8')).toBe('hook\n');
    await child.handshakeWait();
    expect(readFileSync(`/proc/${child.pid}/cmdline`, 'utf8')).toMatch(/^vircommand-helper/);
    await child.handshakeNotify();
    await child.wait();
    expect(readFileSync(path('told'), 'utf8')).toBe('hook\nprogram\n');
  });

  test('its handshake, and fails before it', async () => {
    const error = await rejection(
      LaunchError,
      new Command('true')
        .requireHandshake()
        .preExecHook(() => 5)
        .runAsync(),
    );
    expect([error.step, children()]).toEqual(['hook', []]);
  });

  test('the end of the parent is looked for: with dieWithParent() the program of an orphan does not run', async () => {
    const { pid } = await inParent(
      async ({ Command: Program }, { ready, ran }) => {
        const { existsSync: there } = process.getBuiltinModule('node:fs');
        const launch = new Program('touch', ran)
          .dieWithParent()
          .preExecHook(async (file: string) => {
            const { writeFileSync: write } = process.getBuiltinModule('node:fs');
            const parent = process.ppid;
            write(`${file}.new`, String(process.pid));
            process.getBuiltinModule('node:fs').renameSync(`${file}.new`, file);
            while (process.ppid === parent) await process.getBuiltinModule('node:timers/promises').setTimeout(5);
          }, ready)
          .runAsync();
        launch.catch(() => undefined);
        while (!there(ready)) await process.getBuiltinModule('node:timers/promises').setTimeout(5);
        const told = { pid: Number(process.getBuiltinModule('node:fs').readFileSync(ready, 'utf8')) };
        process.stdout.write(`\nRESULT ${JSON.stringify(told)}\n`, () => process.kill(process.pid, 'SIGKILL'));
        return new Promise<typeof told>(() => undefined);
      },
      { ready: path('ready'), ran: path('ran') },
    );
    keep(pid);
    await eventually('the orphan has ended', () => !isRunning(pid));
    expect(existsSync(path('ran'))).toBe(false);
  });
});
