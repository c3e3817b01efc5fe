import { readdirSync, readFileSync } from 'node:fs';
import {
  type Child,
  Command,
  ExitError,
  killTree,
  PidFile,
  pidAbort,
  type RunResult,
  type StopSequence,
} from 'vircommand';
import { beforeAll, describe, expect, test } from 'vitest';
import { eventually, FOREVER, isRunning, rejection, sh, useDirectory, useProcesses } from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

/** Too long for a test to wait for: a promise that settles has not waited for it. */
const LONG_MS = 1_000_000;

/** Long enough to tell an escalation from none, short enough to wait for. */
const GRACE_MS = 200;

const SLEEP = `sleep ${FOREVER}`;

/** Who is in the background prints its pid once it has set its traps. */
const POLITE = `sh -c 'echo $$; exec ${SLEEP}' &`;
const STUBBORN = `sh -c 'trap "" TERM; echo $$; exec ${SLEEP}' &`;
/** It leaves the session, and stays the child of the script. */
const AWAY = `setsid sh -c 'trap "" TERM; echo $$; exec ${SLEEP}' &`;
/** It has lost its parent. */
const ORPHAN = `(sh -c 'trap "" TERM; echo $$; exec ${SLEEP}' &);`;
/** Each time that it is asked to end, it starts another one and goes on. */
const FORKING = `sh -c 'trap "sleep ${FOREVER} &" TERM; echo $$; while :; do sleep 0.01; done' &`;

const impatient: StopSequence = [
  ['SIGTERM', GRACE_MS],
  ['SIGKILL', 0],
];

const openFds = (): number => readdirSync('/proc/self/fd').length;

/** Stopping a program with its whole tree, as `systemctl stop` does with KillMode=control-group, and timeout(1) with the group that it makes. */
export function treeContract(engine: EngineUnderTest): void {
  const isNative = engine.name === 'native';

  describe('a tree that is stopped', () => {
    const started = useProcesses();
    const path = useDirectory();

    // The first launch, and the first tree, open what stays open.
    beforeAll(async () => {
      const child = await sh(`echo; exec ${SLEEP}`).outputPipe().runAsync();
      await child.stop({ tree: true });
      child.stdout.destroy();
    });

    /** Starts a script, and waits until so many of its descendants have told their pids. */
    async function grown(command: Command, count: number): Promise<{ child: Child; pids: number[] }> {
      const child = await command.outputPipe().runAsync();
      let text = '';
      child.stdout.on('data', (chunk: Buffer) => (text += String(chunk)));
      const pids = await eventually('all have told their pids', () => {
        const told = text.match(/^\d+$/gm) ?? [];
        return told.length === count && text.endsWith('\n') && told.map(Number);
      });
      return { child, pids: pids.map(started) };
    }

    const alive = (pids: readonly number[]): number[] => pids.filter(isRunning);

    test.each<
      [string, (command: Command) => Command, (child: Child, controller: AbortController) => Promise<RunResult>]
    >([
      [
        'a timeout',
        (command) => command.timeout(1500, { tree: true }),
        async (child) => (await rejection(ExitError, child.wait())).result,
      ],
      [
        'an abort signal',
        (command) => command,
        async (child, controller) => {
          controller.abort();
          return (await rejection(ExitError, child.wait())).result;
        },
      ],
      ['stop()', (command) => command, (child) => child.stop({ tree: true })],
      [
        'abort()',
        (command) => command,
        async (child) => {
          await child.abort({ tree: true });
          return (await rejection(ExitError, child.wait())).result;
        },
      ],
      [
        'pidAbort()',
        (command) => command,
        async (child) => {
          await pidAbort(child.pid, { tree: true });
          return (await rejection(ExitError, child.wait())).result;
        },
      ],
    ])('by %s: all that descends from the program is gone, and no descriptor is left', async (_by, say, stopped) => {
      const before = openFds();
      const controller = new AbortController();
      const script = sh(`${POLITE} ${STUBBORN} ${AWAY} wait`).stopSequence(impatient);
      const { child, pids } = await grown(say(script).abortSignal(controller.signal, { tree: true }), 3);
      expect(alive(pids)).toEqual(pids);
      const { tree, signal } = await stopped(child, controller);
      expect(alive(pids)).toEqual([]);
      expect(signal).toBe('SIGTERM');
      expect(tree).toMatchObject({ level: 'walk', survivors: [], isComplete: true });
      expect(tree?.ended).toEqual(expect.arrayContaining([child.pid, ...pids]));
      await eventually('the descriptors are closed', () => openFds() <= before);
    });

    test('by an overrun of the output limit', async () => {
      const file = path('pids');
      const script = sh(
        `sh -c 'trap "" TERM; echo $$ >"$0"; exec ${SLEEP} >/dev/null' "$1" & while [ ! -s "$1" ]; do sleep 0.01; done; yes`,
        file,
      );
      const command = script.outputBuffer().outputLimit(1000, 'kill', { tree: true }).stopSequence(impatient);
      const { result, message } = await rejection(ExitError, command.run());
      expect(result.tree).toMatchObject({ level: 'walk', survivors: [], isComplete: true });
      expect(alive([...(result.tree?.ended ?? [])])).toEqual([]);
      expect(result.tree?.ended.length).toBeGreaterThanOrEqual(2);
      expect(message).toContain('Its tree was ended by a walk from parent to child. Raise outputLimit()');
    });

    test('the program alone is stopped where nothing is said of its tree', async () => {
      const { child, pids } = await grown(sh(`${POLITE} wait`), 1);
      const { tree } = await child.stop();
      expect([tree, alive(pids)]).toEqual([undefined, pids]);
    });

    test('fifty children, which ignore what asks them to end', async () => {
      const before = openFds();
      const script = `i=0; while [ $i -lt 50 ]; do ${STUBBORN} i=$((i + 1)); done; wait`;
      const { child, pids } = await grown(sh(script).stopSequence(impatient), 50);
      const { tree } = await child.stop({ tree: true });
      expect(alive(pids)).toEqual([]);
      expect(tree).toMatchObject({ survivors: [], isComplete: true });
      await eventually('the descriptors are closed', () => openFds() <= before);
    });

    test.each([
      ['walk', (command: Command) => command],
      ['group', (command: Command) => command.newSession()],
    ])('what it starts while it is being stopped, at the level %s', async (level, lead) => {
      const { child, pids } = await grown(
        lead(sh(`${FORKING} ${FORKING} trap '' TERM; wait`)).stopSequence(impatient),
        2,
      );
      const { tree } = await child.stop({ tree: true });
      expect(alive([...pids, ...(tree?.ended ?? [])])).toEqual([]);
      // Both were asked, and each has started another.
      expect(tree?.ended.length).toBeGreaterThanOrEqual(5);
      expect(tree).toMatchObject({ level, survivors: [], isComplete: true });
    });

    test('each of its processes gets the signals of the sequence, and none is ended that obeys in its time', async () => {
      // They say nothing then: what dash tells of a job that was ended would go into a pipe that nobody reads any more.
      const tidy = (name: string): string =>
        `sh -c 'trap "echo tidy >$0; exit" USR1; sleep ${FOREVER} & echo $$; wait' ${path(name)} &`;
      const script = sh(`trap 'exit 3' USR1; ${tidy('one')} ${tidy('two')} wait`);
      const { child } = await grown(script, 2);
      const { tree, exitCode } = await child.stop({ tree: true, sequence: [['SIGUSR1', LONG_MS]] });
      expect(exitCode).toBe(3);
      expect(tree).toMatchObject({ survivors: [], isComplete: true });
      expect(readdirSync(path('.')).sort()).toEqual(['one', 'two']);
    });

    test('goes on until its end where the program has ended at once, and abort() hastens it', async () => {
      const { child, pids } = await grown(sh(`${STUBBORN} wait`).stopSequence([['SIGTERM', LONG_MS]]), 1);
      const stopped = child.stop({ tree: true });
      await eventually('the program is gone', () => !isRunning(child.pid));
      expect(alive(pids)).toEqual(pids);
      await child.abort();
      expect(alive(pids)).toEqual([]);
      expect((await stopped).tree).toMatchObject({ survivors: [], isComplete: true });
    });

    test('a stop of the program becomes one of its tree, all of which is asked then', async () => {
      const { child, pids } = await grown(sh(`trap '' TERM; ${POLITE} while :; do sleep 0.01; done`), 1);
      void child.stop({ sequence: [['SIGTERM', LONG_MS]] });
      const { tree, signal } = await child.stop({ tree: true, sequence: impatient });
      expect([signal, alive(pids)]).toEqual(['SIGKILL', []]);
      expect(tree).toMatchObject({ survivors: [], isComplete: true });
    });

    test('of a program that has ended: its session is stopped, the group without a leader', async () => {
      const { child, pids } = await grown(sh(`${ORPHAN} ${POLITE} exit 4`).newSession().stopSequence(impatient), 2);
      const result = await child.wait({ check: false });
      expect([result.exitCode, result.tree, alive(pids)]).toEqual([4, undefined, pids]);
      const stopped = await child.stop({ tree: true });
      expect(alive(pids)).toEqual([]);
      expect(stopped).toMatchObject({ exitCode: 4, tree: { level: 'group', survivors: [], isComplete: true } });
      // It ended by itself, and was not aborted; and what is gone is not stopped again.
      expect(await child.wait({ check: false })).toBe(result);
      expect(await child.stop({ tree: true })).toBe(stopped);
    });

    test('of a program that has ended, and of which nothing is known: that is told, and nobody is signaled', async () => {
      const { child, pids } = await grown(sh(`${POLITE} exit 0`), 1);
      await child.wait();
      const { tree } = await child.stop({ tree: true });
      expect(tree).toMatchObject({ ended: [], survivors: [], isComplete: false });
      expect(alive(pids)).toEqual(pids);
    });

    test('its orphans are found in its session, and its level is told', async () => {
      const command = sh(`${ORPHAN} ${AWAY} wait`).newSession().timeout(1500, { tree: true }).stopSequence(impatient);
      const { child, pids } = await grown(command, 2);
      const { result, message, reason } = await rejection(ExitError, child.wait());
      expect(alive(pids)).toEqual([]);
      expect(reason).toBe('timeout');
      expect(result.tree).toMatchObject({ level: 'group', survivors: [], isComplete: true });
      expect(message).toMatch(/It was ended by SIGTERM\. Its tree was ended by its session or process group\.$/);
    });

    test('killTree() finds the session of a program that has ended', async () => {
      const { child, pids } = await grown(sh(`${POLITE} exit 0`).newSession(), 1);
      await child.wait();
      expect(await killTree(child)).toMatchObject({ level: 'group', ended: pids, survivors: [] });
    });

    test('a program that ends in its time is not stopped, nor is what it leaves behind', async () => {
      const { child, pids } = await grown(sh(`${POLITE} exit 0`).timeout(LONG_MS, { tree: true }), 1);
      expect(await child.wait()).toMatchObject({ exitCode: 0, tree: undefined, timedOut: false });
      expect(alive(pids)).toEqual(pids);
    });

    test('the end of a block gives a tree its time that is being stopped', async () => {
      const script = `sh -c 'trap "sleep 0.2; exit" TERM; echo $$; while :; do sleep 0.01; done' & wait`;
      const { child, pids } = await grown(sh(script), 1);
      void child.stop({ tree: true, sequence: [['SIGTERM', LONG_MS]] });
      await child.free();
      expect(alive(pids)).toEqual([]);
    });

    test('a daemon that is met again is stopped with what descends from it', async () => {
      const pidFile = path('daemon.pid');
      const log = path('log');
      const script = `${STUBBORN} ${POLITE} wait`;
      const { pid } = await sh(script).daemonize().pidFile(pidFile).outputFile(log).run();
      started(pid);
      const told = (): string[] => readFileSync(log, 'utf8').match(/^\d+$(?=\n)/gm) ?? [];
      await eventually('all have told their pids', () => told().length === 2);
      const pids = told().map((text) => started(Number(text)));
      using daemon = await PidFile.open(pidFile);
      const tree = await daemon?.stop({ tree: true, sequence: impatient });
      expect(alive([pid, ...pids])).toEqual([]);
      expect(tree).toMatchObject({ level: 'group', survivors: [], isComplete: true });
    });

    test.each([
      [(child: Child) => child.stop({ tree: 1 } as never), 'stop({ tree: 1 }): tree is true or false'],
      [(child: Child) => child.abort({ force: true } as never), 'abort({ force: true }): there is no such option'],
      [(child: Child) => pidAbort(child.pid, { force: true } as never), 'there is no such option; there are: tree'],
    ])('refuses options that are none, and stops nothing: %#', async (call, words) => {
      const child = await new Command('sleep', FOREVER).runAsync();
      expect((await rejection(TypeError, call(child))).message).toContain(words);
      expect(child.signal('SIGCONT')).toBe(true);
      await child.abort();
    });

    test('runSync() stops it as well, without the event loop', ({ skip }) => {
      if (!isNative) skip('the portable engine has no runSync()');
      new Command('true').runSync();
      const before = openFds();
      const script = sh(`${POLITE} ${STUBBORN} ${AWAY} ${ORPHAN} wait`).newSession().outputBuffer();
      let error: unknown;
      try {
        script.timeout(1500, { tree: true }).stopSequence(impatient).runSync();
      } catch (thrown) {
        error = thrown;
      }
      expect(error).toBeInstanceOf(ExitError);
      const { result, reason } = error as ExitError;
      const pids = (String(result.stdout).match(/^\d+$/gm) ?? []).map((text) => started(Number(text)));
      expect([pids.length, alive(pids), reason]).toEqual([4, [], 'timeout']);
      expect(result).toMatchObject({
        signal: 'SIGTERM',
        timedOut: true,
        tree: { level: 'group', survivors: [], isComplete: true },
      });
      expect(openFds()).toBe(before);
    });
  });
}
