import { lstatSync, unlinkSync } from 'node:fs';
import { resolve } from 'node:path';
import { inspect } from 'node:util';
import { takeProblem } from '../wire/pidfile-answer.js';
import { engineInfo } from '../engine/select.js';
import { PidFileError, type PidFileProblem } from '../errors/pidfile-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import type { Binding } from '../native/binding.js';
import { delay } from '../host/time.js';
import { native } from '../native/load.js';
import { errnoName } from '../text/errno.js';
import { contentOf, errnoOf, fileError, leadsTo, pidIn, withPidFile } from './content.js';

/** How {@link PidFile.acquire} goes about it. */
export interface AcquireOptions {
  /** Wait until the holder gives the file up, or ends. Default: false, which rejects at once. */
  readonly wait?: boolean;
  /** Ends the wait: it then rejects with a `PidFileError` whose `cause` is the reason of the abort. */
  readonly signal?: AbortSignal;
  /** The pid to write. The lock is this process's, whatever is written. Default: the pid of this process. */
  readonly pid?: number;
}

/** What this thread holds, by path. It also keeps a lock that nobody has a variable for: it lasts until it is released. */
const locks = new Map<string, PidFileLock>();

/** How often a file is looked at that another process holds. Nobody tells when a lock goes. */
const RETRY_MS = 20;

/**
 * A pidfile that this process holds, from {@link PidFile.acquire}. It is held until it is released, or this process ends;
 * a worker's locks end with the worker.
 *
 * @example
 * {
 *   using lock = await PidFile.acquire('/run/my-daemon.pid');
 *   console.log(lock.path, lock.pid);
 * } // removed, and free for the next one
 */
export class PidFileLock implements Disposable {
  /** The file, as an absolute path. */
  readonly path: string;
  /** The pid that stands in it. */
  readonly pid: number;
  readonly #binding: Binding;
  #taken: { readonly id: number; readonly dev: bigint; readonly ino: bigint } | undefined;

  /** @internal */
  constructor(path: string, pid: number, binding: Binding, taken: { id: number; dev: bigint; ino: bigint }) {
    this.path = path;
    this.pid = pid;
    this.#binding = binding;
    this.#taken = taken;
  }

  /** Whether it has not been released yet. */
  get isHeld(): boolean {
    return this.#taken !== undefined;
  }

  /**
   * Removes the file and then gives up the lock, so that nobody's file but this one is removed: a next owner can only take
   * what the path leads to. Another file that has come to its place stays. Once more does nothing.
   *
   * It is synchronous, two system calls: the last thing that a handler of `exit` can do. Answers to `virPidFileReleasePath`.
   *
   * @throws {PidFileError} if the file cannot be removed; the lock is gone all the same.
   *
   * @example
   * const lock = await PidFile.acquire('/run/my-daemon.pid');
   * process.once('exit', () => lock.release());
   */
  release(): void {
    const taken = this.#taken;
    if (taken === undefined) return;
    this.#taken = undefined;
    if (locks.get(this.path) === this) locks.delete(this.path);
    try {
      const found = lstatSync(this.path, { bigint: true, throwIfNoEntry: false });
      if (found?.ino === taken.ino && found.dev === taken.dev) unlinkSync(this.path);
    } catch (cause) {
      // Somebody who knows no locks may have removed it between the two calls; that is as good.
      if (errnoOf(cause) !== 'ENOENT') throw fileError(this.path, 'removed', cause);
    } finally {
      this.#binding.releasePidFile(taken.id);
    }
  }

  /** The same as {@link PidFileLock.release}, for `using`. */
  [Symbol.dispose](): void {
    this.release();
  }

  /** One line for `console.log`. */
  [inspect.custom](): string {
    return `PidFileLock { '${this.path}', pid ${this.pid}${this.isHeld ? '' : ', released'} }`;
  }
}

/** The addon, or an error that says why `feature` needs it and there is none. */
export function lockBinding(feature: string): Binding {
  const { engine, why, refuses } = engineInfo();
  const subject = { command: '', spec: undefined };
  if (refuses['launch'] !== undefined) throw new UnsupportedError(subject, { feature, engine, why });
  if (typeof native !== 'string' && engine !== 'portable') return native.binding;
  const reason = typeof native === 'string' ? native : why;
  throw new UnsupportedError(subject, {
    feature,
    engine: 'portable',
    why: `the locks of pidfiles take the addon of the native engine, and ${reason}`,
  });
}

/** Throws for a path that the kernel would cut, or that would mean a directory. */
export function checkPath(call: string, path: string): string {
  if (typeof path !== 'string' || path === '' || path.includes('\0')) {
    throw new TypeError(
      `${call}(${inspect(path)}): give the path of a pidfile, a text that is not empty and holds no NUL; PidFile.path() makes one.`,
    );
  }
  return resolve(path);
}

/** Takes a pidfile, once, or tells why not. Its path is absolute. */
export async function take(
  binding: Binding,
  path: string,
  pid: number,
  { create }: { create: boolean },
): Promise<PidFileLock | PidFileProblem> {
  const answer = await binding.takePidFile(path, String(pid), create ? 1 : 0);
  if (answer === undefined) return { action: 'written', errno: 'ENOMEM', syscall: 'pthread_create' };
  if (answer.length === 2) return takeProblem(...answer);
  const [, , id, dev, ino] = answer;
  return new PidFileLock(path, pid, binding, { id, dev, ino });
}

export async function acquire(
  file: string,
  { wait = false, signal, pid = process.pid }: AcquireOptions = {},
): Promise<PidFileLock> {
  const path = checkPath('PidFile.acquire', file);
  if (!Number.isInteger(pid) || pid < 1 || pid > 0x7fff_ffff) {
    throw new TypeError(
      `PidFile.acquire(${inspect(file)}, { pid: ${inspect(pid)} }): a pid is a whole number from 1 to 2147483647.`,
    );
  }
  const binding = lockBinding('PidFile.acquire');
  let problem: PidFileProblem = {};
  while (signal?.aborted !== true) {
    const taken = await take(binding, path, pid, { create: true });
    if (taken instanceof PidFileLock) {
      locks.set(path, taken);
      return taken;
    }
    if (!wait || taken.heldBy === undefined) throw new PidFileError(path, taken);
    problem = taken;
    await delay(RETRY_MS);
  }
  throw new PidFileError(path, { ...problem, aborted: true, cause: signal.reason });
}

export function release(lock: PidFileLock | string): void {
  if (typeof lock !== 'string') {
    lock.release();
    return;
  }
  const path = checkPath('PidFile.release', lock);
  const held = locks.get(path);
  if (held === undefined) throw new PidFileError(path, { isNot: 'held' });
  held.release();
}

// ---------------------------------------------------------------- looking

/** What stands in a pidfile and who has its lock, seen at one moment. */
export interface Look {
  readonly content: string;
  /** The pid in it, or `undefined` if there is none. */
  readonly pid: number | undefined;
  /** Who holds the lock; 0: somebody who cannot be seen from here. `undefined`: nobody, the file is stale. */
  readonly holder: number | undefined;
}

/** An owner locks the file first and writes its pid then, microseconds later: so often it is looked at again. */
const LOOKS = 20;
const LOOK_MS = 5;

/**
 * Looks at a pidfile until what is seen makes sense: as long as the holder and the pid differ, an owner may be about to
 * write, and the pid be that of one long dead. What stays so for a tenth of a second was meant so.
 */
export async function look(binding: Binding, path: string): Promise<Look> {
  for (let looks = 1; ; looks += 1) {
    const seen = await lookOnce(binding, path);
    if (seen !== undefined && (looks >= LOOKS || isSettled(seen))) return seen;
    if (seen !== undefined) await delay(LOOK_MS);
  }
}

function isSettled({ content, pid, holder }: Look): boolean {
  // An empty file that nobody holds has just been made, or its maker has died at once.
  if (holder === undefined) return content !== '';
  return holder === 0 ? pid !== undefined : pid === holder || pid === 0;
}

/** Gives `undefined` where another file has come to the path meanwhile. */
async function lookOnce(binding: Binding, path: string): Promise<Look | undefined> {
  return await withPidFile(path, async (file) => {
    // The lock is asked for, and not tried: a lock that is only tried would turn away a starter that comes just then.
    const holder = binding.pidFileHolder(file.fd);
    if (holder < -1) throw new PidFileError(path, { action: 'read', errno: errnoName(holder + 1), syscall: 'fcntl' });
    const content = await contentOf(path, file);
    if (!(await leadsTo(path, file))) return undefined;
    return { content, pid: pidIn(content), holder: holder === 0 ? undefined : Math.max(holder, 0) };
  });
}
