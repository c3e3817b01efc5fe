// What a row needs of the machine: each is looked for before the row, and where it is missing the row is left out, with the reason.
import { existsSync, mkdirSync, readFileSync, rmdirSync } from 'node:fs';
import { freemem } from 'node:os';
import { setTimeout } from 'node:timers/promises';

const GIB = 1024;

function availableMiB() {
  const text = existsSync('/proc/meminfo') ? readFileSync('/proc/meminfo', 'utf8') : '';
  return Number(/^MemAvailable:\s+(\d+)/m.exec(text)?.[1] ?? freemem() / 1024) / 1024;
}

/** Where control groups version 2 are mounted. */
const groupMounts = () =>
  existsSync('/proc/self/mountinfo')
    ? readFileSync('/proc/self/mountinfo', 'utf8')
        .split('\n')
        .filter((line) => / - cgroup2 /.test(line))
        .map((line) => line.split(' ')[4])
    : [];

const PATIENCE = 100;

/** Removes a control group, as soon as the last program in it has ended: a trial that was broken off may have left one. */
async function remove(cgroup) {
  for (let tries = 1; ; tries += 1) {
    try {
      rmdirSync(cgroup);
      return;
    } catch (error) {
      if (error.code !== 'EBUSY' || tries === PATIENCE) throw error;
      await setTimeout(20);
    }
  }
}

/** A control group of this run, as what the trial has to know and how to remove it; or why there is none. */
function makeGroup() {
  let why = 'no control groups version 2 are mounted';
  for (const mount of groupMounts()) {
    const cgroup = `${mount}/vircommand-bench-${process.pid}`;
    try {
      mkdirSync(cgroup);
      return { steps: { cgroup }, end: () => remove(cgroup) };
    } catch (error) {
      why = `no control group can be made below ${mount} (${error.code})`;
    }
  }
  return { why };
}

/** Functions of this library that rows are about. */
const has = {
  lines: ({ Command }) => typeof Command.prototype.lines === 'function',
  pipeline: ({ pipeline }) => typeof pipeline === 'function',
};

const needs = {
  cc: (_, { compiled }) => (compiled ? {} : { why: 'there is no C compiler' }),
  root: () => (process.geteuid() === 0 ? {} : { why: 'only root may set other ids' }),
  memory: ({ parent: { bufferMiB = 0, heapMiB = 0 } }) => {
    const wanted = bufferMiB + heapMiB;
    const free = Math.round(availableMiB());
    return free < wanted + 1.5 * GIB ? { why: `it takes ${wanted} MiB, and ${free} MiB are free` } : {};
  },
  cgroup: makeGroup,
  lines: async () => (has.lines(await import('vircommand')) ? {} : { why: 'this version has no lines()' }),
  pipeline: async () => (has.pipeline(await import('vircommand')) ? {} : { why: 'this version has no pipeline()' }),
};

/** The row with what its needs have added; `why` where one is not met. `end` undoes what was made for it. */
export async function meet(row, found) {
  const ready = { row, end: () => undefined };
  for (const need of row.needs ?? []) {
    const { why, steps, end = ready.end } = await needs[need](row, found);
    if (why !== undefined) return { ...ready, why };
    ready.end = end;
    if (steps !== undefined) ready.row = { ...ready.row, steps };
  }
  return ready;
}
