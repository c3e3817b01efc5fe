import { expect, test } from 'vitest';
import { nodeFixture, useDirectory, withVariables } from '../helpers/tools.js';
import { useNativeEngine } from '../helpers/native.js';

useNativeEngine();
const path = useDirectory();

/** How many daemons are started and stopped, one after the other: the variable sets another number for a longer run. */
const TIMES = Number(process.env['VIRCOMMAND_DAEMONS'] ?? 160);
const KINDS = 8;
/** Of these kinds, all but the one without a program start a daemon. */
const STARTING = 7;
const TEST_MS = 30_000 + TIMES * 500;

interface Report {
  readonly counters: Record<string, boolean>;
  readonly before: Record<string, number>;
  readonly after: Record<string, number>;
  readonly started: number;
}

test(
  `${TIMES} daemons of every kind, started and stopped in a row, leave no descriptor, process, timer, listener or file behind`,
  { timeout: TEST_MS },
  async () => {
    const { stdout } = await withVariables({ VIRCOMMAND_ENGINE: 'native' }, () =>
      nodeFixture('many-daemons.js', String(TIMES), path()).outputBuffer().run(),
    );
    const { counters, before, after, started } = JSON.parse(stdout) as Report;
    expect(
      Object.entries(counters).filter(([, counts]) => !counts),
      'counters that cannot count',
    ).toEqual([]);
    expect(Object.keys(counters)).toContain('holders');
    expect(after).toEqual(before);
    expect(before).toMatchObject({ children: 0, zombies: 0, holders: 0, files: 0 });
    expect(started).toBeGreaterThanOrEqual(Math.floor(TIMES / KINDS) * STARTING);
  },
);
