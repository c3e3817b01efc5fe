import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { Command, ExitError, LaunchError } from 'vircommand';
import { dryRun, type DryRunAnswer, type PlayedProgram, running } from 'vircommand/testing';
import { Supervisor } from '../../examples/drivers/supervisor.js';
import { eventually, isRunning, sh } from '../helpers/tools.js';

describe('in a dry run, in the time of the test', () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  const redis = () => new Command('redis-server').stopSequence([['SIGINT', 60_000]]);

  test('a program that fails is started anew, after longer and longer pauses', async () => {
    const played: PlayedProgram[] = [];
    using dry = dryRun({
      strict: true,
      respond: () => {
        played.push(running({ onSignal: (signal) => (signal === 'SIGINT' ? { exitCode: 0 } : undefined) }));
        return played.at(-1);
      },
    });
    const ends: unknown[] = [];
    const supervisor = new Supervisor(redis(), { onEnd: (error) => ends.push(error), longestPauseMs: 300 });
    await vi.advanceTimersByTimeAsync(0);
    for (const [index, pauseMs] of [100, 200, 300, 300].entries()) {
      played[index]?.exit(1);
      await vi.advanceTimersByTimeAsync(pauseMs - 1);
      expect(dry.commands).toHaveLength(index + 1);
      await vi.advanceTimersByTimeAsync(1);
      expect([dry.commands.length, supervisor.pid]).toEqual([index + 2, played[index + 1]?.pid]);
    }
    expect(ends).toHaveLength(4);
    expect(ends[0]).toBeInstanceOf(ExitError);
    await supervisor.stop();
    expect([played.at(-1)?.isRunning, played.at(-1)?.signals, supervisor.pid]).toEqual([false, ['SIGINT'], undefined]);
    await vi.advanceTimersByTimeAsync(60_000);
    expect(dry.commands).toHaveLength(5);
  });

  test.each<[string, () => DryRunAnswer, typeof LaunchError | undefined]>([
    ['comes to its end by itself', () => ({ exitCode: 0 }), undefined],
    ['cannot be launched', () => ({ fail: { step: 'path-search', errno: 'ENOENT' } }), LaunchError],
  ])('a program that %s is not started anew', async (_, respond, kind) => {
    using dry = dryRun({ strict: true, respond });
    const ends: unknown[] = [];
    const supervisor = new Supervisor(redis(), { onEnd: (error) => ends.push(error) });
    await vi.advanceTimersByTimeAsync(60_000);
    expect(dry.commands).toHaveLength(1);
    expect(ends.map((error) => (error as object).constructor)).toEqual(kind === undefined ? [] : [kind]);
    await supervisor.stop();
  });

  test('one that does not obey is ended when its time is over', async () => {
    const stubborn = running({ onSignal: () => 'ignore' });
    using _dry = dryRun({ strict: true, respond: () => stubborn });
    const supervisor = new Supervisor(redis());
    await vi.advanceTimersByTimeAsync(0);
    const stopped = supervisor.stop();
    await vi.advanceTimersByTimeAsync(59_999);
    expect(stubborn.isRunning).toBe(true);
    await vi.advanceTimersByTimeAsync(1);
    await stopped;
    expect(stubborn.signals).toEqual(['SIGINT', 'SIGKILL']);
  });

  test('stop() while it is being launched, or in a pause, ends it all the same', async () => {
    const program = running();
    {
      using _dry = dryRun({ strict: true, respond: () => program });
      await new Supervisor(redis()).stop();
      expect(program.isRunning).toBe(false);
    }
    using dry = dryRun({ strict: true, respond: () => ({ exitCode: 1 }) });
    const supervisor = new Supervisor(redis());
    await vi.advanceTimersByTimeAsync(50);
    await supervisor.stop();
    await vi.advanceTimersByTimeAsync(1000);
    expect(dry.commands).toHaveLength(1);
  });
});

test('a real program is started anew, and stopped as it wants to be', async () => {
  const ends: unknown[] = [];
  const script = 'trap "exit 0" INT; while :; do sleep 0.01; done';
  const supervisor = new Supervisor(sh(script).stopSequence([['SIGINT', 20_000]]), {
    longestPauseMs: 10,
    onEnd: (error) => ends.push(error),
  });
  const first = await eventually('it runs', () => supervisor.pid);
  process.kill(first, 'SIGKILL');
  const second = await eventually('it runs anew', () => supervisor.pid !== first && supervisor.pid);
  expect(ends).toHaveLength(1);
  await supervisor.stop();
  expect([first, second].map(isRunning)).toEqual([false, false]);
});
