import { own } from '../ending/owned-children.js';
import { noteRoot } from '../ending/roots.js';
import { launchesAreForbidden } from '../engine/dry-run.js';
import type { Engine, LaunchResources } from '../engine/engine.js';
import { selectEngine } from '../engine/select.js';
import { CommandError, type Subject, subjectOf } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { UsageError } from '../errors/usage-error.js';
import { isHeard, publishAsNode, publishError, publishLaunch } from '../events/events.js';
import { thisHost } from '../host/host.js';
import { now } from '../host/time.js';
import { Capture, type CaptureLimit } from '../io/capture.js';
import { connectBuffer, type OutputBuffer } from '../io/output-buffer.js';
import type { LaunchPlan } from '../plan/launch-plan.js';
import { planLaunch } from '../plan/plan-launch.js';
import type { CommandSpec, LaunchMode } from '../spec/spec.js';
import { toBytes } from '../text/bytes.js';
import { Child } from './child.js';
import { launchPatiently } from './launch-with-hook.js';
import type { Launched } from './outcome.js';

/** What belongs to a command and is not data: it stands beside the spec, which names it. */
export interface Attachments {
  readonly stdoutBuffer: OutputBuffer | undefined;
  readonly stderrBuffer: OutputBuffer | undefined;
  readonly abortSignal: AbortSignal | undefined;
  /** The second argument of `preExecHook()`, serialized. */
  readonly opaque: Uint8Array | undefined;
}

/** How much of the output that nobody claimed is kept for the log. */
const LOG_LIMIT: CaptureLimit = { bytes: 64 * 1024, policy: 'headAndTail' };

/** Decides a launch for the engine in use, which may be a dry run that needs no program to exist. */
export function planFor(
  spec: CommandSpec,
  mode: LaunchMode,
  engine: Engine = selectEngine(),
  subject: Subject = subjectOf(spec),
): LaunchPlan {
  return planLaunch(spec, thisHost, {
    mode,
    search: engine.name !== 'dry-run',
    subject,
    inherited: engine.environment,
  });
}

/** Starts a program that this process looks after. */
export async function spawn(
  spec: CommandSpec,
  mode: Exclude<LaunchMode, 'daemon'>,
  attachments: Attachments,
): Promise<Child> {
  return new Child(await launch(spec, mode, attachments));
}

/**
 * Starts a program: plan, refusal, launch. Every failure is one rejection, published on the way out.
 *
 * @throws {LaunchError} {UnsupportedError} {UsageError}
 */
export async function launch(
  spec: CommandSpec,
  mode: LaunchMode,
  attachments: Attachments,
  engine: Engine = selectEngine(),
): Promise<Launched> {
  try {
    const prepared = prepare(spec, mode, attachments, engine);
    const { plan, resources } = prepared;
    const process = await (plan.lane === 'hook-runner'
      ? launchPatiently(engine, plan, resources, prepared)
      : engine.launch(plan, resources));
    // Ours before anybody hears of it: a signal that ends this process now ends the child too.
    if (mode !== 'daemon') own(process);
    started(spec, prepared.subject, process.pid, engine);
    return launched(process, prepared);
  } catch (error) {
    throw failed(error, spec, engine);
  }
}

interface Prepared extends Omit<Launched, 'process'> {
  readonly plan: LaunchPlan;
  readonly resources: LaunchResources;
}

/** Everything before the engine: what is decided, what is forbidden or refused, and where output will go. */
export function prepare(spec: CommandSpec, mode: LaunchMode, attachments: Attachments, engine: Engine): Prepared {
  const subject = subjectOf(spec);
  const { abortSignal } = attachments;
  if (abortSignal?.aborted === true) throw new LaunchError(subject, { step: 'abort', cause: abortSignal.reason });
  if (engine.name !== 'dry-run' && launchesAreForbidden()) throw forbidden(subject);
  const plan = planFor(spec, mode, engine, subject);
  const refusal = engine.refusal(plan);
  if (refusal !== undefined) throw new UnsupportedError(subject, { ...refusal, engine: engine.name });
  const captures = makeCaptures(plan, attachments);
  const resources = {
    input: spec.stdin.from === 'buffer' ? toBytes(spec.stdin.data) : undefined,
    captures,
    waitForOutputEnd: spec.waitForOutputEnd === true,
    opaque: attachments.opaque,
    abortSignal,
  };
  return { plan, resources, spec, subject, captures, startedAt: now(), abortSignal };
}

export function launched<Process>(
  process: Process,
  { spec, subject, captures, startedAt, abortSignal }: Prepared,
): Launched<Process> {
  return { process, spec, subject, captures, startedAt, abortSignal };
}

export function started(spec: CommandSpec, subject: Subject, pid: number, engine: Engine): void {
  if (engine.name !== 'dry-run') noteRoot(spec, pid);
  if (isHeard.launch()) publishLaunch({ command: subject.command, spec, pid, engine: engine.name });
  if (engine.name === 'native') publishAsNode(spec, pid);
}

/** Tells of an error that is on its way to the caller. */
export function failed(error: unknown, spec: CommandSpec, engine: Engine): unknown {
  if (!(error instanceof CommandError)) return error;
  publishError({ command: error.command, spec, error });
  if (engine.name === 'native' && error instanceof LaunchError) publishAsNode(spec, undefined, error);
  return error;
}

/** What nobody claimed is kept in small, but a program that writes too much is stopped all the same. */
function logLimit({ outputLimit }: CommandSpec): CaptureLimit {
  return outputLimit?.policy === 'kill' ? { ...LOG_LIMIT, stopAbove: outputLimit.bytes } : LOG_LIMIT;
}

function makeCaptures(plan: LaunchPlan, { stdoutBuffer, stderrBuffer }: Attachments): ReadonlyMap<1 | 2, Capture> {
  const captures = new Map<1 | 2, Capture>();
  for (const { childFd, source } of plan.descriptors) {
    if (source.kind !== 'pipe' || source.for === 'caller' || (childFd !== 1 && childFd !== 2)) continue;
    const capture = new Capture(source.for === 'log' ? logLimit(plan.spec) : plan.spec.outputLimit);
    captures.set(childFd, capture);
    const buffer = childFd === 1 ? stdoutBuffer : stderrBuffer;
    if (buffer !== undefined) connectBuffer(buffer, capture);
  }
  return captures;
}

function forbidden(subject: Subject): UsageError {
  const problem =
    'a strict dryRun() stands, and this command came from outside its scope; enter a dryRun() where the command is started';
  return new UsageError(subject, [{ call: 'dryRun({ strict: true })', problem }]);
}
