import { trySignal, type Signalable } from '../ending/owned-children.js';
import { type OwnRoot, drive, type Tree } from '../ending/tree.js';
import { stopTree, treeOf } from '../ending/kill-tree.js';
import type { Clock } from '../host/time.js';
import { onAbort } from '../io/on-abort.js';
import { KillTreeResult } from '../result/tree-result.js';
import type { StopSequence } from '../spec/spec.js';
import type { SignalName } from '../text/signals.js';
import type { Launch } from './launch.js';
import { type StopCause, Stopping } from './stopping.js';

/** A child that can be stopped, by an engine's process of either kind. */
export interface Stoppable extends Signalable {
  readonly isReaped: boolean;
  stopReading(): void;
}

/** The state of stopping for a launch, as its command says. */
export const stoppingOf = ({ deadline, spec }: Launch): Stopping => new Stopping(deadline, spec);

/** A stream of the caller that tells when something comes. */
interface Told {
  onPiece(callback: () => void): void;
  readonly readableLength: number;
}

const isTold = (stream: unknown): stream is Told =>
  typeof stream === 'object' && stream !== null && 'onPiece' in stream && 'readableLength' in stream;

/** Has the silence of a program counted, where its command says so: all that passes through this process breaks it. */
export function listenTo(stopping: Stopping, { spec, captures, clock }: Launch, ...streams: readonly unknown[]): void {
  if (spec.silenceTimeoutMs === undefined) return;
  const told = streams.filter(isTold);
  const heard = (): void => {
    stopping.heard(clock.now());
  };
  for (const source of [...captures.values(), ...told]) source.onPiece(heard);
  // A caller that does not read holds the program: its silence is the caller's.
  stopping.listen(clock.now(), () => told.some(({ readableLength }) => readableLength > 0));
}

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

/**
 * The tree of a child that is being stopped. `undefined`: it has none, since it is played, or has not executed its program yet.
 */
export function treeOfChild(child: Stoppable, { engine }: Launch, signal: OwnRoot['signal']): Tree | undefined {
  if (engine.name === 'dry-run' || child.handshake?.isPending === true) return undefined;
  const own = { signal, isReaped: () => child.isReaped };
  return treeOf({ pid: child.pid, own, call: 'stop()' });
}

/** What is told of the tree of a played process, which is that process alone. */
export const playedTree = ({ pid }: Stoppable): KillTreeResult =>
  new KillTreeResult({ level: 'walk', ended: [pid], survivors: [] }, true);

/** Drives {@link Stopping} by the event loop: with a timer for what is due, and an ear for the abort signal. */
export class StopInTime {
  readonly #stopping: Stopping;
  readonly #clock: Clock;
  readonly #send: (signal: SignalName) => boolean;
  readonly #openTree: (() => Tree | undefined) | undefined;
  #tree: Promise<KillTreeResult> | undefined;
  #stopTimer: (() => void) | undefined;
  #callOff: (() => void) | undefined;
  #isOver = false;

  /** `send` gives false where there is nobody to stop; `openTree` what is stopped where the whole tree is to be. */
  constructor(
    stopping: Stopping,
    { clock, abortSignal, abortsTree }: Pick<Launch, 'clock' | 'abortSignal' | 'abortsTree'>,
    send: (signal: SignalName) => boolean,
    openTree?: () => Tree | undefined,
  ) {
    this.#openTree = openTree;
    this.#stopping = stopping;
    this.#clock = clock;
    this.#send = send;
    if (abortSignal !== undefined) {
      this.#callOff = onAbort(abortSignal, (cause) => {
        this.begin({ reason: 'aborted', cause }, undefined, abortsTree);
      });
    }
    // Even where the time is over already, the caller has its word first: it may let the child go.
    this.#wait(stopping.untilDue(this.#clock.now()));
  }

  /** Begins to stop the child, by its own sequence or by another; with `tree`, its whole tree. */
  begin(cause: StopCause, sequence?: StopSequence, tree = false): void {
    if (this.#isOver) return;
    this.#stopping.begin(cause, this.#clock.now(), sequence, tree);
    this.#goOn();
  }

  /** Neither the time nor the abort signal reaches the child any more. What has begun goes on. */
  letGo(): void {
    this.#callOff?.();
    this.#callOff = undefined;
    this.#stopping.forgetDeadline();
    this.#goOn();
  }

  /** What became of its tree, where that is being stopped: it may outlive the child. */
  get tree(): Promise<KillTreeResult> | undefined {
    return this.#tree;
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
      if (this.#isOver || this.#stopsTree()) return;
      const next = this.#stopping.next(this.#clock.now());
      if (typeof next === 'string') {
        if (!this.#send(next)) return;
      } else {
        this.#wait(next);
        return;
      }
    }
  };

  /** Has the whole tree stopped, if that is due. From then on, whoever stops it asks what comes next. */
  #stopsTree(): boolean {
    if (this.#tree !== undefined) return true;
    if (!this.#stopping.endsTree(this.#clock.now())) return false;
    const tree = this.#openTree?.();
    if (tree === undefined) return false;
    this.#tree = drive(stopTree(tree, this.#stopping, this.#clock));
    return true;
  }
}
