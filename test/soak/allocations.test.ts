import { execFile, execFileSync } from 'node:child_process';
import { copyFileSync, cpSync, existsSync, mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { loadNative } from '../../src/native/load.js';
import { isRoot } from '../helpers/tools.js';
import { root } from '../helpers/native.js';
import { here } from './tools.js';

/**
 * Every allocation of the addon is made to fail, one after the other. What was under way ends well or in one error that says so, leaves
 * nothing behind, and goes well the next time.
 */
const native = loadNative();
const copy = mkdtempSync(join(tmpdir(), 'vircommand-allocations-'));
const library = join(copy, 'dist/index.js');

beforeAll(() => {
  if (typeof native === 'string') return;
  const release = join(copy, 'src/native/build/Release');
  const build = join(copy, 'test/soak/allocations');
  for (const name of ['dist', 'package.json', 'src/native', 'test/soak/allocations']) {
    cpSync(join(root, name), join(copy, name), { recursive: true, filter: (path) => !path.endsWith('/build') });
  }
  symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'));
  execFileSync('npx', ['--no-install', 'node-gyp', 'rebuild', '--silent', '-C', build], { cwd: root, stdio: 'ignore' });
  mkdirSync(release, { recursive: true });
  copyFileSync(join(build, 'build/Release/vircommand.node'), join(release, 'vircommand.node'));
  copyFileSync(native.helper, join(release, 'vircommand-helper'));
}, 120_000);

afterAll(() => {
  rmSync(copy, { recursive: true, force: true });
});

beforeEach(({ skip }) => {
  if (typeof native === 'string') skip(native);
});

interface Outcome {
  readonly name: string;
  readonly errno?: string;
  readonly reason?: string;
  readonly message?: string;
  readonly value?: number;
}

interface Trial {
  readonly number: number;
  readonly hasFailed: boolean;
  readonly outcome: Outcome;
  readonly before: Record<string, number>;
  readonly after: Record<string, number>;
  readonly again: string;
}

async function trials(kind: string, ...more: string[]): Promise<readonly Trial[]> {
  const directory = mkdtempSync(join(copy, 'trial-'));
  const env = { ...process.env, VIRCOMMAND_ENGINE: 'native', VIRCOMMAND_FAIL_ALLOCATION: '' };
  const words = [here('../programs/allocations.js'), library, kind, directory, ...more];
  const { stdout } = await promisify(execFile)(process.execPath, words, { env, timeout: 110_000, maxBuffer: 2 ** 26 });
  return stdout
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Trial);
}

/** What may be told of a lack of memory. Where a single piece of memory could be done without, the thing goes well. */
function isHonest({ name, errno, reason, message }: Outcome): boolean {
  return name === 'none' || errno === 'ENOMEM' || reason === 'out-of-memory' || /memory|ENOMEM/.test(message ?? '');
}

/** How many allocations each has at the least. */
const kinds: readonly (readonly [kind: string, least: number])[] = [
  ['run', 4],
  ['captured output', 6],
  ['two at once', 14],
  ['a failed step', 2],
  ['runAsync', 4],
  ['runSync', 6],
  ['the helper', 5],
  ['a hook', 5],
  ['a daemon', 4],
  ['a pidfile that is held', 3],
  ['a tree that is ended', 6],
  ...(isRoot ? [['a user', 8] as const] : []),
];

describe('without memory', () => {
  test.each(kinds)(
    'for any one piece of %s, nothing is lost, left or kept',
    async (kind, least) => {
      const all = await trials(kind);
      expect(all.filter(({ outcome }) => !isHonest(outcome))).toEqual([]);
      expect(all.filter(({ again }) => again !== 'well')).toEqual([]);
      expect(all.filter(({ before, after }) => JSON.stringify(before) !== JSON.stringify(after))).toEqual([]);
      const failed = all.filter(({ hasFailed }) => hasFailed);
      expect(failed.length).toBeGreaterThanOrEqual(least);
      expect(failed.some(({ outcome }) => outcome.name !== 'none')).toBe(true);
      // The last one found no allocation left to fail.
      expect(all.at(-1)).toMatchObject({ hasFailed: false, outcome: { name: 'none' } });
    },
    120_000,
  );

  test('captured output is whole, or its loss is an error', async () => {
    const all = [...(await trials('captured output')), ...(await trials('runSync'))];
    expect(all.filter(({ outcome }) => outcome.name === 'none' && outcome.value !== 200_000)).toEqual([]);
    expect(all.some(({ outcome }) => outcome.reason === 'out-of-memory')).toBe(true);
  }, 120_000);

  test('exec() leaves this process itself', async () => {
    let failures = 0;
    for (let number = 1; number < 40; number += 1) {
      const [trial] = await trials('exec', String(number));
      // Nothing is printed by what has become `true`.
      if (trial === undefined) break;
      expect(trial).toMatchObject({ hasFailed: true, outcome: { errno: 'ENOMEM' } });
      failures += 1;
    }
    expect(failures).toBeGreaterThanOrEqual(8);
  }, 120_000);

  test('for the addon itself, the portable engine is used, and says why', async () => {
    expect(existsSync(library)).toBe(true);
    const script = `import { engineInfo } from ${JSON.stringify(library)}; console.log(JSON.stringify(engineInfo()));`;
    for (const number of [1, 2]) {
      const env = { ...process.env, VIRCOMMAND_ENGINE: '', VIRCOMMAND_FAIL_ALLOCATION: `a:${number}` };
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '-e', script], { env });
      expect(JSON.parse(stdout)).toMatchObject({
        engine: 'portable',
        why: expect.stringContaining('memory') as string,
      });
    }
  });
});
