import { isOver, isProcForeign, readProcess } from '../host/process-table.js';
import { holdThread, now, setTimeout } from '../host/time.js';
import { dependency } from '../native/dependencies.js';
import type { StopSequence } from '../spec/spec.js';
import { type SignalName, signalNumber } from '../text/signals.js';
import { abortSequence } from './stop-sequence.js';

/** A process that can be signaled. */
export interface Signalable {
  readonly pid: number;
  signal(signal: SignalName): boolean;
  readonly handshake?: { readonly isPending: boolean } | undefined;
}

/** What shells add to the number of a signal that ended a program. */
const SIGNAL_EXIT = 128;

/** How long the end of this process waits for children whose stop sequence says so, all of them together. */
const EXIT_LIMIT_MS = 5000;

/** How often such a child is looked at: no event loop tells of its end any more. */
const LOOK_MS = 5;

/** The children, each with the stop sequence that was said for it. */
const owned = new Map<Signalable, StopSequence | undefined>();
let forget: (() => void) | undefined;
let idle: NodeJS.Timeout | undefined;

/** To put the handlers up and take them down again costs more than a launch: a series of commands keeps them. */
const IDLE_MS = 100;

let isPrepared = false;

/**
 * Loads what {@link own} needs. It comes before the launch: who has no descriptor left to read a file by has no child yet.
 *
 * @throws What `require()` throws.
 */
export function prepareToOwn(): void {
  if (isPrepared) return;
  const { signals } = dependency('signal-exit');
  // Node ignores SIGXFSZ, so that a file that grows too large is an error and not the end. A handler that comes and goes
  // would leave the default action behind; so there shall be none.
  const fileTooLarge = signals.indexOf('SIGXFSZ');
  if (fileTooLarge >= 0) signals.splice(fileTooLarge, 1);
  isPrepared = true;
}

/** From now on, the child ends at the latest when this process does: by its stop sequence, if it has one. */
export function own(child: Signalable, stopSequence?: StopSequence): void {
  owned.set(child, stopSequence);
  // The handlers for signals and for the exit are there only while there is something to clean up, and a moment longer.
  prepareToOwn();
  forget ??= heardFirst(() => dependency('signal-exit').onExit(endWithUs));
}

/**
 * Has what is listened to here hear of a signal before everybody else. signal-exit takes a signal for the end of this process where nobody else listens at that
 * moment, and a listener of `process.once()` that was called before it is gone by then.
 */
function heardFirst<T>(listen: () => T): T {
  const signals = process.eventNames().filter((name) => String(name).startsWith('SIG')) as NodeJS.Signals[];
  const before = signals.map((signal) => [signal, process.listenerCount(signal)] as const);
  const result = listen();
  for (const [signal, count] of before) {
    for (const listener of process.rawListeners(signal).slice(count) as (() => void)[])
      process.off(signal, listener).prependListener(signal, listener);
  }
  return result;
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
  return new Set(Array.from(owned.keys(), ({ pid }) => pid));
}

/** How a child is ended here, step by step: each signal with its time from the beginning of the end. */
interface LastSteps {
  readonly child: Signalable;
  readonly steps: { readonly signal: SignalName; readonly atMs: number }[];
  /** Whether it is looked at, and not waited for once it has ended. */
  readonly isWatched: boolean;
}

function lastSteps(child: Signalable, sequence: StopSequence | undefined): LastSteps {
  // What stands before its handshake has every signal blocked, and nothing of its own to tidy up.
  const isWatched = sequence !== undefined && child.handshake?.isPending !== true;
  const steps: { signal: SignalName; atMs: number }[] = [];
  let atMs = 0;
  for (const [signal, graceMs] of isWatched ? sequence : abortSequence) {
    if (atMs >= EXIT_LIMIT_MS) break;
    steps.push({ signal, atMs });
    atMs += graceMs;
  }
  if (steps.at(-1)?.signal !== 'SIGKILL') steps.push({ signal: 'SIGKILL', atMs: Math.min(atMs, EXIT_LIMIT_MS) });
  return { child, steps, isWatched };
}

/**
 * Ends the children of a process that is about to exit, or to become another program, without an event loop: by SIGTERM, and
 * SIGKILL 10 ms later; or, where a stop sequence was said, by that, with SIGKILL after {@link EXIT_LIMIT_MS} at the latest.
 */
export function endOwned(): void {
  // Nobody has reaped these children, since no event loop runs any more: their pids cannot mean somebody else.
  let left = Array.from(owned, ([child, sequence]) => lastSteps(child, sequence));
  const startedAt = now();
  for (;;) {
    const passedMs = now() - startedAt;
    left = left.filter((one) => !isDone(one, passedMs));
    if (left.length === 0) return;
    const nextMs = Math.min(...left.map(({ steps }) => (steps.at(0)?.atMs ?? 0) - passedMs));
    holdThread(left.some(({ isWatched }) => isWatched) ? Math.min(nextMs, LOOK_MS) : nextMs);
  }
}

/** Takes the steps that are due. True: nothing is left to do for this child. */
function isDone({ child, steps, isWatched }: LastSteps, passedMs: number): boolean {
  if (isWatched && hasEnded(child)) return true;
  for (;;) {
    const next = steps.at(0);
    if (next === undefined) return true;
    if (next.atMs > passedMs) return false;
    steps.shift();
    if (trySignal(child, next.signal) !== 'sent') return true;
  }
}

/** Whether `/proc` shows that a child has ended, which nobody reaps any more. Where it shows nothing, that is not known. */
function hasEnded({ pid }: Signalable): boolean {
  const row = isProcForeign() ? undefined : readProcess(pid);
  return row !== undefined && isOver(row);
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
