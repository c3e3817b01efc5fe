import { stopTree } from '../ending/kill-tree.js';
import type { Steps } from '../ending/tree.js';
import type { Engine, ProcessEnd, SyncProcess } from '../engine/engine.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { holdThread } from '../host/time.js';
import type { KillTreeResult } from '../result/tree-result.js';
import type { StopSequence } from '../spec/spec.js';
import type { Launch } from './launch.js';
import { Outcome } from './outcome.js';
import { listenTo, playedTree, sendDue, stoppingOf, treeOfChild } from './stop-in-time.js';
import type { Stopping } from './stopping.js';

/**
 * Launches a program and holds this thread until it has ended, by the same rules as `run()`.
 *
 * @throws {LaunchError} {UnsupportedError}
 */
export function runSync(launch: Launch, onLaunch: (pid: number) => void): Outcome {
  const process = launchSync(launch);
  onLaunch(process.pid);
  const run = new SyncRun(launch, process);
  for (;;) {
    const next = run.next();
    if (next instanceof Outcome) return next;
    run.wait(next);
  }
}

/** @throws {LaunchError} {UnsupportedError} in an engine that cannot. */
export const launchSync = (launch: Launch): SyncProcess => assertWaits(launch).launchSync(launch.plan, launch);

/** The engine, which can wait without the event loop. @throws {UnsupportedError} if it cannot. */
export function assertWaits({ engine, subject }: Launch): Required<Pick<Engine, 'launchSync'>> {
  if (engine.launchSync !== undefined) return engine as Required<Pick<Engine, 'launchSync'>>;
  const why = 'child_process cannot read two streams, obey a limit and wait at once without the event loop';
  throw new UnsupportedError(subject, { feature: 'runSync', engine: engine.name, why });
}

/** A program that is waited for turn by turn, and stopped when its time is over or its output too long. Several can be waited for together. */
export class SyncRun {
  readonly #launch: Launch;
  readonly #process: SyncProcess;
  readonly #stopping: Stopping;
  #end: ProcessEnd | undefined;
  /** The end of its tree, once that has begun. */
  #tree: Steps<KillTreeResult> | undefined;
  #reached: KillTreeResult | undefined;

  constructor(launch: Launch, process: SyncProcess) {
    const { spec, captures, clock } = launch;
    const stopping = stoppingOf(launch);
    this.#launch = launch;
    this.#process = process;
    this.#stopping = stopping;
    listenTo(stopping, launch);
    launch.lineWatch?.whenFailed(() => {
      stopping.begin({ reason: 'aborted' }, clock.now());
    });
    for (const [fd, capture] of captures) {
      capture.whenOverrun(() => {
        const stream = fd === 1 ? 'stdout' : 'stderr';
        const limit = spec.outputLimit?.bytes ?? 0;
        stopping.begin({ reason: 'output-limit', stream, limit }, clock.now(), undefined, spec.outputLimit?.tree);
      });
    }
  }

  /** Whether the program itself has ended. */
  get hasEnded(): boolean {
    return this.#end !== undefined;
  }

  /** Has the program stopped, from now on. */
  abort(sequence: StopSequence): void {
    const { spec, clock } = this.#launch;
    this.#stopping.begin({ reason: 'aborted' }, clock.now(), spec.stopSequence ?? sequence);
  }

  /** Does what is due, and gives how it ended, or the milliseconds until there is more to do. `Infinity`: only its end is left to wait for. */
  next(): Outcome | number {
    for (;;) {
      const ms = this.#stopTree();
      if (ms !== undefined) return ms;
      if (this.#end !== undefined) return this.#outcome(this.#end);
      if (this.#reached !== undefined) return Infinity;
      const next = this.#stopping.next(this.#launch.clock.now());
      if (typeof next === 'number') return next;
      sendDue(this.#stopping, next, this.#process, this.#launch);
    }
  }

  /** Waits for news, of all programs that are waited for so, but so many milliseconds at most. */
  wait(ms: number): void {
    if (this.#end === undefined) this.#end = this.#process.turn(ms === Infinity ? -1 : Math.ceil(ms));
    else holdThread(ms);
  }

  /** Drives the end of its tree as far as that goes, and gives the milliseconds that it waits; `undefined` where nothing of it is left to do. */
  #stopTree(): number | undefined {
    const { clock } = this.#launch;
    if (this.#tree === undefined && this.#end === undefined && this.#stopping.endsTree(clock.now())) {
      const tree = treeOfChild(this.#process, this.#launch, (signal) => {
        sendDue(this.#stopping, signal, this.#process, this.#launch);
      });
      if (tree !== undefined) this.#tree = stopTree(tree, this.#stopping, clock);
    }
    if (this.#tree === undefined || this.#reached !== undefined) return undefined;
    for (;;) {
      const step = this.#tree.next();
      if (step.done === true) {
        this.#reached = step.value;
        return undefined;
      }
      // Only the portable engine has to ask, and that cannot run programs so.
      if (typeof step.value === 'number') return step.value;
    }
  }

  #outcome(end: ProcessEnd): Outcome {
    const { report, hasBegun } = this.#stopping;
    const { engine, clock } = this.#launch;
    const isPlayed =
      report !== undefined && hasBegun && engine.name === 'dry-run' && this.#stopping.endsTree(clock.now());
    const tree = this.#reached ?? (isPlayed ? playedTree(this.#process) : undefined);
    return new Outcome(this.#launch, end, this.#process.pid, { report, tree, flow: undefined });
  }
}
