import { disown, own } from '../ending/owned-children.js';
import type { Engine, EngineProcess, LaunchResources } from '../engine/engine.js';
import type { HookFailure } from '../errors/hook-failure.js';
import { LaunchError } from '../errors/launch-error.js';
import { clearTimeout, now, setTimeout } from '../host/time.js';
import { onAbort } from '../io/on-abort.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import type { Launched } from './outcome.js';

/**
 * Launches a plan that may take its time, because a hook is in it: its timeout, its abort signal and the end of this process
 * reach the child before its program runs.
 *
 * @throws {LaunchError} with the step `hook` and the reason `timeout` or `aborted`. Then the child is dead.
 */
export async function launchPatiently(
  engine: Engine,
  plan: LaunchPlan,
  resources: LaunchResources,
  known: Omit<Launched, 'process'>,
): Promise<EngineProcess> {
  const { spec, subject, startedAt, abortSignal } = known;
  const isOwned = plan.mode !== 'daemon';
  const state: { child?: EngineProcess; whyEnded?: HookFailure } = {};

  // What runs in the child is a hook, or the helper: neither has anything to tidy up.
  const giveUp = (why: HookFailure): void => {
    if (state.child === undefined || endNow(state.child)) state.whyEnded ??= why;
  };
  const { timeoutMs } = spec;
  const restMs = startedAt + (timeoutMs ?? 0) - now();
  const timer =
    timeoutMs === undefined
      ? undefined
      : setTimeout(() => giveUp({ what: 'timeout', limitMs: timeoutMs }), Math.max(0, restMs));
  const callOff =
    abortSignal === undefined ? undefined : onAbort(abortSignal, (cause) => giveUp({ what: 'aborted', cause }));
  const onStart = (child: EngineProcess): void => {
    state.child = child;
    if (isOwned) own(child);
    if (state.whyEnded !== undefined) endNow(child);
  };

  try {
    const process = await engine.launch(plan, { ...resources, onStart });
    if (state.whyEnded === undefined) return process;
    // Its program had just begun.
    if (isOwned) await process.ended;
  } catch (error) {
    // Without a child it was not the hook that took so long.
    if (state.whyEnded === undefined || state.child === undefined || !(error instanceof LaunchError)) {
      if (state.child !== undefined) disown(state.child);
      throw error;
    }
  } finally {
    clearTimeout(timer);
    callOff?.();
  }
  if (state.child !== undefined) disown(state.child);
  throw new LaunchError(subject, { step: 'hook', hook: state.whyEnded });
}

/** False: it has ended already, or has just become somebody whom this process may not signal. */
function endNow(child: EngineProcess): boolean {
  try {
    return child.signal('SIGKILL');
  } catch {
    // It has taken other ids: the hook is done, and the program runs.
    return false;
  }
}
