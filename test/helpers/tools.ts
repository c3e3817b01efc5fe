import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { Command } from 'vircommand';
import { afterEach, beforeEach, onTestFinished } from 'vitest';

/** How long an event may take to come on a busy machine. Nothing waits that long unless it fails. */
export const DEADLINE_MS = 20_000;

/** How often something is looked at that tells of no event. */
const POLL_MS = 5;

/** Longer than any test runs: a program that sleeps so long ends because it is ended. */
export const FOREVER = '600';

/** Where no program can be. */
export const NOWHERE = '/nowhere';

/** Waits until a look gives something. */
export async function eventually<T>(what: string, look: () => T | undefined | false): Promise<T> {
  const deadline = performance.now() + DEADLINE_MS;
  for (;;) {
    const seen = look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadline) throw new Error(`It did not come about within ${DEADLINE_MS} ms that ${what}.`);
    await delay(POLL_MS);
  }
}

/** The error that a promise rejects with. Another error, or none, fails the test. */
export async function rejection<E extends Error>(
  kind: abstract new (...args: never[]) => E,
  promise: Promise<unknown>,
): Promise<E> {
  const error = await promise.then(
    (value) => new Error(`It resolved, with ${inspect(value)}.`),
    (reason: unknown) => reason,
  );
  if (error instanceof kind) return error;
  throw error as Error;
}

/** Does the work for each item, so many at a time, and gives the results in order. */
export async function inBatches<T, R>(size: number, items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  for (let at = 0; at < items.length; at += size)
    results.push(...(await Promise.all(items.slice(at, at + size).map(work))));
  return results;
}

/** The path of a program in `test/programs`. */
export const fixture = (name: string): string => fileURLToPath(new URL(`../programs/${name}`, import.meta.url));

/** A command that runs a Node program of `test/programs`. */
export const nodeFixture = (name: string, ...args: string[]): Command =>
  new Command(process.execPath, fixture(name), ...args);

/** A command that runs a script in `sh`. */
export const sh = (script: string, ...args: string[]): Command => new Command('sh', '-c', script, 'sh', ...args);

/** A directory for each test, and the path of a name in it. Its path holds no symbolic link. */
export function useDirectory(): (name?: string) => string {
  let directory = '';
  beforeEach(() => {
    directory = realpathSync(mkdtempSync(join(tmpdir(), 'vircommand-contract-')));
    chmodSync(directory, 0o755);
  });
  afterEach(() => {
    rmSync(directory, { recursive: true, force: true });
  });
  return (name = '') => join(directory, name);
}

/** Takes the pids of processes that a test started, and ends them after it. */
export function useProcesses(): (pid: number) => number {
  const pids: number[] = [];
  afterEach(() => {
    for (const pid of pids.splice(0)) end(pid);
  });
  return (pid) => {
    pids.push(pid);
    return pid;
  };
}

export function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

/** Whether there is a process with that pid, ended ones included that nobody has reaped. */
export const exists = (pid: number): boolean => existsSync(`/proc/${pid}`);

/** The fields of `/proc/PID/stat` that follow the program's name: state, parent, process group, session … */
export function processStat(
  pid: number,
): { state: string; parent: number; group: number; session: number } | undefined {
  try {
    const [state = '', parent, group, session] = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    return { state, parent: Number(parent), group: Number(group), session: Number(session) };
  } catch {
    // The process is gone.
    return undefined;
  }
}

/** Whether a process still does anything: it is there, and no zombie. */
export function isRunning(pid: number): boolean {
  const state = processStat(pid)?.state;
  return state !== undefined && state !== 'Z' && state !== 'X';
}

/** The pids of this process's children, zombies included. */
export const children = (): number[] =>
  readdirSync('/proc')
    .map(Number)
    .filter((pid) => pid > 0 && processStat(pid)?.parent === process.pid);

/** Sets this process's umask for the rest of a test, which does not depend on its starter's then. */
export function useUmask(mask: number): void {
  const before = process.umask(mask);
  onTestFinished(() => {
    process.umask(before);
  });
}

/** This process's file mode creation mask. */
export const umask = (): number =>
  Number.parseInt(/^Umask:\t(\d+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '', 8);

/** Writes an executable file. */
export function writeProgram(path: string, content: string | Uint8Array, mode = 0o755): string {
  writeFileSync(path, content);
  chmodSync(path, mode);
  return path;
}

/** Sets variables of this process while some work lasts; `undefined` removes one. */
export async function withVariables<T>(
  variables: Record<string, string | undefined>,
  work: () => Promise<T>,
): Promise<T> {
  const before = Object.fromEntries(Object.keys(variables).map((name) => [name, process.env[name]]));
  setVariables(variables);
  try {
    return await work();
  } finally {
    setVariables(before);
  }
}

function setVariables(variables: Record<string, string | undefined>): void {
  for (const [name, value] of Object.entries(variables)) {
    if (value === undefined) Reflect.deleteProperty(process.env, name);
    else process.env[name] = value;
  }
}

/** Whether this machine has a program, for tests that need one the system may lack. */
export function hasProgram(name: string): boolean {
  try {
    execFileSync('sh', ['-c', `command -v ${name}`], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Whether this process is root, which a test needs to be somebody else. */
export const isRoot = process.geteuid?.() === 0;

/** A user and group number that nobody has, for tests that need to be somebody else. */
export const STRANGER = 54_321;
