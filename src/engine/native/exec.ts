import { fstatSync } from 'node:fs';
import { isatty } from 'node:tty';
import type { CommandError } from '../../errors/command-error.js';
import { LaunchError } from '../../errors/launch-error.js';
import { type Binding, places } from '../../native/binding.js';
import { chooseLane } from '../../plan/lane.js';
import { executedFile } from '../../plan/from-here.js';
import type { LaunchPlan } from '../../plan/launch-plan.js';
import { operationsOf } from '../../plan/operations.js';
import { stepTable } from '../../plan/step-table.js';
import { bare } from '../../spec/bare.js';
import { errnoName } from '../../text/errno.js';
import { encode } from '../../wire/encode.js';
import { NO_RESOURCES } from '../drain.js';
import type { LaunchResources } from '../engine.js';
import type { SeenFifos } from '../fifo.js';
import { closeFilesSync, openFilesSync } from '../redirections.js';
import type { Descriptors, OpenFds } from './ends.js';
import { untilExec } from './prepared-child.js';
import { execResult } from './scratch.js';
import { NativeSyncProcess } from './sync-process.js';
import { failure, type Started } from './watch.js';

/** Descriptors that `exec()` needs beside those it places: two of its directory, one of /proc, one of a circle that is opened. */
const SPARE_FDS = 5;

/** What `exec()` needs of the engine. */
export interface ExecTools {
  readonly binding: Binding;
  readonly descriptors: Descriptors;
  readonly fifos: SeenFifos;
  /** Starts a child that is waited for turn by turn. */
  readonly start: (plan: LaunchPlan, files: OpenFds, resources: LaunchResources) => Started;
  /** What is sent, by the program's descriptor. */
  readonly sendBuffers: LaunchResources['sendBuffers'];
  /** A descriptor of this process's directory, where the plan needs one. */
  readonly here: number | undefined;
}

/**
 * Makes this process the plan's program. Calls `onReady` when nothing but the exec itself is left to do.
 *
 * @throws {CommandError} if a step fails; this process is still itself then.
 */
export function execInPlace(plan: LaunchPlan, tools: ExecTools, onReady: () => void): never {
  const files = openFilesSync(plan, Infinity, tools.fifos);
  try {
    rehearse(plan, files, tools);
    assertRoom(plan, tools);
    onReady();
    throw performInPlace(plan, files, tools);
  } finally {
    closeFilesSync(files);
  }
}

/**
 * Has a child perform all steps, the exec included, and ends it before the program's first instruction: the kernel stops a
 * traced process there. What a child can do, this process can do too, and has not begun to do if the child cannot.
 */
function rehearse(plan: LaunchPlan, files: OpenFds, { binding, start, sendBuffers }: ExecTools): void {
  const resources = bare({ ...NO_RESOURCES, sendBuffers });
  const last = plan.steps.length - 1;
  const steps = [...plan.steps.slice(0, last), { step: 'ptrace', by: 'exec' } as const, ...plan.steps.slice(last)];
  const rehearsal = { ...plan, steps, lane: chooseLane(steps) };
  try {
    const child = new NativeSyncProcess(binding, start(rehearsal, files, resources), rehearsal, resources);
    child.signal('SIGKILL');
    while (child.turn(-1) === undefined);
  } catch (error) {
    // Where nobody may be traced, all has been rehearsed but the exec.
    if (!(error instanceof LaunchError && error.step === 'ptrace')) throw error;
  }
}

/** To be able to go back takes a copy of what is replaced. Where there is no room for that, nothing must have ended for it. */
function assertRoom(plan: LaunchPlan, { binding }: ExecTools): void {
  const number = binding.tryRoom(plan.descriptors.length + SPARE_FDS);
  if (number === 0) return;
  const errno = errnoName(number);
  const isFull = errno === 'EMFILE' || errno === 'ENFILE' || errno === 'ENOMEM';
  const failure = isFull
    ? ({ step: 'dup2' } as const)
    : ({ step: 'open', path: '/dev/null', wanted: 'be opened' } as const);
  throw new LaunchError(plan.subject, { ...failure, errno });
}

/** Performs the steps in this process. Returns only if one failed: why this process is still itself. */
function performInPlace(
  plan: LaunchPlan,
  files: OpenFds,
  { binding, descriptors, here, sendBuffers }: ExecTools,
): CommandError {
  const { moves, theirs, ...ends } = descriptors.makeEnds(plan, files, here, sendBuffers);
  const { argv, steps } = plan;
  const { envp, operations } = operationsOf(plan, steps, 0, {
    moves,
    ...untilExec(ends.here),
    parent: process.ppid,
  });
  // The event loop may have set them not to block, which few programs expect. Nobody in this process is left to mind.
  const blocking = moves.filter(({ from, to }) => to <= 2 || isMadeNonBlocking(from)).map(({ from }) => from);
  const encodedPlan = encode({ file: executedFile(plan), argv, envp, operations });
  binding.exec(encodedPlan, Int32Array.from(blocking), execResult);
  descriptors.close(theirs);
  const step = execResult[places.exec.step]!;
  const errno = execResult[places.exec.errno]!;
  const done = steps.slice(0, Math.max(step, 0)).map((one) => one.step);
  const kept = done.filter((name) => stepTable[name].afterExec === 'stays');
  return failure(plan, { step, errno, detail: 0 }, kept);
}

/** Whether it is of a kind that the event loop does not let block. All else has the mode that somebody has asked for. */
function isMadeNonBlocking(fd: number): boolean {
  const stats = fstatSync(fd);
  return stats.isFIFO() || stats.isSocket() || isatty(fd);
}
