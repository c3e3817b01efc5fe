import { lstatSync, unlinkSync } from 'node:fs';
import { inspect } from 'node:util';
import { type DryRunEngine, dryRunOf, holderInMemory } from '../engine/dry-run.js';
import { engineInfo } from '../engine/select.js';
import { isPidNumber, readOptions } from '../errors/argument-error.js';
import { PidFileError, type PidFileProblem } from '../errors/pidfile-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import type { Binding } from '../native/binding.js';
import { writeDenial } from '../host/permission.js';
import { delay } from '../host/time.js';
import { native } from '../native/load.js';
import { errnoName } from '../text/errno.js';
import { quoted } from '../text/shown.js';
import { acquireProblem } from '../wire/pidfile-answer.js';
import {
  contentOf,
  errnoOf,
  fileError,
  fromRoot,
  keyOf,
  leadsTo,
  type PidFilePath,
  pidFilePath,
  pidIn,
  withPidFile,
} from './content.js';
import { bare } from '../spec/bare.js';

/** How {@link PidFile.acquire} goes about it. */
export interface AcquireOptions {
  /** Wait until the holder gives the file up, or ends. Default: false, which rejects at once. */
  readonly wait?: boolean;
  /** Ends the wait: it then rejects with a `PidFileError` whose `cause` is the reason of the abort. */
  readonly signal?: AbortSignal;
  /** The pid to write. The lock is this process's, whatever is written. Default: the pid of this process. */
  readonly pid?: number;
}

/** What this thread holds, by the key of its path. It also keeps a lock that no variable holds: it lasts until it is released. */
const locks = new Map<string, PidFileLock>();

/** How often a file is tried again that another process holds. There is no event for the end of a lock. */
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
  /** The file, as an absolute path. Bytes that are not UTF-8 stand as `\xff`. */
  readonly path: string;
  /** The pid that stands in it. */
  readonly pid: number;
  #giveUp: (() => void) | undefined;

  /** @internal */
  constructor(path: string, pid: number, giveUp: () => void) {
    this.path = path;
    this.pid = pid;
    this.#giveUp = giveUp;
  }

  /** @internal Whether a value is a lock. Asks nothing of it that could throw. */
  static isLock(value: unknown): value is PidFileLock {
    return typeof value === 'object' && value !== null && #giveUp in value;
  }

  /** Whether it has not been released yet. */
  get isHeld(): boolean {
    return this.#giveUp !== undefined;
  }

  /**
   * Removes the file and then gives up the lock, so that no file but this one is removed: a next owner can only acquire
   * what the path leads to. Another file that has come to its place stays. A second call does nothing.
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
    const giveUp = this.#giveUp;
    this.#giveUp = undefined;
    giveUp?.();
  }

  /** The same as {@link PidFileLock.release}, for `using`. */
  [Symbol.dispose](): void {
    this.release();
  }

  /** A sentence: the file, and whether it is held. It stands in a template as well. */
  toString(): string {
    return `Pidfile ${quoted(this.path)} ${this.isHeld ? `is held for process ${this.pid}` : 'was released'}.`;
  }

  /** One line for `console.log`. */
  [inspect.custom](): string {
    return `PidFileLock { ${quoted(this.path)}, pid ${this.pid}${this.isHeld ? '' : ', released'} }`;
  }
}

/** The addon, or an error that says why `feature` needs it and there is none. */
export function lockBinding(feature: string): Binding {
  const { engine, why, refuses } = engineInfo();
  const subject = { command: '', spec: undefined };
  if (Object.hasOwn(refuses, 'launch')) throw new UnsupportedError(subject, { feature, engine, why });
  if (typeof native !== 'string' && engine !== 'portable') return native.binding;
  const reason = typeof native === 'string' ? native : why;
  throw new UnsupportedError(subject, {
    feature,
    engine: 'portable',
    why: `the locks of pidfiles take the addon of the native engine, and ${reason}`,
  });
}

/** What the addon tells of a lock: its number, and the file that is locked. */
interface Held {
  readonly id: number;
  readonly dev: bigint;
  readonly ino: bigint;
}

/** Tries once to acquire a pidfile, and tells why not. Its path begins at the root. */
export async function tryAcquire(
  binding: Binding,
  file: PidFilePath,
  pid: number,
  { create }: { create: boolean },
): Promise<PidFileLock | PidFileProblem> {
  const answer = await binding.takePidFile(file.path, String(pid), create ? 1 : 0);
  if (answer === undefined) return { action: 'written', errno: 'ENOMEM', syscall: 'pthread_create' };
  if (answer.length === 2) return acquireProblem(...answer);
  const [, , id, dev, ino] = answer;
  const key = keyOf(file);
  const lock: PidFileLock = new PidFileLock(file.name, pid, () => {
    if (locks.get(key) === lock) locks.delete(key);
    giveUp(binding, file, { id, dev, ino });
  });
  return lock;
}

const BIGINT_OR_MISSING = bare({ bigint: true, throwIfNoEntry: false } as const);

function giveUp(binding: Binding, { path, name }: PidFilePath, { id, dev, ino }: Held): void {
  try {
    const found = lstatSync(path, BIGINT_OR_MISSING);
    if (found?.ino === ino && found.dev === dev) unlinkSync(path);
  } catch (cause) {
    // A process that knows no locks may have removed it between the two calls; that is as good.
    if (errnoOf(cause) !== 'ENOENT') throw fileError(name, 'removed', cause);
  } finally {
    binding.releasePidFile(id);
  }
}

/** A lock that exists in a dry run alone. */
function tryInMemory(dryRun: DryRunEngine, file: PidFilePath, pid: number): PidFileLock | PidFileProblem {
  const found = dryRun.pidFile(file);
  const heldBy = found === undefined ? undefined : holderInMemory(found);
  if (heldBy !== undefined) return { heldBy };
  const lock: PidFileLock = new PidFileLock(file.name, pid, () => {
    if (dryRun.pidFile(file)?.owner === lock) dryRun.removePidFile(file);
  });
  dryRun.writePidFile(file, { pid, owner: lock });
  return lock;
}

const isAbortSignal = (value: unknown): boolean =>
  typeof value === 'object' &&
  value !== null &&
  typeof (value as Partial<AbortSignal>).aborted === 'boolean' &&
  typeof (value as Partial<AbortSignal>).addEventListener === 'function';

const acquireOptions = {
  wait: 'boolean',
  signal: { is: isAbortSignal, words: 'signal is an AbortSignal' },
  pid: {
    is: (value: unknown) => isPidNumber(value) && value >= 1,
    words: 'a pid is a whole number from 1 to 2147483647',
  },
} as const;

export async function acquire(given: string | Uint8Array, options?: AcquireOptions): Promise<PidFileLock> {
  const file = fromRoot(pidFilePath('PidFile.acquire', given));
  const { wait = false, signal, pid = process.pid } = readOptions('PidFile.acquire', [given], options, acquireOptions);
  const dryRun = dryRunOf('PidFile.acquire');
  const binding = dryRun === undefined ? lockBinding('PidFile.acquire') : undefined;
  const cause = dryRun === undefined ? writeDenial(file.name) : undefined;
  if (cause !== undefined) throw new PidFileError(file.name, { action: 'written', errno: 'ERR_ACCESS_DENIED', cause });
  let problem: PidFileProblem = {};
  while (signal?.aborted !== true) {
    const acquired =
      binding === undefined ? tryInMemory(dryRun!, file, pid) : await tryAcquire(binding, file, pid, { create: true });
    if (acquired instanceof PidFileLock) {
      if (binding !== undefined) locks.set(keyOf(file), acquired);
      return acquired;
    }
    if (!wait || acquired.heldBy === undefined) throw new PidFileError(file.name, acquired);
    problem = acquired;
    await delay(RETRY_MS);
  }
  throw new PidFileError(file.name, { ...problem, aborted: true, cause: signal.reason });
}

export function release(lock: PidFileLock | string | Uint8Array): void {
  const file = PidFileLock.isLock(lock) ? undefined : fromRoot(pidFilePath('PidFile.release', lock));
  const dryRun = dryRunOf('PidFile.release');
  const owner = file === undefined ? undefined : dryRun?.pidFile(file)?.owner;
  const named =
    file === undefined || (owner !== undefined && !PidFileLock.isLock(owner))
      ? undefined
      : (owner ?? locks.get(keyOf(file)));
  const held = PidFileLock.isLock(lock) ? lock : named;
  if (held === undefined) throw new PidFileError(file?.name ?? '', { isNot: 'held' });
  // In a dry run a real lock stays: it was acquired outside of it.
  if (dryRun === undefined || dryRun.knows(held)) held.release();
}

// ---------------------------------------------------------------- inspecting

/** What stands in a pidfile and which process has its lock, seen at one moment. */
export interface Inspection {
  readonly content: string;
  /** The pid in it, or `undefined` if there is none. */
  readonly pid: number | undefined;
  /** The process that holds the lock; 0: one that cannot be seen from here. `undefined`: none, the file is stale. */
  readonly holder: number | undefined;
}

/** An owner locks the file first and writes its pid then, microseconds later: so often it is inspected again. */
const MOST_INSPECTIONS = 20;
const INSPECTION_MS = 5;

/**
 * Inspects a pidfile until what is seen makes sense: as long as the holder and the pid differ, an owner may be about to
 * write, and the pid be that of one long dead. What stays so for a tenth of a second was meant so.
 */
export async function inspectPidFile(binding: Binding, file: PidFilePath): Promise<Inspection> {
  for (let inspections = 1; ; inspections += 1) {
    const seen = await inspectOnce(binding, file);
    if (seen !== undefined && (inspections >= MOST_INSPECTIONS || isSettled(seen))) return seen;
    if (seen !== undefined) await delay(INSPECTION_MS);
  }
}

function isSettled({ content, pid, holder }: Inspection): boolean {
  // An empty file without a lock has just been made, or its maker has died at once.
  if (holder === undefined) return content !== '';
  return holder === 0 ? pid !== undefined : pid === holder || pid === 0;
}

/** Gives `undefined` where another file has come to the path meanwhile. */
async function inspectOnce(binding: Binding, file: PidFilePath): Promise<Inspection | undefined> {
  return await withPidFile(file, async (opened) => {
    // The lock is asked for, and not tried: a lock that is only tried would turn away a starter that comes just then.
    const holder = binding.pidFileHolder(opened.fd);
    if (holder < -1)
      throw new PidFileError(file.name, { action: 'read', errno: errnoName(holder + 1), syscall: 'fcntl' });
    const content = await contentOf(file, opened);
    if (!(await leadsTo(file, opened))) return undefined;
    return { content, pid: pidIn(content), holder: holder === 0 ? undefined : Math.max(holder, 0) };
  });
}
