import { type Accepted, accepts } from '../builder/wait-options.js';
import { killerOf } from '../ending/sent-kills.js';
import type { ProcessEnd } from '../engine/engine.js';
import { atStage, type CommandError, type Place } from '../errors/command-error.js';
import { ExitError, sentenceOf, type StopReport } from '../errors/exit-error.js';
import { fromHere } from '../errors/command-error.js';
import { notText, type OutputError } from '../errors/output-error.js';
import { UsageError } from '../errors/usage-error.js';
import { isHeard, publishExit, publishOnce } from '../events/events.js';
import type { Capture } from '../io/capture.js';
import { rawWaitStatus } from '../result/exit-status.js';
import type { PipelineResult } from '../result/pipeline-result.js';
import { type Captured, RunResult } from '../result/run-result.js';
import type { KillTreeResult } from '../result/tree-result.js';
import { define } from '../spec/bare.js';
import type { FlowFailure } from '../streams/flows.js';
import type { CommandSpec } from '../spec/spec.js';
import type { Launch } from './launch.js';

/** The place of a stage in a pipeline that has ended, and whether the pipeline was stopped, and not this stage alone. */
export interface EndedPlace extends Place {
  readonly result: PipelineResult;
  readonly isStopOfAll: boolean;
}

/** How a run ended: its result, and the error that this may be. */
export class Outcome {
  readonly result: RunResult;
  readonly #launch: Launch;
  /** Why the end is an error whatever is accepted. */
  readonly #stop: StopReport | undefined;
  /** The call of this library that sent SIGKILL, where one did. */
  readonly #killer: string | undefined;
  #error: ExitError | undefined;
  /** What was captured is no text, and was to be. */
  readonly #fault: OutputError | undefined;

  /** @throws {UsageError} if the output is too long for the string that was asked for. */
  constructor(
    launch: Launch,
    end: ProcessEnd,
    pid: number,
    {
      report: stopped,
      tree,
      flow,
    }: {
      report: StopReport | undefined;
      tree: KillTreeResult | undefined;
      flow: FlowFailure | undefined;
    },
  ) {
    const { spec, subject, captures } = launch;
    launch.lineWatch?.end();
    const stop = stopped ?? failureOf(flow) ?? lossOf(end, captures);
    this.#launch = launch;
    this.#stop = stop;
    this.result = makeResult(launch, end, pid, { timedOut: stop?.reason === 'timeout', tree });
    this.#fault = faultOf(launch, 'stdout', 1) ?? faultOf(launch, 'stderr', 2);
    // The clock of a dry run is another one, and no pid of it is given twice.
    const launchedAt = launch.engine.name === 'dry-run' ? 0 : launch.startedAt;
    this.#killer = this.result.signal === 'SIGKILL' ? killerOf(pid, launchedAt) : undefined;
    if (!isHeard.exit()) return;
    const event = { command: subject.command, spec, result: this.result, unclaimed: unclaimedOutput(spec, captures) };
    publishExit(event, () => this.#sentence());
  }

  /** How it ended, before anybody has said which ends are no error. */
  #sentence(): string {
    const isWell = this.#stop === undefined && this.result.exitCode === 0;
    return isWell ? String(this.result) : sentenceOf(this.#launch.spec, this.result, this.#stop, this.#killer);
  }

  /** Whether the end is no error to somebody who accepts those. */
  isWell(accepted: Accepted | undefined): boolean {
    return this.#launch.lineWatch?.failure === undefined && this.#fault === undefined && this.#isAccepted(accepted);
  }

  #isAccepted(accepted: Accepted | undefined): boolean {
    return this.#stop === undefined && accepts(accepted ?? this.#launch.spec.check, this.result.exitCode);
  }

  /** Why the program was stopped, where it was, or why its output is not whole. */
  get stop(): StopReport | undefined {
    return this.#stop;
  }

  /** The result, or the error that it is to somebody who waits so. What is accepted where nothing is said here, the command says. */
  unwrap(accepted: Accepted | undefined, place?: EndedPlace): RunResult {
    if (this.isWell(accepted)) return this.result;
    const failure = this.#launch.lineWatch?.failure;
    if (failure !== undefined) throw failure.error;
    if (this.#fault !== undefined && this.#isAccepted(accepted)) {
      publishOnce(this.#fault);
      throw fromHere(this.#fault);
    }
    this.#error ??= this.#asError(place);
    publishOnce(this.#error);
    throw fromHere(this.#error);
  }

  #asError(place: EndedPlace | undefined): ExitError {
    const { spec, captures } = this.#launch;
    const isStopOfAll = place?.isStopOfAll === true && this.#stop !== undefined;
    const stop = isStopOfAll ? { ...this.#stop, place } : this.#stop;
    const error = new ExitError(spec, this.result, lastWords(spec, captures), stop, this.#killer);
    if (place === undefined) return error;
    define(error, 'pipeline', place.result);
    return atStage(error, place, !isStopOfAll);
  }
}

/** Nobody stopped the program, but a stream that takes what it wrote has failed after its end. */
const failureOf = (flow: FlowFailure | undefined): StopReport | undefined =>
  flow === undefined
    ? undefined
    : { reason: 'stream', stream: flow.stream, what: flow.what, cause: flow.error, sent: [] };

/** Nobody stopped the program, but what it wrote is not whole. */
function lossOf({ lostOutput }: ProcessEnd, captures: Launch['captures']): StopReport | undefined {
  if (lostOutput === undefined) return undefined;
  return {
    reason: 'out-of-memory',
    stream: lostOutput,
    limit: captures.get(lostOutput === 'stdout' ? 1 : 2)?.totalBytes ?? 0,
    sent: [],
  };
}

/** How a run ended, or why that cannot be told. */
export type Ending = Outcome | CommandError;

function makeResult(
  launch: Launch,
  end: ProcessEnd,
  pid: number,
  { timedOut, tree }: Pick<RunResult, 'timedOut' | 'tree'>,
): RunResult {
  const { spec, subject, captures, clock, startedAt } = launch;
  const { exitCode, signal, coreDumped, outputHeldOpen, inputWritten, resourceUsage } = end;
  const out = captures.get(1);
  const err = captures.get(2);
  return new RunResult({
    command: subject.command,
    pid,
    exitCode,
    signal,
    coreDumped,
    rawStatus: rawWaitStatus({ exitCode, signal, coreDumped }),
    stdout: captured(launch, 'stdout', out),
    stderr: captured(launch, 'stderr', err),
    outputBytes: { stdout: out?.totalBytes ?? 0, stderr: err?.totalBytes ?? 0 },
    outputHeldOpen,
    outputTruncated: (spec.stdout.to === 'buffer' && isCut(out)) || (spec.stderr.to === 'buffer' && isCut(err)),
    inputWritten,
    timedOut,
    tree,
    durationMs: clock.now() - startedAt,
    resourceUsage,
  });
}

const isCut = (capture: Capture | undefined): boolean => capture !== undefined && capture.lostBytes > 0;

function captured({ spec, subject }: Launch, stream: 'stdout' | 'stderr', capture: Capture | undefined): Captured {
  const output = spec[stream];
  if (capture === undefined || output.to !== 'buffer') return undefined;
  try {
    const read = capture.read(output.encoding);
    return output.stripFinalNewline === true && typeof read === 'string' ? read.replace(/\r?\n$/, '') : read;
  } catch {
    const call = stream === 'stdout' ? 'outputBuffer()' : 'errorBuffer()';
    const problem = `the program wrote ${capture.totalBytes} bytes, more than a string can hold; ask for bytes: { encoding: 'buffer' }`;
    throw new UsageError(subject, [{ call, problem }]);
  }
}

/** What is wrong with captured output that is to be text. */
function faultOf({ spec, subject, captures }: Launch, stream: 'stdout' | 'stderr', fd: 1 | 2): OutputError | undefined {
  const output = spec[stream];
  const capture = captures.get(fd);
  if (output.to !== 'buffer' || output.fatal !== true || capture === undefined) return undefined;
  const offset = capture.firstWrong(output.encoding);
  return offset === undefined ? undefined : notText(subject, stream, output.encoding, offset);
}

function unclaimedOutput(
  spec: CommandSpec,
  captures: ReadonlyMap<1 | 2, Capture>,
): { stdout?: string; stderr?: string } {
  const text = (stream: 'stdout' | 'stderr', capture: Capture | undefined): { stdout?: string; stderr?: string } =>
    spec[stream].to === 'unclaimed' && capture !== undefined ? { [stream]: capture.text('utf8') } : {};
  return { ...text('stdout', captures.get(1)), ...text('stderr', captures.get(2)) };
}

/** What the program said last: its standard error, or the stream that this shares with standard output. */
function lastWords(spec: CommandSpec, captures: ReadonlyMap<1 | 2, Capture>): string {
  return captures.get(spec.stderr.to === 'stdout' || spec.terminal !== undefined ? 1 : 2)?.tail() ?? '';
}
