import type { SyncProcess } from '../engine/engine.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import type { Launch } from './launch.js';
import { Outcome } from './outcome.js';
import { sendDue, stoppingOf } from './stop-in-time.js';

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
      stopping.begin({ reason: 'output-limit', stream, limit: spec.outputLimit?.bytes ?? 0 }, clock.now());
    });
  }
  for (;;) {
    const next = stopping.next(clock.now());
    if (typeof next === 'string') {
      sendDue(stopping, next, process, launch);
      continue;
    }
    const end = process.turn(next === Infinity ? -1 : Math.ceil(next));
    if (end !== undefined) return new Outcome(launch, end, process.pid, stopping.report);
  }
}
