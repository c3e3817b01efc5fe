import { existsSync } from 'node:fs';
import { afterEach, describe, expect, test, vi } from 'vitest';
import { Command, ExitError, killPainfully, killTree, PidFile, PidFileError, ProcessError } from '../../src/index.js';
import { dryRun } from '../../src/testing.js';
import { playing } from '../helpers/played.js';
import { rejection, useDirectory } from '../helpers/tools.js';

const path = useDirectory();
const server = '/usr/sbin/vircommand-no-such-server';
const daemon = (...args: string[]) => new Command(server, ...args).daemonize();

afterEach(() => {
  vi.useRealTimers();
});

describe('a daemon of a dry run', () => {
  test('goes on without an answer, and holds its pidfile until it is ended', async () => {
    using dry = dryRun({ strict: true });
    const file = path('x.pid');
    const { pid, process: handle, pidFile } = await daemon().pidFile(file).run();
    expect([pidFile, existsSync(file)]).toEqual([file, false]);
    expect(await PidFile.read(file)).toBe(pid);
    expect(await PidFile.readIfAlive(file)).toBe(pid);
    expect(await PidFile.readIfLocked(file)).toBe(pid);
    using met = await PidFile.open(file);
    expect([met?.pid, met?.signal('SIGHUP'), handle.signal('SIGHUP')]).toEqual([pid, true, true]);

    await met?.stop();
    await Promise.all([handle.ended, met?.ended]);
    expect([handle.signal('SIGHUP'), await PidFile.open(file)]).toEqual([false, undefined]);
    await handle.stop();
    // As in earnest, what a daemon leaves behind is stale.
    expect([await PidFile.read(file), await PidFile.readIfAlive(file), await PidFile.readIfLocked(file)]).toEqual([
      pid,
      undefined,
      undefined,
    ]);
    expect(dry.kills).toEqual([
      { call: 'signal', pid, signal: 'SIGHUP' },
      { call: 'signal', pid, signal: 'SIGHUP' },
      { call: 'stop', pid, signal: 'SIGTERM' },
    ]);
  });

  test.each([{}, { exitCode: 0 }, { stdout: 'text' }])(
    'goes on with the answer %o, which is a success',
    async (answer) => {
      using _dry = dryRun({ respond: () => answer });
      const { pid } = await daemon().pidFile(path('x.pid')).run();
      expect(await PidFile.readIfAlive(path('x.pid'))).toBe(pid);
    },
  );

  test.each([{ exitCode: 2 }, { signal: 'SIGSEGV' }] as const)('ends at once with the answer %o', async (answer) => {
    using dry = dryRun({ respond: () => answer });
    const result = await daemon().pidFile(path('x.pid')).run();
    await result.process.ended;
    expect(await PidFile.readIfAlive(path('x.pid'))).toBe(undefined);
    await killPainfully(result.pid);
    expect(await killTree(result)).toMatchObject({ ended: [], survivors: [], isComplete: true });
    expect(dry.kills).toEqual([]);
  });

  test.each([
    ['/usr/sbin/vircommand-no-such-server', true],
    ['vircommand-no-such-server', true],
    ['/opt/vircommand-no-such-server', false],
    ['another', false],
  ])('is known by its name: %s', async (program, isIt) => {
    using _dry = dryRun();
    const { pid } = await daemon().pidFile(path('x.pid')).run();
    expect(await PidFile.readIfAlive(path('x.pid'), program)).toBe(isIt ? pid : undefined);
    expect((await PidFile.open(path('x.pid'), { program }))?.pid).toBe(isIt ? pid : undefined);
  });

  test('keeps another from its pidfile, and this process, until it has ended', async () => {
    using dry = dryRun();
    const file = path('x.pid');
    const { pid, process: handle } = await daemon().pidFile(file).run();
    const error = await rejection(PidFileError, daemon('second').pidFile(file).run());
    expect([error.heldBy, error.message]).toEqual([
      pid,
      `Pidfile '${file}' is held by process ${pid} (\`${server}\`). Stop that process, or choose another file.`,
    ]);
    expect(error.command).toBe(`${server} second`);
    expect(await rejection(PidFileError, PidFile.acquire(file))).toMatchObject({ heldBy: pid });
    expect(await rejection(PidFileError, PidFile.release(file))).toMatchObject({
      message: /is not held by this thread/,
    });
    await handle.stop();
    const next = await daemon('third').pidFile(file).run();
    expect(await PidFile.read(file)).toBe(next.pid);
    await next.process.killTree();
    using lock = await PidFile.acquire(file);
    expect(await PidFile.readIfLocked(file)).toBe(process.pid);
    expect(await rejection(PidFileError, daemon('fourth').pidFile(file).run())).toMatchObject({ heldBy: process.pid });
    expect([lock.isHeld, dry.commands.length]).toEqual([true, 2]);
  });

  test('is found in the pidfile of an outer dry run, too', async () => {
    using outer = dryRun();
    const { pid } = await daemon().pidFile(path('x.pid')).run();
    {
      using inner = dryRun();
      expect(await PidFile.readIfAlive(path('x.pid'))).toBe(pid);
      await PidFile.forceCleanup(path('x.pid'));
      expect(inner.kills).toEqual([]);
    }
    expect(outer.kills).toEqual([{ call: 'forceCleanup', pid, signal: 'SIGTERM' }]);
    await expect(PidFile.read(path('x.pid'))).rejects.toThrow('ENOENT');
  });

  test('stands before its handshake, and takes its pidfile back where that is given up', async () => {
    const { dry, last } = playing({ stdout: 'begun' });
    using _dry = dry;
    {
      await using result = await daemon().pidFile(path('x.pid')).requireHandshake().outputPipe().run();
      expect(await PidFile.read(path('x.pid'))).toBe(result.pid);
    }
    expect(last().isRunning).toBe(false);
    await expect(PidFile.read(path('x.pid'))).rejects.toThrow('ENOENT');
    const result = await daemon().pidFile(path('x.pid')).requireHandshake().run();
    await result.handshakeNotify();
    expect([last().isRunning, await PidFile.readIfAlive(path('x.pid'))]).toEqual([true, result.pid]);
  });
});

describe('a played process is ended', () => {
  test('by killPainfully(), with force or without, in the time of the test', async () => {
    vi.useFakeTimers();
    const { dry, last } = playing({ onSignal: () => 'ignore' });
    using _dry = dry;
    const { pid } = await daemon().run();
    const meek = rejection(ProcessError, killPainfully(pid));
    await vi.advanceTimersByTimeAsync(15_000);
    expect(await meek).toMatchObject({
      code: 'EBUSY',
      message: `Cannot end process ${pid}: it ignored SIGTERM for 15 s; say { force: true }.`,
    });
    const forced = killPainfully(pid, { force: true, group: true });
    await vi.advanceTimersByTimeAsync(10_000);
    await forced;
    expect([last().isRunning, last().signals]).toEqual([false, ['SIGTERM', 'SIGTERM', 'SIGKILL']]);
    await killPainfully(pid);
    expect(dry.kills).toEqual([
      { call: 'killPainfully', pid, signal: 'SIGTERM' },
      { call: 'killPainfully', pid, signal: 'SIGTERM' },
    ]);
  });

  test('by the handle of a daemon, with a sequence', async () => {
    vi.useFakeTimers();
    const { dry, last } = playing({ onSignal: () => 'ignore' });
    using _dry = dry;
    const { process: handle } = await daemon().run();
    const stopped = handle.stop({
      sequence: [
        ['SIGINT', 500],
        ['SIGQUIT', 500],
      ],
    });
    await vi.advanceTimersByTimeAsync(1000);
    await stopped;
    expect(last().signals).toEqual(['SIGINT', 'SIGQUIT', 'SIGKILL']);
    expect(dry.kills).toEqual([{ call: 'stop', pid: handle.pid, signal: 'SIGINT' }]);
  });

  test('by killTree(), as a tree of one', async () => {
    const { dry, last } = playing({ onSignal: () => 'ignore' });
    using _dry = dry;
    const child = await new Command('x').runAsync();
    expect(await killTree(child)).toMatchObject({ level: 'walk', ended: [child.pid], survivors: [], isComplete: true });
    const error = await rejection(ExitError, child.wait());
    expect(error.message).toContain('This process sent it, by killTree().');
    expect(last().signals).toEqual(['SIGKILL']);
    expect(dry.kills).toEqual([{ call: 'killTree', pid: child.pid, signal: 'SIGKILL' }]);
  });

  test('by PidFile.forceCleanup(), which removes its pidfile', async () => {
    const { dry, last } = playing({ onSignal: () => ({ exitCode: 0 }) });
    using _dry = dry;
    const { pid } = await daemon().pidFile(path('x.pid')).run();
    await PidFile.forceCleanup(path('x.pid'));
    expect([last().isRunning, last().signals]).toEqual([false, ['SIGTERM']]);
    await PidFile.forceCleanup(path('x.pid'));
    await expect(PidFile.read(path('x.pid'))).rejects.toThrow('ENOENT');
    expect(dry.kills).toEqual([{ call: 'forceCleanup', pid, signal: 'SIGTERM' }]);
  });

  test('also from where its dry run does not reach, and nothing real is signaled', async () => {
    const { dry, last } = playing();
    const { process: handle, pid } = await daemon().run();
    dry[Symbol.dispose]();
    expect([last().isRunning, handle.signal('SIGKILL')]).toEqual([false, false]);
    await handle.ended;
    await handle.stop();
    await killPainfully(pid, { force: true });
  });
});
