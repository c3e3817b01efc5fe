import { openSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs';
import { type AnyCommand, Command } from 'vircommand';
import { FOREVER } from './tools.js';
import { readProc } from './native.js';

/** A program that stays until it is ended, as a daemon. */
export const sleeper = () => new Command('sleep', FOREVER).daemonize();

/** The pid that holds a lock on a file, as the kernel lists it. */
export function lockHolder(file: string): number | undefined {
  const { ino } = statSync(file);
  const line = readFileSync('/proc/locks', 'utf8')
    .split('\n')
    .find((row) => row.includes(`:${ino} `) && row.includes('POSIX'));
  return line === undefined ? undefined : Number(line.trim().split(/\s+/)[4]);
}

/** What the descriptors of a process lead to. Empty where it is gone, or has no descriptors any more. */
export function targetsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).flatMap((fd) => {
      try {
        return [readlinkSync(`/proc/${pid}/fd/${fd}`)];
      } catch {
        return []; // It was closed between the two looks.
      }
    });
  } catch {
    return []; // It is gone, or a thread of the kernel.
  }
}

/** The processes that have a file open. An ended one that nobody has reaped has none. */
export const holdersOf = (file: string): number[] =>
  readdirSync('/proc')
    .filter((pid) => /^\d+$/.test(pid))
    .map(Number)
    .filter((pid) => targetsOf(pid).includes(file));

/** Gives a command a descriptor of a file of its own, by which every process of its launch is known, whatever it executes. */
export function marked<C extends AnyCommand>(command: C, file: string): C {
  return command.transferFd(openSync(file, 'w'));
}

/** The file that a process executes. */
export function programOf(pid: number): string {
  try {
    return readlinkSync(`/proc/${pid}/exe`);
  } catch {
    return ''; // It is gone.
  }
}

/** The variables of a process, once the kernel has filled them in: a moment after the exec has succeeded. */
export const variablesOf = (pid: number): string[] => readProc(`/proc/${pid}/environ`).split('\0').slice(0, -1);
