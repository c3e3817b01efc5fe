import type { TreeOptions } from '../builder/options.js';
import { BoundedMap } from '../ending/bounded-map.js';
import { dryRunOf, playedBy } from '../engine/dry-run.js';
import { isInvented } from '../engine/played.js';
import { argumentError, isPidNumber, readOptions } from '../errors/argument-error.js';
import { ProcessError } from '../errors/process-error.js';
import type { RunResult } from '../result/run-result.js';
import type { WaitOptions } from '../builder/wait-options.js';

/** A child that can be waited for, and ended, by its pid alone. */
export interface KnownChild {
  readonly pid: number;
  wait(options?: WaitOptions): Promise<RunResult>;
  abortBy(call: 'pidAbort', options: TreeOptions): Promise<void>;
}

const running = new Map<number, KnownChild>();
/** Those that were released, longest ago first; also after their end. Nothing has to ask for one ever again. */
const released = new BoundedMap<number, KnownChild>();

/** The child is known from now on. */
export function know(child: KnownChild): void {
  running.set(child.pid, child);
}

/** The child has ended. One that was released is known nevertheless: its end can still be asked for. */
export function forget(child: KnownChild): void {
  if (running.get(child.pid) === child) running.delete(child.pid);
}

/** The child was released, and is known after its end as well. */
export function rememberReleased(child: KnownChild): void {
  released.set(child.pid, child);
}

function childBy(method: string, pid: number): KnownChild {
  if (!isPidNumber(pid)) throw argumentError(method, [pid], 'a pid is a whole number; give the one of a Child');
  const child = running.get(pid) ?? released.get(pid);
  if (child === undefined) {
    const problem =
      'this process has no child of that pid that runs or was released, and can only wait for its own; for others there is killPainfully()';
    throw new ProcessError(`${method}(${pid}): ${problem}.`, { code: 'ECHILD', pid });
  }
  return child;
}

/**
 * Waits for a child of this process by its pid: one that runs, or that `Child.release()` let go, also after its end.
 * Answers to `virPidWait`.
 *
 * @throws {ExitError} as `Child.wait()` does. {ProcessError} with the code `ECHILD` for any other pid, a daemon's included.
 *
 * @example
 * const pid = (await new Command('true').runAsync()).release();
 * await pidWait(pid);
 */
export async function pidWait(pid: number, options?: WaitOptions): Promise<RunResult> {
  return childBy('pidWait', pid).wait(options);
}

/**
 * Ends a child of this process by its pid, one that runs or that `Child.release()` let go, as `Child.abort()` does: by the
 * command's `stopSequence()`, and without one by SIGTERM, and SIGKILL 10 ms later. Resolves when it is dead, also where it was already. Answers to `virPidAbort`. For other processes there is `killPainfully()`. In a
 * `dryRun()` it is recorded in `kills`, and signals none but a played process. With `{ tree: true }` the whole tree of a child that runs is stopped.
 *
 * @throws {ProcessError} with the code `ECHILD` for any other pid, a daemon's included. {TypeError} for options that are none.
 *
 * @example
 * const pid = (await new Command('sleep', '60').runAsync()).release();
 * await pidAbort(pid);
 */
export async function pidAbort(pid: number, options?: TreeOptions): Promise<void> {
  const child = childBy('pidAbort', pid);
  const read = readOptions('pidAbort', [pid], options, { tree: 'boolean' });
  const played = playedBy(pid);
  const dryRun = played === undefined ? dryRunOf('pidAbort') : undefined;
  if (dryRun === undefined || isInvented(pid)) await child.abortBy('pidAbort', read);
  else dryRun.kills.push({ call: 'pidAbort', pid, signal: 'SIGTERM' });
}
