import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { existsSync, readdirSync } from 'node:fs';
import { Command, CommandError, type ErrorEvent, type LaunchEvent, LaunchError } from 'vircommand';
import { describe, expect, onTestFinished, test } from 'vitest';
import { rejection, useDirectory } from '../contract/tools.js';
import { inParent, needsProgram, type Library, useNativeEngine } from './tools.js';

useNativeEngine();
const path = useDirectory();

/** How long a child is kept before its exec, in microseconds: long for a computer, and never waited for by a test that passes. */
const DELAY = 1_500_000;

/** Runs a function in a parent whose children are held up for a moment right before they execute their programs. */
async function inSlowedParent<T, A>(skip: (why: string) => never, body: (library: Library, argument: A) => Promise<T>, argument: A): Promise<T> {
  needsProgram(skip, 'strace');
  // The first exec is that of Node itself.
  const through = ['strace', '-f', '-qq', '-e', 'signal=none', '-o', path('trace'), '-e', `inject=execve:delay_enter=${DELAY}:when=1+`];
  return inParent(body, argument, { through }).catch((error: unknown) => {
    if (String(error).includes('PTRACE')) skip('this sandbox lets nobody trace');
    throw error;
  });
}

describe('while the child of a run() is on its way to the exec', () => {
  test('the event loop turns; with what has to be known at once, the launch is waited for', async ({ skip }) => {
    const seen = await inSlowedParent(skip, async ({ Command: Program }) => {
      const { readFileSync, readlinkSync } = process.getBuiltinModule('node:fs');
      const programOfChild = (): string => {
        const child = readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
        return readlinkSync(`/proc/${child}/exe`) === process.execPath ? 'still node' : 'sleep';
      };
      const long = (): InstanceType<typeof Program> => new Program('sleep', '0.2');
      const result: string[] = [];

      const running = long().run();
      result.push(programOfChild());
      await new Promise((resolve) => setTimeout(resolve, 1));
      result.push(programOfChild());
      await running;

      const child = long().runAsync();
      result.push(programOfChild());
      await (await child).wait();

      const scored = long().oomScoreAdjust(500).run();
      result.push(programOfChild());
      await scored;

      process.getBuiltinModule('node:diagnostics_channel').subscribe('vircommand:launch', () => undefined);
      const heard = long().run();
      result.push(programOfChild());
      await heard;
      return result;
    }, undefined);
    expect(seen).toEqual(['still node', 'still node', 'sleep', 'sleep', 'sleep']);
  });

  test('timeout() reaches it, and the program does nothing', async ({ skip }) => {
    const told = await inSlowedParent(skip, async ({ Command: Program }, file) => {
      const error = await new Program('touch', file).timeout(50).run().catch((reason: unknown) => reason);
      const { name, reason, result } = error as { name: string; reason: string; result: { signal: string } };
      return [name, reason, result.signal];
    }, path('touched'));
    expect(told).toEqual(['ExitError', 'timeout', 'SIGTERM']);
    expect(existsSync(path('touched'))).toBe(false);
  });

  test('variables that are set or taken away here are not its own any more', async ({ skip }) => {
    const told = await inSlowedParent(skip, async ({ Command: Program }) => {
      process.env['EARLIER'] = 'as it was';
      process.env['REMOVED'] = 'later';
      const running = new Program('env').outputBuffer().run();
      process.env['EARLIER'] = 'another';
      delete process.env['REMOVED'];
      // So many that the C library needs another vector for them, and frees the one that it had.
      for (let i = 0; i < 1000; i += 1) process.env[`LATER_${i}`] = 'x'.repeat(100);
      const lines = (await running).stdout.split('\n');
      return [lines.includes('EARLIER=as it was'), lines.includes('REMOVED=later'), lines.filter((line) => line.startsWith('LATER_')).length];
    }, undefined);
    expect(told).toEqual([true, true, 0]);
  });

  test('others are launched beside it, and each executes its own plan on its own stack', async ({ skip }) => {
    const told = await inSlowedParent(skip, async ({ Command: Program }) => {
      const runs = Array.from({ length: 16 }, (_, index) => {
        const command = new Program(index % 4 === 3 ? '/nowhere' : 'echo', String(index)).umask(index).outputBuffer();
        return command.run().then(
          ({ stdout }) => stdout.trim(),
          (error: unknown) => (error as { step: string }).step,
        );
      });
      return Promise.all(runs);
    }, undefined);
    expect(told).toEqual(Array.from({ length: 16 }, (_, index) => (index % 4 === 3 ? 'execve' : String(index))));
  });

  test('its thread may be ended: nothing is left running, and this process goes on', async ({ skip }) => {
    const told = await inSlowedParent(skip, async (_library, file) => {
      const { readFileSync } = process.getBuiltinModule('node:fs');
      const { Worker } = process.getBuiltinModule('node:worker_threads');
      const children = (): string => readFileSync(`/proc/self/task/${process.pid}/children`, 'utf8').trim();
      const source = `
        const { parentPort } = process.getBuiltinModule('node:worker_threads');
        import(${JSON.stringify(new URL('dist/index.js', `file://${process.cwd()}/`).href)}).then(({ Command }) => {
          for (let i = 0; i < 4; i += 1) void new Command('touch', ${JSON.stringify(file)}).run();
          parentPort.postMessage('launched');
        });`;
      const worker = new Worker(source, { eval: true });
      await new Promise((resolve) => worker.once('message', resolve));
      await worker.terminate();
      return children();
    }, path('touched'));
    expect(told).toBe('');
    expect(existsSync(path('touched'))).toBe(false);
  });
});

describe('a launch that fails after it was begun', () => {
  const failures: readonly (readonly [name: string, build: () => Command, step: string])[] = [
    ['a program that is not there', () => new Command('/nowhere'), 'execve'],
    ['a program that nobody can execute', () => new Command('/etc/passwd'), 'execve'],
    ['a directory that is not there', () => new Command('/bin/true').workingDirectory('/nowhere'), 'chdir'],
    ['a control group that is not there', () => new Command('/bin/true').cgroup('/nowhere'), 'cgroup'],
    ['more files than the kernel allows', () => new Command('/bin/true').limit('nofile', 2 ** 40), 'prlimit'],
  ];

  test.each(failures)('%s: run() tells the same as runAsync() and runSync()', async (_name, build, step) => {
    // What the library keeps open, it opens here.
    await new Command('true').run();
    new Command('true').runSync();
    const descriptors = readdirSync('/proc/self/fd').length;
    const told = ({ message, step, errno, code, path: file, tried }: LaunchError) => ({ message, step, errno, code, file, tried });
    const late = told(await rejection(LaunchError, build().run()));
    expect(late.step).toBe(step);
    expect(told(await rejection(LaunchError, build().runAsync()))).toEqual(late);
    let sync: unknown;
    try {
      build().runSync();
    } catch (error) {
      sync = error;
    }
    expect(told(sync as LaunchError)).toEqual(late);
    expect(await rejection(LaunchError, build().run({ check: false })).then(told)).toEqual(late);
    expect(readdirSync('/proc/self/fd').length).toBe(descriptors);
  });

  test('is published once, whoever else listens, and never as a launch', async () => {
    const heard: string[] = [];
    const hearError = (event: unknown): void => void heard.push(`error: ${(event as ErrorEvent).error.name}`);
    const hearLaunch = (event: unknown): void => void heard.push(`launch: ${(event as LaunchEvent).command}`);
    onTestFinished(() => {
      unsubscribe('vircommand:error', hearError);
      unsubscribe('vircommand:launch', hearLaunch);
    });
    subscribe('vircommand:error', hearError);
    await rejection(CommandError, new Command('/nowhere').run());
    expect(heard).toEqual(['error: LaunchError']);
    subscribe('vircommand:launch', hearLaunch);
    await rejection(CommandError, new Command('/nowhere').run());
    expect(heard).toEqual(['error: LaunchError', 'error: LaunchError']);
  });
});
