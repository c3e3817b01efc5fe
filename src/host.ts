import { accessSync, constants, readFileSync, statSync } from 'node:fs';
import { inspect } from 'node:util';
import { errnoName } from './errno.js';
import { native } from './native/binding.js';

/** What stands at a path, seen by somebody who wants to execute it. */
export type FileKind = 'executable' | 'not-executable' | 'directory' | 'missing' | 'unreachable';

/** A user of this machine, as a launch needs to know one. */
export interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
  /** All groups that the user is in, its own first. */
  readonly groups: readonly number[];
}

/**
 * All that planning a launch asks of the machine: its answers make the plan, and nothing else does.
 * A test gives a host of its own.
 */
export interface Host {
  /** This process's environment. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** This process's working directory. */
  cwd(): string;
  look(path: string): FileKind;
  /** The soft and hard limit of open files that Node found at its start, if that can be told and Node has changed it since. */
  openFilesAtStart(): { readonly soft: number; readonly hard: number } | undefined;
  account(nameOrUid: string | number): Account | undefined;
}

/** The machine that this process runs on. */
export const thisHost: Host = {
  get env() {
    return process.env;
  },
  cwd: () => process.cwd(),
  look,
  openFilesAtStart,
  account,
};

function look(path: string): FileKind {
  try {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return 'missing';
    if (stats.isDirectory()) return 'directory';
  } catch {
    // It lies behind a directory that is closed to us: nobody can say whether it is there.
    return 'unreachable';
  }
  try {
    accessSync(path, constants.X_OK);
    return 'executable';
  } catch {
    return 'not-executable';
  }
}

let openFiles: { soft: number; hard: number } | undefined;
let openFilesAreKnown = false;

/**
 * Node raises its soft limit of open files to the hard one when it starts, and its children would inherit that; a program
 * that walks through all descriptors, or uses `select()`, suffers. What Node found is not kept anywhere, but a process
 * starts with its parent's limits: where the parent has the same hard limit and a lower soft one, that is what it was.
 */
function openFilesAtStart(): { soft: number; hard: number } | undefined {
  if (!openFilesAreKnown) {
    const own = openFilesOf('self');
    const parent = openFilesOf(String(process.ppid));
    if (own !== undefined && parent !== undefined && own.soft === own.hard && parent.hard === own.hard && parent.soft < own.soft) openFiles = parent;
    openFilesAreKnown = true;
  }
  return openFiles;
}

function openFilesOf(pid: string): { soft: number; hard: number } | undefined {
  try {
    const [, soft, hard] = /^Max open files +(\d+) +(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8')) ?? [];
    return soft === undefined ? undefined : { soft: Number(soft), hard: Number(hard) };
  } catch {
    // There is no /proc here, or the parent is somebody else's: then nothing is known, and nothing is changed.
    return undefined;
  }
}

/** Asks the C library, which knows every name service; without the addon, the files that most machines have. */
function account(nameOrUid: string | number): Account | undefined {
  if (typeof native === 'string') return accountInFiles(nameOrUid);
  const answer = native.binding.account(nameOrUid);
  if (answer === undefined) return undefined;
  if (typeof answer === 'number') throw new Error(`The name service does not answer for the user ${inspect(nameOrUid)} (${errnoName(answer)}).`);
  const [name, uid, gid, ...groups] = answer;
  return { name, uid, gid, groups };
}

function accountInFiles(nameOrUid: string | number): Account | undefined {
  for (const [name = '', , uid, gid] of records('/etc/passwd')) {
    if (name !== nameOrUid && Number(uid) !== nameOrUid) continue;
    const others = records('/etc/group').filter(([, , , members = '']) => members.split(',').includes(name));
    return { name, uid: Number(uid), gid: Number(gid), groups: Array.from(new Set([Number(gid), ...others.map(([, , group]) => Number(group))])) };
  }
  return undefined;
}

function records(path: string): string[][] {
  return readFileSync(path, 'utf8')
    .split('\n')
    .filter((line) => line.includes(':'))
    .map((line) => line.split(':'));
}

/** The command line of a process, for a message; `undefined` where it cannot be read. */
export function commandLineOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0').join(' ').trim() || undefined;
  } catch {
    return undefined;
  }
}
