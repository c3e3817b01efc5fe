import { Child, type Launched } from './child.js';
import { toBytes } from './bytes.js';
import { launchesAreForbidden } from './engine/dry-run.js';
import { selectEngine } from './engine/select.js';
import type { Engine } from './engine/types.js';
import { CommandError, LaunchError, type Subject, subjectOf, UnsupportedError, UsageError } from './errors.js';
import { publishError, publishLaunch } from './events.js';
import { thisHost } from './host.js';
import { Capture, type CaptureLimit, connectBuffer, type OutputBuffer } from './output.js';
import { type LaunchPlan, planLaunch } from './plan.js';
import type { CommandSpec, LaunchMode } from './spec.js';

/** What belongs to a command and is not data: it stands beside the spec, which names it. */
export interface Attachments {
  readonly stdoutBuffer?: OutputBuffer;
  readonly stderrBuffer?: OutputBuffer;
  readonly abortSignal?: AbortSignal;
}

/** How much of the output that nobody claimed is kept for the log. */
const LOG_LIMIT: CaptureLimit = { bytes: 64 * 1024, policy: 'headAndTail' };

/** Decides a launch for the engine in use, which may be a dry run that needs no program to exist. */
export function planFor(spec: CommandSpec, mode: LaunchMode, engine: Engine = selectEngine()): LaunchPlan {
  return planLaunch(spec, thisHost, { mode, search: engine.name !== 'dry-run' });
}

/** Starts a program that this process looks after. */
export async function spawn(spec: CommandSpec, mode: Exclude<LaunchMode, 'daemon'>, attachments: Attachments): Promise<Child> {
  return new Child(await launch(spec, mode, attachments));
}

/**
 * Starts a program: plan, refusal, launch. Every failure is one rejection, published on the way out.
 *
 * @throws {LaunchError} {UnsupportedError} {UsageError}
 */
export async function launch(spec: CommandSpec, mode: LaunchMode, attachments: Attachments, engine: Engine = selectEngine()): Promise<Launched> {
  const subject = subjectOf(spec);
  try {
    const { abortSignal } = attachments;
    if (abortSignal?.aborted === true) throw new LaunchError(subject, { step: 'abort', cause: abortSignal.reason });
    if (engine.name !== 'dry-run' && launchesAreForbidden()) throw forbidden(subject);
    const plan = planFor(spec, mode, engine);
    const refusal = engine.refusal(plan);
    if (refusal !== undefined) throw new UnsupportedError(subject, { ...refusal, engine: engine.name });

    const captures = makeCaptures(plan, attachments);
    const startedAt = performance.now();
    const process = await engine.launch(plan, {
      input: spec.stdin.from === 'buffer' ? toBytes(spec.stdin.data) : undefined,
      captures,
      waitForOutputEnd: spec.waitForOutputEnd === true,
    });
    publishLaunch({ command: subject.command, spec, pid: process.pid, engine: engine.name });
    return { process, spec, subject, captures, startedAt, abortSignal };
  } catch (error) {
    if (error instanceof CommandError) publishError({ command: subject.command, spec, error });
    throw error;
  }
}

function makeCaptures(plan: LaunchPlan, { stdoutBuffer, stderrBuffer }: Attachments): ReadonlyMap<1 | 2, Capture> {
  const captures = new Map<1 | 2, Capture>();
  for (const { childFd, source } of plan.descriptors) {
    if (source.kind !== 'pipe' || source.for === 'caller' || (childFd !== 1 && childFd !== 2)) continue;
    const capture = new Capture(source.for === 'log' ? LOG_LIMIT : plan.spec.outputLimit);
    captures.set(childFd, capture);
    const buffer = childFd === 1 ? stdoutBuffer : stderrBuffer;
    if (buffer !== undefined) connectBuffer(buffer, capture);
  }
  return captures;
}

function forbidden(subject: Subject): UsageError {
  const problem = 'a strict dryRun() stands, and this command came from outside its scope; enter a dryRun() where the command is started';
  return new UsageError(subject, [{ call: 'dryRun({ strict: true })', problem }]);
}
