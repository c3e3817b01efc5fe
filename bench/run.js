// The bench: `npm run bench -- [--quick] [--only measure,…] [--rivals a,b]`. How to read it: bench/README.md.
import { execFile, execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, freemem, loadavg, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs, promisify } from 'node:util';
import { chart } from './chart.js';
import { packages, rivals } from './rivals.js';
import { median, targets } from './targets.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const cache = fileURLToPath(new URL('../.cache/bench', import.meta.url));
const bin = `${cache}/bin`;

const { values: flags } = parseArgs({
  options: { quick: { type: 'boolean', default: false }, only: { type: 'string' }, rivals: { type: 'string' } },
});

const ALL = ['floor', 'vircommand', 'portable', 'child_process', 'execa', 'tinyexec', 'nano-spawn', 'bun', 'deno'];
// execa, tinyexec and nano-spawn start programs by child_process: how their launch grows with the parent is the same.
const LAUNCHERS = ['floor', 'vircommand', 'child_process', 'bun', 'deno'];
const GIB = 1024;
const { quick } = flags;
const captureMiB = quick ? 100 : 400;

/** What is measured: the options of a trial, how many rounds, which of its numbers counts, and which way is better. */
const measures = {
  true: { title: 'Launch and wait: /bin/true', program: '/bin/true', iterations: 150, rounds: 7, rivals: ALL },
  steady: {
    title: 'Launch and wait: /bin/true, after 2,000 launches',
    program: '/bin/true',
    warmUp: 2000,
    iterations: 150,
    rounds: 3,
    rivals: ['floor', 'vircommand', 'child_process', 'execa', 'bun', 'deno'],
  },
  noop: { title: 'Launch and wait: a static program', program: `${bin}/noop`, iterations: 150, rounds: 7, rivals: ALL },
  echo: {
    title: 'Capture the output of echo',
    program: '/bin/echo',
    args: ['hello'],
    iterations: 150,
    rounds: 7,
    rivals: ALL,
  },
  held: {
    title: 'Event loop held per launch',
    program: '/bin/true',
    iterations: 120,
    rounds: 5,
    rivals: ALL.filter((name) => name !== 'floor'),
  },
  buffers: {
    title: 'Launch from a parent with 4 GiB of Buffers',
    program: '/bin/true',
    iterations: 60,
    slow: 8,
    rounds: 2,
    bufferMiB: 4 * GIB,
    rivals: LAUNCHERS.slice(1),
  },
  heap: {
    title: 'Launch from a parent with 512 MiB of objects',
    program: '/bin/true',
    iterations: 60,
    rounds: 2,
    heapMiB: 512,
    rivals: ['vircommand', 'child_process'],
  },
  capture: {
    title: `Capture ${captureMiB} MiB`,
    program: `${bin}/writer`,
    args: [String(captureMiB)],
    bytes: captureMiB * 2 ** 20,
    iterations: 1,
    rounds: 3,
    rivals: ALL,
    value: 'MiB/s',
    unit: 'MiB/s',
  },
  memory: {
    title: `Peak memory for ${captureMiB} MiB captured`,
    from: 'capture',
    value: 'peak',
    unit: 'x',
    rivals: ALL.filter((name) => name !== 'floor'),
  },
  burst: {
    title: '2,000 commands, 8 at once',
    program: '/bin/true',
    iterations: quick ? 600 : 2000,
    inFlight: 8,
    rounds: 3,
    rivals: ALL,
    value: 'perSecond',
    unit: '/s',
  },
  build: {
    title: 'Build 20 arguments and the plan',
    program: '/bin/true',
    iterations: 30,
    rounds: 5,
    rivals: ['vircommand'],
  },
};
const MODES = { true: 'run', steady: 'run', noop: 'run', echo: 'echo', capture: 'capture', burst: 'burst' };

/** An environment of 20 variables, the same wherever the bench runs: its size counts, and its values do not. */
const environment = {
  PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin',
  HOME: '/nonexistent',
  LANG: 'C.UTF-8',
  DENO_DIR: `${cache}/deno`,
  DENO_NO_UPDATE_CHECK: '1',
  ...Object.fromEntries(
    Array.from({ length: 15 }, (_, index) => [
      `BENCH_VARIABLE_${index}`,
      `a value of ordinary length, number ${index}`,
    ]),
  ),
};

// ---------------------------------------------------------------- preparing

const notes = [];
const note = (text) => {
  notes.push(text);
  console.log(`note: ${text}`);
};

function install(names) {
  const missing = names.filter((name) => packages[name] !== undefined && !isInstalled(packages[name]));
  if (missing.length === 0) return;
  const fetch = (some) => {
    execFileSync(
      'npm',
      [
        'i',
        '--prefix',
        cache,
        '--no-audit',
        '--no-fund',
        '--ignore-scripts',
        '--loglevel=error',
        ...some.map((name) => packages[name]),
      ],
      { stdio: ['ignore', 'ignore', 'ignore'] },
    );
  };
  console.log(`fetching ${missing.map((name) => packages[name]).join(', ')}`);
  try {
    fetch(missing);
  } catch {
    // One that cannot be had must not cost the others.
    for (const name of missing) {
      try {
        fetch([name]);
      } catch {
        note(`${packages[name]} cannot be had here; it is left out`);
      }
    }
  }
}

function isInstalled(id) {
  const at = id.lastIndexOf('@');
  const manifest = `${cache}/node_modules/${id.slice(0, at)}/package.json`;
  return existsSync(manifest) && JSON.parse(readFileSync(manifest, 'utf8')).version === id.slice(at + 1);
}

function compile() {
  mkdirSync(bin, { recursive: true });
  try {
    for (const name of ['floor', 'writer'])
      execFileSync('cc', ['-O2', '-D_GNU_SOURCE', '-o', `${bin}/${name}`, `${here}${name}.c`]);
    execFileSync('cc', ['-O2', '-static', '-o', `${bin}/noop`, `${here}noop.c`]);
    return true;
  } catch {
    note(
      'there is no C compiler (cc) that links static programs: no floor, no static program, no capture of much output',
    );
    return false;
  }
}

/** The program and arguments that a rival's trials run in, with its version, or undefined where it cannot run. */
function runtimeOf(name) {
  const { runtime, binary, title } = rivals[name];
  if (runtime === 'c') return { argv: [`${bin}/floor`], version: 'cc -O2' };
  if (runtime === 'node') {
    const id = packages[name];
    if (id !== undefined && !isInstalled(id)) return undefined;
    return {
      argv: [process.execPath, `${here}trial.js`],
      version: id === undefined ? process.version : id.slice(id.lastIndexOf('@') + 1),
    };
  }
  const path = `${cache}/node_modules/${binary}`;
  try {
    const version = /\d+\.\d+\.\d+/.exec(execFileSync(path, ['--version'], { encoding: 'utf8', env: environment }))[0];
    return {
      argv:
        runtime === 'bun' ? [path, `${here}trial.js`] : [path, 'run', '-A', '--quiet', '--no-lock', `${here}trial.js`],
      version,
    };
  } catch {
    note(`${title} does not run on this machine; it is left out`);
    return undefined;
  }
}

// ---------------------------------------------------------------- trials

const execute = promisify(execFile);

const divide = (raw, { value, bytes }) =>
  value === 'MiB/s' ? raw.bytes / 2 ** 20 / raw.seconds : value === 'peak' ? raw.peakBytes / bytes : raw[value ?? 'us'];

async function trial(name, key, measure, runtime) {
  const {
    program,
    args = [],
    inFlight = 1,
    bytes,
    bufferMiB = 0,
    heapMiB = 0,
    warmUp = bufferMiB > 0 ? 3 : 20,
  } = measure;
  // A launch that copies page tables takes so long that a few tell all.
  const iterations =
    name === 'child_process' && measure.slow !== undefined
      ? measure.slow
      : Math.ceil(measure.iterations / (quick && measure.iterations > 100 && measure.iterations < 200 ? 2 : 1));
  const engine = rivals[name].engine;
  const options = {
    cache,
    program,
    args,
    iterations,
    inFlight,
    bytes,
    bufferMiB,
    heapMiB,
    engine,
    warmUp,
    echo: '/bin/echo',
  };
  const argv =
    rivals[name].runtime === 'c'
      ? [MODES[key], String(iterations), String(inFlight), program, ...args]
      : [key, name, JSON.stringify(options)];
  const [file, ...rest] = [...runtime.argv, ...argv];
  const env = engine === undefined ? environment : { ...environment, VIRCOMMAND_ENGINE: engine };
  const { stdout } = await execute(file, rest, { env, timeout: 120_000, maxBuffer: 1 << 20 });
  return JSON.parse(stdout);
}

const progress = (text) => {
  if (process.stderr.isTTY) process.stderr.write(`\r${text.padEnd(60)}\r`);
};

async function measureAll(key, measure, runtimes) {
  const rounds = quick ? Math.min(measure.rounds, key === 'buffers' || key === 'heap' ? 1 : 3) : measure.rounds;
  const names = measure.rivals.filter((name) => runtimes[name] !== undefined);
  const raw = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = 0; round < rounds; round += 1) {
    // Each round begins with another rival, so that no one always runs in the wake of the same neighbor.
    for (let i = 0; i < names.length; i += 1) {
      const name = names[(i + round) % names.length];
      if (raw[name] === undefined) continue;
      progress(`${key} ${round + 1}/${rounds} ${name}`);
      try {
        const result = await trial(name, key, measure, runtimes[name]);
        if (result.skip === undefined) raw[name].push(result);
        else throw new Error(result.skip);
      } catch (error) {
        const said = /(?:\w*Error: .*)|error: .*/.exec(error.stderr ?? '')?.[0] ?? error.message.split('\n')[0];
        progress('');
        note(
          `${rivals[name].title} failed at ${key} and is left out there: ${said.replaceAll(here, '').replaceAll(cache, '').slice(0, 160)}`,
        );
        raw[name] = undefined;
      }
    }
  }
  progress('');
  return Object.fromEntries(Object.entries(raw).filter(([, list]) => list !== undefined));
}

/** Medians, spread, and ratios: each round's trials are compared with one another, and the median of those ratios counts. */
function summarize(measure, raw) {
  const rows = {};
  const values = Object.fromEntries(
    Object.entries(raw).map(([name, list]) => [name, list.map((one) => divide(one, measure))]),
  );
  const ratio = (name, to) => {
    const pairs = (values[name] ?? []).flatMap((value, round) =>
      values[to]?.[round] === undefined ? [] : [value / values[to][round]],
    );
    return pairs.length === 0 ? undefined : { median: median(pairs), min: Math.min(...pairs), max: Math.max(...pairs) };
  };
  for (const [name, list] of Object.entries(values)) {
    rows[name] = {
      median: median(list),
      min: Math.min(...list),
      max: Math.max(...list),
      toOurs: ratio(name, 'vircommand'),
      toFloor: ratio(name, 'floor'),
      trials: list,
    };
  }
  return rows;
}

// ---------------------------------------------------------------- showing

const number = (value) =>
  value >= 1000
    ? Math.round(value).toLocaleString('en-US')
    : value >= 100
      ? value.toFixed(0)
      : value >= 10
        ? value.toFixed(1)
        : value.toFixed(2);
const show = (value, unit) =>
  unit === undefined
    ? value >= 10_000
      ? `${number(value / 1000)} ms`
      : `${number(value)} us`
    : unit === 'x'
      ? `${value.toFixed(2)} x`
      : `${number(value)} ${unit}`;

function table({ title, unit }, rows) {
  console.log(`\n${title}`);
  const lines = [['', 'median', 'min .. max', 'to ours', 'to floor']];
  for (const [name, row] of Object.entries(rows)) {
    const times = (ratio) => (ratio === undefined ? '' : `${number(ratio.median)} x`);
    lines.push([
      rivals[name].title,
      show(row.median, unit),
      `${show(row.min, unit)} .. ${show(row.max, unit)}`,
      times(row.toOurs),
      times(row.toFloor),
    ]);
  }
  const widths = lines[0].map((_, column) => Math.max(...lines.map((line) => line[column].length)));
  for (const line of lines)
    console.log(
      `  ${line.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[column]))).join('  ')}`,
    );
}

// ---------------------------------------------------------------- the run

const listed = (text, all, what) => {
  const names = text.split(',').map((name) => name.trim());
  const unknown = names.filter((name) => !all.includes(name));
  if (unknown.length === 0) return names;
  console.error(`There is no ${what} '${unknown.join("', '")}'. There are: ${all.join(', ')}.`);
  process.exit(2);
};
const wantedMeasures =
  flags.only === undefined ? Object.keys(measures) : listed(flags.only, Object.keys(measures), 'measure');
const wantedRivals =
  flags.rivals === undefined ? ALL : [...new Set(['vircommand', ...listed(flags.rivals, ALL, 'rival')])];

const startedAt = performance.now();
mkdirSync(cache, { recursive: true });
// npm puts packages beside the nearest package.json: this one keeps them in the cache.
if (!existsSync(`${cache}/package.json`)) writeFileSync(`${cache}/package.json`, '{ "private": true }\n');
install(wantedRivals);
const compiled = compile();
const runtimes = Object.fromEntries(
  wantedRivals
    .filter((name) => name !== 'floor' || compiled)
    .map((name) => [name, runtimeOf(name)])
    .filter(([, runtime]) => runtime !== undefined),
);

const [load] = loadavg();
if (load > cpus().length / 2)
  note(
    `other processes are busy (load ${load.toFixed(1)} on ${cpus().length} cores): a launch waits for its child to be scheduled, so ratios wander`,
  );
const raw = {};
const summary = {};
for (const key of wantedMeasures) {
  const measure = measures[key];
  if (measure.program?.startsWith(bin) && !compiled) continue;
  if (measure.bufferMiB !== undefined && availableMiB() < measure.bufferMiB + 1.5 * GIB) {
    note(`${key} is skipped: it takes ${measure.bufferMiB} MiB, and ${Math.round(availableMiB())} MiB are free`);
    continue;
  }
  if (measure.from !== undefined && raw[measure.from] === undefined) {
    if (!compiled) continue;
    raw[measure.from] = await measureAll(measure.from, measures[measure.from], runtimes);
  }
  const trials =
    measure.from === undefined
      ? (raw[key] ??= await measureAll(key, measure, runtimes))
      : Object.fromEntries(Object.entries(raw[measure.from]).filter(([name]) => name !== 'floor'));
  summary[key] = summarize({ ...measure, bytes: measure.bytes ?? measures.capture.bytes }, trials);
  if (Object.keys(summary[key]).length > 0) table(measure, summary[key]);
}

function availableMiB() {
  const text = existsSync('/proc/meminfo') ? readFileSync('/proc/meminfo', 'utf8') : '';
  return Number(/^MemAvailable:\s+(\d+)/m.exec(text)?.[1] ?? freemem() / 1024) / 1024;
}

console.log('\nTargets');
const judged = targets
  .map((target) => ({ ...target, ...target.judge(summary) }))
  .filter(({ figure }) => figure !== undefined);
for (const { text, figure, bound, met, low, high } of judged) {
  console.log(
    `  ${met ? 'met   ' : 'missed'}  ${text}: ${number(figure)} (rounds ${number(low)} .. ${number(high)}), wanted ${bound}`,
  );
}

const seconds = (performance.now() - startedAt) / 1000;
console.log(
  `\n${judged.filter(({ met }) => met).length} of ${judged.length} targets met in this run, which took ${Math.round(seconds)} s.`,
);
const report = {
  machine: {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: cpus().length,
    kernel: release(),
    node: process.version,
    load,
  },
  versions: Object.fromEntries(Object.entries(runtimes).map(([name, { version }]) => [name, version])),
  settings: { quick, variables: Object.keys(environment).length, seconds: Math.round(seconds) },
  notes,
  targets: judged.map(({ text, figure, low, high, bound, met }) => ({ text, figure, low, high, bound, met })),
  measures: Object.fromEntries(
    Object.entries(summary).map(([key, rows]) => [
      key,
      { title: measures[key].title, unit: measures[key].unit ?? 'us', rows },
    ]),
  ),
  raw,
};
// Part of a run is not what the README shows.
const whole = flags.only === undefined && flags.rivals === undefined && !quick;
const folder = whole ? `${here}results` : cache;
const name = whole ? 'latest' : 'partial';
mkdirSync(folder, { recursive: true });
writeFileSync(
  `${folder}/${name}.json`,
  `${JSON.stringify(report, (_, value) => (typeof value === 'number' ? Number(value.toPrecision(6)) : value), 2)}\n`,
);
writeFileSync(
  `${folder}/${name}.svg`,
  chart(report, Object.fromEntries(Object.entries(rivals).map(([id, { title }]) => [id, title]))),
);
console.log(`Raw numbers and chart: ${whole ? 'bench/results' : '.cache/bench'}/${name}.json and .svg`);
