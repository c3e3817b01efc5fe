import { execFile, execFileSync } from 'node:child_process';
import { promisify } from 'node:util';
import { beforeEach, describe, expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { DEADLINE_MS, fixture, useDirectory } from '../helpers/tools.js';

/** What is not yet over then never comes: half the time is left for the report. */
const LIMIT_MS = DEADLINE_MS;

interface End {
  readonly what: string;
  readonly tookMs: number;
  readonly isMeasured: boolean;
}

// Fake timers of vitest, sinon and jest, and the timers of jsdom, are other functions in the place of Node's. child_process
// stops a program at its timeout under all of them where its own JavaScript was loaded before.
describe.each(['native', 'portable'] as const)('on the %s engine', (engine) => {
  const path = useDirectory();
  beforeEach(({ skip }) => {
    const native = engine === 'native' ? loadNative() : undefined;
    if (typeof native === 'string') skip(native);
  });

  describe.each([
    ['give numbers', 'numbers'],
    ['never come, and whose clock stands still', 'still'],
  ] as const)('in a process whose timers %s', (_, time) => {
    test.each(['before', 'after'] as const)(
      'put there %s the library was loaded, programs are stopped in time, and their time is measured',
      { timeout: 2 * LIMIT_MS },
      async (when) => {
        const fifo = path('fifo');
        execFileSync('mkfifo', [fifo]);
        const { stdout } = await promisify(execFile)(process.execPath, [fixture('foreign-time.js'), time, when, fifo], {
          env: { ...process.env, VIRCOMMAND_ENGINE: engine },
          timeout: LIMIT_MS,
          killSignal: 'SIGKILL',
        });
        const ends = JSON.parse(stdout) as Record<string, End>;
        const ways = Object.fromEntries(Object.entries(ends).map(([name, { what }]) => [name, what]));
        expect(ways).toEqual({
          end: 'resolved',
          timeout: 'timeout',
          sequence: 'timeout',
          abort: 'aborted',
          'abort signal': 'aborted',
          output: 'resolved',
          kill: 'resolved',
          fifo: 'timeout',
          ...(engine === 'native' ? { sync: 'timeout', hook: 'timeout' } : {}),
        });
        expect(Object.entries(ends).filter(([, { isMeasured }]) => !isMeasured)).toEqual([]);
        // A timer of Node may come up to a millisecond early.
        for (const name of ['timeout', 'fifo', 'abort signal']) expect(ends[name]?.tookMs).toBeGreaterThan(98);
      },
    );
  });
});
