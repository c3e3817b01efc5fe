import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { here, setting } from './tools.js';

/** How often a program is started; the other kinds in proportion. 20000 for a night's run. */
const RUNS = setting('VIRCOMMAND_LEAK_RUNS', 600);
const FEWER = Math.ceil(RUNS / 10);
const FEWEST = Math.ceil(RUNS / 20);
/** Each hook is a start of Node, which is what takes the time. */
const HOOKS = Math.ceil(RUNS / 100);

/** A launch and its end take some milliseconds; a busy machine has many times that. */
const TEST_MS = 60_000 + 100 * RUNS;

const plentiful = [
  'input and captured output',
  'pipes for the caller',
  'helper: a program',
  'helper: input and captured output',
];
const scarce = [
  'output too large to copy',
  'an abort',
  'runSync()',
  'a daemon',
  'a program that cannot be executed',
  'a directory that is not there',
  'a limit that is refused, with pipes',
  'helper: pipes for the caller',
  'helper: an abort',
  'helper: a daemon',
  'helper: a directory that is not there',
];
const slow = ['hook: a program', 'hook: one that says no', 'hook: one that takes too long', 'hook: a daemon'];
const kinds = [
  ['a program', RUNS] as const,
  ...plentiful.map((kind) => [kind, FEWER] as const),
  ...scarce.map((kind) => [kind, FEWEST] as const),
  ...slow.map((kind) => [kind, HOOKS] as const),
];

/**
 * How much the process may have grown. A buffer that is kept per launch would show: the smallest is a pipe's 64 KiB. V8's
 * heap has a size of its own mind: it is let grow by what two of its semi-spaces and the allocator's free lists take, and by
 * the little per launch that a fragmented heap cannot give back.
 */
const grownAtMost = (runs: number): number => 24 * 1024 * 1024 + 1024 * runs;

interface Report {
  readonly proven: Record<string, boolean>;
  readonly before: Record<string, number>;
  readonly after: Record<string, number>;
  readonly grown: number;
}

describe.concurrent('what launches leave behind', () => {
  const native = loadNative();
  let missing: string | undefined;
  beforeAll(() => {
    missing = typeof native === 'string' ? native : undefined;
  });

  test.for(kinds)(
    '%s, %i times: no descriptor, process, thread, handle, listener or memory',
    { timeout: TEST_MS },
    async ([kind, runs], { expect, skip }) => {
      if (missing !== undefined) skip(missing);
      const directory = mkdtempSync(join(tmpdir(), 'vircommand-leaks-'));
      try {
        const { stdout } = await promisify(execFile)(
          process.execPath,
          ['--expose-gc', here('../programs/leaks.js'), kind, String(runs), directory],
          {
            env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
            maxBuffer: 1 << 20,
          },
        );
        const { proven, before, after, grown } = JSON.parse(stdout) as Report;
        const blind = Object.entries(proven).filter(([, counts]) => !counts);
        expect(blind, 'counters that cannot count').toEqual([]);
        expect(after).toEqual(before);
        expect(grown, 'bytes').toBeLessThan(grownAtMost(runs));
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  );
});
