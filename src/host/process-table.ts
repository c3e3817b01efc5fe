import { readdirSync, readFileSync } from 'node:fs';
import { type Binding, places, roomFor } from '../native/binding.js';

/** A process as the kernel tells of it at one moment. Pid and start together name it for ever; the pid alone does not. */
export interface ProcessRow {
  readonly pid: number;
  readonly parent: number;
  readonly group: number;
  readonly session: number;
  /** The kernel's letter: `R` runs, `T` is stopped, `Z` has ended and is not reaped … */
  readonly state: string;
  /** Ticks since the boot. */
  readonly start: number;
}

/** All processes that can be seen, by pid. */
export type ProcessTable = ReadonlyMap<number, ProcessRow>;

const at = places.row;
const COLUMNS = roomFor('row');

/** Reads all of `/proc`, in C: about 10 µs for each process. */
export function readProcessTable(binding: Binding): ProcessTable {
  const numbers = binding.processes();
  const table = new Map<number, ProcessRow>();
  for (let row = 0; row < numbers.length; row += COLUMNS) {
    const pid = numbers[row + at.pid]!;
    table.set(pid, {
      pid,
      parent: numbers[row + at.parent]!,
      group: numbers[row + at.group]!,
      session: numbers[row + at.session]!,
      state: String.fromCharCode(numbers[row + at.state]!),
      start: numbers[row + at.start]!,
    });
  }
  return table;
}

/** The same without the addon, a file for each process. `undefined` where there is no `/proc`: then this process is not in it either. */
export function readProcessFiles(): ProcessTable | undefined {
  if (readProcess(process.pid) === undefined) return undefined;
  const rows = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcess(Number(name)))
    .filter((row) => row !== undefined);
  return new Map(rows.map((row) => [row.pid, row]));
}

/** One row of the table, or `undefined` where there is no such process, or no `/proc`. */
export function readProcess(pid: number): ProcessRow | undefined {
  try {
    // The second field is the program's name, which may hold spaces and parentheses.
    const fields = readFileSync(`/proc/${pid}/stat`, 'latin1')
      .replace(/^.*\) /s, '')
      .split(' ');
    const [state = '', parent, group, session] = fields;
    return {
      pid,
      parent: Number(parent),
      group: Number(group),
      session: Number(session),
      state,
      start: Number(fields[19]),
    };
  } catch {
    // That is the answer.
    return undefined;
  }
}

/** Whether two rows, read at different times, tell of one process. */
export const isSame = (one: ProcessRow | undefined, other: ProcessRow | undefined): boolean =>
  one !== undefined && one.pid === other?.pid && one.start === other.start;

/** Whether nothing of the process runs any more. Other threads may outlive the first one, whose state this is: a pidfd knows better. */
export const isOver = ({ state }: ProcessRow): boolean => state === 'Z' || state === 'X';

/** The command line of a process, for a message; `undefined` where it cannot be read. */
export function commandLineOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim() || undefined;
  } catch {
    return undefined;
  }
}
