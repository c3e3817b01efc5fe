import { spawn, spawnSync } from 'node:child_process';
import { cpSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { native } from '../../src/native/load.js';
import { needsRoot, root } from '../helpers/native.js';
import { temporaryDirectory } from '../helpers/temporary.js';
import { eventually } from '../helpers/tools.js';

/** Runs a script of the bench, where no registry of packages can be reached. */
function bench(script: string, ...args: string[]) {
  const env = { ...process.env, npm_config_registry: 'http://127.0.0.1:9/', npm_config_cache: temporaryDirectory() };
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'bench', script), ...args], {
    env,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

interface Report {
  readonly notes: readonly string[];
  readonly targets: readonly { readonly text: string; readonly verdict: string }[];
  readonly measures: Record<string, { readonly rows: Record<string, { readonly trials: readonly number[] }> }>;
}
const reportIn = (cache: string) => JSON.parse(readFileSync(join(cache, 'partial.json'), 'utf8')) as Report;

test('the README, the page of the bench and the chart show the figures of results/latest.json', () => {
  expect(bench('show/figures.js', '--check')).toEqual({ status: 0, stdout: '', stderr: '' });
});

test.each([
  ['README.md', /\| (?=1\.\d \|)/, '| 0.1 | '],
  ['bench/README.md', /missed|met|undecided(?= \|\n)/, 'nearly'],
  ['bench/results/latest.svg', /(?<=width=")\d+\.\d/, '999.9'],
])('a figure in %s that is not that of the run is found', (file, figure, other) => {
  const copy = temporaryDirectory();
  for (const name of ['README.md', 'bench/README.md', 'bench/results'])
    cpSync(join(root, name), join(copy, name), { recursive: true });
  const text = readFileSync(join(copy, file), 'utf8');
  const begin = Math.max(0, text.indexOf('<!-- Written'));
  const changed = text.slice(0, begin) + text.slice(begin).replace(figure, other);
  expect(changed).not.toBe(text);
  writeFileSync(join(copy, file), changed);
  const said = `${file} does not show bench/results/latest.json: run \`node bench/show/figures.js\`\n`;
  expect(bench('show/figures.js', '--check', copy)).toEqual({ status: 1, stdout: said, stderr: '' });
  expect(bench('show/figures.js', copy)).toMatchObject({ status: 0, stdout: `wrote ${file}\n` });
  expect(readFileSync(join(copy, file), 'utf8')).toBe(text);
});

test.each([
  [['--only', 'tru'], "There is no row 'tru'. There are: start, import, true, "],
  [['--only', 'echo,tru,hold'], "There is no row 'tru', 'hold'. There are: start, "],
  [['--only', ''], "There is no row ''. There are: start, "],
  [['--rivals', 'node'], "There is no rival 'node'. There are: floor, vircommand, "],
  [['--rounds', '0'], "--rounds takes a number above 0, not '0'."],
  [['--runs', 'three'], "--runs takes a number above 0, not 'three'."],
  [['--fast'], "Unknown option '--fast'. --help says which flags there are."],
  [['true'], "Unexpected argument 'true'"],
  [['--only'], "Option '--only <value>' argument missing. --help says which flags there are."],
])('the bench refuses %j in one line, and runs nothing', (args, said) => {
  const cache = join(temporaryDirectory(), 'cache');
  const { status, stdout, stderr } = bench('run.js', '--cache', cache, ...args);
  expect({ status, stdout, lines: stderr.trimEnd().split('\n').length }).toEqual({ status: 2, stdout: '', lines: 1 });
  expect(stderr).toContain(said);
  expect(existsSync(cache)).toBe(false);
});

test('a run without a network leaves out what it would have to fetch, says so, and measures the rest in turn', () => {
  const cache = temporaryDirectory();
  const wanted = ['--quick', '--rounds', '2', '--only', 'true,build', '--rivals', 'child_process,tinyexec,bun,floor'];
  const { status, stdout, stderr } = bench('run.js', '--cache', cache, ...wanted);
  expect(status, stderr).toBe(0);
  // Standard error is no terminal here: a line for each row.
  expect(stderr).toMatch(/^\[1\/2] true, about \d+ s left\n\[2\/2] build, about 5 s left\n$/);
  const { notes, targets, measures } = reportIn(cache);
  for (const name of ['tinyexec@', 'bun'])
    expect(
      notes.filter((note) => note.includes(name) && note.endsWith(' cannot be had here; it is left out')),
    ).toHaveLength(1);
  const trials = Object.fromEntries(
    Object.entries(measures['true']!.rows).map(([name, row]) => [name, row.trials.length]),
  );
  expect(trials).toEqual({
    ...(notes.some((note) => note.includes('no C compiler')) ? {} : { floor: 2 }),
    ...(typeof native === 'string' ? {} : { vircommand: 2 }),
    child_process: 2,
  });
  for (const { trials: values } of Object.values(measures['true']!.rows))
    for (const value of values) expect(value).toBeGreaterThan(0);
  expect(targets.map(({ text }) => text)).toContain('building 20 arguments and the plan');
  expect(stdout).toContain('Launch and wait: /bin/true (true)');
  expect(readdirSync(cache)).toContain('partial.svg');
});

test('a run that is broken off removes its control group, and says so', async ({ skip }) => {
  needsRoot(skip);
  if (typeof native === 'string') skip(native);
  const cache = temporaryDirectory();
  const args = ['--cache', cache, '--only', 'cgroup', '--rounds', '100', '--rivals', 'vircommand'];
  const run = spawn(process.execPath, [join(root, 'bench/run.js'), ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
  const said: Buffer[] = [];
  run.stderr.on('data', (piece: Buffer) => said.push(piece));
  const ended = new Promise((resolve) => run.on('close', resolve));
  const mounts = [...readFileSync('/proc/self/mountinfo', 'utf8').matchAll(/^(?:\S+ ){4}(\S+) .* - cgroup2 /gm)];
  const groups = () =>
    mounts.map(([, mount]) => `${mount!}/vircommand-bench-${run.pid!}`).filter((dir) => existsSync(dir));
  const began = await eventually(
    'the group, or the end of a run that can make none',
    () => groups().length > 0 || run.exitCode !== null,
  );
  expect(began).toBe(true);
  if (run.exitCode !== null) skip('no control group can be made here');
  run.kill('SIGTERM');
  expect(await ended).toBe(1);
  expect(groups()).toEqual([]);
  expect(Buffer.concat(said).toString()).toContain('The bench was ended by SIGTERM; nothing is written.\n');
});

interface Judged {
  readonly text: string;
  readonly figure: number;
  readonly verdict: string;
}
const judging = async (trials: Record<'vircommand' | 'floor', readonly number[]>) => {
  const { judge } = (await import(pathToFileURL(join(root, 'bench/targets.js')).href)) as {
    judge: (summary: object) => readonly Judged[];
  };
  const rows = Object.fromEntries(Object.entries(trials).map(([name, values]) => [name, { trials: values }]));
  return judge({ 'steady-noop': rows }).map(({ figure, verdict }) => `${figure} ${verdict}`);
};

// The target is at most 1.0 times the C floor.
test.each([
  ['all rounds are below the bound', [0.8, 0.9, 1], [1, 1, 1], ['0.9 met']],
  ['all rounds are above the bound', [1.1, 1.2, 1.3], [1, 1, 1], ['1.2 missed']],
  ['of few rounds one is on the other side', [0.8, 0.9, 1.1], [1, 1, 1], ['0.9 undecided']],
  // The chance that six of seven rounds lie on the wrong side of the true median is 2 * 7 / 128.
  ['of seven rounds one is on the other side', [0.8, 0.8, 0.8, 0.9, 0.9, 0.9, 9], [1, 1, 1, 1, 1, 1, 1], ['0.9 met']],
  ['of seven rounds two are', [0.8, 0.8, 0.8, 0.9, 0.9, 9, 9], [1, 1, 1, 1, 1, 1, 1], ['0.9 undecided']],
  ['the machine was slow in one round, for both', [0.9, 90, 0.9], [1, 100, 1], ['0.9 met']],
  ['a row was not measured', [], [], []],
])('a target is judged by the ratios within the rounds: %s', async (_, vircommand, floor, verdicts) => {
  expect(await judging({ vircommand, floor })).toEqual(verdicts);
});
