import { execFile } from 'node:child_process';
import { mkdtempSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { here, setting } from './tools.js';

/** A seed of zero means another one each time. */
const SEED = setting('VIRCOMMAND_STRESS_SEED', 1) || Date.now() % 1_000_000;
/** How many programs and pipelines each engine runs. */
const TIMES = setting('VIRCOMMAND_STRESS_TIMES', 400);
/** Long enough for so many on a busy machine. */
const TEST_MS = 60_000 + TIMES * 300;

interface Report {
  readonly kinds: readonly string[];
  readonly wrong: readonly string[];
  readonly before: object;
  readonly after: object;
  readonly programs: readonly string[];
}

describe('captures, lines, streams, pipelines, send buffers and terminals, mixed and broken off,', () => {
  test.for(['native', 'portable'] as const)(
    `lose nothing and leave nothing (%s engine, VIRCOMMAND_STRESS_SEED=${SEED})`,
    { timeout: TEST_MS },
    async (engine, { expect, skip }) => {
      const native = loadNative();
      if (engine === 'native' && typeof native === 'string') skip(native);
      const directory = realpathSync(mkdtempSync(join(tmpdir(), 'vircommand-mixed-')));
      try {
        const words = [here('../programs/mixed-streams.js'), String(SEED), String(TIMES), directory];
        const { stdout } = await promisify(execFile)(process.execPath, words, {
          env: { ...process.env, VIRCOMMAND_ENGINE: engine },
          maxBuffer: 1 << 24,
        });
        const { kinds, wrong, before, after, programs } = JSON.parse(stdout) as Report;
        expect(wrong).toEqual([]);
        expect(after).toEqual(before);
        expect(programs).toEqual([]);
        expect(kinds.length).toBeGreaterThan(engine === 'native' ? 20 : 17);
        expect(TIMES).toBeGreaterThan(2 * kinds.length);
      } finally {
        rmSync(directory, { recursive: true });
      }
    },
  );
});
