import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { ExitError } from 'vircommand';
import { afterEach, describe, expect, test } from 'vitest';
import {
  end,
  eventually,
  exists,
  FOREVER,
  inBatches,
  isRunning,
  rejection,
  sh,
  useDirectory,
  useProcesses,
} from '../helpers/tools.js';

/** Leaves a process behind that holds both output pipes, and tells its pid as the first line of standard error. */
const LEAVE_HOLDER = `sleep ${FOREVER} & echo $! >&2`;

const MiB = 1024 * 1024;

/** How often the race between the last bytes and the end is run, and how many at a time. */
const RACES = Number(process.env['VIRCOMMAND_RACE_RUNS'] ?? 100);
const RACERS = 8;
/** Generous for one race on a busy machine. */
const RACE_MS = 600;

/** Time enough for a shell to start on a busy machine. */
const SETUP_MS = 1500;

/** Longer than any test runs. */
const LONG_MS = 1_000_000;

export function settlingContract(): void {
  describe('a process that the program leaves behind', () => {
    const path = useDirectory();
    const started = useProcesses();

    test('cannot make run() wait, and what the program wrote is all there', async () => {
      const result = await sh(`${LEAVE_HOLDER}; echo hi`).outputBuffer().errorBuffer().run();
      const holder = started(Number(result.stderr));
      expect(isRunning(holder)).toBe(true);
      expect(exists(result.pid)).toBe(false);
      expect([result.stdout, result.exitCode, result.outputHeldOpen]).toEqual(['hi\n', 0, true]);
    });

    test('cannot make wait() wait, whoever reads the output', async () => {
      const child = await sh(`${LEAVE_HOLDER}; echo hi`).outputPipe().errorBuffer().runAsync();
      const result = await child.wait();
      expect(isRunning(started(Number(result.stderr)))).toBe(true);
      expect(String(await new Promise((resolve) => child.stdout.once('data', resolve)))).toBe('hi\n');
      child.stdout.destroy();
    });

    test('does not count when it has closed the pipes', async () => {
      const script = `(exec >/dev/null 2>&1; touch "$1"; exec sleep ${FOREVER}) & until [ -e "$1" ]; do sleep 0.01; done; echo $!`;
      const result = await sh(script, path('closed')).outputBuffer().errorBuffer().run();
      expect(isRunning(started(Number(result.stdout)))).toBe(true);
      expect(result.outputHeldOpen).toBe(false);
    });

    test('is waited for with waitForOutputEnd()', async () => {
      // It writes once the program is gone, for which somebody must have waited for the program.
      const script = '(while kill -0 $$ 2>/dev/null; do sleep 0.01; done; echo late) & echo early';
      const result = await sh(script).outputBuffer().waitForOutputEnd().run();
      expect([result.stdout, result.outputHeldOpen]).toEqual(['early\nlate\n', false]);
    });

    test('is not waited for without it', async () => {
      const script =
        '(while kill -0 $$ 2>/dev/null; do sleep 0.01; done; until [ -e "$1" ]; do sleep 0.01; done; echo late) & echo $! >&2; echo early';
      const result = await sh(script, path('go')).outputBuffer().errorBuffer().run();
      started(Number(result.stderr));
      writeFileSync(path('go'), '');
      expect([result.stdout, result.outputHeldOpen]).toEqual(['early\n', true]);
    });

    test('cannot keep run() waiting by writing without end', async () => {
      const result = await sh('yes & echo $! >&2; exit 5')
        .outputBuffer({ encoding: 'buffer' })
        .errorBuffer()
        .run({ check: false });
      const writer = started(Number(result.stderr));
      expect([result.exitCode, result.outputHeldOpen]).toEqual([5, true]);
      await eventually('the writer has noticed that nobody reads', () => !isRunning(writer));
    });

    test.for(['timeout', 'aborted'] as const)(
      'cannot keep run() waiting with waitForOutputEnd() either, when it is stopped: %s',
      async (reason) => {
        const controller = new AbortController();
        // The program itself is stopped; what it left behind holds the pipe on.
        const child = await sh(`${LEAVE_HOLDER}; echo ready; exec sleep ${FOREVER}`)
          .outputPipe()
          .errorBuffer()
          .waitForOutputEnd()
          .timeout(reason === 'timeout' ? SETUP_MS : LONG_MS)
          .abortSignal(controller.signal)
          .runAsync();
        await new Promise((resolve) => child.stdout.once('data', resolve));
        if (reason === 'aborted') controller.abort();
        const error = await rejection(ExitError, child.wait());
        started(Number(error.result.stderr));
        expect(error).toMatchObject({ reason, result: { outputHeldOpen: true } });
        child.stdout.destroy();
      },
    );
  });

  describe('the last bytes before the end', () => {
    const path = useDirectory();
    const started = useProcesses();
    const load: number[] = [];
    afterEach(() => {
      for (const pid of load.splice(0)) end(pid);
    });

    test(
      `all arrive while a grandchild holds the pipe and the machine is busy, ${RACES} times`,
      { timeout: 30_000 + RACES * RACE_MS },
      async () => {
        for (let burner = 0; burner < 2; burner += 1) {
          const child = await sh('while :; do :; done').runAsync();
          load.push(child.release());
        }
        const data = randomBytes(MiB);
        writeFileSync(path('data'), data);
        const command = sh(`${LEAVE_HOLDER}; exec cat "$1"`, path('data'))
          .outputBuffer({ encoding: 'buffer' })
          .errorBuffer();
        const outcomes = await inBatches(RACERS, Array.from({ length: RACES }), async () => {
          const { stdout, stderr, outputHeldOpen } = await command.run();
          end(started(Number(stderr)));
          return { missing: data.length - stdout.length, same: stdout.equals(data), outputHeldOpen };
        });
        expect(outcomes.filter(({ same, outputHeldOpen }) => !same || !outputHeldOpen)).toEqual([]);
        expect(outcomes).toHaveLength(RACES);
      },
    );
  });
}
