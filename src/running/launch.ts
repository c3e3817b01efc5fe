import { join } from 'node:path';
import { disown, own, prepareToOwn } from '../ending/owned-children.js';
import { launchesAreForbidden } from '../engine/dry-run.js';
import type { Engine, EngineProcess, LaunchResources, PendingLaunch } from '../engine/engine.js';
import { selectEngine } from '../engine/select.js';
import { type Subject, subjectOf } from '../errors/command-error.js';
import { LaunchError } from '../errors/launch-error.js';
import { PidFileError } from '../errors/pidfile-error.js';
import { UnsupportedError } from '../errors/unsupported-error.js';
import { UsageError } from '../errors/usage-error.js';
import { thisHost } from '../host/host.js';
import { launchDenial, writeDenial } from '../host/permission.js';
import { type Clock, deadline } from '../host/time.js';
import { Capture, type CaptureLimit } from '../io/capture.js';
import { type LineListener, LineWatch } from '../lines/line-watch.js';
import { connectBuffer, type OutputBuffer } from '../io/output-buffer.js';
import type { SendBuffer } from '../io/send-buffer.js';
import { endedProblem } from '../streams/destination.js';
import { type FlowPlan, type GivenStreams, readAll } from '../streams/flows.js';
import { spentProblem } from '../streams/source.js';
import { hasTees, openTees, type TeeFiles } from '../streams/tee-files.js';
import { closeFiles } from '../engine/redirections.js';
import { connect, type Joints } from '../plan/descriptors.js';
import { notLoaded } from '../native/dependencies.js';
import type { LaunchPlan, PlanOptions } from '../plan/launch-plan.js';
import { planAgain } from '../plan/plan-again.js';
import { planLaunch } from '../plan/plan-launch.js';
import { bare } from '../spec/bare.js';
import type { CommandSpec, LaunchMode } from '../spec/spec.js';
import { readable, toBytes } from '../text/bytes.js';

/** What belongs to a command and is not data: it stands beside the spec, which names it. */
export interface Attachments {
  readonly stdoutBuffer: OutputBuffer | undefined;
  readonly stderrBuffer: OutputBuffer | undefined;
  readonly abortSignal: AbortSignal | undefined;
  /** Whether that signal stops the whole tree. */
  readonly abortsTree: boolean;
  /** What `inputStream()`, `outputTo()` and `errorTo()` were given. */
  readonly streams: GivenStreams | undefined;
  /** What `onLine()` has said. */
  readonly onLine: LineListener | undefined;
  /** What `sendBuffer()` has said, by the program's descriptor. */
  readonly sendBuffers: ReadonlyMap<number, SendBuffer>;
  /** The second argument of `preExecHook()`, serialized as it was when it was said. */
  readonly opaque: Uint8Array | undefined;
}

/** How much of the output that nobody claimed is kept for the log. */
const LOG_LIMIT: CaptureLimit = bare({ bytes: 64 * 1024, policy: 'headAndTail' });

/** Decides a launch for the engine in use, for somebody to look at. */
export function planFor(spec: CommandSpec, mode: LaunchMode, joints?: Joints): LaunchPlan {
  return planLaunch(spec, thisHost, planOptions(mode, selectEngine(), subjectOf(spec), joints));
}

/** An engine may be a dry run, which needs no program to exist. */
const planOptions = (mode: LaunchMode, engine: Engine, subject: Subject, joints?: Joints): PlanOptions => ({
  mode,
  search: engine.name !== 'dry-run',
  subject,
  inherited: engine.environment,
  joints,
});

/**
 * One launch: what was said, what was decided, and where data comes from and goes to. It is made once, and handed down whole:
 * to the engine, and to what looks after the child.
 */
export class Launch implements LaunchResources, FlowPlan {
  readonly spec: CommandSpec;
  readonly mode: LaunchMode;
  readonly engine: Engine;
  readonly subject: Subject;
  readonly plan: LaunchPlan;
  /** What it reads. A stage that is played is given it when the one before has been. */
  input: Uint8Array | undefined;
  /** Which streams are none of the caller's, since they lead to the neighbours of a stage. */
  readonly joints: Joints | undefined;
  readonly sendBuffers: ReadonlyMap<number, SendBuffer>;
  readonly captures: ReadonlyMap<1 | 2, Capture>;
  readonly #captures: Map<1 | 2, Capture>;
  /** Calls back with each line. */
  readonly lineWatch: LineWatch | undefined;
  readonly waitForOutputEnd: boolean;
  /** The streams of this process that it reads from and writes to. */
  readonly streams: GivenStreams | undefined;
  /** The files of `tee()`, once they are open. */
  teeFiles: TeeFiles | undefined;
  /** What reading its source to the end has failed with, where it is played. */
  inputFailure: { readonly error: unknown } | undefined;
  readonly opaque: Uint8Array | undefined;
  readonly abortSignal: AbortSignal | undefined;
  readonly abortsTree: boolean;
  /** The clock by which the program has its time. */
  readonly clock: Clock;
  readonly startedAt: number;
  readonly deadline: number;
  /** Is told of the child as soon as there is one, which is long before its program runs where a hook takes its time. */
  whenBorn: ((child: EngineProcess) => void) | undefined;
  readonly onPending: ((pending: PendingLaunch) => void) | undefined;

  /** Decides all that comes before the engine. @throws {LaunchError} {UnsupportedError} {UsageError} */
  constructor(spec: CommandSpec, mode: LaunchMode, attachments: Attachments, engine: Engine, joints?: Joints) {
    const subject = subjectOf(spec);
    const { abortSignal } = attachments;
    if (abortSignal?.aborted === true) throw new LaunchError(subject, { step: 'abort', cause: abortSignal.reason });
    if (engine.name !== 'dry-run' && launchesAreForbidden()) throw forbidden(subject);
    if (engine.name !== 'dry-run') assertMayLaunch(spec, subject);
    const plan = planAgain(spec, thisHost, planOptions(mode, engine, subject, joints));
    if (engine.name !== 'dry-run') assertMayWrite(plan);
    const [refusal, ...others] = engine.refusals(plan);
    if (refusal !== undefined) throw new UnsupportedError(subject, { ...refusal, engine: engine.name, others });
    if (mode !== 'daemon') assertMayOwn(subject, engine);
    this.spec = spec;
    this.mode = mode;
    this.engine = engine;
    this.subject = plan.subject;
    this.plan = plan;
    this.input = spec.stdin.from === 'buffer' ? toBytes(spec.stdin.data) : undefined;
    this.joints = joints;
    this.#captures = makeCaptures(plan, attachments);
    this.captures = this.#captures;
    const { onLine, sendBuffers } = attachments;
    this.sendBuffers = sendBuffers;
    this.lineWatch = onLine === undefined ? undefined : new LineWatch(onLine, this.captures, subject);
    this.waitForOutputEnd = spec.waitForOutputEnd === true;
    this.streams = attachments.streams;
    this.teeFiles = undefined;
    this.inputFailure = undefined;
    if (this.streams !== undefined) assertFresh(this.streams, subject);
    this.opaque = attachments.opaque;
    this.abortSignal = abortSignal;
    this.abortsTree = attachments.abortsTree;
    this.whenBorn = undefined;
    // The stages of a pipeline are all there at the call, and so before anything is told of any.
    this.onPending = joints === undefined ? ownPending : undefined;
    this.clock = engine.clock;
    this.startedAt = this.clock.now();
    // A daemon's time is its hook's.
    const isTimed = mode !== 'daemon' || spec.preExecHook !== undefined;
    this.deadline = deadline(this.startedAt, isTimed ? spec.timeoutMs : undefined);
  }

  /** Whether something has to be opened, or read, before the engine may begin. */
  get needsFlows(): boolean {
    return hasTees(this.spec) || (this.engine.name === 'dry-run' && this.spec.stdin.from === 'stream');
  }

  /** Opens the files of `tee()`. In a dry run nothing is opened, and a source is read to its end: the answer may look at it. */
  async prepareFlows(): Promise<void> {
    if (this.engine.name !== 'dry-run') {
      this.teeFiles = await openTees(this.plan, this);
      return;
    }
    const source = this.streams?.input;
    if (source === undefined) return;
    const { bytes, failure } = await readAll(source);
    this.input = bytes;
    this.inputFailure = failure;
    connect(this.plan.descriptors, 0, { kind: 'pipe', for: 'buffer' });
  }

  /** Closes what was opened for a launch that has failed. */
  async closeFlows(): Promise<void> {
    if (this.teeFiles !== undefined) await closeFiles(this.teeFiles);
  }

  /** Nothing is kept any more of a standard error that is read for the log alone. */
  forgetLog(): void {
    this.#captures.delete(2);
  }

  /** The child is ours before anybody hears of it, and until its end: a signal that ends this process now ends the child too. */
  onStart(child: EngineProcess): void {
    if (this.mode !== 'daemon') {
      own(child, this.spec.stopSequence);
      void child.ended.then(() => {
        disown(child);
      });
    }
    this.whenBorn?.(child);
  }
}

/** The end of this process waits for a launch that goes on beside it, so that none is lost, and ends its program. */
function ownPending(this: Launch, pending: PendingLaunch): void {
  own(pending, this.mode === 'daemon' ? undefined : this.spec.stopSequence);
  void pending.settled.then(() => {
    disown(pending);
  });
}

/** The same for `runAsync()`, whose programs may run for long: the first and the last 4 KiB. */
const ASYNC_LOG_LIMIT: CaptureLimit = bare({ bytes: 8 * 1024, policy: 'headAndTail' });

/** What nobody claimed is kept in small, but a program of `run()` that writes too much is stopped all the same. */
function logLimit({ spec: { outputLimit }, mode }: LaunchPlan): CaptureLimit {
  if (mode === 'async') return ASYNC_LOG_LIMIT;
  return outputLimit?.policy === 'kill' ? bare({ ...LOG_LIMIT, stopAbove: outputLimit.bytes }) : LOG_LIMIT;
}

/** @throws {UsageError} if a stream cannot be used any more. */
function assertFresh({ input, outputTo, errorTo }: GivenStreams, subject: Subject): void {
  const problems = [
    ['inputStream(…)', input === undefined ? undefined : spentProblem(input)],
    ['outputTo(…)', outputTo === undefined ? undefined : endedProblem(outputTo)],
    ['errorTo(…)', errorTo === undefined ? undefined : endedProblem(errorTo)],
  ] as const;
  const mistakes = problems.flatMap(([call, problem]) => (problem === undefined ? [] : [{ call, problem }]));
  if (mistakes.length > 0) throw new UsageError(subject, mistakes);
}

function makeCaptures(plan: LaunchPlan, { stdoutBuffer, stderrBuffer }: Attachments): Map<1 | 2, Capture> {
  const captures = new Map<1 | 2, Capture>();
  for (const { childFd, source } of plan.descriptors) {
    if ((source.kind !== 'pipe' && source.kind !== 'terminal') || source.for === 'caller' || source.for === 'stage')
      continue;
    // A terminal is both outputs in one.
    if (childFd !== 1 && (childFd !== 2 || source.kind === 'terminal')) continue;
    if ((childFd === 1 ? plan.spec.stdout : plan.spec.stderr).to === 'stream') continue;
    const capture = new Capture(source.for === 'log' ? logLimit(plan) : plan.spec.outputLimit);
    captures.set(childFd, capture);
    const buffer = childFd === 1 ? stdoutBuffer : stderrBuffer;
    if (buffer !== undefined) connectBuffer(buffer, capture);
  }
  return captures;
}

/** Node's permission model holds for every engine, as it does for `child_process`. */
function assertMayLaunch(spec: CommandSpec, subject: Subject): void {
  const cause = launchDenial();
  if (cause !== undefined)
    throw new LaunchError(subject, {
      step: 'execve',
      errno: 'ERR_ACCESS_DENIED',
      path: readable(spec.argv.at(0) ?? ''),
      cause,
    });
}

/** The same for the files that a child writes on behalf of this process. Those of its standard streams Node opens itself. */
function assertMayWrite({ steps, subject }: LaunchPlan): void {
  for (const step of steps) {
    const path =
      step.step === 'pidfile'
        ? readable(step.path)
        : step.step === 'cgroup'
          ? join(readable(step.directory), 'cgroup.procs')
          : undefined;
    const cause = path === undefined ? undefined : writeDenial(path);
    if (path === undefined || cause === undefined) continue;
    const errno = 'ERR_ACCESS_DENIED';
    if (step.step === 'pidfile') throw new PidFileError(path, { action: 'written', errno, cause }, subject);
    throw new LaunchError(subject, { step: step.step, errno, syscall: 'open', path, cause });
  }
}

function forbidden(subject: Subject): UsageError {
  const problem =
    'a strict dryRun() stands, and this command came from outside its scope; enter a dryRun() where the command is started';
  return new UsageError(subject, [{ call: 'dryRun({ strict: true })', problem }]);
}

/** Loads what looks after the child of a launch, while there is none yet. */
function assertMayOwn(subject: Subject, engine: Engine): void {
  try {
    prepareToOwn();
  } catch (cause) {
    throw notLoaded(subject, engine.name, 'signal-exit', cause);
  }
}
