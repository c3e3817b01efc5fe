import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, describe, test, type TestContext } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { here } from './tools.js';

const TEST_MS = 90_000;

interface Report {
  readonly outcome: unknown;
  readonly before: object;
  readonly after: object;
}

/** Runs programs/stress.js, and gives what it prints. */
async function stress(way: string): Promise<unknown> {
  const directory = mkdtempSync(join(tmpdir(), 'vircommand-stress-'));
  try {
    const { stdout } = await promisify(execFile)(process.execPath, [here('../programs/stress.js'), way, directory], {
      env: { ...process.env, VIRCOMMAND_ENGINE: 'native' },
      maxBuffer: 1 << 20,
    });
    return JSON.parse(stdout);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe('under stress', { timeout: TEST_MS }, () => {
  const native = loadNative();
  let missing: string | undefined;
  beforeAll(() => {
    missing = typeof native === 'string' ? native : undefined;
  });

  /** The outcome is as expected, and the process is as it was before. */
  async function check(way: string, outcome: unknown, { expect, skip }: TestContext, balanced = true): Promise<void> {
    if (missing !== undefined) skip(missing);
    const report = (await stress(way)) as Report;
    expect(report.outcome).toEqual(outcome);
    if (balanced) expect(report.after).toEqual(report.before);
  }

  test('300 commands at once in both lanes have each its own output, or its own error', (context) =>
    check('together', { right: 240, chdir: 60 }, context));

  test('no failure of a helper is lost among the ends of many', (context) => check('reports', { chdir: 90 }, context));

  test('several threads launch at once, and the process stays what it was', (context) =>
    check('workers', { right: 160, mine: 40 }, context));

  test('the children of a thread that is terminated end with it, and are reaped', (context) =>
    check('terminated worker', { pids: 20, states: ['gone'] }, context));

  test('a thread may end itself when a child has ended', (context) =>
    check('exiting worker', { codes: [7, 7, 7, 7, 7] }, context));

  // Between the start of a child and its watch there is JavaScript, which a termination may cut short: then nobody closes
  // what was opened. That the process lives, and goes on launching, is what can be promised.
  test('a thread may be terminated at any moment of its launches', (context) =>
    check('interrupted worker', { exitCode: 0 }, context, false));

  test('two copies of the library in one process do not disturb each other', (context) =>
    check('two copies', { engines: ['native', 'native'], differ: true, right: 60 }, context));

  test('the process ends by itself after the last child, and leaves a released one running', async ({
    expect,
    skip,
  }) => {
    if (missing !== undefined) skip(missing);
    const { pid, resources } = (await stress('ends by itself')) as { pid: number; resources: string[] };
    expect(() => process.kill(pid, 'SIGKILL')).not.toThrow();
    expect(resources.filter((resource) => !/^(TTY|Pipe|File)/.test(resource))).toEqual([]);
  });
});
