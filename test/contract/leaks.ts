import { describe, expect, test } from 'vitest';
import { nodeFixture, useDirectory } from '../helpers/tools.js';

/**
 * How often each kind of failure is brought about. The counts must be equal afterwards, so that one lost descriptor in one
 * start is seen; hundreds find what is rare, and are for a night: `VIRCOMMAND_LEAK_RUNS=20000`.
 */
const TIMES = Math.ceil(Number(process.env['VIRCOMMAND_LEAK_RUNS'] ?? 600) / 24);

/** How often a program is run in each way, after hundreds at once. */
const ROUNDS = Math.ceil(TIMES / 4);

/** Hundreds of thousands of system calls on a busy machine. */
const TEST_MS = 60_000 + 1000 * TIMES;

type Counts = Record<'descriptors' | 'children' | 'zombies' | 'resources' | 'listeners' | 'files' | 'warnings', number>;

interface Report {
  readonly counters: Record<keyof Counts, boolean>;
  readonly before: Counts;
  readonly kinds: Record<string, { readonly rejections: number; readonly after: Counts }>;
}

export function leakContract(): void {
  describe('what is left behind', () => {
    const path = useDirectory();

    test(
      `${TIMES} failed starts of each kind leave no descriptor, process, timer, listener or file behind`,
      { timeout: TEST_MS },
      async () => {
        const { stdout } = await nodeFixture('launch-failures.js', String(TIMES), path()).outputBuffer().run();
        const { counters, before, kinds } = JSON.parse(stdout) as Report;
        expect(
          Object.entries(counters).filter(([, counts]) => !counts),
          'counters that cannot count',
        ).toEqual([]);
        expect(kinds).toEqual(
          Object.fromEntries(Object.keys(kinds).map((kind) => [kind, { rejections: TIMES, after: before }])),
        );
        expect(Object.keys(kinds).length).toBeGreaterThan(10);
      },
    );

    test('runs of every kind leave none behind either', { timeout: TEST_MS }, async () => {
      const { stdout } = await nodeFixture('many-runs.js', path(), String(ROUNDS)).outputBuffer().run();
      const { before, after, ended } = JSON.parse(stdout) as { before: Counts; after: Counts; ended: number };
      expect(ended).toBeGreaterThan(300 + 5 * ROUNDS);
      expect(after).toEqual(before);
    });
  });
}
