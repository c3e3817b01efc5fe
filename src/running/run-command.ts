import { givingAway, givingAwaySync, usesDescriptors } from '../builder/given-away.js';
import { noteRoot } from '../ending/roots.js';
import type { Engine, EngineProcess } from '../engine/engine.js';
import { selectEngine } from '../engine/select.js';
import { CommandError, fromHere } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import { isHeard, publishAsNode, publishLaunch, publishOnce } from '../events/events.js';
import { readAhead } from '../io/output-pipe.js';
import type { CommandSpec, LaunchMode } from '../spec/spec.js';
import { Child } from './child.js';
import { launchDaemon } from './daemon.js';
import type { DaemonResult } from './daemon-result.js';
import { execInPlace } from './exec.js';
import { type Attachments, Launch } from './launch.js';
import { launchWithHook } from './launch-with-hook.js';
import type { Outcome } from './outcome.js';
import { runSync } from './run-sync.js';

/*
 * The frame around every run. On the way in the command is checked and its launch decided; on the way out
 * the descriptors that it was given for good are closed, and its error, if there is one, is published.
 */

/** A command that is about to be run. */
export interface Said {
  /** What was said, unchecked. */
  readonly data: CommandSpec;
  readonly mode: LaunchMode;
  readonly attachments: Attachments;
  /** Gives the spec for this kind of run. @throws {UsageError} if mistakes were made. */
  readonly check: () => CommandSpec;
}

/** Launches a program that this process looks after, or a daemon. Every failure is a rejection. */
export function runCommand(said: Said & { readonly mode: 'daemon' }): Promise<DaemonResult>;
export function runCommand(said: Said & { readonly mode: 'run' | 'async' }): Promise<Child>;
export function runCommand(said: Said): Promise<Child | DaemonResult> {
  return usesDescriptors(said.data) ? givingAway(said.data, () => launchSaid(said)) : launchSaid(said);
}

async function launchSaid(said: Said): Promise<Child | DaemonResult> {
  let engine: Engine | undefined;
  try {
    const spec = said.check();
    engine = selectEngine();
    const launch = new Launch(spec, said.mode, said.attachments, engine);
    if (said.mode === 'daemon') return await launchDaemon(launch, perform);
    return new Child(launch, await perform(launch));
  } catch (error) {
    throw published(error, engine);
  }
}

const perform = async (launch: Launch): Promise<EngineProcess> => begun(launch, await begin(launch));

/** Has the engine launch a program. Throws at once where that fails at once; else the program may run already, or will. */
export const begin = (launch: Launch): EngineProcess | Promise<EngineProcess> =>
  launch.needsFlows ? beginLate(launch) : beginNow(launch);

const beginNow = (launch: Launch): EngineProcess | Promise<EngineProcess> =>
  launch.plan.lane === 'hook-runner' ? launchWithHook(launch) : launch.engine.launch(launch.plan, launch);

async function beginLate(launch: Launch): Promise<EngineProcess> {
  await launch.prepareFlows();
  try {
    return await beginNow(launch);
  } catch (error) {
    await launch.closeFlows();
    throw error;
  }
}

/** Takes a program that runs into care, and tells of it. */
export function begun(launch: Launch, process: EngineProcess): EngineProcess {
  readAhead(process.stdout, process.stderr);
  tellOfLaunch(launch, process.pid);
  return process;
}

/** Runs a program and holds this thread until it has ended. */
export const runCommandSync = (said: Said): Outcome => framedSync(said, runSync);

/** Makes this process the program. Returns only by throwing. */
export const execCommand = (said: Said): never => framedSync(said, execInPlace);

function framedSync<T>(said: Said, work: (launch: Launch, onLaunch: (pid: number) => void) => T): T {
  return givingAwaySync(said.data, () => {
    let engine: Engine | undefined;
    try {
      const spec = said.check();
      engine = selectEngine();
      const launch = new Launch(spec, said.mode, said.attachments, engine);
      return work(launch, (pid) => {
        tellOfLaunch(launch, pid);
      });
    } catch (error) {
      throw published(error, engine);
    }
  });
}

// ---------------------------------------------------------------- telling

/** Tells that a program was launched. What was sent to it is wiped here. */
export function tellOfLaunch(launch: Launch, pid: number): void {
  const { spec, subject, engine, mode, sendBuffers, plan, clock, startedAt } = launch;
  // exec() has a child rehearse the launch, and needs them once more.
  if (mode !== 'exec') for (const buffer of sendBuffers.values()) buffer.wipe();
  if (engine.name !== 'dry-run') noteRoot(spec, pid);
  if (isHeard.launch()) {
    const steps = plan.steps.map(({ step }) => step);
    const durationMs = clock.now() - startedAt;
    publishLaunch({ command: subject.command, spec, pid, engine: engine.name, mode, steps, durationMs });
  }
  if (engine.name === 'native') publishAsNode(spec, pid);
}

/** Publishes an error on its way to the caller, and gives it back. */
export function published(error: unknown, engine: Engine | undefined, together: readonly CommandSpec[] = []): unknown {
  if (!(error instanceof CommandError)) return error;
  engine?.noteFailure?.(error, together);
  fromHere(error);
  publishOnce(error);
  if (engine?.name === 'native' && error instanceof LaunchError && error.spec !== undefined)
    publishAsNode(error.spec, undefined, error);
  return error;
}
