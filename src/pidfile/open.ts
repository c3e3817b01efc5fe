import { MAY_BE_MISSING } from '../spec/bare.js';
import { statSync } from 'node:fs';
import { ProcessHandle } from '../ending/process-handle.js';
import type { Root } from '../ending/roots.js';
import { dryRunOf } from '../engine/dry-run.js';
import { PlayedProcess } from '../engine/played.js';
import { addonInUse } from '../engine/select.js';
import { readOptions } from '../errors/argument-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { inspectProcess, type ProcessRow, readProcess, readProcessTable } from '../host/process-table.js';
import type { Binding } from '../native/binding.js';
import { holderOf } from '../wire/pidfile-answer.js';
import { startedAfter } from './claim.js';
import { fromRoot, noPid, type PidFilePath, pidFilePath, readPid, unlessMissing } from './content.js';
import { inspectPidFile } from './lock.js';
import { executes, isProgram, playsProgram } from './program.js';

/** How {@link PidFile.open} knows the daemon. */
export interface OpenOptions {
  /** The program that it must execute: the path of a file, or a bare name; a script counts as itself. Default: any. */
  readonly program?: string | Uint8Array | undefined;
}

const openOptions = {
  program: {
    is: isProgram,
    words: 'a program is the path of a file, or a name',
  },
};

/** Finds the process that a pidfile names, and holds it before it is looked at: so what was checked is what is held. */
export async function open(given: string | Uint8Array, options?: OpenOptions): Promise<ProcessHandle | undefined> {
  const file = pidFilePath('PidFile.open', given);
  const { program } = readOptions('PidFile.open', [given], options, openOptions);
  const dryRun = dryRunOf('PidFile.open');
  const remembered = dryRun?.pidFile(fromRoot(file));
  if (remembered?.owner instanceof PlayedProcess) {
    const { owner } = remembered;
    return owner.hasEnded || !playsProgram(owner, program) ? undefined : ProcessHandle.ofPlayed(owner);
  }
  if (remembered !== undefined) return new ProcessHandle(remembered.pid, 'ended');
  const named = await unlessMissing(() => readPid(file));
  if (named === undefined || named <= 0 || inspectProcess(named) === 'ESRCH') return undefined;
  const handle = ProcessHandle.of(named);
  let found: ProcessHandle | undefined;
  try {
    found = await checked(file, handle, program);
  } finally {
    if (found === undefined) handle[Symbol.dispose]();
  }
  return found;
}

async function checked(
  file: PidFilePath,
  handle: ProcessHandle,
  program: string | Uint8Array | undefined,
): Promise<ProcessHandle | undefined> {
  const binding = addonInUse();
  const isLocked = binding !== undefined && (await isLockedBy(binding, file, handle.pid));
  if (isLocked === undefined) return undefined;
  if (program !== undefined && !(await executes(file, handle.pid, program))) return undefined;
  // Without a lock and a name, a process that is younger than the file has merely got the number of one that is gone.
  const writtenAt = statSync(file.path, MAY_BE_MISSING)?.mtimeMs ?? Infinity;
  if (!isLocked && program === undefined && startedAfter(handle.pid, writtenAt)) return undefined;
  const { row } = handle;
  if (row !== undefined && inspectProcess(row.pid) === 'ESRCH') return undefined;
  return binding === undefined || row === undefined ? handle : handle.withRoot(rootMetAgain(binding, row, isLocked));
}

/** Whether a process has the lock of a pidfile that names it; `undefined`: the file names somebody else by now. */
async function isLockedBy(binding: Binding, file: PidFilePath, named: number): Promise<boolean | undefined> {
  const seen = await unlessMissing(() => inspectPidFile(binding, file));
  if (seen === undefined || seen.pid === 0) return undefined;
  if (seen.pid === undefined) throw noPid(file, seen.content);
  if (seen.pid !== named) return undefined;
  if (seen.holder === undefined) return false;
  if (seen.holder === named) return true;
  throw new PidFileError(file.name, { heldBy: holderOf(seen.holder), named });
}

/**
 * What can be known of the tree of a daemon that another process has launched. Who was forked twice is in a session whose leader is
 * gone. That is the daemon's own if it has the lock of its pidfile, was there before all that is in the session now, and is in the first group of it.
 */
function rootMetAgain(binding: Binding, row: ProcessRow, isLocked: boolean): Root | undefined {
  const { session } = row;
  if (!isLocked || session <= 1 || row.group !== session || readProcess(process.pid)?.session === session)
    return undefined;
  const members = Array.from(readProcessTable(binding).values()).filter((other) => other.session === session);
  if (members.some(({ pid, start }) => pid === session || start < row.start)) return undefined;
  return { row, cgroup: undefined, group: undefined, session, isDaemon: false };
}
