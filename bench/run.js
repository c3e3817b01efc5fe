// The bench: `npm run bench -- [--quick] [--only row,…] [--rivals a,b]`. How to read it: bench/README.md.
import { mkdirSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release } from 'node:os';
import { fileURLToPath } from 'node:url';
import { chart } from './show/chart.js';
import { writeFigures } from './show/figures.js';
import { readFlags } from './flags.js';
import { meet } from './needs.js';
import { environmentOf, prepare } from './prepare.js';
import { Progress } from './show/progress.js';
import { reportText, showRow, showTargets, summarize } from './show/report.js';
import { titles, variants } from './rivals.js';
import { runRounds, trialsOf } from './rounds.js';
import { rowsOf } from './rows.js';
import { judge } from './targets.js';

const flags = readFlags((quick) => Object.keys(rowsOf({ bin: '', quick })));
const { cache, isWhole, quick, runs } = flags;
const rows = rowsOf({ bin: `${cache}/bin`, quick });

const startedAt = performance.now();
const notes = new Set();
const note = (text) => {
  if (!notes.has(text)) console.log(`note: ${text}`);
  notes.add(text);
};

const found = prepare([...flags.rivals, ...Object.keys(variants)], cache, note);
const { runtimes } = found;

const [load] = loadavg();
if (load > cpus().length / 2)
  note(
    `other processes are busy (load ${load.toFixed(1)} on ${cpus().length} cores): a launch waits for its child to be scheduled, so ratios wander`,
  );

// A row that is read from another's trials comes with it.
const sourceOf = (name) => rows[name].from ?? name;
const measured = [...new Set(flags.rows.map(sourceOf))].map((name) => ({
  ...rows[name],
  rounds: flags.rounds ?? rows[name].rounds,
}));
const progress = new Progress(
  Array.from({ length: runs }, () => measured)
    .flat()
    .map((row) => ({ ...row, trials: trialsOf(row, namesIn(row)) })),
);

function namesIn(row) {
  return row.rivals.filter((name) => runtimes[name] !== undefined);
}

const interrupted = new AbortController();
for (const name of ['SIGINT', 'SIGTERM']) process.once(name, () => interrupted.abort(name));

/** The trials of a row, or nothing where it cannot be measured here. */
async function trialsIn(row) {
  progress.row();
  const { row: ready, why, end } = await meet(row, found);
  if (why !== undefined) {
    note(`${row.name} is left out: ${why}`);
    return {};
  }
  try {
    return await runRounds(ready, runtimes, {
      cache,
      signal: interrupted.signal,
      next: (name, round) => progress.trial(`${round < 0 ? 'warm-up' : `round ${round + 1}/${row.rounds}`} ${name}`),
      leftOut: (name, reason) => {
        progress.clear();
        note(`${titles[name]} is left out of ${row.name}: ${reason.replaceAll(cache, '').slice(0, 160)}`);
      },
    });
  } finally {
    await end();
    progress.clear();
  }
}

/** One run: all rows, shown as they come. */
async function oneRun() {
  const raw = {};
  const summary = {};
  for (const row of measured) {
    const before = performance.now();
    raw[row.name] = await trialsIn(row);
    took[row.name] = (performance.now() - before) / 1000;
    for (const name of flags.rows.filter((wanted) => sourceOf(wanted) === row.name)) {
      const { without = [] } = rows[name];
      const trials = Object.entries(raw[row.name]).filter(([rival]) => !without.includes(rival));
      if (trials.length === 0) continue;
      summary[name] = summarize(rows[name], Object.fromEntries(trials));
      showRow(rows[name], summary[name]);
    }
  }
  return { raw, summary, targets: judge(summary) };
}

/** How many seconds each row took. */
const took = {};

const done = [];
try {
  for (let run = 0; run < runs; run += 1) {
    if (runs > 1) console.log(`\n=== run ${run + 1} of ${runs}`);
    done.push(await oneRun());
  }
} catch (error) {
  if (!interrupted.signal.aborted) throw error;
  console.error(`The bench was ended by ${interrupted.signal.reason}; nothing is written.`);
  process.exit(1);
}

const { raw, summary, targets } = done.at(-1);
showTargets(done.map((run) => run.targets));
const seconds = Math.round((performance.now() - startedAt) / 1000);
const count = (verdict) => targets.filter((target) => target.verdict === verdict).length;
console.log(
  `\n${count('met')} of ${targets.length} targets are met in ${runs > 1 ? 'the last' : 'this'} run, ${count('undecided')} are undecided. It took ${seconds} s.`,
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
  settings: { quick, runs, variables: Object.keys(environmentOf(cache)).length, seconds, rows: took },
  notes: [...notes],
  targets,
  earlier: done.slice(0, -1).map((run) => run.targets),
  measures: Object.fromEntries(
    Object.entries(summary).map(([name, rivals]) => [
      name,
      { title: rows[name].title, unit: rows[name].unit, rows: rivals },
    ]),
  ),
  raw,
};
const folder = isWhole ? fileURLToPath(new URL('results', import.meta.url)) : cache;
const path = `${folder}/${isWhole ? 'latest' : 'partial'}`;
mkdirSync(folder, { recursive: true });
writeFileSync(`${path}.json`, reportText(report));
writeFileSync(`${path}.svg`, chart(report, titles));
console.log(`Raw numbers and chart: ${path}.json and .svg`);
if (isWhole) console.log(`Written from them: ${writeFigures().join(', ')}`);
