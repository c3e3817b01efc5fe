import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { inspect } from 'node:util';
import {
  Command,
  type ErrorEvent,
  ExitError,
  type ExitEvent,
  LaunchError,
  type LaunchEvent,
  OutputBuffer,
} from 'vircommand';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { EngineUnderTest } from './engine.js';
import { fixture, FOREVER, nodeFixture, NOWHERE, rejection, sh } from '../helpers/tools.js';

const channels = ['vircommand:launch', 'vircommand:exit', 'vircommand:error'] as const;

interface Heard {
  readonly on: (typeof channels)[number];
  readonly event: unknown;
}

export function eventContract(engine: EngineUnderTest): void {
  describe('events', () => {
    const heard: Heard[] = [];
    const listeners = channels.map((on) => ({ on, listen: (event: unknown): void => void heard.push({ on, event }) }));
    beforeEach(() => {
      heard.length = 0;
      for (const { on, listen } of listeners) subscribe(on, listen);
    });
    afterEach(() => {
      for (const { on, listen } of listeners) unsubscribe(on, listen);
    });
    const names = (): string[] => heard.map(({ on }) => on);
    const first = (on: (typeof channels)[number]): unknown => heard.find((entry) => entry.on === on)?.event;

    test('tell of a launch and of its end', async () => {
      const result = await sh('echo out; echo err >&2').secretArg('hunter2').outputBuffer().run();
      expect(names()).toEqual(['vircommand:launch', 'vircommand:exit']);
      const launch = first('vircommand:launch') as LaunchEvent;
      const exit = first('vircommand:exit') as ExitEvent;
      expect(launch).toMatchObject({
        pid: result.pid,
        engine: engine.name,
        command: "sh -c 'echo out; echo err >&2' sh '***'",
        mode: 'run',
      });
      // The same as plan() tells, and a part of the time that the run took.
      expect(launch.steps).toEqual(
        new Command('sh')
          .outputBuffer()
          .plan()
          .steps.map(({ step }) => step),
      );
      expect(launch.steps.at(-1)).toBe('execve');
      expect(launch.durationMs).toBeGreaterThan(0);
      expect(launch.durationMs).toBeLessThanOrEqual(result.durationMs);
      expect(exit).toMatchObject({ command: launch.command, unclaimed: { stderr: 'err\n' } });
      expect(exit.result).toBe(result);
      expect(Object.keys(exit.unclaimed)).toEqual(['stderr']);
    });

    test.for<[string, () => Promise<unknown>, string[]]>([
      [
        'exit code',
        () => rejection(ExitError, sh('exit 1').run()),
        ['vircommand:launch', 'vircommand:exit', 'vircommand:error'],
      ],
      [
        'timeout',
        () => rejection(ExitError, new Command('sleep', FOREVER).timeout(20).run()),
        ['vircommand:launch', 'vircommand:exit', 'vircommand:error'],
      ],
      ['missing program', () => rejection(LaunchError, new Command(NOWHERE).run()), ['vircommand:error']],
      ['missing name', () => rejection(LaunchError, new Command('no-such-program').run()), ['vircommand:error']],
      ['missing daemon', () => rejection(LaunchError, new Command(NOWHERE).daemonize().run()), ['vircommand:error']],
    ])('tell of an error that run() rejects with, once: %s', async ([, run, expected]) => {
      const error = await run();
      expect(names()).toEqual(expected);
      expect((first('vircommand:error') as ErrorEvent).error).toBe(error);
    });

    test('tell of no error where every end is accepted', async () => {
      await sh('exit 1').run({ check: false });
      expect(names()).toEqual(['vircommand:launch', 'vircommand:exit']);
    });

    test('show neither variables nor secrets where they are printed', async () => {
      await rejection(
        ExitError,
        sh('exit 1').secretArg('hunter2').env('PASSWORD', 'swordfish').outputBuffer(new OutputBuffer()).run(),
      );
      expect(inspect(heard, { depth: 10 })).not.toMatch(/hunter2|swordfish/);
    });
  });

  describe('what is printed', () => {
    test.for(['speak.js', 'share-signal.js'])('is nothing, unless it was asked for: %s', async (name) => {
      const result = await nodeFixture(name).outputBuffer().errorBuffer().run();
      expect([result.stdout, result.stderr]).toEqual(['', '']);
    });

    test('is a line for each launch and each end with NODE_DEBUG=vircommand, without variables and secrets', async () => {
      const command = new Command('env', 'NODE_DEBUG=vircommand', process.execPath, fixture('speak.js'));
      const result = await command.outputBuffer().errorBuffer().run();
      expect(result.stdout).toBe('');
      const pids: string[] = [];
      const lines = result.stderr
        .trim()
        .split('\n')
        .map((line) => line.replace(/^VIRCOMMAND \d+: /, ''))
        .map((line) => line.replace(/^process (\d+): /, (_all, pid: string) => (pids.push(pid), '')));
      const launched = `was launched by the ${engine.name} engine.`;
      expect(lines.map((line) => line.replace(/after [\d.]+ \w+\./, 'after a time.'))).toEqual([
        `\`sh -c 'echo noise; echo noise >&2' '***'\` ${launched}`,
        "`sh -c 'echo noise; echo noise >&2' '***'` exited with code 0 after a time.",
        `\`sh -c 'echo noise >&2; exit 3'\` ${launched}`,
        "`sh -c 'echo noise >&2; exit 3'` exited with code 3 after a time.",
        `\`sh -c 'kill -TERM $$'\` ${launched}`,
        "`sh -c 'kill -TERM $$'` was ended by SIGTERM after a time.",
        `\`sleep 600\` ${launched}`,
        '`sleep 600` did not finish within 50 ms. It was ended by SIGTERM.',
        `\`true '***'\` was launched as a daemon by the ${engine.name} engine.`,
        expect.stringMatching(/^Cannot start `\/nowhere\/tool`/),
      ]);
      // Each program has one number, at its launch and at its end.
      expect(pids).toEqual([0, 0, 2, 2, 4, 4, 6, 6, 8].map((first) => pids[first]));
      expect(new Set(pids).size).toBe(5);
      expect(result.stderr).not.toMatch(/hunter2|swordfish/);
    });
  });
}
