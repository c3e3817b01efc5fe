import { readFileSync } from 'node:fs';
import pidtree from 'pidtree';
import { onExit } from 'signal-exit';
import { signals } from 'signal-exit/signals';
import { setTimeout as delay } from 'node:timers/promises';
import type { SignalName } from './signals.js';

/** A process that can be signalled. */
export interface Signalable {
  readonly pid: number;
  signal(signal: SignalName): boolean;
}

/** libvirt's pause between asking a process to end and ending it, in `virProcessAbort`. */
export const ABORT_GRACE_MS = 10;

// ---------------------------------------------------------------- the children of this process

// Node ignores SIGXFSZ, so that a file that grows too large is an error and not the end. A handler that comes and goes
// would leave the default action behind; so there shall be none.
const fileTooLarge = signals.indexOf('SIGXFSZ');
if (fileTooLarge >= 0) signals.splice(fileTooLarge, 1);

const owned = new Set<Signalable>();
let forget: (() => void) | undefined;
let idle: NodeJS.Timeout | undefined;

/** To put the handlers up and take them down again costs more than a launch: a series of commands keeps them. */
const IDLE_MS = 100;

/** From now on, the child ends at the latest when this process does. */
export function own(child: Signalable): void {
  owned.add(child);
  // The handlers for signals and for the exit are there only while there is something to clean up, and a moment longer.
  forget ??= onExit(endOwned);
}

/** The child has ended, or may outlive this process. */
export function disown(child: Signalable): void {
  owned.delete(child);
  if (owned.size > 0) return;
  if (idle === undefined) idle = setTimeout(forgetWhenIdle, IDLE_MS).unref();
  else idle.refresh();
}

function forgetWhenIdle(): void {
  idle = undefined;
  if (owned.size > 0) return;
  forget?.();
  forget = undefined;
}

/** Ends the children of a process that is about to exit, or to become another program: ask, wait for a moment without an event loop, end. */
export function endOwned(): void {
  // Nobody has reaped these children, since no event loop runs any more: their pids cannot mean somebody else.
  const asked = Array.from(owned).filter((child) => child.signal('SIGTERM'));
  if (asked.length === 0) return;
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ABORT_GRACE_MS);
  for (const child of asked) child.signal('SIGKILL');
}

// ---------------------------------------------------------------- any process

/** Whether there is a process with that pid, ended ones included that nobody has reaped. */
export function isAlive(pid: number): boolean {
  return send(pid, 0) !== 'ESRCH';
}

/** Whether a process has ended and is only remembered until its parent asks. */
function isZombie(pid: number): boolean {
  try {
    return /\) [ZX] /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));
  } catch {
    return false;
  }
}

/** Sends a signal and gives the errno of a failure. A negative pid means the process group. */
function send(pid: number, signal: SignalName | 0): string | undefined {
  try {
    process.kill(pid, signal);
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? 'EIO';
  }
}

/** How {@link killPainfully} goes about it. */
export interface KillOptions {
  /** Send SIGKILL after ten seconds, and wait up to forty. Default: false, which gives up after fifteen. */
  readonly force?: boolean;
  /** Signal the whole process group that the pid leads. Default: false. */
  readonly group?: boolean;
}

const PROBE_MS = 200;
const FORCE_AFTER_PROBES = 50;
const PROBES = 75;
const PROBES_WITH_FORCE = 200;

/**
 * Ends a process that is not ours, such as a daemon known by its pidfile, and resolves when it is gone.
 *
 * SIGTERM at once, then a look every 0.2 s; with `force`, SIGKILL after 10 s. A zombie counts as alive, as in
 * `virProcessKillPainfully`, to which this answers. A pid of 1 or less is nobody: it counts as gone.
 *
 * @throws {Error} with `code` `EPERM` if the process may not be signalled, `EBUSY` if it is still there after 15 s (40 s with `force`).
 *
 * @example
 * const pid = await PidFile.readIfAlive('/run/dnsmasq.pid', '/usr/sbin/dnsmasq');
 * if (pid !== undefined) await killPainfully(pid, { force: true });
 */
export async function killPainfully(pid: number, { force = false, group = false }: KillOptions = {}): Promise<void> {
  if (!Number.isInteger(pid)) throw new TypeError(`killPainfully(${String(pid)}): a pid is a whole number; read it with PidFile.read().`);
  if (pid <= 1) return;
  const target = group ? -pid : pid;
  for (let probe = 0; probe < (force ? PROBES_WITH_FORCE : PROBES); probe += 1) {
    const signal = probe === 0 ? 'SIGTERM' : force && probe === FORCE_AFTER_PROBES ? 'SIGKILL' : 0;
    const errno = send(target, signal);
    if (errno === 'ESRCH') return;
    if (errno !== undefined) throw killError(pid, errno, `it may not be signalled (kill: ${errno})`);
    await delay(PROBE_MS);
  }
  if (send(target, 0) === 'ESRCH') return;
  throw killError(pid, 'EBUSY', force ? 'it is still there 30 s after SIGKILL' : 'it ignored SIGTERM for 15 s; say { force: true }');
}

function killError(pid: number, code: string, problem: string): Error {
  return Object.assign(new Error(`Cannot end process ${pid}: ${problem}.`), { code });
}

/** What {@link killTree} reached. */
export interface KillTreeResult {
  /** How the processes were found: by walking from parent to child, which misses those that have left the tree. */
  readonly level: 'walk';
  /** The pids that were ended. */
  readonly ended: readonly number[];
  /** The pids that were found and are still there. */
  readonly survivors: readonly number[];
}

const WALKS = 8;
const GONE_PROBES = 50;
const GONE_PROBE_MS = 10;

/**
 * Ends a process and all its descendants with SIGKILL, and tells who was reached.
 *
 * The tree is stopped from the root down before anything is ended, so that nothing forks away meanwhile. A process that
 * made itself a child of PID 1 before the call (a daemon) is not in the tree any more. Stands on pidtree.
 *
 * @example
 * const child = await new Command('sh', '-c', 'sleep 60 & sleep 60').runAsync();
 * const { survivors } = await killTree(child);
 */
export async function killTree(root: number | { readonly pid: number }): Promise<KillTreeResult> {
  const rootPid = typeof root === 'number' ? root : root.pid;
  if (!Number.isInteger(rootPid) || rootPid <= 1) {
    throw new TypeError(`killTree(${String(rootPid)}): a tree starts at a process above 1; give a Child, or its pid.`);
  }
  const stopped = new Set<number>();
  for (let walk = 0; walk < WALKS; walk += 1) {
    const fresh = (await descendants(rootPid)).filter((pid) => !stopped.has(pid));
    if (fresh.length === 0) break;
    for (const pid of fresh) {
      send(pid, 'SIGSTOP');
      stopped.add(pid);
    }
  }
  const pids = Array.from(stopped);
  for (const pid of pids) send(pid, 'SIGKILL');
  let survivors = pids;
  for (let probe = 0; probe < GONE_PROBES && survivors.length > 0; probe += 1) {
    await delay(GONE_PROBE_MS);
    survivors = survivors.filter((pid) => isAlive(pid) && !isZombie(pid));
  }
  return { level: 'walk', ended: pids.filter((pid) => !survivors.includes(pid)), survivors };
}

async function descendants(root: number): Promise<number[]> {
  try {
    return await pidtree(root, { root: true });
  } catch (error) {
    // pidtree says so where the root is gone; then there is no tree to walk.
    if (!isAlive(root)) return [];
    throw error;
  }
}
