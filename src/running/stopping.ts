import { defaultSequence, withLastWord } from '../ending/stop-sequence.js';
import type { StopReport } from '../errors/exit-error.js';
import type { StopSequence } from '../spec/spec.js';
import type { SignalName } from '../text/signals.js';
import { elementAt } from '../text/reading.js';

/** Why a program is stopped. */
export type StopCause = Omit<StopReport, 'sent'>;

/** What a command says about being stopped. */
export interface StopRules {
  readonly timeoutMs?: number | undefined;
  readonly timeoutTree?: true | undefined;
  readonly stopSequence?: StopSequence | undefined;
  /** The longest time without a word of the program. */
  readonly silenceTimeoutMs?: number | undefined;
}

/** What is to be done next: send this signal; or wait so many milliseconds, `Infinity` where only the end is left to wait for. */
export type NextStep = SignalName | number;

/**
 * How a program is stopped, as a state that holds neither timer nor process: it is asked what comes next, at a time, and told
 * what became of that. The event loop, `runSync()` and a launch with a hook all drive the same state.
 *
 * The first cause is the one that is reported. A later one changes nothing, unless it brings a sequence of its own, which
 * begins at once: `abort()` hastens the end. One that is about the whole tree makes the end that of the tree, all of which is
 * asked from the first signal on.
 */
export class Stopping {
  readonly #sequence: StopSequence | undefined;
  readonly #timeoutMs: number | undefined;
  readonly #timeoutTree: boolean;
  /** When the next step is due. Until something has begun, that is the end of the program's time. */
  #dueAt: number;
  readonly #silenceMs: number | undefined;
  /** When it will have been silent for too long. */
  #silentAt = Infinity;
  /** Whether what it has written waits for a reader here, who holds it. */
  #isHeld: () => boolean = () => false;
  /** Whether it was held when its time of silence was over the last time. */
  #wasHeld = false;
  #cause: StopCause | undefined;
  #steps: StopSequence = [];
  /** The sequence that a cause brought with it. */
  #own: StopSequence | undefined;
  #step = 0;
  #sent: { signal: SignalName; atMs: number; graceMs: number }[] = [];
  #isReported = false;
  #endsTree = false;

  /** `deadline` is when the time is over, by the clock that {@link next} is asked with. */
  constructor(deadline: number, { timeoutMs, timeoutTree, stopSequence, silenceTimeoutMs }: StopRules) {
    this.#silenceMs = silenceTimeoutMs;
    this.#dueAt = deadline;
    this.#timeoutMs = timeoutMs;
    this.#timeoutTree = timeoutTree === true;
    this.#sequence = stopSequence;
  }

  /** Has the program stopped, from now on; with `tree`, its whole tree. */
  begin(cause: StopCause, now: number, sequence?: StopSequence, tree = false): void {
    const widens = tree && !this.#endsTree;
    if (this.#cause !== undefined && !widens && (sequence === undefined || sequence === this.#own)) return;
    this.#cause ??= cause;
    this.#endsTree ||= tree;
    this.#own = sequence ?? this.#own;
    this.#steps = withLastWord(this.#own ?? this.#sequence ?? defaultSequence);
    this.#step = 0;
    this.#dueAt = now;
    // Too much output stays too much, even where the program has ended before anybody could be signaled.
    if (cause.reason === 'output-limit') this.#isReported = true;
  }

  /** Has its silence count from now on, but for the time in which it is held. */
  listen(now: number, isHeld: () => boolean): void {
    this.#isHeld = isHeld;
    this.heard(now);
  }

  /** The program has written something. */
  heard(now: number): void {
    if (this.#silenceMs !== undefined) this.#silentAt = now + this.#silenceMs;
    this.#wasHeld = false;
  }

  /**
   * What is to be done at this time. A signal is given once: it is to be sent, and {@link noteSent} told how it went.
   *
   * The end of the time of a whole tree begins in {@link endsTree} alone. Whoever asked that a moment too early is to ask again: a signal that was
   * given here would reach the root, and leave the rest of the tree behind.
   */
  next(now: number): NextStep {
    if (now < this.#nextAt()) return this.untilDue(now);
    if (this.#cause === undefined && this.#timeoutTree && now >= this.#dueAt) return 0;
    this.#beginIfDue(now);
    if (this.#cause === undefined) return this.untilDue(now);
    const step = this.#steps.at(this.#step);
    if (step === undefined) {
      this.#dueAt = Infinity;
      return Infinity;
    }
    this.#step += 1;
    this.#dueAt = now + step[1];
    return step[0];
  }

  /** Whether the whole tree is to be stopped at this time, and {@link next} tells the signals for all of it. */
  endsTree(now: number): boolean {
    this.#beginIfDue(now);
    return this.#cause !== undefined && this.#endsTree;
  }

  #beginIfDue(now: number): void {
    if (this.#cause !== undefined) return;
    if (now >= this.#dueAt) {
      this.begin({ reason: 'timeout', limit: this.#timeoutMs ?? 0 }, now, undefined, this.#timeoutTree);
    } else if (now >= this.#silentAt) {
      const isHeld = this.#isHeld();
      // One that was held has its whole time from when it is known to be free again.
      if (isHeld || this.#wasHeld) {
        this.heard(now);
        this.#wasHeld = isHeld;
      } else this.begin({ reason: 'silence', limit: this.#silenceMs ?? 0 }, now);
    }
  }

  #nextAt(): number {
    return this.#cause === undefined ? Math.min(this.#dueAt, this.#silentAt) : this.#dueAt;
  }

  /**
   * Notes how a signal went. `ended`: there was nobody left to take it, and the program has ended by itself. `refused`: the
   * program has taken other ids and is out of reach; its end is waited for, and told as what it should have been.
   */
  noteSent(signal: SignalName, outcome: 'sent' | 'ended' | 'refused', atMs: number): void {
    if (outcome === 'ended') return;
    this.#isReported = true;
    if (outcome === 'sent')
      this.#sent.push({ signal, atMs, graceMs: elementAt(this.#steps, this.#step - 1)?.[1] ?? 0 });
  }

  /** What has begun counts, although the program has ended by itself: somebody still waited for its output. */
  confirm(): void {
    this.#isReported ||= this.#cause !== undefined;
  }

  /** For how many milliseconds there is nothing to be done. */
  untilDue(now: number): number {
    return Math.max(0, this.#nextAt() - now);
  }

  /** Whether the program is to be stopped, be it by a cause or by the end of its time. */
  get hasBegun(): boolean {
    return this.#cause !== undefined;
  }

  /** The time is over for nobody any more. What has begun goes on. */
  forgetDeadline(): void {
    if (this.#cause !== undefined) return;
    this.#dueAt = Infinity;
    this.#silentAt = Infinity;
  }

  /** What was done, for the error; `undefined` where the program ended by itself. */
  get report(): StopReport | undefined {
    return this.#cause === undefined || !this.#isReported ? undefined : { ...this.#cause, sent: this.#sent };
  }
}
