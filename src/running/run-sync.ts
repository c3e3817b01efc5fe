import { stopTree } from '../ending/kill-tree.js';
import type { Steps, Tree } from '../ending/tree.js';
import type { ProcessEnd, SyncProcess } from '../engine/engine.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { holdThread } from '../host/time.js';
import type { Launch } from './launch.js';
import { Outcome } from './outcome.js';
import { playedTree, sendDue, stoppingOf, treeOfChild } from './stop-in-time.js';
import type { Stopping } from './stopping.js';

/**
 * Launches a program and holds this thread until it has ended, by the same rules as `run()`.
 *
 * @throws {LaunchError} {UnsupportedError}
 */
export function runSync(launch: Launch, onLaunch: (pid: number) => void): Outcome {
  const { engine, plan, subject } = launch;
  if (engine.launchSync === undefined) {
    const why = 'child_process cannot read two streams, obey a limit and wait at once without the event loop';
    throw new UnsupportedError(subject, { feature: 'runSync', engine: engine.name, why });
  }
  const process = engine.launchSync(plan, launch);
  onLaunch(process.pid);
  return waitSync(launch, process);
}

/** Waits turn by turn, and stops the program when its time is over or its output too long. */
function waitSync(launch: Launch, process: SyncProcess): Outcome {
  const { spec, captures, clock } = launch;
  const stopping = stoppingOf(launch);
  for (const [fd, capture] of captures) {
    capture.whenOverrun(() => {
      const stream = fd === 1 ? 'stdout' : 'stderr';
      const limit = spec.outputLimit?.bytes ?? 0;
      stopping.begin({ reason: 'output-limit', stream, limit }, clock.now(), undefined, spec.outputLimit?.tree);
    });
  }
  let end: ProcessEnd | undefined;
  const takeTurn = (ms: number): void => {
    if (end === undefined) end = process.turn(ms === Infinity ? -1 : Math.ceil(ms));
    else holdThread(ms);
  };
  while (end === undefined) {
    const tree = stopping.endsTree(clock.now()) ? openTree(launch, process, stopping) : undefined;
    if (tree !== undefined) {
      const reached = stopTreeSync(stopTree(tree, stopping, clock), takeTurn);
      return new Outcome(launch, lastTurn(process), process.pid, { report: stopping.report, tree: reached });
    }
    const next = stopping.next(clock.now());
    if (typeof next === 'string') sendDue(stopping, next, process, launch);
    else takeTurn(next);
  }
  const { report, hasBegun } = stopping;
  const isPlayed =
    report !== undefined && hasBegun && launch.engine.name === 'dry-run' && stopping.endsTree(clock.now());
  return new Outcome(launch, end, process.pid, { report, tree: isPlayed ? playedTree(process) : undefined });
}

/** Waits for the end, whatever else there is to hear. One that has come before is given again. */
function lastTurn(process: SyncProcess): ProcessEnd {
  for (;;) {
    const end = process.turn(-1);
    if (end !== undefined) return end;
  }
}

const openTree = (launch: Launch, process: SyncProcess, stopping: Stopping): Tree | undefined =>
  treeOfChild(process, launch, (signal) => {
    sendDue(stopping, signal, process, launch);
  });

/** Drives the end of a tree turn by turn. */
function stopTreeSync<T>(steps: Steps<T>, takeTurn: (ms: number) => void): T {
  for (;;) {
    const step = steps.next();
    if (step.done === true) return step.value;
    // Only the portable engine has to ask, and that cannot run programs so.
    if (typeof step.value === 'number') takeTurn(step.value);
  }
}
