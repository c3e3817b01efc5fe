import { killPainfully } from '../ending/kill-painfully.js';
import { holderOf } from '../wire/pidfile-answer.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { delay } from '../host/time.js';
import { errnoOf } from './content.js';
import { checkPath, lockBinding, look, type Look, PidFileLock, take } from './lock.js';

/** How {@link PidFile.forceCleanup} goes about it. */
export interface CleanupOptions {
  /** End the whole process group that the owner is in. Default: false. */
  readonly group?: boolean;
}

/** What a cleaner writes into the file that it has taken: the next cleaner shall not signal it. */
const CLEANER = 0;

/** Another cleaner has the file for the time of two system calls. */
const PAUSE_MS = 10;
const PAUSES = 500;

/**
 * Takes the file, as an owner would, and removes it while it has the lock: so it never removes the file of an owner. If it
 * cannot be taken, the holder is ended first.
 */
export async function forceCleanup(file: string, { group = false }: CleanupOptions = {}): Promise<void> {
  const path = checkPath('PidFile.forceCleanup', file);
  const binding = lockBinding('PidFile.forceCleanup');
  let ended: { readonly pid: number; readonly failure: unknown } | undefined;
  for (let pauses = 0; ;) {
    const seen = await lookOrMissing();
    if (seen === undefined) return;
    if (seen.pid === undefined) throw new PidFileError(path, { content: seen.content.slice(0, 40) });
    const taken = await take(binding, path, CLEANER, { create: false });
    if (taken instanceof PidFileLock) {
      taken.release();
      return;
    }
    if (taken.errno === 'ENOENT') return;
    if (taken.heldBy === undefined) throw new PidFileError(path, taken);
    const { pid: holder } = taken.heldBy;
    // Nobody is signaled for what stood in the file before this holder had it.
    if (seen.holder !== (holder ?? 0)) continue;
    if (seen.pid === CLEANER && pauses < PAUSES) {
      pauses += 1;
      await delay(PAUSE_MS);
      continue;
    }
    // Somebody out of reach, ourselves, or a cleaner that does not come to an end.
    if (holder === undefined || holder === process.pid || seen.pid === CLEANER) throw new PidFileError(path, taken);
    if (seen.pid !== holder) throw new PidFileError(path, { heldBy: taken.heldBy, notEnded: { named: seen.pid } });
    if (ended?.pid === holder) throw new PidFileError(path, { ...taken, ...failed(ended.failure) });
    // One that has come after the first is not whom the caller meant.
    if (ended !== undefined) throw new PidFileError(path, taken);
    ended = { pid: holder, failure: await end(holder) };
  }

  async function lookOrMissing(): Promise<Look | undefined> {
    try {
      return await look(binding, path);
    } catch (error) {
      if (error instanceof PidFileError && error.errno === 'ENOENT') return undefined;
      throw error;
    }
  }

  /** Ends the holder, and gives what went wrong. Whether it is gone, its lock tells: a zombie has none. */
  async function end(holder: number): Promise<unknown> {
    try {
      await killPainfully(holder, { force: true, group });
      return undefined;
    } catch (error) {
      if (errnoOf(error) === 'EINVAL')
        throw new PidFileError(path, { heldBy: holderOf(holder), notEnded: 'own-group', cause: error });
      return error;
    }
  }
}

const failed = (cause: unknown) =>
  ({ notEnded: 'failed', errno: errnoOf(cause) ?? 'EBUSY', syscall: 'kill', cause }) as const;
