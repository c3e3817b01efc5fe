import type { SyncProcess } from '../engine/engine.js';
import { selectEngine } from '../engine/select.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { now } from '../host/time.js';
import type { CommandSpec } from '../spec/spec.js';
import { type Attachments, failed, launched, prepare, started } from './launch.js';
import { type Launched, Outcome } from './outcome.js';
import { type Stopping, stopSteps } from './stopping.js';

/**
 * Runs a program and holds this thread until it has ended, by the same rules as {@link spawn} and `wait()`.
 *
 * @throws {LaunchError} {UnsupportedError} {UsageError}
 */
export function spawnSync(spec: CommandSpec, attachments: Attachments): Outcome {
  const engine = selectEngine();
  try {
    const prepared = prepare(spec, 'run', attachments, engine);
    const { plan, resources, subject } = prepared;
    if (engine.launchSync === undefined) {
      const why = 'child_process cannot read two streams, obey a limit and wait at once without the event loop';
      throw new UnsupportedError(subject, { feature: 'runSync', engine: engine.name, why });
    }
    const process = engine.launchSync(plan, resources);
    started(spec, subject, process.pid, engine);
    return waitSync(launched(process, prepared));
  } catch (error) {
    throw failed(error, spec, engine);
  }
}

/** Waits turn by turn, and stops the program when its time is over or its output too long. */
function waitSync(launched: Launched<SyncProcess>): Outcome {
  const { process, spec, captures, startedAt } = launched;
  const steps = stopSteps(spec.stopSequence)[Symbol.iterator]();
  let stopping: Stopping | undefined;
  let wakeAt = startedAt + (spec.timeoutMs ?? Infinity);

  const stop = (report: Omit<Stopping, 'sent'>): void => {
    stopping ??= { ...report, sent: [] };
    process.stopReading();
    wakeAt = now();
  };
  for (const [fd, capture] of captures) {
    capture.whenOverrun(() => {
      stop({ reason: 'output-limit', stream: fd === 1 ? 'stdout' : 'stderr', limit: spec.outputLimit?.bytes ?? 0 });
    });
  }
  for (;;) {
    const restMs = wakeAt - now();
    const end = process.turn(restMs === Infinity ? -1 : Math.max(0, Math.ceil(restMs)));
    if (end !== undefined) return new Outcome(launched, end, process.pid, stopping);
    if (now() < wakeAt) continue;
    if (stopping === undefined) stop({ reason: 'timeout', limit: spec.timeoutMs ?? 0 });
    const step = steps.next();
    if (step.done === true) {
      wakeAt = Infinity;
      continue;
    }
    const [signal, graceMs] = step.value;
    if (process.signal(signal)) stopping?.sent.push({ signal, atMs: now() - startedAt });
    wakeAt = now() + graceMs;
  }
}
