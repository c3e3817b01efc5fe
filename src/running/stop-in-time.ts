import { trySignal, type Signalable } from '../ending/owned-children.js';
import type { Clock } from '../host/time.js';
import { onAbort } from '../io/on-abort.js';
import type { StopSequence } from '../spec/spec.js';
import type { SignalName } from '../text/signals.js';
import type { Launch } from './launch.js';
import { type StopCause, Stopping } from './stopping.js';

/** A child that can be stopped, by an engine's process of either kind. */
export interface Stoppable extends Signalable {
  stopReading(): void;
}

/** The state of stopping for a launch, as its command says. */
export const stoppingOf = ({ deadline, spec }: Launch): Stopping => new Stopping(deadline, spec);

/** Sends a signal that {@link Stopping.next} has given. False: the child has ended, and there is nobody to stop. */
export function sendDue(
  stopping: Stopping,
  signal: SignalName,
  child: Stoppable,
  { clock, startedAt }: Pick<Launch, 'clock' | 'startedAt'>,
): boolean {
  child.stopReading();
  // What stands before its handshake has every signal blocked, and nothing of its own to tidy up.
  const sent = child.handshake?.isPending === true ? 'SIGKILL' : signal;
  const outcome = trySignal(child, sent);
  stopping.noteSent(sent, outcome, clock.now() - startedAt);
  return outcome !== 'ended';
}

/** Drives {@link Stopping} by the event loop: with a timer for what is due, and an ear for the abort signal. */
export class StopInTime {
  readonly #stopping: Stopping;
  readonly #clock: Clock;
  readonly #send: (signal: SignalName) => boolean;
  #stopTimer: (() => void) | undefined;
  #callOff: (() => void) | undefined;
  #isOver = false;

  /** `send` gives false where there is nobody to stop. */
  constructor(
    stopping: Stopping,
    { clock, abortSignal }: Pick<Launch, 'clock' | 'abortSignal'>,
    send: (signal: SignalName) => boolean,
  ) {
    this.#stopping = stopping;
    this.#clock = clock;
    this.#send = send;
    if (abortSignal !== undefined) {
      this.#callOff = onAbort(abortSignal, (cause) => {
        this.begin({ reason: 'aborted', cause });
      });
    }
    // Even where the time is over already, the caller has its word first: it may let the child go.
    this.#wait(stopping.untilDue(this.#clock.now()));
  }

  /** Begins to stop the child, by its own sequence or by another. */
  begin(cause: StopCause, sequence?: StopSequence): void {
    if (this.#isOver) return;
    this.#stopping.begin(cause, this.#clock.now(), sequence);
    this.#goOn();
  }

  /** Neither the time nor the abort signal reaches the child any more. What has begun goes on. */
  letGo(): void {
    this.#callOff?.();
    this.#callOff = undefined;
    this.#stopping.forgetDeadline();
    this.#goOn();
  }

  /** The child has ended: there is nothing to do any more. */
  end(): void {
    this.#isOver = true;
    this.#callOff?.();
    this.#stopTimer?.();
  }

  #wait(ms: number): void {
    if (ms !== Infinity) this.#stopTimer = this.#clock.after(ms, this.#goOn);
  }

  readonly #goOn = (): void => {
    this.#stopTimer?.();
    this.#stopTimer = undefined;
    for (;;) {
      if (this.#isOver) return;
      const next = this.#stopping.next(this.#clock.now());
      if (typeof next === 'string') {
        if (!this.#send(next)) return;
      } else {
        this.#wait(next);
        return;
      }
    }
  };
}
