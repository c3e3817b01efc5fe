import { onExit } from 'signal-exit';
import { signals } from 'signal-exit/signals';
import { setTimeout } from '../host/time.js';
import { type SignalName, signalNumber } from '../text/signals.js';

/** A process that can be signaled. */
export interface Signalable {
  readonly pid: number;
  signal(signal: SignalName): boolean;
}

/** libvirt's pause between asking a process to end and ending it, in `virProcessAbort`. */
export const ABORT_GRACE_MS = 10;

// Node ignores SIGXFSZ, so that a file that grows too large is an error and not the end. A handler that comes and goes
// would leave the default action behind; so there shall be none.
const fileTooLarge = signals.indexOf('SIGXFSZ');
if (fileTooLarge >= 0) signals.splice(fileTooLarge, 1);

/** What shells add to the number of a signal that ended a program. */
const SIGNAL_EXIT = 128;

const owned = new Set<Signalable>();
let forget: (() => void) | undefined;
let idle: NodeJS.Timeout | undefined;

/** To put the handlers up and take them down again costs more than a launch: a series of commands keeps them. */
const IDLE_MS = 100;

/** From now on, the child ends at the latest when this process does. */
export function own(child: Signalable): void {
  owned.add(child);
  // The handlers for signals and for the exit are there only while there is something to clean up, and a moment longer.
  forget ??= onExit(endWithUs);
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

/** The pids of the children that end with this process. */
export function ownedPids(): Set<number> {
  return new Set(Array.from(owned, ({ pid }) => pid));
}

/** Ends the children of a process that is about to exit, or to become another program: ask, wait for a moment without an event loop, end. */
export function endOwned(): void {
  // Nobody has reaped these children, since no event loop runs any more: their pids cannot mean somebody else.
  const asked = Array.from(owned).filter((child) => trySignal(child, 'SIGTERM') === 'sent');
  if (asked.length > 0) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ABORT_GRACE_MS);
  for (const child of asked) trySignal(child, 'SIGKILL');
}

function endWithUs(_exitCode: unknown, signal: NodeJS.Signals | null): void {
  endOwned();
  // The kernel keeps from PID 1 every signal that has no handler, and ours is down by now: sent again, it would be lost.
  if (signal !== null && process.pid === 1) process.exit(SIGNAL_EXIT + (signalNumber(signal) ?? 0));
}

/** Sends a signal to a child that may have taken other ids: then it is out of reach, and lives on. */
export function trySignal(child: Signalable, signal: SignalName): 'sent' | 'ended' | 'refused' {
  try {
    return child.signal(signal) ? 'sent' : 'ended';
  } catch {
    // EPERM is no failure of the rest, which must still be ended.
    return 'refused';
  }
}
