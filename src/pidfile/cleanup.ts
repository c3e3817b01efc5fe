import { endPlayed, killPainfully, painfulSequence, reapOption } from '../ending/kill-painfully.js';
import { type DryRunEngine, dryRunOf } from '../engine/dry-run.js';
import { PlayedProcess } from '../engine/played.js';
import { readOptions } from '../errors/argument-error.js';
import { PidFileError, type PidFileProblem } from '../errors/pidfile-error.js';
import { delay } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import { holderOf } from '../wire/pidfile-answer.js';
import { errnoOf, fromRoot, noPid, type PidFilePath, pidFilePath } from './content.js';
import { type Inspection, inspectPidFile, lockBinding, PidFileLock, tryAcquire } from './lock.js';

/** How {@link PidFile.forceCleanup} goes about it. */
export interface CleanupOptions {
  /** End the whole process group that the owner is in. Default: false. */
  readonly group?: boolean;
  /** How long the owner's parent is given to reap it, in milliseconds. Default: 3000. */
  readonly reapMs?: number | undefined;
}

/** What a cleaner writes into the file that it has acquired: the next cleaner shall not signal it. */
const CLEANER = 0;

/** Another cleaner has the file for the time of two system calls. */
const PAUSE_MS = 10;
const MOST_PAUSES = 500;

/**
 * Acquires the file, as an owner would, and removes it while it has the lock: so it never removes the file of an owner. If it
 * cannot be acquired, the holder is ended first.
 */
export async function forceCleanup(given: string | Uint8Array, options?: CleanupOptions): Promise<void> {
  const file = fromRoot(pidFilePath('PidFile.forceCleanup', given));
  const { group = false, reapMs } = readOptions('PidFile.forceCleanup', [given], options, {
    group: 'boolean',
    reapMs: reapOption,
  });
  const dryRun = dryRunOf('PidFile.forceCleanup');
  if (dryRun !== undefined) {
    await cleanUpInMemory(dryRun, file);
    return;
  }
  const cleaning = new Cleaning(lockBinding('PidFile.forceCleanup'), file, { group, reapMs });
  while (!(await cleaning.isDone()));
}

/** Ends the played daemon that holds a pidfile in memory, and removes that. Files that a dry run does not know stay as they are. */
async function cleanUpInMemory(dryRun: DryRunEngine, file: PidFilePath): Promise<void> {
  const owner = dryRun.pidFile(file)?.owner;
  if (owner === undefined) return;
  if (!(owner instanceof PlayedProcess)) throw new PidFileError(file.name, { heldBy: holderOf(process.pid) });
  await endPlayed(owner, 'forceCleanup', painfulSequence);
  if (dryRun.pidFile(file)?.owner === owner) dryRun.removePidFile(file);
}

class Cleaning {
  readonly #binding: Binding;
  readonly #file: PidFilePath;
  readonly #options: CleanupOptions;
  #pauses = 0;
  /** The holder that was ended, and what went wrong with it. */
  #ended: { readonly pid: number; readonly failure: unknown } | undefined;

  constructor(binding: Binding, file: PidFilePath, options: CleanupOptions) {
    this.#binding = binding;
    this.#file = file;
    this.#options = options;
  }

  /** Goes one step further. True: the file is gone. */
  async isDone(): Promise<boolean> {
    const seen = await this.#inspect();
    if (seen === undefined) return true;
    if (seen.pid === undefined) throw noPid(this.#file, seen.content);
    const acquired = await tryAcquire(this.#binding, this.#file, CLEANER, { create: false });
    if (acquired instanceof PidFileLock) {
      acquired.release();
      return true;
    }
    if (acquired.errno === 'ENOENT') return true;
    await this.#clear(seen, acquired);
    return false;
  }

  /** Gives `undefined` where there is no file. */
  async #inspect(): Promise<Inspection | undefined> {
    try {
      return await inspectPidFile(this.#binding, this.#file);
    } catch (error) {
      if (error instanceof PidFileError && error.errno === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Ends the holder, or waits for another cleaner, or throws where neither may be done. */
  async #clear({ pid, holder: seenHolder }: Inspection, problem: PidFileProblem): Promise<void> {
    if (problem.heldBy === undefined) throw new PidFileError(this.#file.name, problem);
    const { pid: holder } = problem.heldBy;
    // Nothing is signaled for what stood in the file before this holder had it.
    if (seenHolder !== (holder ?? 0)) return;
    if (pid === CLEANER && this.#pauses < MOST_PAUSES) {
      this.#pauses += 1;
      await delay(PAUSE_MS);
      return;
    }
    // A process out of reach, this process, or a cleaner that does not come to an end.
    if (holder === undefined || holder === process.pid || pid === CLEANER)
      throw new PidFileError(this.#file.name, problem);
    if (pid !== holder)
      throw new PidFileError(this.#file.name, { heldBy: problem.heldBy, notEnded: { named: pid ?? 0 } });
    if (this.#ended?.pid === holder)
      throw new PidFileError(this.#file.name, { ...problem, ...notEnded(this.#ended.failure) });
    // One that has come after the first is not the one that the caller meant.
    if (this.#ended !== undefined) throw new PidFileError(this.#file.name, problem);
    this.#ended = { pid: holder, failure: await this.#end(holder) };
  }

  /** Ends the holder, and gives what went wrong. Whether it is gone, its lock tells: a zombie has none. */
  async #end(holder: number): Promise<unknown> {
    try {
      await killPainfully(holder, { ...this.#options, force: true });
      return undefined;
    } catch (error) {
      if (errnoOf(error) === 'EINVAL')
        throw new PidFileError(this.#file.name, { heldBy: holderOf(holder), notEnded: 'own-group', cause: error });
      return error;
    }
  }
}

const notEnded = (cause: unknown) =>
  ({ notEnded: 'failed', errno: errnoOf(cause) ?? 'EBUSY', syscall: 'kill', cause }) as const;
