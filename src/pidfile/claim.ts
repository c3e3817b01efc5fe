import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, type Stats, statSync } from 'node:fs';
import { mkdir, rename, rmdir, writeFile } from 'node:fs/promises';
import type { Subject } from '../errors/command-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { isOver, programNameOf, readProcess } from '../host/process-table.js';
import { isAlive } from '../host/send-signal.js';
import { delay, wallTime } from '../host/time.js';
import { errnoOf, fileError, type PidFilePath, readPid, removeFile } from './content.js';
import { AS_UTF8, bare, MAY_BE_MISSING } from '../spec/bare.js';

/**
 * Throws if a living process holds the pidfile.
 *
 * This is what can be told without a lock: the pid lives, and did not start after the file was written. A process that
 * did has merely got the number of one that is gone. One that has ended holds nothing, also where its parent never reaps it: a lock would be gone.
 */
export async function assertUnheld(file: PidFilePath, subject: Subject): Promise<void> {
  // A device or a FIFO cannot hold a pid, and must not be replaced for that: think of /dev/null, and of root.
  const there = look(file, subject);
  if (there !== undefined && !there.isFile() && !there.isDirectory())
    throw new PidFileError(file.name, { isNot: 'regular' }, subject);
  let pid: number;
  try {
    pid = await readPid(file);
    if (pid <= 0 || !isAlive(pid) || hasEnded(pid) || startedAfter(pid, statSync(file.path).mtimeMs)) return;
  } catch (error) {
    if (
      error instanceof PidFileError
        ? error.errno === 'ENOENT' || error.errno === undefined
        : errnoOf(error) === 'ENOENT'
    )
      return;
    throw error;
  }
  throw new PidFileError(file.name, { heldBy: { pid, command: programNameOf(pid) } }, subject);
}

/** Whether a process is a zombie. Threads that outlive its first one are still it. */
function hasEnded(pid: number): boolean {
  const row = readProcess(pid);
  if (row === undefined || !isOver(row)) return false;
  try {
    return readdirSync(`/proc/${pid}/task`).length <= 1;
  } catch {
    // It has been reaped meanwhile, or cannot be seen.
    return !isAlive(pid);
  }
}

/** A launch has one sentence for a place that it may not reach, whichever call finds out, and on whichever engine. */
function look({ path, name }: PidFilePath, subject: Subject): Stats | undefined {
  try {
    return statSync(path, MAY_BE_MISSING);
  } catch (cause) {
    throw fileError(name, 'written', Object.assign(cause as NodeJS.ErrnoException, { syscall: 'open' }), subject);
  }
}

/**
 * Writes a pidfile, unless a living process holds it by now. It appears whole or not at all.
 *
 * Between a look at a stale file and its replacement another starter may have put its own in the place. Hence one
 * claim at a time: the starter that makes the directory beside the file may look and replace.
 */
export async function claim(file: PidFilePath, pid: number, subject: Subject): Promise<void> {
  const draft = beside(file.path, `.${randomUUID()}`);
  const claiming = beside(file.path, '.claim');
  try {
    await beginClaim(claiming);
    try {
      await assertUnheld(file, subject);
      await writeFile(draft, String(pid), bare({ flag: 'wx', mode: 0o644, flush: true }));
      await rename(draft, file.path);
    } finally {
      await rmdir(claiming);
    }
  } catch (cause) {
    await removeFile({ path: draft, name: file.name });
    if (cause instanceof PidFileError) throw cause;
    // Which of our own calls found out means nothing to the reader: the file could not be made.
    throw fileError(file.name, 'written', Object.assign(cause as NodeJS.ErrnoException, { syscall: 'open' }), subject);
  }
}

/** The path of a file of almost the same name. */
const beside = (path: string | Buffer, ending: string): string | Buffer =>
  typeof path === 'string' ? path + ending : Buffer.concat([path, Buffer.from(ending)]);

/** A claim takes milliseconds; one that is older than this was left behind by a crash. */
const LONGEST_CLAIM_MS = 10_000;

const CLAIM_PROBE_MS = 5;

async function beginClaim(directory: string | Buffer): Promise<void> {
  for (;;) {
    try {
      await mkdir(directory);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const begun = statSync(directory, MAY_BE_MISSING)?.mtimeMs ?? wallTime();
    if (wallTime() - begun > LONGEST_CLAIM_MS) await rmdir(directory).catch(() => undefined);
    await delay(CLAIM_PROBE_MS);
  }
}

/** The kernel counts a process's start in ticks of 10 ms since the boot, and the boot in whole seconds. */
const TICKS_PER_SECOND = 100;

const CLOCK_SLACK_MS = 2000;

/** Whether a process began after that time. One that cannot be seen did not. */
export function startedAfter(pid: number, timeMs: number): boolean {
  const row = readProcess(pid);
  // It cannot be seen, so nothing speaks against the file.
  if (row === undefined) return false;
  const bootSeconds = Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', AS_UTF8))?.[1]);
  return (bootSeconds + row.start / TICKS_PER_SECOND) * 1000 > timeMs + CLOCK_SLACK_MS;
}
