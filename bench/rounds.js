// Runs the trials of a row: in each round every rival once, in a process of its own, so that they take turns.
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { environmentOf } from './prepare.js';
import { all } from './rivals.js';

const main = fileURLToPath(new URL('trial/main.js', import.meta.url));
const execute = promisify(execFile);
const TRIAL_MS = 120_000;

/** Kinds of rows whose files must be in the system's cache: the first round counts for nothing there. */
const COLD = ['process', 'import'];

/** How many trials a row takes. */
export const trialsOf = (row, names) => names.length * (row.rounds + (COLD.includes(row.kind) ? 1 : 0));

/** What each rival's trials said, by round. `next` is told before each trial, and `leftOut` of one that failed. */
export async function runRounds(row, runtimes, { cache, signal, next, leftOut }) {
  const names = row.rivals.filter((name) => runtimes[name] !== undefined);
  const raw = Object.fromEntries(names.map((name) => [name, []]));
  for (let round = COLD.includes(row.kind) ? -1 : 0; round < row.rounds; round += 1) {
    // Each round begins with another rival, so that no one always runs in the wake of the same neighbor.
    for (let i = 0; i < names.length; i += 1) {
      const name = names[(i + round + names.length) % names.length];
      next(name, round);
      if (raw[name] === undefined) continue;
      try {
        const said = await trial(name, row, runtimes[name], cache, signal);
        if (round >= 0) raw[name].push(said);
      } catch (error) {
        if (signal.aborted) throw error;
        raw[name] = undefined;
        leftOut(name, reasonOf(error));
      }
    }
  }
  return Object.fromEntries(Object.entries(raw).filter(([, list]) => list !== undefined));
}

/** What a trial said, or what went wrong, in one line. */
const reasonOf = ({ stderr, message }) => /(?<=Error: |error: ).+/.exec(stderr ?? '')?.[0] ?? message.split('\n')[0];

async function trial(name, row, { argv }, cache, signal) {
  const { engine } = all[name];
  const env = { ...environmentOf(cache), ...(engine === undefined ? {} : { VIRCOMMAND_ENGINE: engine }) };
  const call = async (file, ...args) =>
    (await execute(file, args, { env, signal, timeout: TRIAL_MS, maxBuffer: 1 << 20 })).stdout;
  const start = `${cache}/start`;
  switch (row.kind) {
    case 'process': {
      const script = name === 'portable' ? 'vircommand' : name;
      const before = performance.now();
      await call(...argv, `${start}/${script}.js`);
      return { us: (performance.now() - before) * 1000 };
    }
    case 'import': {
      const specifier = name === 'child_process' ? 'node:child_process' : name;
      return JSON.parse(await call(...argv, `${start}/import.js`, specifier));
    }
    default:
      return JSON.parse(
        all[name].runtime === 'c'
          ? await call(`${cache}/bin/floor`, ...floorArguments(row))
          : await call(...argv, main, row.kind, name, JSON.stringify(optionsOf(name, row, cache))),
      );
  }
}

/** What a row says to its trials as it stands. */
const OPTIONS = ['program', 'args', 'iterations', 'warmUp', 'inFlight', 'bytes', 'ages', 'lines', 'stages', 'says'];

function optionsOf(name, row, cache) {
  const { parent, steps, slow } = row;
  const { engine, isPlain = false } = all[name];
  const options = Object.fromEntries(OPTIONS.map((option) => [option, row[option]]));
  const common = { cache, engine, ...options, ...slow?.[name] };
  return isPlain ? common : { ...common, parent, steps };
}

const floorArguments = ({ kind, iterations = 1, inFlight = 1, program, args = [] }) => [
  kind,
  String(iterations),
  String(inFlight),
  program,
  ...args,
];
