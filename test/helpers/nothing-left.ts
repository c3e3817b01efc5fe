import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout } from 'node:timers/promises';

/** What every process of this run of tests finds in its environment, unless a test gave it another one. */
const MARK = `VIRCOMMAND_TEST_RUN=${randomUUID()}`;

/** How long programs that have been told to end may take on a busy machine. */
const PATIENCE_MS = 15_000;

/** Reads a file of a process; one that has ended, or that is not ours, has nothing to say. */
function said(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'utf8');
  } catch (error) {
    if (['ENOENT', 'ESRCH', 'EACCES', 'EPERM'].includes((error as NodeJS.ErrnoException).code ?? '')) return '';
    throw error;
  }
}

const parentOf = (pid: number): number => Number(/^PPid:\s*(\d+)$/m.exec(said(pid, 'status'))?.[1] ?? 0);

/** Vitest's own processes, and what they are still waiting for. */
function isBelowUs(pid: number): boolean {
  for (let at = pid; at > 1; at = parentOf(at)) if (at === process.pid) return true;
  return false;
}

/** A process that a test has left behind: it carries the mark, and nobody of ours is its ancestor. */
const left = (): number[] =>
  readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => said(pid, 'environ').split('\0').includes(MARK) && !isBelowUs(pid));

/** The test that started it: see mark.ts. */
const testOf = (pid: number): string =>
  /^VIRCOMMAND_TEST=(.*)$/m.exec(said(pid, 'environ').replaceAll('\0', '\n'))?.[1] ?? 'a test that has no name';

/** Marks the processes of this run, and fails the run for each that outlives it. A process whose environment a test has replaced is not seen. */
export function setup(): void {
  const [name, value] = MARK.split('=') as [string, string];
  process.env[name] = value;
}

export async function teardown(): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  while (left().length > 0 && Date.now() < until) await setTimeout(100);
  const lines = left().map((pid) => `${pid} ${said(pid, 'cmdline').replaceAll('\0', ' ')}of ${testOf(pid)}`);
  if (lines.length === 0) return;
  // Vitest tells the error, and would exit with the code 0 all the same.
  process.exitCode = 1;
  throw new Error(`These processes have been left behind by tests:\n${lines.join('\n')}`);
}
