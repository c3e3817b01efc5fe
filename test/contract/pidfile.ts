import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { inspect } from 'node:util';
import { Command, type DaemonResult, PidFileError } from 'vircommand';
import { describe, expect, test } from 'vitest';
import {
  children,
  eventually,
  exists,
  FOREVER,
  hasProgram,
  isRoot,
  isRunning,
  rejection,
  umask,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';
import type { EngineUnderTest } from './engine.js';

/** How many starters want one pidfile at once, and how often the race is run. */
const STARTERS = 20;
const RACES = 5;

/** A pid that no kernel gives out. */
const NOBODY = '2147483647';

export function pidFileContract({ name }: EngineUnderTest): void {
  describe("a daemon's pidfile", () => {
    const path = useDirectory();
    const started = useProcesses();
    const daemon = () => new Command('sleep', FOREVER).daemonize().pidFile(path('pid'));

    test('that a running daemon holds is refused, and that daemon named', async () => {
      const { pid } = await daemon().run();
      started(pid);
      const before = children();
      const error = await rejection(PidFileError, daemon().run());
      expect(error).toMatchObject({ code: 'ERR_COMMAND_PIDFILE', path: path('pid'), heldBy: pid });
      expect(error.message).toBe(
        `Pidfile '${path('pid')}' is held by process ${pid} (\`sleep\`). Stop that process, or choose another file.`,
      );
      expect([children().filter((child) => !before.includes(child)), readFileSync(path('pid'), 'utf8')]).toEqual([
        [],
        String(pid),
      ]);
    });

    test.for<[string, (file: string) => void]>([
      ['a FIFO', (file) => void execFileSync('mkfifo', [file])],
      ['a device', (file) => void execFileSync('mknod', [file, 'c', '1', '3'])],
    ])('that is %s is refused, and is still there', async ([kind, make], { skip }) => {
      if (kind === 'a device' && !isRoot) skip('only root may make a device');
      make(path('pid'));
      const { ino } = statSync(path('pid'));
      const before = children();
      const error = await rejection(PidFileError, daemon().run());
      expect(error.message).toBe(
        `Pidfile '${path('pid')}' is no regular file, and was left as it is. Choose another path.`,
      );
      expect(statSync(path('pid')).ino).toBe(ino);
      // One of an earlier test may have ended meanwhile.
      expect(children().filter((pid) => !before.includes(pid))).toEqual([]);
    });

    test.each([
      ['as an argument', (command: Command) => command.secretArg('hunter2')],
      [
        'in the title that it has given itself',
        (command: Command) => command.env('TITLE', 'server --password=hunter2'),
      ],
    ])("a holder's secret %s stands nowhere in the error of a second start", async (_where, give) => {
      const script = 'if (process.env.TITLE) process.title = process.env.TITLE; setTimeout(() => {}, 600000)';
      const start = () =>
        give(new Command(process.execPath, '-e', script))
          .daemonize()
          .pidFile(path('pid'))
          .run();
      const { pid } = await start();
      started(pid);
      await eventually('the secret is there to be seen', () =>
        readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('hunter2'),
      );
      const error = await rejection(PidFileError, start());
      expect(error.heldBy).toBe(pid);
      expect([inspect(error, { depth: 5 }), error.stack, JSON.stringify(error)].join('\n')).not.toContain('hunter2');
    });

    test('can be had again when its daemon has ended', async () => {
      const first = await daemon().run();
      process.kill(first.pid, 'SIGKILL');
      await eventually('it is gone', () => !isRunning(first.pid));
      await eventually('it is reaped', () => !exists(first.pid));
      const second = await daemon().run();
      started(second.pid);
      expect(readFileSync(path('pid'), 'utf8')).toBe(String(second.pid));
    });

    test.for([
      ['a dead pid', NOBODY],
      ['a dead pid and a newline', `${NOBODY}\n`],
      ['nothing', ''],
      ['no number', 'not a pid\n'],
      ['zero', '0'],
      ['a negative number', '-1'],
      ['far too much', '1'.repeat(100_000)],
    ])('that a crash has left behind is taken over: it holds %s', async ([, content = '']) => {
      writeFileSync(path('pid'), content);
      const { pid } = await daemon().run();
      started(pid);
      expect([readFileSync(path('pid'), 'utf8'), readdirSync(path())]).toEqual([String(pid), ['pid']]);
    });

    // A lock of the file is gone with the process; the init of many a container reaps nobody.
    test('can be had again when its daemon has ended, and nobody reaps it', async () => {
      // It ends when the shell has become another program, which waits for no child.
      const script = 'until grep -qx sleep "/proc/$$/comm"; do sleep 0.01; done & echo $! >"$0"; exec sleep "$1"';
      const parent = await new Command('sh', '-c', script, path('pid'), FOREVER).runAsync();
      await using _ = parent;
      const told = (): string => (existsSync(path('pid')) ? readFileSync(path('pid'), 'utf8') : '');
      const zombie = Number(await eventually('its pid is told', () => told().endsWith('\n') && told()));
      await eventually('it has ended', () => !isRunning(zombie));
      const { pid } = await daemon().run();
      started(pid);
      expect([exists(zombie), readFileSync(path('pid'), 'utf8')]).toEqual([true, String(pid)]);
    });

    test('of a process whose first thread has ended is held as long as another one runs', async ({ skip }) => {
      if (!hasProgram('python3')) skip('python3 is not installed');
      // The native engine knows who holds it by the lock.
      if (name === 'native') skip('it is held by a lock, which this process has not');
      const script = [
        'import ctypes, os, sys, threading, time',
        'threading.Thread(target=time.sleep, args=(3600,)).start()',
        'open(sys.argv[1], "w").write(str(os.getpid()))',
        'ctypes.CDLL(None).pthread_exit(None)',
      ].join('\n');
      const holder = await new Command('python3', '-c', script, path('pid')).runAsync();
      await using _ = holder;
      await eventually('its first thread has ended', () => !isRunning(holder.pid));
      const error = await rejection(PidFileError, daemon().run());
      expect(error).toMatchObject({ heldBy: holder.pid });
    });

    test('whose pid now means another process is taken over, and that process left alone', async () => {
      const stranger = await new Command('sleep', FOREVER).runAsync();
      await using _ = stranger;
      writeFileSync(path('pid'), String(stranger.pid));
      // The file is older than the process: it means one that is gone.
      utimesSync(path('pid'), new Date(0), new Date(0));
      const { pid } = await daemon().run();
      started(pid);
      expect([isRunning(stranger.pid), readFileSync(path('pid'), 'utf8')]).toEqual([true, String(pid)]);
    });

    test('that cannot be written leaves no daemon behind', async () => {
      const before = children();
      const command = new Command('sleep', FOREVER).daemonize().pidFile(path('absent/pid'));
      expect(await rejection(PidFileError, command.run())).toMatchObject({ errno: 'ENOENT', heldBy: undefined });
      expect(children().filter((pid) => !before.includes(pid))).toEqual([]);
    });

    test.for<[string, string | undefined]>([
      ['a new one', undefined],
      ['one left behind by a crash', NOBODY],
    ])(
      `has one winner among ${STARTERS} that want it at once, and no process is left over: %s`,
      async ([, content]) => {
        for (let race = 0; race < RACES; race += 1) {
          const pidFile = path(`race-${race}`);
          if (content !== undefined) writeFileSync(pidFile, content);
          const before = children();
          const starts = Array.from({ length: STARTERS }, () =>
            new Command('sleep', FOREVER).daemonize().pidFile(pidFile).run(),
          );
          const outcomes = await Promise.allSettled(starts);
          const winners = outcomes
            .filter((outcome): outcome is PromiseFulfilledResult<DaemonResult> => outcome.status === 'fulfilled')
            .map(({ value }) => value.pid);
          for (const pid of winners) started(pid);
          expect({
            race,
            winners: winners.length,
            others: children().filter((pid) => !before.includes(pid) && !winners.includes(pid)),
          }).toEqual({ race, winners: 1, others: [] });
          expect(readFileSync(pidFile, 'utf8')).toBe(String(winners[0]));
          const losers = outcomes.flatMap((outcome) =>
            outcome.status === 'rejected' ? [outcome.reason as PidFileError] : [],
          );
          expect(losers.every((error) => error instanceof PidFileError && error.heldBy !== undefined)).toBe(true);
        }
        expect(readdirSync(path())).toHaveLength(RACES);
        expect(statSync(path('race-0')).mode & 0o777).toBe(0o644 & ~umask());
      },
    );
  });
}
