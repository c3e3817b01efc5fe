import { readers } from '../engine/drain.js';
import { dryRunOf } from '../engine/dry-run.js';
import { addonInUse } from '../engine/select.js';
import { readOptions } from '../errors/argument-error.js';
import { ProcessError } from '../errors/process-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { type AdoptedEvent, onLaunch, publishAdopted } from '../events/events.js';
import { PidFd } from '../host/pidfd.js';
import { isOver, type ProcessRow, type ProcessTable, programNameOf, readProcessTable } from '../host/process-table.js';
import { clearTimeout, now, setImmediate, setTimeout, soon } from '../host/time.js';
import type { Binding } from '../native/binding.js';
import { exitStatusOf } from '../result/exit-status.js';
import { isMainThread } from '../spec/late.js';
import { errnoName } from '../text/errno.js';
import { disown, own, ownedPids, type Signalable } from './owned-children.js';

/** How {@link adoptOrphans} tells of ends. */
export interface AdoptOptions {
  /** Called with each adopted process that has ended, when it is reaped. What it throws is uncaught. Default: nothing. */
  readonly onEnd?: (end: AdoptedEvent) => void;
}

/** What {@link adoptOrphans} gives: the way to end it, by `using` or by hand. */
export interface Adoption {
  /** Ends the adoption and its reports. Processes that were adopted before stay children of this process, and are reaped. */
  [Symbol.dispose](): void;
}

/** The least time between two looks: a burst of ends is one look. */
const LOOK_MS = 100;

/**
 * Grace for a dead child of unknown origin: other code in this process may not have waited for it yet. Node itself and this
 * library take one turn of the event loop, or less.
 */
const GRACE_MS = 1000;

/** What is known of a child of this process that no `Child` stands for. */
interface Orphan {
  readonly row: ProcessRow;
  command: string | undefined;
  /** Whether it certainly began as the child of another process. */
  isProven: boolean;
  /** When it was first seen dead. */
  deadSince: number | undefined;
}

/** A process below this one, and the pids between them, from its parent up. */
interface Line {
  readonly row: ProcessRow;
  readonly above: readonly number[];
}

/**
 * Becomes the parent of all that is orphaned below this process, daemons included, and reaps it: no zombie stays, and each
 * end is told, to `onEnd` and on the channel `vircommand:adopted`. In a `dryRun()` it does nothing.
 *
 * Without it orphans go to init, or to the next process above that adopts. Made for long-lived services, and for
 * PID 1 of a container, where SIGTERM and its like then end this process too (the kernel keeps them from a PID 1 that has
 * no handler). Calls may overlap; the last one that is disposed switches adoption off. Adopted processes outlive this
 * process. Stands on `prctl(PR_SET_CHILD_SUBREAPER)`.
 *
 * A process is reaped by its own pidfd, never by `waitpid(-1)`: children of `child_process`, of `cluster`, of this library
 * and of worker threads keep their exit codes. See docs/reaping.md for the promise and its limits.
 *
 * @throws {UnsupportedError} on the portable engine, and in a worker thread. {ProcessError} where `/proc` cannot be read.
 * {TypeError} for options that are none.
 *
 * @example
 * using orphans = adoptOrphans({ onEnd: ({ pid, command, exitCode }) => console.log(pid, command, exitCode) });
 * await new Command('sh', '-c', 'sleep 0.1 &').run(); // the sleep is ours now, and is reaped at its end
 */
export function adoptOrphans(options?: AdoptOptions): Adoption {
  const listener = readOptions('adoptOrphans', [], options, { onEnd: 'function' });
  if (dryRunOf('adoptOrphans') !== undefined) return { [Symbol.dispose]: () => undefined };
  const binding = addonInUse();
  const noCommand = { command: '', spec: undefined };
  if (binding === undefined) {
    throw new UnsupportedError(noCommand, {
      feature: 'adoptOrphans',
      engine: 'portable',
      why: 'Node has no call that makes a process adopt orphans',
    });
  }
  if (!isMainThread()) {
    throw new UnsupportedError(noCommand, {
      feature: 'adoptOrphans',
      engine: 'native',
      why: 'a worker hears no signals; the main thread can adopt',
    });
  }
  adopter ??= new Adopter(binding);
  adopter.add(listener);
  return {
    [Symbol.dispose]: () => {
      adopter?.remove(listener);
    },
  };
}

/** The pids of orphans that stood below a process when they were last seen with their parents. Empty without {@link adoptOrphans}. */
export function orphansFrom(pid: number): readonly number[] {
  return adopter?.orphansFrom(pid) ?? [];
}

/** Whether this process adopts orphans now. */
export const adoptsOrphans = (): boolean => adopter?.isOn === true;

let adopter: Adopter | undefined;

/** Knows the children of this process that no `Child` stands for, and reaps those that nothing else waits for. */
class Adopter {
  readonly #binding: Binding;
  readonly #listeners = new Set<AdoptOptions>();
  readonly #orphans = new Map<number, Orphan>();
  /** Daemons of this library, which become our children by their launch: their commands. */
  readonly #daemons = new Map<number, string>();
  /** What stood above each process below this one, as far as that was ever seen. */
  #lines = new Map<number, Line>();
  #stopHearing: (() => void) | undefined;
  #wasOn = 0;
  #timer: NodeJS.Timeout | undefined;
  #due = 0;
  #lookedAt = -Infinity;

  constructor(binding: Binding) {
    this.#binding = binding;
  }

  get isOn(): boolean {
    return this.#listeners.size > 0;
  }

  add(listener: AdoptOptions): void {
    if (!this.isOn) {
      // Where nothing can be looked at, nothing could be reaped: that is an error of the first call.
      readProcessTable(this.#binding);
      this.#switchOn();
    }
    this.#listeners.add(listener);
    this.#begin();
  }

  remove(listener: AdoptOptions): void {
    if (!this.#listeners.delete(listener) || this.isOn) return;
    this.#binding.setSubreaper(this.#wasOn);
    disown(exitHandler);
    this.#look();
  }

  orphansFrom(pid: number): readonly number[] {
    return Array.from(this.#lines.values())
      .filter(({ above }) => above.includes(pid))
      .map(({ row }) => row.pid);
  }

  #switchOn(): void {
    const before = this.#binding.setSubreaper(1);
    if (before < 0)
      throw new ProcessError(`Cannot adopt orphans (prctl: ${errnoName(before)}).`, {
        code: errnoName(before),
        pid: process.pid,
        syscall: 'prctl',
      });
    this.#wasOn = before;
    // As PID 1, this process needs handlers for signals even while it has no child to end.
    if (process.pid === 1) own(exitHandler);
  }

  #begin(): void {
    if (this.#stopHearing !== undefined) return;
    readers.keep(true);
    process.on('SIGCHLD', this.#onChildEnd);
    const stopLaunches = onLaunch(({ spec, pid, command }) => {
      if (spec.daemonize === true) this.#daemons.set(pid, command);
    });
    this.#stopHearing = () => {
      process.off('SIGCHLD', this.#onChildEnd);
      stopLaunches();
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
    this.#look();
  }

  readonly #onChildEnd = (): void => {
    this.#lookIn(Math.max(0, this.#lookedAt + LOOK_MS - now()));
  };

  /** Looks after so many milliseconds, and after a turn of the event loop, in which other code that waits for a child hears of its end. */
  #lookIn(ms: number): void {
    const due = now() + ms;
    if (this.#timer !== undefined && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
    this.#timer = setTimeout(() => {
      setImmediate(() => {
        this.#timer = undefined;
        this.#look();
      });
    }, ms).unref();
  }

  #look(): void {
    const table = this.#table();
    this.#lookedAt = now();
    if (table === undefined) {
      // That no descriptor is free ends no process: what is known stays known, and the next look may see more.
      this.#lookIn(GRACE_MS + LOOK_MS);
      return;
    }
    this.#remember(table);
    const ends = Array.from(this.#orphans.values()).flatMap((orphan) => this.#reap(orphan, table) ?? []);
    for (const end of ends) {
      if (readers.take(end.pid)) continue;
      publishAdopted(end);
      // Each on its own: one listener that throws takes nothing from the others.
      for (const { onEnd } of this.#listeners) if (onEnd !== undefined) soon(() => onEnd(end));
    }
    if (!this.isOn && this.#orphans.size === 0) {
      this.#stopHearing?.();
      this.#stopHearing = undefined;
      readers.keep(false);
    } else if (Array.from(this.#orphans.values()).some(({ deadSince }) => deadSince !== undefined)) {
      // No signal will tell that its time is over, or that the thread which should have reaped it is gone.
      this.#lookIn(GRACE_MS + LOOK_MS);
    }
  }

  #table(): ProcessTable | undefined {
    try {
      return readProcessTable(this.#binding);
    } catch (error) {
      if (error instanceof ProcessError) return undefined;
      throw error;
    }
  }

  /** Notes which children are new, which are gone, and what stands above what. */
  #remember(table: ProcessTable): void {
    const owned = ownedPids();
    const self = table.get(process.pid);
    const lines = new Map<number, Line>();
    for (const row of table.values()) {
      const above = lineage(table, row);
      const before = this.#lines.get(row.pid);
      const isKnown = before?.row.start === row.start;
      if (above === undefined) continue;
      // A process that has lost its parent keeps the line that it came from.
      lines.set(row.pid, { row, above: above.length === 0 && isKnown ? before.above : above });
      if (row.parent !== process.pid || owned.has(row.pid)) continue;
      const orphan = this.#orphans.get(row.pid);
      if (orphan?.row.start === row.start) continue;
      const command = this.#daemons.get(row.pid);
      this.#daemons.delete(row.pid);
      // A child that was forked here is in our session, unless it leads one of its own.
      const isForeign = row.session !== self?.session && row.session !== row.pid;
      const isProven = command !== undefined || isForeign || (isKnown && before.row.parent !== process.pid);
      this.#orphans.set(row.pid, { row, command: command ?? programNameOf(row.pid), isProven, deadSince: undefined });
    }
    this.#lines = lines;
    for (const [pid, { row }] of this.#orphans) if (table.get(pid)?.start !== row.start) this.#orphans.delete(pid);
  }

  /** Reaps an orphan that is dead and that no other code waits for. */
  #reap(orphan: Orphan, table: ProcessTable): AdoptedEvent | undefined {
    const { pid } = orphan.row;
    const row = table.get(pid);
    if (row === undefined || !isOver(row)) return undefined;
    orphan.deadSince ??= now();
    if (!orphan.isProven && now() - orphan.deadSince < GRACE_MS) return undefined;
    const pidfd = PidFd.openRow(this.#binding, orphan.row);
    // It cannot be held just now; the next look tries again.
    if (typeof pidfd === 'string') return undefined;
    const end = pidfd.reap();
    pidfd.close();
    // Nothing to reap: other threads of it still run, or it is the child of a thread of ours, which waits for it itself.
    if (end === undefined) return undefined;
    this.#orphans.delete(pid);
    const [code = 0, status = 0, userMs = 0, systemMs = 0, maxRssKib = 0] = end;
    return {
      pid,
      command: orphan.command,
      ...exitStatusOf(code, status),
      resourceUsage: { userMs, systemMs, maxRssKib },
    };
  }
}

/** Stands in the place of a child, so that the handlers of an exiting process are up. It has no process to signal. */
const exitHandler: Signalable = { pid: 0, signal: () => false };

/** The pids between a process and this one, from the parent up; `undefined` for a process that is not below this one. */
function lineage(table: ProcessTable, row: ProcessRow): readonly number[] | undefined {
  const above: number[] = [];
  for (let parent = row.parent; parent !== process.pid; parent = table.get(parent)?.parent ?? 0) {
    // No way up is longer than the table, which was not read in one instant.
    if (parent === 0 || above.length > table.size) return undefined;
    above.push(parent);
  }
  return above;
}
