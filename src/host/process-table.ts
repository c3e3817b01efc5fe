import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, readSync } from 'node:fs';
import { basename } from 'node:path';
import { ProcessError } from '../errors/process-error.js';
import { type Binding, places, roomFor } from '../native/binding.js';
import { errnoName } from '../text/errno.js';
import { AS_LATIN1 } from '../spec/bare.js';

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

/**
 * Reads all of `/proc`, in C: about 10 µs for each process. Processes that are hidden from this one are missing.
 *
 * @throws {ProcessError} if `/proc` cannot be read, or is not that of this process's pid namespace: an empty table would say that all have ended.
 */
export function readProcessTable(binding: Binding): ProcessTable {
  const numbers = procProblem() ?? binding.processes();
  if (typeof numbers === 'string') throw unreadable(numbers);
  if (typeof numbers === 'number') throw unreadable(errnoName(numbers));
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

/** The same without the addon, a file for each process. `undefined` where `/proc` cannot be read, or is that of another pid namespace. */
export function readProcessFiles(): ProcessTable | undefined {
  if (readProcess(process.pid) === undefined) return undefined;
  const rows = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((name) => readProcess(Number(name)))
    .filter((row) => row !== undefined);
  return new Map(rows.map((row) => [row.pid, row]));
}

function unreadable(code: string): ProcessError {
  const message = `The processes of this machine cannot be looked at, because ${whyUnseen(code)} (open: ${code}). ${seeAgain(code)}.`;
  return new ProcessError(message, { code, syscall: 'open' });
}

/** Why a process cannot be looked at, as the end of a sentence that begins "because". */
export function whyUnseen(code: string): string {
  switch (code) {
    case 'ENOENT':
      return '/proc does not show it';
    case 'EMFILE':
    case 'ENFILE':
      return 'no descriptor is free';
    case 'EACCES':
    case 'EPERM':
      return 'this process may not look into /proc';
    default:
      return 'the kernel refused';
  }
}

/** What helps then. */
export function seeAgain(code: string): string {
  switch (code) {
    case 'ENOENT':
      return 'Mount the /proc of this pid namespace, without hidepid, or run as the same user';
    case 'EMFILE':
    case 'ENFILE':
      return 'Close some, or raise the limit of open files';
    case 'EACCES':
    case 'EPERM':
      return 'Run as the same user, or as root';
    default:
      return 'Try again';
  }
}

/** The number by which `/proc` knows this process, or `undefined` where there is no `/proc`. */
function ownNumber(): string | undefined {
  try {
    return readlinkSync('/proc/self');
  } catch {
    // It is not mounted, or something else lies there.
    return undefined;
  }
}

/** Whether `/proc` is that of another pid namespace: its numbers, and those that `ps` tells, mean other processes than here. */
export function isProcForeign(): boolean {
  const number = ownNumber();
  return number !== undefined && number !== String(process.pid);
}

/** Why `/proc` tells nothing of this process's pids: there is none, or it is that of another pid namespace. */
const procProblem = (): string | undefined => (ownNumber() === String(process.pid) ? undefined : 'ENOENT');

/**
 * Looks at one process. Gives its row, or the name of an errno: `ESRCH` means that no process has that pid, and any other that it
 * cannot be seen. One that lives and that `/proc` does not show is `ENOENT`.
 */
export function inspectProcess(pid: number): ProcessRow | string {
  let code = procProblem();
  if (code === undefined) {
    try {
      return readRow(pid);
    } catch (error) {
      code = (error as NodeJS.ErrnoException).code ?? 'EIO';
    }
  }
  // Only the kernel itself knows that there is no such process: a file that is missing may be hidden.
  return hasProcess(pid) ? (code === 'ESRCH' ? 'ENOENT' : code) : 'ESRCH';
}

// Taken at load: a test that counts the signals which are sent has no part in this question.
const kill = process.kill.bind(process);

function hasProcess(pid: number): boolean {
  try {
    kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH';
  }
}

/** One row of the table, or `undefined` where there is no such process, or it cannot be seen. */
export function readProcess(pid: number): ProcessRow | undefined {
  const seen = inspectProcess(pid);
  return typeof seen === 'string' ? undefined : seen;
}

function readRow(pid: number): ProcessRow {
  // The second field is the program's name, which may hold spaces and parentheses.
  const fields = readFileSync(`/proc/${pid}/stat`, AS_LATIN1)
    .replace(/^.*\) /s, '')
    .split(' ');
  const [state = '', parent, group, session] = fields;
  return {
    pid,
    parent: Number(parent),
    group: Number(group),
    session: Number(session),
    state,
    start: Number(fields.at(19)),
  };
}

/** Whether two rows, read at different times, tell of one process. */
export const isSame = (one: ProcessRow | undefined, other: ProcessRow | undefined): boolean =>
  one !== undefined && one.pid === other?.pid && one.start === other.start;

/** Whether nothing of the process runs any more. Other threads may outlive the first one, whose state this is: a pidfd knows better. */
export const isOver = ({ state }: ProcessRow): boolean => state === 'Z' || state === 'X';

/** Whether a process that was seen has ended since, or its pid means another one. What cannot be seen is not gone. */
export function isGone(row: ProcessRow): boolean {
  const seen = inspectProcess(row.pid);
  return typeof seen === 'string' ? seen === 'ESRCH' : !isSame(seen, row) || isOver(seen);
}

/** No path of a program is longer. */
const NAME_BYTES = 4096;

/**
 * The name of the program that a process executes, for a message; `undefined` where it cannot be read. Its arguments are
 * not told: they may hold secrets. A process that has written a title over its arguments is told by the kernel's short name.
 */
export function programNameOf(pid: number): string | undefined {
  if (procProblem() !== undefined) return undefined;
  try {
    const [first = ''] = beginningOf(`/proc/${pid}/cmdline`).split('\0');
    if (first !== '' && !/\s/.test(first)) return basename(first);
    return beginningOf(`/proc/${pid}/comm`).replace(/\n$/, '') || undefined;
  } catch {
    // It has ended meanwhile, or is hidden from this process: the message does without.
    return undefined;
  }
}

function beginningOf(path: string): string {
  const fd = openSync(path, 'r');
  try {
    const buffer = Buffer.alloc(NAME_BYTES);
    return buffer.toString('utf8', 0, readSync(fd, buffer));
  } finally {
    closeSync(fd);
  }
}
