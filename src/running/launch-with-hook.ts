import type { EngineProcess } from '../engine/engine.js';
import type { HookFailure } from '../errors/hook-failure.js';
import { LaunchError } from '../errors/launch-error.js';
import type { StopSequence } from '../spec/spec.js';
import type { Launch } from './launch.js';
import { sendDue, StopInTime } from './stop-in-time.js';
import { Stopping } from './stopping.js';

/** What runs in the child is a hook, or the helper: neither has anything to tidy up. */
const stopSequence: StopSequence = [['SIGKILL', 0]];

/**
 * Launches a plan that may take its time, because a hook is in it: its timeout and its abort signal reach the child before its
 * program runs.
 *
 * @throws {LaunchError} with the step `hook` and the reason `timeout` or `aborted`. Then the child is dead.
 */
export async function launchWithHook(launch: Launch): Promise<EngineProcess> {
  const { engine, plan, spec, deadline } = launch;
  const stopping = new Stopping(deadline, { timeoutMs: spec.timeoutMs, stopSequence });
  let child: EngineProcess | undefined;
  // A signal that was due before there is a child reaches it at its birth. One that is refused means that the hook is done and
  // that the program, with other ids, runs.
  const stopInTime = new StopInTime(stopping, launch, (signal) =>
    child === undefined ? true : sendDue(stopping, signal, child, launch),
  );
  launch.whenBorn = (born) => {
    child = born;
    if (stopping.hasBegun) sendDue(stopping, 'SIGKILL', child, launch);
  };
  const failure = (): LaunchError => new LaunchError(launch.subject, { step: 'hook', hook: whyStopped(stopping)! });
  try {
    const process = await engine.launch(plan, launch);
    if (whyStopped(stopping) === undefined) return process;
    // Its program had just begun.
    if (launch.mode !== 'daemon') await process.ended;
    throw failure();
  } catch (error) {
    // Without a child it was not the hook that took so long.
    if (child === undefined || whyStopped(stopping) === undefined || !(error instanceof LaunchError)) throw error;
    throw failure();
  } finally {
    stopInTime.end();
  }
}

/** What the hook is told to have failed by, if a signal was sent. */
function whyStopped({ report }: Stopping): HookFailure | undefined {
  if (report === undefined || report.sent.length === 0) return undefined;
  return report.reason === 'timeout'
    ? { what: 'timeout', limitMs: report.limit ?? 0 }
    : { what: 'aborted', cause: report.cause };
}
