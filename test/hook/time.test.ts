import { existsSync } from 'node:fs';
import { Command, ExitError, LaunchError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import { children, eventually, isRunning, rejection, useDirectory, useProcesses } from '../helpers/tools.js';
import { inParent, useNativeEngine } from '../helpers/native.js';
import { marked, sh } from './tools.js';

useNativeEngine();
const path = useDirectory();
const keep = useProcesses();

// A hook sees nothing of this file: it is its source that runs, in another process. Hence process.getBuiltinModule().

describe('a hook that hangs', () => {
  const hang = (): void => {
    for (;;);
  };
  const SENTENCE =
    'Cannot start `sh -c \'echo >"$0"\' PATH`: its pre-exec hook was not done within 100 ms, and was ended by SIGKILL.';
  const program = () => sh('echo >"$0"', path('ran'));
  const shown = (error: Error): string => error.message.replace(path('ran'), 'PATH');

  test.for<[string, (command: Command) => Promise<unknown>]>([
    ['run()', (command) => command.run()],
    ['runAsync()', (command) => command.runAsync()],
    ['runSync()', async (command) => command.runSync()],
    ['a handshake', (command) => command.requireHandshake().runAsync()],
    ['run() of a daemon', (command) => command.daemonize().pidFile(path('pid')).run()],
  ])('obeys timeout(), in %s', async ([, run]) => {
    const { command, holders } = marked(program(), path('mark'));
    const error = await rejection(LaunchError, run(command.timeout(100).preExecHook(hang)));
    expect([error.step, error.reason, shown(error)]).toEqual(['hook', 'timeout', SENTENCE]);
    await eventually('nothing is left of it', () => holders().length === 0);
    expect([existsSync(path('ran')), existsSync(path('pid')), children()]).toEqual([false, false, []]);
  });

  test.for<[string, (command: Command) => Promise<unknown>]>([
    ['run()', (command) => command.run()],
    ['runAsync()', (command) => command.runAsync()],
    ['run() of a daemon', (command) => command.daemonize().pidFile(path('pid')).run()],
  ])('obeys abortSignal(), in %s', async ([, run]) => {
    const controller = new AbortController();
    const { command, holders } = marked(program(), path('mark'));
    const started = run(
      command.abortSignal(controller.signal).preExecHook((file: string) => {
        process.getBuiltinModule('node:fs').writeFileSync(file, 'hook');
        for (;;);
      }, path('told')),
    );
    const failed = rejection(LaunchError, started);
    await eventually('the hook runs', () => existsSync(path('told')));
    const reason = new Error('the window was closed');
    controller.abort(reason);
    const error = await failed;
    expect([error.step, error.reason, error.cause]).toEqual(['hook', 'aborted', reason]);
    expect(error.message).toMatch(/: it was aborted while its pre-exec hook ran: the window was closed\.$/);
    await eventually('nothing is left of it', () => holders().length === 0);
    expect([existsSync(path('ran')), existsSync(path('pid')), children()]).toEqual([false, false, []]);
  });

  test('takes its time from that of the program: timeout() counts from the launch', async () => {
    const HOOK_MS = 3000;
    const TIMEOUT_MS = 4000;
    const command = new Command('sleep', '600')
      .timeout(TIMEOUT_MS)
      .preExecHook((ms: number) => new Promise<void>((resolve) => void setTimeout(resolve, ms)), HOOK_MS);
    const { reason, result } = await rejection(ExitError, command.run());
    expect(reason).toBe('timeout');
    expect(result.durationMs).toBeLessThan(HOOK_MS + TIMEOUT_MS);
  });

  test('does not outlive this process, if it ends in order', async () => {
    const pid = await inParent(async ({ Command: Program }, file) => {
      const launch = new Program('sleep', '600')
        .preExecHook((at: string) => {
          const { writeFileSync: write, renameSync } = process.getBuiltinModule('node:fs');
          write(`${at}.new`, String(process.pid));
          renameSync(`${at}.new`, at);
          for (;;);
        }, file)
        .run();
      launch.catch(() => undefined);
      while (!process.getBuiltinModule('node:fs').existsSync(file))
        await process.getBuiltinModule('node:timers/promises').setTimeout(5);
      setImmediate(() => process.exit(0));
      return Number(process.getBuiltinModule('node:fs').readFileSync(file, 'utf8'));
    }, path('told'));
    keep(pid);
    await eventually('the hook has ended', () => !isRunning(pid));
  });
});
