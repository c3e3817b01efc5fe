import { type Mistake, UsageError } from '../errors/usage-error.js';
import type { Attachments } from '../running/launch.js';
import type { Said } from '../running/run-command.js';
import { Bare } from '../spec/bare.js';
import { type CommandSpec, freezeSpec, type LaunchMode, type Mutable, printable } from '../spec/spec.js';
import { readable } from '../text/bytes.js';
import { printCall } from '../text/call-text.js';
import { printCommand, type PrintOptions } from '../text/quote.js';
import { passCall } from '../builder/given-away.js';

/** A command as a stage of a pipeline. */
export interface Stage {
  said(mode: LaunchMode): Said;
  /** @throws {UsageError} if mistakes were made. */
  print(options: PrintOptions | undefined): string;
}

/** What is said of a pipeline as a whole. */
export interface PipelineRules {
  readonly timeoutMs?: number | undefined;
  readonly timeoutTree?: true | undefined;
  readonly abortSignal?: AbortSignal | undefined;
  readonly abortsTree?: boolean | undefined;
}

/** A stage that is about to be launched. */
export interface CheckedStage {
  /** What was said, with the time of the pipeline where that is the shorter one. */
  readonly spec: CommandSpec;
  readonly attachments: Attachments;
  /** Whether its time is that of the pipeline. */
  readonly isTimedWithAll: boolean;
}

/** A pipeline as it may be printed: no values of variables, no secret arguments. */
export const pipelineText = (specs: readonly CommandSpec[]): string =>
  specs.map((spec) => printCommand(printable(spec, { env: false }))).join(' | ');

/**
 * The stages, once there is nothing wrong with any of them.
 *
 * @throws {UsageError} with the mistakes of all.
 */
export function checkStages(said: readonly Said[], rules: PipelineRules, others: readonly Mistake[]): CheckedStage[] {
  const mistakes: Mistake[] = [...others];
  const specs = said.map(({ check, data }, stage) => {
    const clashes = clashesOf(said, stage);
    try {
      const spec = check();
      mistakes.push(...clashes);
      return spec;
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      // What is not heard and not counted is told in the words for a stage: another stage is the way out.
      const own = error.mistakes.filter(
        ({ call }) => !/^(?:silenceTimeout|outputLimit)/.test(call) || !clashes.some((clash) => clash.call === call),
      );
      mistakes.push(...own.map((mistake) => ({ stage, ...mistake })), ...clashes);
      return data;
    }
  });
  if (said.length === 0 && others.length === 0)
    mistakes.push({ call: 'pipeline()', problem: 'it has no stage; give the commands, in their order' });
  if (mistakes.length > 0) {
    const command = pipelineText(said.map(({ data }) => data));
    throw new UsageError({ command, spec: undefined }, mistakes);
  }
  return specs.map((spec, index) => timed(spec, said[index]!.attachments, rules));
}

/** The time of the pipeline is that of each stage which has no shorter one. */
function timed(said: CommandSpec, attachments: Attachments, { timeoutMs, timeoutTree }: PipelineRules): CheckedStage {
  if (timeoutMs === undefined || (said.timeoutMs ?? Infinity) < timeoutMs)
    return { spec: said, attachments, isTimedWithAll: false };
  const spec = Object.assign(new Bare(), said, { timeoutMs }) as Mutable<CommandSpec>;
  if (timeoutTree === true) spec.timeoutTree = true;
  else delete spec.timeoutTree;
  return { spec: freezeSpec(spec), attachments, isTimedWithAll: true };
}

// ---------------------------------------------------------------- mistakes

const daemonIs =
  'a daemon outlives the pipeline that it would be a stage of; start it alone, and give it files or FIFOs';
const handshakeIs = 'a stage is launched together with its neighbours, and waits for nobody; leave the call out';
const terminalIs = 'a stage has the pipes of its neighbours; start it alone, and join it by child.terminal';
const inheritedIs =
  'the terminal has one process group in its foreground, and each stage is started by itself; run the whole line by a shell';
const unheardIs = 'what a stage writes to the next one does not pass through this process; say it of the last stage';
const uncountedIs =
  'what a stage writes to the next one does not pass through this process, and is not counted; say it of the last stage, or say errorBuffer() too to have standard error counted';
const bufferIs =
  'an earlier stage has the same OutputBuffer for its standard error, and each run empties it; give each stage its own';

/** What cannot be said of a stage, or not where it stands. */
function clashesOf(said: readonly Said[], stage: number): Mistake[] {
  const { data, attachments } = said[stage]!;
  const isFirst = stage === 0;
  const isLast = stage === said.length - 1;
  const mistakes: Mistake[] = [];
  const mistake = (call: string, problem: string): void => void mistakes.push({ call, problem, stage });
  if (!isFirst && data.stdin.from !== 'null')
    mistake(inputCall(data.stdin), 'its standard input is what the stage before it writes; leave the call out');
  if (!isLast && data.stdout.to !== 'unclaimed')
    mistake(outputCall(data.stdout), 'its standard output is what the next stage reads; only the last one has another');
  const { silenceTimeoutMs, outputLimit } = data;
  if (!isLast && silenceTimeoutMs !== undefined) mistake(`silenceTimeout(${silenceTimeoutMs})`, unheardIs);
  if (!isLast && outputLimit?.policy === 'kill' && data.stderr.to !== 'buffer')
    mistake(`outputLimit(${outputLimit.bytes}, 'kill')`, uncountedIs);
  if (data.daemonize === true) mistake('daemonize()', daemonIs);
  if (data.terminal !== undefined) mistake('terminal(…)', terminalIs);
  if (data.inheritTerminal === true) mistake('inheritTerminal()', inheritedIs);
  if (data.handshake === true) mistake('requireHandshake()', handshakeIs);
  const { stderrBuffer } = attachments;
  const isShared = said.slice(0, stage).some((one) => one.attachments.stderrBuffer === stderrBuffer);
  if (stderrBuffer !== undefined && isShared) mistake('errorBuffer(…)', bufferIs);
  const { errorTo } = attachments.streams ?? {};
  const before = said.slice(0, stage).map((one) => one.attachments.streams?.errorTo);
  if (errorTo?.ends === true && before.some((given) => given?.destination === errorTo.destination))
    mistake(
      'errorTo(…)',
      'an earlier stage writes to the same stream, and its end would end it; say { end: false } for both',
    );
  return mistakes;
}

function inputCall(stdin: CommandSpec['stdin']): string {
  switch (stdin.from) {
    case 'fd':
      return stdin.closeInParent === true ? passCall({ fd: stdin.fd, as: 0 }) : printCall('inputFd', [stdin.fd]);
    case 'file':
      return printCall('inputFile', [readable(stdin.path)]);
    case 'buffer':
      return 'inputBuffer(…)';
    case 'stream':
      return 'inputStream(…)';
    default:
      return 'inputPipe()';
  }
}

function outputCall(stdout: CommandSpec['stdout']): string {
  switch (stdout.to) {
    case 'fd':
      return stdout.closeInParent === true ? passCall({ fd: stdout.fd, as: 1 }) : printCall('outputFd', [stdout.fd]);
    case 'file':
      return printCall('outputFile', [readable(stdout.path)]);
    case 'buffer':
      return 'outputBuffer()';
    case 'stream':
      return 'outputTo(…)';
    default:
      return 'outputPipe()';
  }
}
